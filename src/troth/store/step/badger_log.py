"""badger's value log (``*.vlog``): every write in order, and the only home of values of 1 KiB and more."""

import mmap
import struct
from collections.abc import Iterator
from typing import NamedTuple

from troth.store.step import BACKUP_HINT, SourceError
from troth.store.step.badger_table import VERSION_BYTES, Stored, stored
from troth.store.step.crc32c import crc32c
from troth.store.step.protobuf import WireError, varint

FILE_HEADER_BYTES = 20
KEY_ID = struct.Struct(">Q")
CHECKSUM = struct.Struct(">I")
POINTER = struct.Struct("<III")
MAX_KEY_BYTES = 1 << 16
DELETED, POINTS, IN_TRANSACTION, END_OF_TRANSACTION = 1, 1 << 1, 1 << 6, 1 << 7


class Record(NamedTuple):
    """A write as logged; `end` is the position after it."""

    key: bytes
    value: bytes
    meta: int
    end: int


class Log:
    """One value log file."""

    def __init__(self, data: bytes | mmap.mmap, name: str) -> None:
        """Check the header.

        Raises:
            SourceError: it is cut off or encrypted.
        """
        self._data = data
        self.name = name
        if 0 < len(data) < FILE_HEADER_BYTES:
            raise SourceError(f"{name} is cut off")
        if data and KEY_ID.unpack_from(data)[0]:
            raise SourceError(f"{name} is encrypted, which step-ca never does", hint=BACKUP_HINT)

    def value(self, key: bytes, length: int, offset: int) -> bytes:
        """The value a pointer names.

        Raises:
            SourceError: there is no whole record of this key there.
        """
        record = self._record(offset)
        if record is None or record.end - offset != length or record.key != key:
            raise SourceError(f"{self.name} is damaged: no record of the expected key at byte {offset}")
        return record.value

    def replay(self, offset: int) -> Iterator[Stored]:
        """The committed writes from a position on, in order; an uncommitted last transaction is left out.

        Raises:
            SourceError: something follows the last whole transaction that is not one.
        """
        at = max(offset, FILE_HEADER_BYTES)
        if offset > len(self._data):
            raise SourceError(f"{self.name} is cut off: the tables say that it is {offset} bytes long")
        pending: list[Stored] = []
        transaction = 0
        whole = at
        while at < len(self._data):
            record = self._record(at)
            if record is None:
                break
            entry = stored(record.key, record.meta & ~(IN_TRANSACTION | END_OF_TRANSACTION), record.value)
            at = record.end
            if record.meta & IN_TRANSACTION:
                if pending and entry.version != transaction:
                    break
                transaction = entry.version
                pending.append(entry)
            elif record.meta & END_OF_TRANSACTION:
                if not pending or record.value != str(transaction).encode():
                    break
                yield from pending
                pending, whole = [], at
            elif pending:
                break
            else:
                yield entry
                whole = at
        if whole < len(self._data):
            raise TornLogError(self.name, whole, len(self._data) - whole)

    def _record(self, at: int) -> Record | None:
        """The record at a position; None when there is no whole one."""
        try:
            meta = self._data[at]
            key_size, position = varint(self._data, at + 2)
            value_size, position = varint(self._data, position)
            _, position = varint(self._data, position)
        except (WireError, IndexError):
            return None
        end = position + key_size + value_size
        if not VERSION_BYTES < key_size <= MAX_KEY_BYTES or end + CHECKSUM.size > len(self._data):
            return None
        if CHECKSUM.unpack_from(self._data, end)[0] != crc32c(self._data[at:end]):
            return None
        key = self._data[position : position + key_size]
        return Record(key, self._data[position + key_size : end], meta, end + CHECKSUM.size)


class TornLogError(SourceError):
    """A value log ends in bytes that are no whole transaction."""

    def __init__(self, name: str, offset: int, length: int) -> None:
        super().__init__(
            f"{name} is cut off or damaged: the last {length} bytes, from byte {offset}, are no whole transaction, "
            "and step-ca would not start on it either",
        )
