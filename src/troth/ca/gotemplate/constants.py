"""Go's constants: interpreted and raw strings, characters, numbers (Go specification, lexical elements)."""

import re
from functools import partial

_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\\"'])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.?))", re.S
)
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}
_INTEGER = re.compile(
    r"[+-]?(?:0[xX]_?[0-9a-fA-F]+(?:_[0-9a-fA-F]+)*|0[bB]_?[01]+(?:_[01]+)*|0[oO]?_?[0-7]+(?:_[0-7]+)*|0|[1-9][0-9]*(?:_[0-9]+)*)"
)
_FLOAT = re.compile(r"[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]+)?")
INT_LIMIT = 1 << 63


def unquote(text: str) -> str:
    """The value of a quoted or raw string, quotes included.

    Raises:
        ValueError: an escape is not one of Go's.
    """
    if text.startswith("`"):
        return text[1:-1].replace("\r", "")
    return _unescape(text[1:-1], text[0])


def _unescape(text: str, quote: str) -> str:
    if not re.search(r"\\(?:x|[0-7])", text):
        return _ESCAPE.sub(partial(_escape, quote), text)
    # Byte escapes may spell UTF-8, so the whole is put together as bytes.
    spelled = _ESCAPE.sub(partial(_escape, quote), text)
    return spelled.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _escape(quote: str, match: re.Match[str]) -> str:
    simple, byte, four, eight, octal, other = match.groups()
    if simple is not None:
        if simple in "\"'" and simple != quote:
            raise ValueError("invalid syntax")
        return _SIMPLE.get(simple, simple)
    if byte is not None or octal is not None:
        value = int(byte, 16) if byte is not None else int(octal, 8)
        if value > 255:
            raise ValueError("invalid syntax")
        return chr(value) if value < 128 else chr(0xDC00 + value)
    if other is not None:
        raise ValueError("invalid syntax")
    point = int(four or eight, 16)
    if 0xD800 <= point < 0xE000 or point > 0x10FFFF:
        raise ValueError("invalid syntax")
    return chr(point)


def parse_character(text: str) -> int:
    """The code point of ``'x'``. Raises: ValueError: it is not one character."""
    value = _unescape(text[1:-1], "'")
    if len(value) != 1:
        raise ValueError(f"malformed character constant: {text}")
    return ord(value)


def parse_number(text: str) -> int | float:
    """An integer of 64 bits, or a float; a float without a fraction stays one.

    Raises:
        ValueError: it is no number, or too large. Complex and hexadecimal floats are not supported.
    """
    if _INTEGER.fullmatch(text):
        digits = text.lstrip("+-")
        octal = len(digits) > 1 and digits[0] == "0" and (digits[1].isdigit() or digits[1] == "_")
        value = int(digits, 8) if octal else int(digits, 0)
        value = -value if text.startswith("-") else value
        if not -INT_LIMIT <= value < INT_LIMIT:
            raise ValueError(f"integer overflow: {text!r}")
        return value
    if _FLOAT.fullmatch(text):
        number = float(text)
        if number in (float("inf"), float("-inf")):
            raise ValueError(f"floating-point constant is too large: {text!r}")
        return number
    raise ValueError(f'bad number syntax: "{text}"')
