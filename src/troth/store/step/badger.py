"""A badger directory of version 2: the manifest's tables, and what the value log holds beyond them, merged.

step-ca's keys are two length-prefixed texts, table and key, in one.
"""

import heapq
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from troth.store.step import BACKUP_HINT, Entry, SourceError
from troth.store.step.badger_log import DELETED, POINTER, POINTS, Log, TornLogError
from troth.store.step.badger_stream import read_stream
from troth.store.step.badger_table import Stored, Table
from troth.store.step.crc32c import crc32c
from troth.store.step.files import mapped
from troth.store.step.protobuf import WireError, fields, number, octets, single

MAGIC, VERSION = b"Bdgr", 7
CHANGE_HEADER = struct.Struct(">II")
HEADER = struct.Struct(">4sI")
CREATE, DELETE = 0, 1
OWN, HEAD, MOVED = b"!badger!", b"!badger!head", b"!badger!move"
LENGTH = struct.Struct("<H")


class Directory:
    """An open badger directory; `problems` is complete once the entries were read."""

    def __init__(self, directory: Path, values: Path | None = None) -> None:
        """Map its tables and logs.

        Args:
            directory: `dataSource` of ca.json.
            values: `valueDir` of ca.json, where it differs.

        Raises:
            SourceError: a file is missing, or is of a version or kind that is not read.
        """
        self.problems: list[str] = []
        names = [f"{table:06d}.sst" for table in sorted(read_manifest(directory / "MANIFEST"))]
        self._tables = [Table(mapped(directory / name), str(directory / name)) for name in names]
        files = sorted((values or directory).glob("*.vlog"))
        self._logs = {_number(path): Log(mapped(path), str(path)) for path in files}
        self._replayed: list[Stored] = []
        self._moved: dict[tuple[bytes, int], Stored] | None = None

    def entries(self) -> Iterator[Entry]:
        """Every record that step-ca would see, in the order of the keys.

        Raises:
            SourceError: a file is damaged.
        """
        self._replayed = sorted(self._replay(), key=lambda entry: entry[:2])
        return visible(self._sorted(), self._value)

    def _sorted(self) -> Iterator[Stored]:
        sources: list[Iterable[Stored]] = [self._replayed, *(table.entries() for table in self._tables)]
        return heapq.merge(*sources, key=lambda entry: entry[:2])

    def _replay(self) -> Iterator[Stored]:
        """What was logged after the tables were written."""
        file, offset = self._head()
        last = max(self._logs, default=-1)
        for name in range(file, last + 1):
            if name not in self._logs:
                raise SourceError(f"value log {name:06d}.vlog is missing: it holds records of its own")
            try:
                yield from self._logs[name].replay(offset if name == file else 0)
            except TornLogError as error:
                if name != last:
                    raise
                self.problems.append(error.message)

    def _head(self) -> tuple[int, int]:
        """The position in the log up to which the tables are complete."""
        heads = [entry for table in self._tables for entry in table.entries(HEAD)]
        if not heads:
            return 0, 0
        value = max(heads, key=lambda entry: entry.version).value
        if len(value) != POINTER.size:
            raise SourceError("badger's head record is damaged", hint=BACKUP_HINT)
        file, length, offset = POINTER.unpack(value)
        if file not in self._logs:
            raise SourceError(f"value log {file:06d}.vlog is missing: it holds the newest records")
        return file, offset + length

    def _value(self, entry: Stored) -> bytes:
        """A record's value, followed to where badger's garbage collection moved it."""
        if not entry.meta & POINTS:
            return entry.value
        if len(entry.value) != POINTER.size:
            raise SourceError(f"badger's record of {entry.key!r} is damaged: it points nowhere")
        file, length, offset = POINTER.unpack(entry.value)
        inner = entry.key + entry.inverted_version.to_bytes(8)
        if file in self._logs:
            return self._logs[file].value(inner, length, offset)
        if entry.key.startswith(MOVED):
            raise SourceError(f"value log {file:06d}.vlog is missing: it holds values that are still in use")
        if self._moved is None:
            logged = (one for one in self._replayed if one.key.startswith(MOVED))
            kept = (one for table in self._tables for one in table.entries(MOVED))
            self._moved = {(one.key.removeprefix(MOVED), one.inverted_version): one for one in (*kept, *logged)}
        moved = self._moved.get((entry.key, entry.inverted_version))
        if moved is None:
            raise SourceError(f"value log {file:06d}.vlog is missing: it holds the value of {entry.key!r}")
        return self._value(moved)


