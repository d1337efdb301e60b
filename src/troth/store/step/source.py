"""The database that a ca.json names, whatever its kind: whether there is one, and what is in it."""

import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from troth.store.step import BACKUP_HINT, Entry, SourceError
from troth.store.step.badger import Directory, read_backup
from troth.store.step.bbolt import Tree
from troth.store.step.files import mapped
from troth.store.step.sql import mysql, postgresql

BADGER, BADGER_OLD, BBOLT, MYSQL, POSTGRESQL = "badgerv2", ("badger", "badgerv1"), "bbolt", "mysql", "postgresql"
DATA_SUFFIXES = (".sst", ".vlog")


@dataclass(frozen=True)
class Source:
    """``db`` of a ca.json."""

    kind: str
    where: str
    values: str = ""
    database: str = ""

    @property
    def is_file(self) -> bool:
        """Whether it lies on this machine's disk, rather than with a server."""
        return self.kind not in (MYSQL, POSTGRESQL)

    @property
    def name(self) -> str:
        """For messages and the record of the import: never a password."""
        if self.is_file:
            return f"{self.kind} {self.where}"
        return (
            f"{self.kind} {self.where.rpartition('@')[2] if '@' in self.where else 'server'} {self.database}".rstrip()
        )

    def files(self) -> list[Path]:
        """The files that hold its data, in order; none when it was never used.

        Raises:
            SourceError: its directory cannot be listed.
        """
        path = Path(self.where)
        if self.kind == BBOLT or path.is_file():
            return [path] if path.exists() else []
        found: list[Path] = []
        for directory in dict.fromkeys((path, Path(self.values or path))):
            try:
                found += [
                    file for file in directory.iterdir() if file.suffix in DATA_SUFFIXES or file.name == "MANIFEST"
                ]
            except FileNotFoundError:
                continue
            except OSError as error:
                raise SourceError(f"cannot read {directory}: {(error.strerror or str(error)).lower()}") from error
        return sorted(found)

    def is_absent(self) -> bool:
        """Whether there surely is nothing in it; one with a server is never sure."""
        return self.is_file and not any(file.stat().st_size for file in self.files())

    def signature(self) -> str:
        """Of names, sizes and times of its files: the same as long as nothing wrote to it. Empty for a server."""
        if not self.is_file:
            return ""
        stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in self.files()]
        return hashlib.sha256(repr(stats).encode()).hexdigest()

    @contextmanager
    def reading(self) -> Iterator[tuple[Iterator[Entry], list[str]]]:
        """Its records, and what could not be read, which is complete once the records were taken.

        Raises:
            SourceError: it is in use, or cannot be read.
        """
        with self._alone():
            if self.kind in BADGER_OLD:
                raise SourceError(f"{self.name} is of badger 1, which is not read directly", hint=BACKUP_HINT)
            if self.is_absent():
                yield iter(()), []
            elif self.kind == BADGER:
                directory = Directory(Path(self.where), Path(self.values) if self.values else None)
                yield directory.entries(), directory.problems
            elif self.kind == BBOLT:
                tree = Tree(mapped(Path(self.where)), self.where)
                yield tree.entries(), tree.problems
            else:
                client = (mysql if self.kind == MYSQL else postgresql)(self.where, self.database)
                yield client.entries(), []

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock that step-ca's database holds while it runs: nothing is written meanwhile."""
        if not self.is_file or not Path(self.where).exists():
            yield
            return
        try:
            descriptor = os.open(self.where, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise SourceError(f"cannot read {self.where}: {(error.strerror or str(error)).lower()}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            hint = "stop step-ca first: systemctl stop step-ca"
            raise SourceError(f"{self.where} is in use, step-ca seems to run", hint=hint) from error
        finally:
            os.close(descriptor)


def source_of(db: Mapping[str, Any], base: Path) -> Source:
    """The database of a ca.json's ``db``.

    A relative name is where step-ca was started, or else below `base`.

    Raises:
        SourceError: its kind is unknown, or a member is missing.
    """
    kind, where = str(db.get("type") or "").lower(), db.get("dataSource")
    if kind not in (BADGER, *BADGER_OLD, BBOLT, MYSQL, POSTGRESQL):
        raise SourceError(f"db.type: expected badgerv2, bbolt, postgresql or mysql, got {db.get('type')!r}")
    if not isinstance(where, str) or not where:
        raise SourceError(f"db.dataSource: expected a text, got {where!r}")
    values, database = str(db.get("valueDir") or ""), str(db.get("database") or "")
    if kind in (MYSQL, POSTGRESQL):
        return Source(kind, where, "", database)
    return Source(kind, _absolute(where, base), _absolute(values, base) if values else "", database)


def _absolute(name: str, base: Path) -> str:
    here = Path(name).absolute()
    return str(here if here.exists() else (base / name).absolute())


def backup(path: Path) -> Iterator[Entry]:
    """The records in a file that ``badger backup`` wrote.

    Raises:
        SourceError: it cannot be read, or is no such file.
    """
    data = mapped(path)
    if not data:
        raise SourceError(f"{path} is empty")
    return read_backup(data[:], str(path))
