"""The authority's own files, edited: read, changed, checked and replaced whole, under a lock."""

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from troth.ca.editing import read_object
from troth.errors import TrothError, UsageError
from troth.host.files import FileError, locked, read_file, write_file
from troth.host.steppath import StepPath, authority_base
from troth.host.terminal import announce, note

Change = Callable[[dict[str, Any]], Mapping[str, Any]]


def ca_config(given: str) -> Path:
    """``--ca-config``, or ``config/ca.json`` below the step path.

    Raises:
        UsageError: there is no such file.
    """
    path = Path(given) if given else StepPath(authority_base()).ca_config
    if not path.is_file():
        hint = "run it where the authority's files are, or name the file with --ca-config"
        raise UsageError(f"configuration {path} does not exist", hint=hint)
    return path


def edit(
    path: Path,
    change: Change,
    write: Callable[[Mapping[str, Any]], str],
    *,
    absent: str = "",
    like: Path | None = None,
) -> None:
    """Apply a change to a JSON file and say what to do next.

    Args:
        path: the file.
        change: from the object that is there to the one that shall be.
        write: checks the result and gives its text.
        absent: the text to begin with when there is no file; empty means that there must be one.
        like: a file whose owner, group and mode, but for everybody else's part, a new one takes.

    Raises:
        TrothError: it cannot be read, changed or written; it then stays as it is.
    """
    with locked(path):
        text = absent if absent and not path.exists() else text_of(path)
        try:
            changed = write(change(read_object(text, path.name)))
        except TrothError as error:
            raise UsageError(f"{path} is not changed: {error.message}", hint=error.hint) from error
        fresh = not path.exists()
        write_file(path, changed.encode(), 0o600)
        if fresh and like is not None:
            _permit(path, like.stat())
    announce("CA Configuration", str(path))
    note(
        "\nSuccess! The configuration has been updated. To pick it up, SIGHUP (kill -1 <pid>) or restart the authority."
    )


def _permit(path: Path, like: os.stat_result) -> None:
    with contextlib.suppress(PermissionError):  # only root gives files away; who is not made the other one too
        os.chown(path, like.st_uid, like.st_gid)
    # The secrets of webhooks are kept here too: not for everybody.
    path.chmod(like.st_mode & 0o770)


def text_of(path: Path) -> str:
    """The text of a file. Raises: FileError: it cannot be read, or is not UTF-8."""
    try:
        return read_file(path).decode()
    except UnicodeDecodeError as error:
        raise FileError(f"{path} is not UTF-8 text") from error
