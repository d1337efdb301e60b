"""JSON as Go's ``encoding/json`` writes and reads it."""

import base64
import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from troth.ca.gotemplate.times import json_text
from troth.ca.gotemplate.values import Struct, TypedList, float_text, is_nil

_MARKUP = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}
_LINES = {"\u2028": "\\u2028", "\u2029": "\\u2029"}


def from_json(text: str) -> Any:
    """Any JSON value; numbers are floats.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return json.loads(text, parse_int=float, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error


def _refuse(name: str) -> None:
    raise ValueError(f"invalid JSON value {name}")


def to_json(value: Any, *, indent: str = "", markup: bool = False, level: int = 1) -> str:
    """JSON with sorted keys and without blanks; ``<``, ``>`` and ``&`` are escaped unless `markup` is allowed.

    Raises:
        ValueError: a number is not finite.
    """

    def inner(item: Any) -> str:
        return to_json(item, indent=indent, markup=markup, level=level + 1)

    if isinstance(value, str):
        return _text(value, markup)
    if is_nil(value):
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, bytes):
        return f'"{base64.b64encode(value).decode()}"'
    if isinstance(value, datetime):
        return f'"{json_text(value)}"'
    if isinstance(value, Struct):
        form = Ordered(value.fields) if value.json is value.fields else value.json
        return to_json(form, indent=indent, markup=markup, level=level)
    if isinstance(value, Mapping):
        keys = value if isinstance(value, Ordered) else sorted(value)
        members = [f"{_text(str(key), markup)}:{' ' if indent else ''}{inner(value[key])}" for key in keys]
        return _enclose("{}", members, indent, level)
    if isinstance(value, TypedList) and not value and value.go_type.endswith("(nil)"):
        return "null"
    return _enclose("[]", [inner(item) for item in value], indent, level)


class Ordered(dict[str, Any]):
    """The members of a struct: in the order given, not sorted."""


def _enclose(brackets: str, items: list[str], indent: str, level: int) -> str:
    if not indent or not items:
        return brackets[0] + ",".join(items) + brackets[1]
    pad = "\n" + indent * level
    return brackets[0] + pad + ("," + pad).join(items) + "\n" + indent * (level - 1) + brackets[1]


def _text(value: str, markup: bool) -> str:
    text = json.dumps(value.encode("utf-8", "replace").decode(), ensure_ascii=False)
    for character, escaped in (_LINES if markup else {**_LINES, **_MARKUP}).items():
        text = text.replace(character, escaped)
    return text


def _number(value: float) -> str:
    if not math.isfinite(value):
        raise ValueError(f"json: unsupported value: {float_text(value, 'g')}")
    size = abs(value)
    if size and not 1e-6 <= size < 1e21:
        text = float_text(value, "e")
        return text.replace("e-0", "e-").replace("e+0", "e+")
    return float_text(value, "f")
