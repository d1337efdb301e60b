"""CRC-32C (Castagnoli), badger's checksum; two bytes a step, which is what plain Python can do."""

import sys

POLYNOMIAL = 0x82F63B78
BYTE, PAIR = 1 << 8, 1 << 16


def _one(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ POLYNOMIAL if value & 1 else value >> 1
    return value


_BYTES = tuple(_one(value) for value in range(BYTE))
_PAIRS: list[int] = []


def _pairs() -> list[int]:
    """The table of two bytes at once, made when first needed."""
    if not _PAIRS:
        for value in range(PAIR):
            low = _BYTES[value & 0xFF]
            _PAIRS.append(low >> 8 ^ _BYTES[(low ^ value >> 8) & 0xFF])
    return _PAIRS


def crc32c(data: bytes) -> int:
    """The CRC-32C of `data`."""
    table = _pairs()
    crc = 0xFFFFFFFF
    even = len(data) & ~1
    if sys.byteorder == "little":
        for pair in memoryview(data)[:even].cast("H"):
            crc = crc >> 16 ^ table[(crc ^ pair) & 0xFFFF]
    else:
        even = 0
    for byte in data[even:]:
        crc = crc >> 8 ^ _BYTES[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
