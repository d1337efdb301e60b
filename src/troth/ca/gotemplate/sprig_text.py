"""Sprig's functions for text, encodings and digests."""

import base64
import binascii
import hashlib
import zlib
from typing import Any

from troth.ca.gotemplate.formatting import quote
from troth.ca.gotemplate.signatures import MAX_TEXT, table
from troth.ca.gotemplate.values import is_nil, sprint, texts

_SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))


def strval(value: Any) -> str:
    """A value as text: bytes as they are, everything else as ``%v``."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else sprint(value)


def string_list(value: Any) -> list[str]:
    """``toStrings``: a list as texts without its nils; anything else as a list of one."""
    if is_nil(value):
        return []
    if isinstance(value, list | bytes):
        return [strval(item) for item in value if item is not None]
    return [strval(value)]


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _truncate(count: int, value: str) -> str:
    data = _bytes(value)
    if count < 0 and len(data) + count > 0:
        return _text(data[count:])
    return _text(data[:count]) if 0 <= count < len(data) else value


def _substring(start: int, end: int, value: str) -> str:
    data = _bytes(value)
    if start < 0:
        start = 0
    elif end < 0 or end > len(data):
        end = len(data)
    if not 0 <= start <= end <= len(data):
        raise ValueError(f"slice bounds out of range [{start}:{end}] with length {len(data)}")
    return _text(data[start:end])


def _repeat(count: int, value: str) -> str:
    if count < 0:
        raise ValueError("strings: negative Repeat count")
    if count * len(value) > MAX_TEXT:
        raise ValueError(f"result has more than {MAX_TEXT} characters")
    return value * count


def _is_separator(character: str) -> bool:
    if character.isalnum() or character == "_":
        return False
    return character.isascii() or character in _SPACES


def _title(value: str) -> str:
    pieces, before = [], " "
    for character in value:
        pieces.append(_capital(character) if _is_separator(before) else character)
        before = character
    return "".join(pieces)


def _capital(character: str) -> str:
    title = character.title()
    return title if len(title) == 1 else character


def _untitle(value: str) -> str:
    pieces, before = [], " "
    for character in value:
        pieces.append(character.lower() if before in _SPACES else character)
        before = character
    return "".join(pieces)


def _initials(value: str) -> str:
    return "".join(word[0] for word in value.split())


def _abbreviate(width: int, value: str) -> str:
    data = _bytes(value)
    return value if width < 4 or len(data) <= width else _text(data[: width - 3]) + "..."


def _indent(spaces: int, value: str) -> str:
    if not 0 <= spaces <= 1000:
        raise ValueError("strings: negative Repeat count" if spaces < 0 else "indent of more than 1000 blanks")
    return " " * spaces + value.replace("\n", "\n" + " " * spaces)


def _quote(*values: Any) -> str:
    return " ".join(quote(strval(value)) for value in values if value is not None)


def _single_quote(*values: Any) -> str:
    return " ".join(f"'{sprint(value)}'" for value in values if value is not None)


def _cat(*values: Any) -> str:
    return " ".join(sprint(value) for value in values if value is not None)


def split_text(value: str, separator: str) -> list[str]:
    """``strings.Split``: an empty separator parts characters."""
    return value.split(separator) if separator else list(value)


def _split_n(separator: str, count: int, value: str) -> dict[str, str]:
    if count == 0:
        return {}
    if separator:
        parts = value.split(separator, count - 1 if count > 0 else -1)
    else:
        parts = list(value)
        parts = [*parts[: count - 1], "".join(parts[count - 1 :])] if 0 < count < len(parts) else parts
    return {f"_{index}": part for index, part in enumerate(parts)}


def _replace(old: str, new: str, value: str) -> str:
    if (len(value) + 1) * (len(new) + 1) > 16 * MAX_TEXT:
        raise ValueError(f"result has more than {MAX_TEXT} characters")
    return value.replace(old, new)


def _decode64(value: str) -> str:
    clean = value.replace("\r", "").replace("\n", "")
    try:
        return base64.b64decode(clean, validate=True).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        return f"illegal base64 data at input byte {_bad_digit(clean)}"


def _bad_digit(value: str) -> int:
    """Where Go says that base64 goes wrong."""
    alphabet = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
    for index, character in enumerate(value):
        if character not in alphabet and not (character == "=" and index % 4 >= 2):
            return index
    return len(value) // 4 * 4 if "=" not in value else len(value)


def _encode32(value: str) -> str:
    return base64.b32encode(_bytes(value)).decode()


def _decode32(value: str) -> str:
    try:
        return _text(base64.b32decode(value.replace("\r", "").replace("\n", "")))
    except binascii.Error as error:
        return f"illegal base32 data: {error}"


def _trim_both(cutset: str, value: str) -> str:
    return value.strip(cutset) if cutset else value


def _lower(value: str) -> str:
    return "".join(low if len(low := character.lower()) == 1 else character for character in value)


def _upper(value: str) -> str:
    return "".join(up if len(up := character.upper()) == 1 else character for character in value)


def _number_of(value: str) -> int:
    digits = value.removeprefix("-").removeprefix("+") if not value.startswith(("-+", "+-")) else ""
    return int(value) if digits.isascii() and digits.isdigit() and abs(int(value)) < 1 << 63 else 0


TEXT = table(
    ("trim", "string", lambda value: value.strip(_SPACES)),
    ("trimAll trimall", "string string", _trim_both),
    ("trimSuffix", "string string", lambda suffix, value: value.removesuffix(suffix)),
    ("trimPrefix", "string string", lambda prefix, value: value.removeprefix(prefix)),
    ("upper", "string", _upper),
    ("lower", "string", _lower),
    ("title", "string", _title),
    ("untitle", "string", _untitle),
    ("swapcase", "string", lambda value: "".join(c.lower() if c.isupper() else _capital(c) for c in value)),
    ("initials", "string", _initials),
    ("nospace", "string", lambda value: "".join(c for c in value if c not in _SPACES)),
    ("trunc", "int string", _truncate),
    ("abbrev", "int string", _abbreviate),
    ("substr", "int int string", _substring),
    ("repeat", "int string", _repeat),
    ("contains", "string string", lambda part, value: part in value),
    ("hasPrefix", "string string", lambda prefix, value: value.startswith(prefix)),
    ("hasSuffix", "string string", lambda suffix, value: value.endswith(suffix)),
    ("quote", "any...", _quote),
    ("squote", "any...", _single_quote),
    ("cat", "any...", _cat),
    ("indent", "int string", _indent),
    ("nindent", "int string", lambda spaces, value: "\n" + _indent(spaces, value)),
    ("replace", "string string string", _replace),
    ("plural", "string string int", lambda one, many, count: one if count == 1 else many),
    ("join", "string any", lambda separator, value: separator.join(string_list(value))),
    ("split", "string string", lambda sep, value: {f"_{i}": part for i, part in enumerate(split_text(value, sep))}),
    ("splitn", "string int string", _split_n),
    ("splitList", "string string", lambda separator, value: texts(split_text(value, separator))),
    ("toString", "any", strval),
    ("toStrings", "any", lambda value: texts(string_list(value))),
    (
        "sortAlpha",
        "any",
        lambda value: texts(sorted(string_list(value)) if isinstance(value, list) else [strval(value)]),
    ),
    ("atoi", "string", _number_of),
    ("b64enc", "string", lambda value: base64.b64encode(_bytes(value)).decode()),
    ("b64dec", "string", _decode64),
    ("b32enc", "string", _encode32),
    ("b32dec", "string", _decode32),
    ("sha1sum", "string", lambda value: hashlib.sha1(_bytes(value), usedforsecurity=False).hexdigest()),
    ("sha256sum", "string", lambda value: hashlib.sha256(_bytes(value)).hexdigest()),
    ("sha512sum", "string", lambda value: hashlib.sha512(_bytes(value)).hexdigest()),
    ("adler32sum", "string", lambda value: str(zlib.adler32(_bytes(value)))),
)
