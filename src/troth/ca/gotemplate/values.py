"""Go's values in Python: their types, truth, and how they print and become JSON.

Text, numbers, true and false, bytes, lists, mappings with text keys and moments are Python's own. JSON's numbers are
floats, as Go reads them.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from troth.ca.gotemplate import times

NO_VALUE = "<no value>"


class _Missing:
    """A member that a mapping does not have: no value at all, which is not the same as nil."""

    def __repr__(self) -> str:
        return NO_VALUE


MISSING: Final = _Missing()


class Int64(int):
    """Go's ``int64``, which is another type than ``int``."""


class TypedList(list[Any]):
    """A list of another type than ``[]interface {}``."""

    def __init__(self, go_type: str, items: Sequence[Any] = ()) -> None:
        super().__init__(items)
        self.go_type = go_type


class Struct:
    """A Go struct, or a pointer to one: its type's name and its exported fields.

    Args:
        go_type: as ``%T`` prints it.
        fields: by name, in order.
        json: what it is as JSON; without it, the fields.
        text: what its ``String`` method says, if it has one.
    """

    def __init__(self, go_type: str, fields: Mapping[str, Any], json: Any = MISSING, text: str | None = None) -> None:
        self.go_type = go_type
        self.fields = dict(fields)
        self.json = self.fields if json is MISSING else json
        self.text = text


def texts(items: Sequence[str]) -> TypedList:
    """Go's ``[]string``."""
    return TypedList("[]string", items)


def is_nil(value: Any) -> bool:
    return value is None or value is MISSING


def type_name(value: Any) -> str:
    """The type as ``%T`` prints it."""
    if isinstance(value, Struct | TypedList):
        return value.go_type
    if is_nil(value):
        return "<nil>"
    if isinstance(value, bool):
        return "bool"
    for kind, name in (
        (Int64, "int64"),
        (int, "int"),
        (float, "float64"),
        (str, "string"),
        (bytes, "[]uint8"),
        (Mapping, "map[string]interface {}"),
        (list, "[]interface {}"),
        (datetime, "time.Time"),
    ):
        if isinstance(value, kind):
            return name
    raise TypeError(f"{type(value).__name__} is not a value of a template")


def kind_name(value: Any) -> str:
    """Go's kind: what a type is made of."""
    if isinstance(value, Struct):
        return "ptr" if value.go_type.startswith("*") else "struct"
    if isinstance(value, list | bytes):
        return "slice"
    if isinstance(value, Mapping):
        return "map"
    name = type_name(value)
    return {"<nil>": "invalid", "time.Time": "struct"}.get(name, name)


def truth(value: Any) -> bool:
    """Whether ``if`` takes it for true: anything but nothing, zero, false and empty."""
    if isinstance(value, Struct | datetime):
        return True
    return not is_nil(value) and bool(value)


def sprint(value: Any, *, top: bool = True) -> str:
    """``%v``"""
    if isinstance(value, str):
        return value
    if is_nil(value):
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return float_text(value, "g")
    if isinstance(value, datetime):
        return times.default_text(value)
    if isinstance(value, Struct):
        return _sprint_struct(value, top)
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{sprint(value[key], top=False)}" for key in sorted(value)) + "]"
    return "[" + " ".join(sprint(item, top=False) for item in value) + "]"


def _sprint_struct(value: Struct, top: bool) -> str:
    if value.text is not None:
        return value.text
    inner = "{" + " ".join(sprint(item, top=False) for item in value.fields.values()) + "}"
    return "&" + inner if value.go_type.startswith("*") and top else inner


def printed(value: Any) -> str:
    """What ``{{ value }}`` puts out."""
    return NO_VALUE if is_nil(value) else sprint(value)


def float_text(value: float, style: str, precision: int = -1) -> str:
    """A float as ``strconv.FormatFloat`` writes it for ``%v`` (g with exponents from 21 on), ``%e``, ``%f``, ``%g``."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if precision >= 0 and style in "efg":
        return f"{value:.{precision if style != 'g' else precision or 1}{style}}"
    mantissa, _, exponent = repr(float(value)).partition("e")
    digits, power = _decimal(mantissa, int(exponent or 0))
    if style == "f" or (style == "g" and -4 <= power < 21):
        return _plain(digits, power, value)
    sign = "-" if math.copysign(1, value) < 0 else ""
    head = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
    return f"{sign}{head}e{'-' if power < 0 else '+'}{abs(power):02d}"


def _decimal(mantissa: str, exponent: int) -> tuple[str, int]:
    """The significant digits, and the power of ten of the first of them."""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    power = exponent + len(whole) - 1 - (len(whole + fraction) - len(digits) if digits else 0)
    return (digits.rstrip("0") or "0", power) if digits else ("0", 0)


def _plain(digits: str, power: int, value: float) -> str:
    sign = "-" if math.copysign(1, value) < 0 else ""
    if power < 0:
        return f"{sign}0.{'0' * (-power - 1)}{digits}"
    whole = digits[: power + 1].ljust(power + 1, "0")
    return sign + whole + ("." + digits[power + 1 :] if len(digits) > power + 1 else "")


def integer_list(items: Sequence[int]) -> TypedList:
    """Go's ``[]int``."""
    return TypedList("[]int", items)
