"""Whole-file writes: aside, fsync, rename; mode at birth; the old content stays when anything fails."""

import contextlib
import errno
import fcntl
import glob
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from troth.host import HostError, permissions
from troth.host.permissions import KEPT, Permissions
from troth.host.streams import is_stream, write_stream

MAX_READ_BYTES = 16 * 1024 * 1024
LOCK_POLL_SECONDS = 0.02


class FileError(HostError):
    """A file cannot be read or written; the message names the path and the system's reason."""


def read_file(path: Path, *, limit: int = MAX_READ_BYTES) -> bytes:
    """All bytes of a file.

    Raises:
        FileError: it cannot be read, or is larger than `limit` bytes.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        raise FileError(f"cannot read {path}: {reason(error)}") from error
    if len(data) > limit:
        raise FileError(f"cannot read {path}: larger than {limit} bytes")
    return data


def stage_file(path: Path, data: bytes, mode: int = 0o600, wanted: Permissions = KEPT) -> Path:
    """Write `data` to a new file beside `path`, synced to disk and born with its final mode; return its path.

    An existing target lends its mode, owner and access list, so that a replaced file keeps them, where `wanted` says
    nothing else; a symlink is followed.

    Raises:
        FileError: it cannot be written; nothing is left behind.
    """
    target = follow(path)
    staged = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                permissions.apply(stream.fileno(), wanted, mode, target if target.exists() else None)
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
        except BaseException:
            with contextlib.suppress(OSError):
                staged.unlink()
            raise
    except OSError as error:
        raise FileError(f"cannot write {path}: {reason(error)}") from error
    return staged


def remove_staged(path: Path) -> None:
    """Remove what writers of this file left beside it when they were killed; for who knows that none is at work."""
    target = follow(path)
    with contextlib.suppress(OSError):
        for one in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):
            if re.fullmatch(r"[0-9a-f]{12}", one.name[len(target.name) + 2 : -len(".tmp")]):
                one.unlink()


def commit_file(staged: Path, path: Path) -> None:
    """Rename a staged file over its target (symlinks followed) and sync the directory.

    Raises:
        FileError: the rename failed; the target is unchanged.
    """
    target = follow(path)
    try:
        staged.rename(target)
        sync_directory(target.parent)
    except OSError as error:
        raise FileError(f"cannot replace {path}: {reason(error)}") from error


def write_file(path: Path, data: bytes, mode: int = 0o600, wanted: Permissions = KEPT) -> None:
    """Replace a file whole: readers see the old bytes or the new ones, never a part.

    Args:
        path: the file; a symlink is followed, and what is no regular file is written into.
        data: all of it.
        mode: of a new file; an existing one keeps its mode and owner.
        wanted: mode and owner that were asked for, which count in either case.

    Raises:
        FileError: it cannot be written; the old content stays.
    """
    if is_stream(path):
        pour(path, data)
        return
    staged = stage_file(path, data, mode, wanted)
    try:
        commit_file(staged, path)
    except FileError:
        with contextlib.suppress(OSError):
            staged.unlink()
        raise


def pour(path: Path, data: bytes) -> None:
    """Write into a device, a pipe or an open descriptor.

    Raises:
        FileError: it cannot be written.
    """
    try:
        write_stream(path, data)
    except OSError as error:
        raise FileError(f"cannot write {path}: {reason(error)}") from error


def make_directory(path: Path, mode: int = 0o700) -> None:
    """Create a directory with this mode, whatever the umask, and its parents; an existing one keeps its mode.

    Raises:
        FileError: it cannot be created, or is not a directory.
    """
    try:
        if path.is_dir():
            return
        path.mkdir(mode=mode, parents=True, exist_ok=True)
        path.chmod(mode)
    except OSError as error:
        raise FileError(f"cannot create directory {path}: {reason(error)}") from error


def sync_directory(path: Path) -> None:
    """Make renames in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(path: Path, *, timeout: float | None = None) -> Iterator[None]:
    """Hold the lock of a file's directory; a directory has no content to spoil and needs no extra file.

    `timeout` is how many seconds to wait for another holder at most; None means as long as it takes.

    Raises:
        FileError: there is no such directory, or the other holder did not end in time.
    """
    directory = follow(path).absolute().parent
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise FileError(f"cannot write {path}: directory {directory}: {reason(error)}") from error
    try:
        if timeout is None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        else:
            _lock_within(descriptor, timeout, directory)
        yield
    finally:
        os.close(descriptor)


def _lock_within(descriptor: int, timeout: float, directory: Path) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise FileError(f"another program is at work in {directory}") from None
            time.sleep(LOCK_POLL_SECONDS)
        else:
            return


def follow(path: Path) -> Path:
    """The file a path means: symlinks resolved, a dangling or absent one too.

    Raises:
        FileError: its symlinks lead in a circle, may not be looked at, or it has no name (``''`` and ``/``).
    """
    if not path.name:
        raise FileError(f"cannot use {str(path)!r}: expected the name of a file")
    try:
        return path.resolve(strict=False) if path.is_symlink() else path
    except (RuntimeError, OSError) as error:  # RuntimeError is what Python before 3.13 makes of a circle
        if isinstance(error, OSError) and error.errno != errno.ELOOP:
            raise FileError(f"cannot use {path}: {reason(error)}") from error
        raise FileError(f"cannot use {path}: its symbolic links lead in a circle") from error


def reason(error: OSError) -> str:
    """The system's reason in lower case, without the path it may repeat."""
    return (error.strerror or str(error)).lower()
