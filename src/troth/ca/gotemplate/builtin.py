"""The functions that ``text/template`` itself has."""

import urllib.parse
from collections.abc import Mapping
from typing import Any

from troth.ca.gotemplate.formatting import sprint_all, sprintf
from troth.ca.gotemplate.signatures import table
from troth.ca.gotemplate.values import is_nil, sprint, truth, type_name

_HTML = {'"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;", "\0": "\ufffd"}


def _basic(value: Any) -> str:
    """What kind of comparable basic value it is; nothing for others."""
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind.__name__
    return ""


def equal(first: Any, *others: Any) -> bool:
    """``eq``: whether the first equals one of the others.

    Raises:
        ValueError: two values have types that cannot be compared.
    """
    if not others:
        raise ValueError("missing argument for comparison")
    return any(_same(first, other) for other in others)


def _same(one: Any, other: Any) -> bool:
    kinds = _basic(one), _basic(other)
    if is_nil(one) or is_nil(other):
        return is_nil(one) and is_nil(other)
    if kinds[0] != kinds[1]:
        raise ValueError(f"incompatible types for comparison: {type_name(one)} and {type_name(other)}")
    if not kinds[0]:
        if isinstance(one, list | Mapping | bytes) or isinstance(other, list | Mapping | bytes):
            raise ValueError(f"non-comparable type {sprint(other)}: {type_name(other)}")
        return bool(one == other)
    return bool(one == other)


def less(one: Any, other: Any) -> bool:
    """``lt``. Raises: ValueError: the values have no order between them."""
    kinds = _basic(one), _basic(other)
    if not kinds[0] or not kinds[1] or (kinds[0] == kinds[1] == "bool"):
        raise ValueError("invalid type for comparison")
    if kinds[0] != kinds[1]:
        raise ValueError(f"incompatible types for comparison: {type_name(one)} and {type_name(other)}")
    if isinstance(one, str):
        return bool(one.encode("utf-8", "surrogatepass") < other.encode("utf-8", "surrogatepass"))
    return bool(one < other)


def _less_or_equal(one: Any, other: Any) -> bool:
    return less(one, other) or _same(one, other)


def _position(index: Any, limit: int) -> int:
    if is_nil(index):
        raise ValueError("cannot index slice/array with nil")
    if not isinstance(index, int) or isinstance(index, bool):
        raise ValueError(f"cannot index slice/array with type {type_name(index)}")
    if not 0 <= index <= limit:
        raise ValueError(f"index out of range: {index}")
    return int(index)


def index(item: Any, *indexes: Any) -> Any:
    """``index x 1 "key"``. Raises: ValueError: there is no such item, or it has none."""
    if is_nil(item):
        raise ValueError("index of untyped nil")
    for one in indexes:
        if is_nil(item):
            raise ValueError("index of nil pointer")
        if isinstance(item, Mapping):
            if not isinstance(one, str):
                got = "nil" if is_nil(one) else type_name(one)
                raise ValueError(f"value has type {got}; should be string")
            item = item.get(one)
        elif isinstance(item, str | bytes | list):
            items = item.encode("utf-8", "surrogateescape") if isinstance(item, str) else item
            at = _position(one, len(items))
            if at == len(items):
                raise ValueError(f"reflect: slice index out of range: {at}")
            item = items[at]
        else:
            raise ValueError(f"can't index item of type {type_name(item)}")
    return item


def length(item: Any) -> int:
    """``len``; text is counted in bytes. Raises: ValueError: it has no length."""
    if is_nil(item):
        raise ValueError("len of nil pointer")
    if isinstance(item, str):
        return len(item.encode("utf-8", "surrogateescape"))
    if isinstance(item, list | bytes | Mapping):
        return len(item)
    raise ValueError(f"len of type {type_name(item)}")


def _escape_html(*values: Any) -> str:
    return "".join(_HTML.get(character, character) for character in _joined(values))


def _joined(values: tuple[Any, ...]) -> str:
    return values[0] if len(values) == 1 and isinstance(values[0], str) else sprint_all(values)


def _escape_url(*values: Any) -> str:
    return urllib.parse.quote_plus(_joined(values), safe="~")


def _absent(*_: Any) -> Any:
    raise AssertionError("and and or are evaluated where they stand")


BUILTIN = table(
    ("and or", "raw...", _absent),
    ("not", "raw", lambda value: not truth(value)),
    ("eq", "raw raw...", equal),
    ("ne", "raw raw", lambda one, other: not equal(one, other)),
    ("lt", "raw raw", less),
    ("le", "raw raw", _less_or_equal),
    ("gt", "raw raw", lambda one, other: not _less_or_equal(one, other)),
    ("ge", "raw raw", lambda one, other: not less(one, other)),
    ("index", "raw raw...", index),
    ("len", "raw", length),
    ("print", "any...", lambda *values: sprint_all(values)),
    ("println", "any...", lambda *values: sprint_all(values, line=True)),
    ("printf", "string any...", lambda pattern, *values: sprintf(pattern, values)),
    ("html", "any...", _escape_html),
    ("urlquery", "any...", _escape_url),
)
