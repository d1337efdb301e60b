"""The configuration of an nginx, as it sees it itself or, where it refuses it, as we read it."""

import os
import re
from pathlib import Path

from troth.agent import AgentError
from troth.host.configuration import read_from_disk
from troth.host.files import read_file
from troth.host.nginx import Nginx
from troth.nginx.tree import Config, parse_config

_DUMP_MARK = re.compile(rb"# configuration file (.+):\n")


class ReadingError(AgentError):
    """nginx and we do not read the same; the message says where."""


def read_config(nginx: Nginx) -> Config:
    """The configuration as nginx itself sees it (``-T``), which is what is on disk.

    Raises:
        NginxTestError: nginx refuses it.
        ReadingError: we read it differently.
        SyntaxProblem: we cannot read it.
    """
    files = _dumped(nginx.dump())
    main = str(nginx.main)
    config = parse_config(files, main if main in files else next(iter(files), main))
    if config.missing or config.unread:
        what = f"we expect {config.missing[0]}" if config.missing else f"we do not see who includes {config.unread[0]}"
        raise ReadingError(f"nginx reads other files than we do: {what}", hint="compare: nginx -T | grep '^# config'")
    return config


def _dumped(dump: bytes) -> dict[str, bytes]:
    """The files of ``nginx -T``, each held against the disk: a line in a file may look like the dump's own.

    Raises:
        ReadingError: a file on disk is not what nginx read.
    """
    files: dict[str, bytes] = {}
    position = 0
    while position < len(dump):
        mark = _DUMP_MARK.match(dump, position)
        if mark is None:
            raise ReadingError(f"nginx -T prints something else than files: {dump[position : position + 60]!r}")
        path = Path(os.fsdecode(mark[1])).absolute()
        data = read_file(path)
        if not dump.startswith(data + b"\n", mark.end()):
            raise ReadingError(f"{path} was edited while nginx read it", hint="run the command again")
        files[str(path)] = data
        position = mark.end() + len(data) + 1
    return files


def read_unverified(nginx: Nginx) -> Config:
    """The configuration read by us alone, for when nginx refuses it.

    Raises:
        HostError: a file cannot be read.
        SyntaxProblem: it is broken for us too.
    """
    return read_from_disk(nginx.main)
