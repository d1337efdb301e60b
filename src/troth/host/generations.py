"""An identity's files as generations: ``generations/<N>/{client.crt,client.key,ca.crt}`` behind one link ``current``.

A generation is complete before the link names it, and the link is replaced by a rename: readers see the old key and
certificate, or the new ones, never one of each.
"""

import contextlib
import grp
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from troth.host.files import FileError, make_directory, read_file, reason, sync_directory, write_file

KEPT = 3
CERTIFICATE, KEY, TRUST = "client.crt", "client.key", "ca.crt"


@dataclass(frozen=True, slots=True)
class Material:
    """The three files of a generation."""

    certificate: bytes
    key: bytes
    trust: bytes


@dataclass(frozen=True, slots=True)
class Generations:
    """The generations of one identity; only the agent that holds the lock may change them.

    `group` is the group of the keys, a name; empty leaves it to the system.
    """

    directory: Path
    key_mode: int = 0o600
    group: str = ""

    @property
    def link(self) -> Path:
        return self.directory / "current"

    def path(self, number: int) -> Path:
        return self.directory / "generations" / str(number)

    def current(self) -> int | None:
        """The number the link names, or None before the first."""
        try:
            return int(self.link.readlink().name)
        except (OSError, ValueError):
            return None

    def numbers(self) -> list[int]:
        """All complete generations, oldest first.

        Raises:
            FileError: this process may not look.
        """
        parent = self.directory / "generations"
        try:
            names = [entry.name for entry in parent.iterdir()] if parent.is_dir() else []
        except OSError as error:
            raise FileError(f"cannot look into {parent}: {reason(error)}") from error
        return sorted(int(name) for name in names if name.isdigit())

    def stage(self, material: Material) -> int:
        """Write a new generation, synced, not yet current; its number.

        Raises:
            FileError: it cannot be written; what was written of it is removed.
        """
        make_directory(self.directory, 0o755)
        parent = self.directory / "generations"
        make_directory(parent, 0o755)
        number = max([*self.numbers(), self.current() or 0, 0]) + 1
        aside = parent / f".{number}.tmp"
        shutil.rmtree(aside, ignore_errors=True)
        try:
            make_directory(aside, 0o755)
            write_file(aside / KEY, material.key, self.key_mode)
            self._give(aside / KEY)
            write_file(aside / CERTIFICATE, material.certificate, 0o644)
            write_file(aside / TRUST, material.trust, 0o644)
            self._date(aside / TRUST, material.trust)
            aside.rename(self.path(number))
            sync_directory(parent)
        except OSError as error:
            raise FileError(f"cannot write generation {number} in {parent}: {reason(error)}") from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return number

    def _date(self, trust: Path, data: bytes) -> None:
        """What is trusted and did not change says so: it keeps its modification time."""
        with contextlib.suppress(FileError, FileNotFoundError):
            if read_file(self.link / TRUST) == data:
                status = (self.link / TRUST).stat()
                os.utime(trust, ns=(status.st_atime_ns, status.st_mtime_ns))

    def settle(self) -> None:
        """Give the current key the mode and group that are asked for, if it has others.

        Raises:
            FileError: there is no such group, or they cannot be given.
        """
        if self.current() is not None:
            try:
                self._give(self.link / KEY)
            except OSError as error:
                raise FileError(f"cannot give {self.link / KEY} its mode and group: {reason(error)}") from error

    def _give(self, key: Path) -> None:
        status = key.stat()
        if self.group:
            try:
                group = grp.getgrnam(self.group).gr_gid
            except KeyError:
                raise FileError(
                    f"there is no group {self.group!r} for {key}", hint=f"make it: groupadd {self.group}"
                ) from None
            if status.st_gid != group:
                os.chown(key, -1, group)
        if status.st_mode & 0o777 != self.key_mode:
            key.chmod(self.key_mode)

    def switch(self, number: int) -> None:
        """Make a generation current.

        Raises:
            FileError: there is no such generation, or the link cannot be replaced; the old one stays.
        """
        aside = self.directory / ".current.tmp"
        try:
            if not self.path(number).is_dir():
                raise FileError(f"cannot switch {self.link}: there is no generation {number}")
            aside.unlink(missing_ok=True)
            aside.symlink_to(Path("generations") / str(number))
            aside.rename(self.link)
            sync_directory(self.directory)
        except OSError as error:
            with contextlib.suppress(OSError):
                aside.unlink()
            raise FileError(f"cannot switch {self.link}: {reason(error)}") from error

    def discard(self, number: int) -> None:
        """Remove a generation that is not current."""
        if number != self.current():
            shutil.rmtree(self.path(number), ignore_errors=True)

    def tidy(self, resting: float = 0.0) -> None:
        """Keep the current generation and the newest others, and remove what an interrupted stage left.

        One that is younger than `resting` seconds stays too: nginx takes a file for one that it read before when inode
        and modification time are the same, and a new file may get the inode of one that was removed a moment ago. What
        cannot be removed now is the next time.
        """
        with contextlib.suppress(OSError, FileError):
            self._tidy(resting)

    def _tidy(self, resting: float) -> None:
        parent = self.directory / "generations"
        current = self.current()
        others = [number for number in self.numbers() if number != current]
        for number in others[: max(0, len(others) - KEPT + 1)]:
            with contextlib.suppress(OSError):
                if time.time() - self.path(number).stat().st_mtime >= resting:
                    self.discard(number)
        for leftover in parent.glob(".*.tmp") if parent.is_dir() else ():
            shutil.rmtree(leftover, ignore_errors=True)
        with contextlib.suppress(OSError):
            (self.directory / ".current.tmp").unlink()