def read_backup(data: bytes, name: str) -> Iterator[Entry]:
    """The records in a stream of ``badger backup``, of badger 1.6 to 4.

    Raises:
        SourceError: it is cut off, or not such a stream.
    """
    return visible(iter(sorted(read_stream(data, name), key=lambda entry: entry[:2])), lambda entry: entry.value)


def visible(ordered: Iterator[Stored], value: Callable[[Stored], bytes]) -> Iterator[Entry]:
    """The newest version of every key of step-ca's, unless that is a deletion.

    Args:
        ordered: versions by key, the newest first.
        value: finds the value of a version.

    Raises:
        SourceError: a key is not one of step-ca's.
    """
    before = b""
    for entry in ordered:
        if entry.key == before or entry.key.startswith(OWN):
            continue
        before = entry.key
        if entry.meta & DELETED:
            continue
        table, key = split_key(entry.key)
        # A key without a second half only says that the table exists.
        if key:
            yield Entry(table, key, value(entry))


def split_key(key: bytes) -> tuple[str, bytes]:
    """step-ca's table and key in a badger key.

    Raises:
        SourceError: it is not two texts, each after its length.
    """
    parts: list[bytes] = []
    rest = key
    while rest and len(parts) < 2:
        length = LENGTH.unpack_from(rest)[0] if len(rest) >= LENGTH.size else 0
        part, rest = rest[LENGTH.size : LENGTH.size + length], rest[LENGTH.size + length :]
        if not length or len(part) != length:
            raise SourceError(f"badger key {key[:60]!r} is not one that step-ca writes")
        parts.append(part)
    if rest or not parts:
        raise SourceError(f"badger key {key[:60]!r} is not one that step-ca writes")
    return parts[0].decode("utf-8", "backslashreplace"), parts[1] if len(parts) > 1 else b""


def read_manifest(path: Path) -> set[int]:
    """The numbers of the tables that make up the database.

    Raises:
        SourceError: it is missing, damaged, of another version of badger, or names tables that cannot be read.
    """
    data = mapped(path)
    if len(data) < HEADER.size or data[:4] != MAGIC:
        raise SourceError(f"{path} is not a badger manifest")
    _, version = HEADER.unpack_from(data)
    if version != VERSION:
        raise SourceError(f"{path} is of badger's format {version}, expected {VERSION} (badger 2)", hint=BACKUP_HINT)
    tables: dict[int, None] = {}
    at = HEADER.size
    while at < len(data):
        length, checksum = CHANGE_HEADER.unpack_from(data, at) if at + CHANGE_HEADER.size <= len(data) else (0, 0)
        at += CHANGE_HEADER.size
        if at + length > len(data):
            raise SourceError(f"{path} is cut off", hint="start and stop step-ca once more: badger mends it if it can")
        changes = data[at : at + length]
        at += length
        if crc32c(changes) != checksum:
            raise SourceError(f"{path} is damaged: a checksum does not match")
        try:
            for field, value in fields(changes):
                _change(tables, octets({field: value}, 1), path)
        except WireError as error:
            raise SourceError(f"{path} is damaged: {error}") from error
    return set(tables)


def _change(tables: dict[int, None], data: bytes, path: Path) -> None:
    change = single(data)
    table, operation = number(change, 1), number(change, 2)
    if operation == DELETE and table in tables:
        del tables[table]
        return
    if operation != CREATE or table in tables:
        raise SourceError(f"{path} is damaged: it creates a table twice, or removes one that is not there")
    if number(change, 4):
        raise SourceError(f"table {table:06d}.sst is encrypted, which step-ca never does", hint=BACKUP_HINT)
    if number(change, 6):
        raise SourceError(f"table {table:06d}.sst is compressed, which step-ca never does", hint=BACKUP_HINT)
    tables[table] = None


def _number(path: Path) -> int:
    if not path.stem.isdecimal():
        raise SourceError(f"{path} is not named as badger names its value logs")
    return int(path.stem)
