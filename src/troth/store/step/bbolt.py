"""bbolt, the single-file B+tree: two meta pages, of which the newer whole one names the root of everything.

The layout is that of the machine that wrote it; only little-endian ones are read.
"""

import mmap
import struct
from collections.abc import Iterator

from troth.store.step import Entry, SourceError

MAGIC, VERSION = 0xED0CDAED, 2
BRANCH, LEAF, META = 0x01, 0x02, 0x04
NESTED_BUCKET = 0x01
PAGE_HEADER = struct.Struct("<QHHI")
META_BODY = struct.Struct("<IIIIQQQQQQ")
BRANCH_ELEMENT = struct.Struct("<IIQ")
LEAF_ELEMENT = struct.Struct("<IIII")
BUCKET_HEADER = struct.Struct("<QQ")
PAGE_SIZES = tuple(1 << power for power in range(9, 17))
MAX_DEPTH = 64


class Tree:
    """A bbolt file's content at its last commit."""

    def __init__(self, data: bytes | mmap.mmap, name: str) -> None:
        """Find the newer valid meta page.

        Raises:
            SourceError: there is none.
        """
        self._data = data
        self._name = name
        metas = [meta for meta in (self._meta(0), *map(self._meta, PAGE_SIZES)) if meta is not None]
        if not metas:
            raise SourceError(f"{name} is not a bbolt database, or both of its meta pages are damaged")
        self.problems: list[str] = []
        if len(metas) == 1:
            self.problems.append(f"{name}: one of the two meta pages is damaged, the last commit may be missing")
        self._page_size, self._root, self._end, self.transaction = max(metas, key=lambda meta: meta[3])

    def _meta(self, at: int) -> tuple[int, int, int, int] | None:
        """Page size, root page, first unused page and transaction of a valid meta page."""
        body = self._data[at + PAGE_HEADER.size : at + PAGE_HEADER.size + META_BODY.size]
        if len(body) < META_BODY.size:
            return None
        magic, version, page_size, _, root, _, _, end, transaction, checksum = META_BODY.unpack(body)
        if magic != MAGIC or version != VERSION or page_size not in PAGE_SIZES or at not in (0, page_size):
            return None
        return (page_size, root, end, transaction) if checksum == fnv1a(body[:-8]) else None

    def entries(self) -> Iterator[Entry]:
        """Every record of every bucket, in the order of the file.

        Raises:
            SourceError: a page is not what the page above it says.
        """
        for flags, name, value in self._walk(self._root, set(), 0):
            if not flags & NESTED_BUCKET:
                raise SourceError(f"{self._name}: {name!r} is a record outside of any bucket")
            yield from self._bucket(name, value)

    def _bucket(self, name: bytes, value: bytes) -> Iterator[Entry]:
        if len(value) < BUCKET_HEADER.size:
            raise SourceError(f"{self._name}: bucket {name!r} is cut off")
        table = name.decode("utf-8", "backslashreplace")
        root, _ = BUCKET_HEADER.unpack_from(value)
        inside = self._walk(root, set(), 0) if root else self._leaf(value[BUCKET_HEADER.size :], f"bucket {table}")
        before = b""
        for flags, key, content in inside:
            if flags & NESTED_BUCKET:
                raise SourceError(f"{self._name}: bucket {table} holds another bucket, step-ca's do not")
            if key <= before:
                raise SourceError(f"{self._name}: bucket {table} is damaged: its keys are not in order")
            before = key
            yield Entry(table, key, content)

    def _walk(self, page: int, above: set[int], depth: int) -> Iterator[tuple[int, bytes, bytes]]:
        if page in above or depth > MAX_DEPTH:
            raise SourceError(f"{self._name}: page {page} contains itself")
        data, flags = self._page(page)
        if flags == LEAF:
            yield from self._leaf(data, f"page {page}")
        elif flags == BRANCH:
            for child in self._branch(data, page):
                yield from self._walk(child, above | {page}, depth + 1)
        else:
            raise SourceError(f"{self._name}: page {page} is neither a branch nor a leaf (flags {flags:#x})")

    def _page(self, page: int) -> tuple[bytes, int]:
        """A page with its overflow, and its kind."""
        at = page * self._page_size
        if not 2 <= page < self._end or at + self._page_size > len(self._data):
            raise SourceError(f"{self._name}: page {page} is outside of the file: it is cut off or damaged")
        number, flags, _, overflow = PAGE_HEADER.unpack_from(self._data, at)
        size = (overflow + 1) * self._page_size
        if number != page or at + size > len(self._data):
            raise SourceError(f"{self._name}: page {page} is damaged: it says it is page {number}")
        return self._data[at : at + size], flags

    def _branch(self, data: bytes, page: int) -> Iterator[int]:
        count = PAGE_HEADER.unpack_from(data)[2]
        if PAGE_HEADER.size + count * BRANCH_ELEMENT.size > len(data) or not count:
            raise SourceError(f"{self._name}: page {page} is damaged: {count} branches do not fit it")
        for index in range(count):
            yield BRANCH_ELEMENT.unpack_from(data, PAGE_HEADER.size + index * BRANCH_ELEMENT.size)[2]

    def _leaf(self, data: bytes, where: str) -> Iterator[tuple[int, bytes, bytes]]:
        if len(data) < PAGE_HEADER.size or PAGE_HEADER.unpack_from(data)[1] != LEAF:
            raise SourceError(f"{self._name}: {where} is not a leaf")
        count = PAGE_HEADER.unpack_from(data)[2]
        for index in range(count):
            at = PAGE_HEADER.size + index * LEAF_ELEMENT.size
            if at + LEAF_ELEMENT.size > len(data):
                raise SourceError(f"{self._name}: {where} is damaged: {count} records do not fit it")
            flags, position, key_size, value_size = LEAF_ELEMENT.unpack_from(data, at)
            start, middle = at + position, at + position + key_size
            if middle + value_size > len(data) or not key_size:
                raise SourceError(f"{self._name}: {where} is damaged: record {index} does not fit it")
            yield flags, data[start:middle], data[middle : middle + value_size]


def fnv1a(data: bytes) -> int:
    """The 64-bit FNV-1a hash, bbolt's checksum of a meta page."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value
