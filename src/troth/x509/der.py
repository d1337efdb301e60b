"""The little of DER (ITU-T X.690) that certificates are assembled from, and the reading of one element."""

from datetime import datetime
from functools import lru_cache

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, OBJECT_ID = 0x01, 0x02, 0x03, 0x04, 0x06
UTF8_STRING, PRINTABLE_STRING, UTC_TIME, GENERALIZED_TIME = 0x0C, 0x13, 0x17, 0x18
SEQUENCE, SET = 0x30, 0x31
TRUE = b"\x01\x01\xff"
NULL = b"\x05\x00"
_UTC_TIME_ENDS = 2050  # RFC 5280 §4.1.2.5


def tlv(tag: int, value: bytes) -> bytes:
    """One element: tag, shortest length, value."""
    length = len(value)
    if length < 128:
        return bytes((tag, length)) + value
    size = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(size))) + size + value


def sequence(*elements: bytes) -> bytes:
    """SEQUENCE of encoded elements."""
    return tlv(SEQUENCE, b"".join(elements))


def integer(value: int) -> bytes:
    """INTEGER, not negative."""
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1))


@lru_cache(maxsize=256)
def object_id(dotted: str) -> bytes:
    """OBJECT IDENTIFIER from its dotted text."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    return tlv(OBJECT_ID, b"".join(_base128(arc) for arc in (first * 40 + second, *rest)))


def _base128(arc: int) -> bytes:
    digits = [arc & 0x7F]
    while arc := arc >> 7:
        digits.append(0x80 | arc & 0x7F)
    return bytes(reversed(digits))


@lru_cache(maxsize=8)
def time(moment: datetime) -> bytes:
    """Time in UTC, whole seconds: UTCTime before 2050, GeneralizedTime from then on."""
    if moment.year < _UTC_TIME_ENDS:
        return tlv(UTC_TIME, f"{moment:%y%m%d%H%M%SZ}".encode())
    return tlv(GENERALIZED_TIME, f"{moment:%Y%m%d%H%M%SZ}".encode())


def bit_string(value: bytes) -> bytes:
    """BIT STRING of whole bytes."""
    return tlv(BIT_STRING, b"\0" + value)


def extension(dotted: str, value: bytes, *, critical: bool = False) -> bytes:
    """A certificate extension (RFC 5280 §4.1) around its encoded value."""
    return sequence(object_id(dotted), TRUE if critical else b"", tlv(OCTET_STRING, value))


def expect(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """Split the first element off: (its value, what follows).

    Raises:
        ValueError: it has another tag or is cut short.
        IndexError: there is nothing.
    """
    if data[0] != tag:
        raise ValueError(f"expected tag {tag}, got {data[0]}")
    length, start = data[1], 2
    if length & 0x80:
        count = length & 0x7F
        length, start = int.from_bytes(data[2 : 2 + count]), 2 + count
    if len(data) < start + length:
        raise ValueError("truncated")
    return data[start : start + length], data[start + length :]
