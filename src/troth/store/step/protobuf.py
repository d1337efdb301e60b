"""The little of protocol buffers' wire format that badger's files use: varints and length-delimited fields."""

import mmap
from collections.abc import Iterator

VARINT, LENGTH_DELIMITED = 0, 2
MAX_VARINT_BYTES = 10
Field = int | bytes


class WireError(ValueError):
    """The bytes are not a message."""


def varint(data: bytes | mmap.mmap, at: int) -> tuple[int, int]:
    """An unsigned varint of at most 64 bits and the position after it.

    Raises:
        WireError: it is cut off or too long.
    """
    value = 0
    for index in range(MAX_VARINT_BYTES):
        if at + index >= len(data):
            raise WireError("a number is cut off")
        byte = data[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if value >= 1 << 64:
                break
            return value, at + index + 1
    raise WireError("a number is longer than 64 bits")


def fields(data: bytes) -> Iterator[tuple[int, Field]]:
    """The fields of a message in order, numbers as int and everything else as bytes.

    Raises:
        WireError: it is cut off, or holds a kind of field that badger does not write.
    """
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == VARINT:
            number, at = varint(data, at)
            yield tag >> 3, number
        elif tag & 7 == LENGTH_DELIMITED:
            length, at = varint(data, at)
            if at + length > len(data):
                raise WireError("a field is cut off")
            yield tag >> 3, bytes(data[at : at + length])
            at += length
        else:
            raise WireError(f"field {tag >> 3} has wire type {tag & 7}, expected 0 or 2")


def single(data: bytes) -> dict[int, Field]:
    """A message whose fields occur once; of repeated ones the last counts, as in protocol buffers.

    Raises:
        WireError: see `fields`.
    """
    return dict(fields(data))


def number(message: dict[int, Field], field: int) -> int:
    """A numeric field, 0 where it is absent.

    Raises:
        WireError: it is not a number.
    """
    value = message.get(field, 0)
    if not isinstance(value, int):
        raise WireError(f"field {field} is not a number")
    return value


def octets(message: dict[int, Field], field: int) -> bytes:
    """A bytes field, empty where it is absent.

    Raises:
        WireError: it is a number.
    """
    value = message.get(field, b"")
    if not isinstance(value, bytes):
        raise WireError(f"field {field} is a number, expected bytes")
    return value
