"""``printf`` and its kin, as Go's ``fmt`` does it."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from troth.ca.gotemplate.values import Struct, float_text, is_nil, sprint, type_name

MAX_WIDTH = 1000
_VERB = re.compile(r"%([+\-# 0]*)(\*|\d+)?(?:\.(\*|\d*))?(.)?", re.S)
_SHORT = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\"}


def quote(text: str, mark: str = '"', *, ascii_only: bool = False) -> str:
    """``strconv.Quote``"""
    return mark + "".join(_quoted(character, mark, ascii_only) for character in text) + mark


def _quoted(character: str, mark: str, ascii_only: bool) -> str:
    if character == mark:
        return "\\" + mark
    if character in _SHORT:
        return _SHORT[character]
    if character.isprintable() and (character.isascii() or not ascii_only):
        return character
    point = ord(character)
    if 0xDC80 <= point <= 0xDCFF:
        return f"\\x{point - 0xDC00:02x}"
    if point < 0x20 or point == 0x7F:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def sprint_all(values: Sequence[Any], *, line: bool = False) -> str:
    """``fmt.Sprint``: a blank between neighbours of which neither is text; with `line`, ``Sprintln``."""
    pieces: list[str] = []
    for index, value in enumerate(values):
        apart = line or not (isinstance(value, str) or isinstance(values[index - 1], str))
        pieces.append((" " if index and apart else "") + sprint(value))
    return "".join(pieces) + ("\n" if line else "")


def sprintf(pattern: str, values: Sequence[Any]) -> str:
    """``fmt.Sprintf``; what does not fit is said in the text, as Go does, never raised.

    Raises:
        ValueError: a width or precision is out of bounds.
    """
    taken = 0

    def take() -> Any:
        nonlocal taken
        taken += 1
        return values[taken - 1]

    def one(match: re.Match[str]) -> str:
        flags, width, precision, verb = match.groups()
        if verb is None:
            return "%!(NOVERB)"
        sizes: list[int] = []
        for size in (width, precision):
            if size == "*":
                given = take() if taken < len(values) else None
                if not isinstance(given, int) or isinstance(given, bool):
                    return "%!(BADWIDTH)" if size is width else "%!(BADPREC)"
                size = str(given)
            sizes.append(int(size) if size else (-1 if size is None else 0))
        if max(map(abs, sizes)) > MAX_WIDTH:
            raise ValueError(f"width or precision of more than {MAX_WIDTH}")
        if verb == "%":
            return "%"
        if taken >= len(values):
            return f"%!{verb}(MISSING)"
        if sizes[0] < -1:
            flags, sizes[0] = flags + "-", -sizes[0]
        return _pad(_format(verb, take(), flags, sizes[1]), flags, sizes[0], verb)

    text = _VERB.sub(one, pattern)
    if taken < len(values):
        extra = ", ".join("<nil>" if is_nil(v) else f"{type_name(v)}={sprint(v)}" for v in values[taken:])
        text += f"%!(EXTRA {extra})"
    return text


def _pad(text: str, flags: str, width: int, verb: str) -> str:
    if len(text) >= width:
        return text
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags and not text.startswith("%!") and verb not in "vTp":
        sign = text[:1] if text[:1] in ("+", "-", " ") and verb not in "sq" else ""
        return sign + text[len(sign) :].rjust(width - len(sign), "0")
    return text.rjust(width)


def _bad(verb: str, value: Any) -> str:
    if is_nil(value):
        return f"%!{verb}(<nil>)"
    return f"%!{verb}({type_name(value)}={sprint(value)})"


def _format(verb: str, value: Any, flags: str, precision: int) -> str:
    if verb == "T":
        return type_name(value)
    if is_nil(value):
        return "<nil>" if verb == "v" else _bad(verb, value)
    if verb == "v":
        return _natural(value, flags)
    if isinstance(value, bool):
        return sprint(value) if verb == "t" else _bad(verb, value)
    if isinstance(value, int):
        return _integer(verb, int(value), flags, value)
    if isinstance(value, float):
        return _float(verb, value, flags, precision)
    if isinstance(value, Struct | datetime) and verb in "sqxX":
        shown = value.text if isinstance(value, Struct) else sprint(value)
        if shown is not None:
            return _text(verb, shown, flags, precision)
    if isinstance(value, str | bytes):
        if isinstance(value, bytes) and verb == "d":
            return sprint(value)
        text = value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")
        return _text(verb, text, flags, precision) if verb in "sqxX" else _bad(verb, value)
    if isinstance(value, Mapping):
        inner = (
            f"{_format(verb, key, flags, precision)}:{_format(verb, value[key], flags, precision)}"
            for key in sorted(value)
        )
        return "map[" + " ".join(inner) + "]"
    if isinstance(value, Struct):
        return "{" + " ".join(_format(verb, item, flags, precision) for item in value.fields.values()) + "}"
    return "[" + " ".join(_format(verb, item, flags, precision) for item in value) + "]"


def _natural(value: Any, flags: str) -> str:
    """``%v``, and ``%+v`` as far as it differs."""
    if "+" in flags and isinstance(value, Struct) and value.text is None:
        inner = " ".join(f"{name}:{sprint(item, top=False)}" for name, item in value.fields.items())
        return ("&" if value.go_type.startswith("*") else "") + "{" + inner + "}"
    if "#" in flags and isinstance(value, str):
        return quote(value)
    plus = "+" if "+" in flags and isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else ""
    return plus + sprint(value)


def _sign(text: str, flags: str) -> str:
    if text.startswith(("-", "+")):
        return text
    return ("+" if "+" in flags else " " if " " in flags else "") + text


def _integer(verb: str, value: int, flags: str, original: Any) -> str:
    size, minus = abs(value), "-" if value < 0 else ""
    sharp = "#" in flags
    forms = {
        "d": lambda: str(size),
        "b": lambda: ("0b" if sharp else "") + f"{size:b}",
        "o": lambda: ("0" if sharp else "") + f"{size:o}",
        "O": lambda: f"0o{size:o}",
        "x": lambda: ("0x" if sharp else "") + f"{size:x}",
        "X": lambda: ("0X" if sharp else "") + f"{size:X}",
    }
    if verb in forms:
        return _sign(minus + forms[verb](), flags)
    valid = 0 <= value <= 0x10FFFF and not 0xD800 <= value < 0xE000
    if verb == "c":
        return chr(value) if valid else "\ufffd"
    if verb == "q":
        return quote(chr(value) if valid else "\ufffd", "'", ascii_only="+" in flags)
    if verb == "U":
        return f"U+{value:04X}"
    return _bad(verb, original)


def _float(verb: str, value: float, flags: str, precision: int) -> str:
    style = verb.lower()
    if style not in ("e", "f", "g") or verb == "F":
        return (
            _bad(verb, value)
            if verb != "F"
            else _sign(float_text(value, "f", 6 if precision < 0 else precision), flags)
        )
    if style in "ef" and precision < 0:
        precision = 6
    text = float_text(value, style, precision)
    return _sign(text.upper() if verb.isupper() else text, flags)


def _text(verb: str, value: str, flags: str, precision: int) -> str:
    if precision >= 0 and verb in "sq":
        value = value[:precision]
    if verb == "s":
        return value
    if verb == "q":
        if "#" in flags and "`" not in value and value.isprintable():
            return f"`{value}`"
        return quote(value, ascii_only="+" in flags)
    data = value.encode("utf-8", "surrogateescape")
    data = data[:precision] if precision >= 0 else data
    text = (" " if " " in flags else "").join(f"{byte:02x}" for byte in data)
    text = ("0x" if "#" in flags else "") + text
    return text.upper() if verb == "X" else text
