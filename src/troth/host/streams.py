"""Outputs that are no regular files: devices, named pipes and open descriptors are written into, never replaced."""

import os
import re
import stat
import sys
from pathlib import Path

_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,9})")
_STANDARD = {"/dev/stdout": 1, "/dev/stderr": 2}


def is_stream(path: Path) -> bool:
    """Whether a path leads to a device, a pipe, a socket or an open descriptor (``/dev/stdout``, ``/dev/fd/3``).

    A rename over one would end it for everybody else, ``/dev/null`` for the whole machine.
    """
    try:
        descriptor = _descriptor(path)
        mode = (path.stat() if descriptor is None else os.fstat(descriptor)).st_mode
    except (OSError, RuntimeError):  # RuntimeError is what Python before 3.13 makes of a circle of links
        return False
    return descriptor is not None or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def holds_data(path: Path) -> bool:
    """Whether writing into this stream destroys what it holds, as it does on a disk."""
    return _descriptor(path) is None and stat.S_ISBLK(path.stat().st_mode)


def write_stream(path: Path, data: bytes) -> None:
    """Write all of `data` into a stream, after what this program printed before; a pipe's reader is waited for.

    Raises:
        OSError: it cannot be opened or written.
    """
    descriptor = _descriptor(path)
    if descriptor is None:
        opened = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    else:
        sys.stdout.flush()
        opened = os.dup(descriptor)
    with os.fdopen(opened, "wb") as stream:
        stream.write(data)


def _descriptor(path: Path) -> int | None:
    """The number of the open descriptor that a path names, or None; opening it by name would begin at its start."""
    found = _DESCRIPTOR.fullmatch(str(path))
    return int(found[1]) if found else _STANDARD.get(str(path))
