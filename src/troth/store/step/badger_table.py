"""badger's sorted tables (``*.sst``): blocks of keys that share a prefix, an index, and checksums over all of it."""

import mmap
import struct
from collections.abc import Iterator
from typing import NamedTuple

from troth.store.step import SourceError
from troth.store.step.crc32c import crc32c
from troth.store.step.protobuf import WireError, fields, number, octets, single, varint

COUNT = struct.Struct(">I")
ENTRY_HEADER = struct.Struct("<HH")
OFFSET = struct.Struct("<I")
VERSION_BYTES = 8
MAX_VERSION = (1 << 64) - 1
CRC32C = 0


class Stored(NamedTuple):
    """One version of one key; sorts as badger does: by key, then the newest version first."""

    key: bytes
    inverted_version: int
    meta: int
    value: bytes

    @property
    def version(self) -> int:
        return MAX_VERSION - self.inverted_version


class Table:
    """One table file, its index verified."""

    def __init__(self, data: bytes | mmap.mmap, name: str) -> None:
        """Read the index.

        Raises:
            SourceError: the file is cut off or damaged.
        """
        self._data = data
        self._name = name
        try:
            self._blocks = self._index()
        except (WireError, struct.error) as error:
            raise self._damaged("its index cannot be read") from error

    def _index(self) -> list[tuple[bytes, int, int]]:
        """First key, offset and length of every block."""
        checksum, end = self._before(len(self._data))
        length, end = self._count(end)
        if length > end:
            raise self._damaged("its index is larger than the file")
        index = self._data[end - length : end]
        self._verify(index, checksum, "the index")
        blocks = [single(octets({1: value}, 1)) for field, value in fields(index) if field == 1]
        return [(octets(block, 1), number(block, 2), number(block, 3)) for block in blocks]

    def entries(self, prefix: bytes = b"") -> Iterator[Stored]:
        """Every stored version in order, or of the keys that begin with `prefix` only.

        Raises:
            SourceError: a block is damaged, or keys are out of order.
        """
        before = (b"", 0)
        ends = [first for first, _, _ in self._blocks[1:]]
        for (first, offset, length), end in zip(self._blocks, [*ends, b""], strict=True):
            if (end and end < prefix) or (first > prefix and not first.startswith(prefix)):
                continue
            try:
                for entry in self._block(offset, length):
                    if entry[:2] <= before:
                        raise self._damaged("its keys are not in order")
                    before = entry[:2]
                    if entry.key.startswith(prefix):
                        yield entry
            except (WireError, struct.error, IndexError) as error:
                raise self._damaged(f"the block at byte {offset} cannot be read") from error

    def _block(self, offset: int, length: int) -> Iterator[Stored]:
        if offset + length > len(self._data) or length < COUNT.size:
            raise self._damaged(f"the block at byte {offset} is outside of the file")
        block = self._data[offset : offset + length]
        (size,) = COUNT.unpack_from(block, length - COUNT.size)
        end = length - COUNT.size - size
        if end < COUNT.size:
            raise self._damaged(f"the block at byte {offset} has an impossible checksum size")
        checksum, body = block[end : end + size], block[:end]
        self._verify(body, checksum, f"the block at byte {offset}")
        (count,) = COUNT.unpack_from(body, end - COUNT.size)
        first = end - COUNT.size - count * OFFSET.size
        if first < 0:
            raise self._damaged(f"the block at byte {offset} has an impossible number of keys")
        starts = [OFFSET.unpack_from(body, first + index * OFFSET.size)[0] for index in range(count)]
        base = b""
        for start, stop in zip(starts, [*starts[1:], first], strict=True):
            overlap, different = ENTRY_HEADER.unpack_from(body, start)
            at = start + ENTRY_HEADER.size
            key = base[:overlap] + body[at : at + different]
            base = base or key
            if len(key) != overlap + different or at + different > stop or len(key) < VERSION_BYTES:
                raise self._damaged(f"the block at byte {offset} holds a cut-off key")
            yield stored(key, *value_of(body[at + different : stop]))

    def _before(self, end: int) -> tuple[bytes, int]:
        """The checksum that ends at `end`, its size after it, and where it begins."""
        size, end = self._count(end)
        if size > end:
            raise self._damaged("it is cut off")
        return self._data[end - size : end], end - size

    def _count(self, end: int) -> tuple[int, int]:
        if end < COUNT.size:
            raise self._damaged("it is cut off")
        return COUNT.unpack(self._data[end - COUNT.size : end])[0], end - COUNT.size

    def _verify(self, data: bytes, checksum: bytes, what: str) -> None:
        message = single(checksum)
        if number(message, 1) != CRC32C:
            raise self._damaged(f"the checksum of {what} is of a kind that is not read")
        if number(message, 2) != crc32c(data):
            raise self._damaged(f"the checksum of {what} does not match")

    def _damaged(self, what: str) -> SourceError:
        return SourceError(f"{self._name} is damaged: {what}")


def stored(key: bytes, meta: int, value: bytes) -> Stored:
    """Split badger's inner key, which ends with the inverted version."""
    return Stored(key[:-VERSION_BYTES], int.from_bytes(key[-VERSION_BYTES:]), meta, value)


def value_of(data: bytes) -> tuple[int, bytes]:
    """The meta byte and the value of a table's record; the user's meta byte and the expiry are not used by step-ca.

    Raises:
        WireError, IndexError: it is cut off.
    """
    _, at = varint(data, 2)
    return data[0], data[at:]
