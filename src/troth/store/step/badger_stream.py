"""The stream that ``badger backup`` writes: lists of key-value messages, each after its length."""

import struct
from collections.abc import Iterator

from troth.store.step import SourceError
from troth.store.step.badger_log import DELETED
from troth.store.step.badger_table import MAX_VERSION, Stored
from troth.store.step.protobuf import WireError, fields, number, octets, single

LENGTH = struct.Struct("<Q")


def read_stream(data: bytes, name: str) -> Iterator[Stored]:
    """Every version in the stream, in its order.

    Raises:
        SourceError: it is cut off, or not such a stream.
    """
    at = 0
    while at < len(data):
        if at + LENGTH.size > len(data):
            raise SourceError(f"{name} is cut off at byte {at}")
        (length,) = LENGTH.unpack_from(data, at)
        at += LENGTH.size
        if at + length > len(data):
            raise SourceError(f"{name} is cut off, or is no stream of badger backup: {length} bytes announced at {at}")
        try:
            yield from _list(data[at : at + length])
        except WireError as error:
            raise SourceError(f"{name} is no stream of badger backup: at byte {at} {error}") from error
        at += length


def _list(data: bytes) -> Iterator[Stored]:
    for field, value in fields(data):
        if field != 1:
            raise WireError(f"a list has field {field}, expected 1")
        message = single(octets({1: value}, 1))
        meta = octets(message, 6)[:1]
        if not octets(message, 1):
            raise WireError("a record has no key")
        deleted = DELETED if meta and meta[0] & DELETED else 0
        yield Stored(octets(message, 1), MAX_VERSION - number(message, 4), deleted, octets(message, 2))
