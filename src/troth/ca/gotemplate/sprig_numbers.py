"""Sprig's functions for numbers."""

import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from troth.ca.gotemplate.constants import INT_LIMIT, parse_number
from troth.ca.gotemplate.signatures import MAX_ITEMS, table
from troth.ca.gotemplate.values import Int64, integer_list, sprint

_ZERO_DECIMALS = re.compile(r"\.0+\Z")


def to_integer(value: Any) -> int:
    """``int64``: a float is cut off, text is read with Go's prefixes, what is no number is 0."""
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and abs(value) < INT_LIMIT else -INT_LIMIT
    if isinstance(value, str):
        try:
            number = parse_number(_ZERO_DECIMALS.sub("", value))
        except ValueError:
            return 0
        return number if isinstance(number, int) else 0
    return 0


def to_float(value: Any) -> float:
    """``float64``; what is no number is 0."""
    if isinstance(value, bool | int | float):
        return float(value)
    try:
        return float(value) if isinstance(value, str) and "_" not in value and value.strip() == value else 0.0
    except ValueError:
        return 0.0


def _wrap(value: int) -> Int64:
    """Sums and products overflow as in Go."""
    return Int64((value + INT_LIMIT) % (2 * INT_LIMIT) - INT_LIMIT)


def _divide(one: Any, other: Any) -> Int64:
    """Towards zero."""
    left, right = to_integer(one), to_integer(other)
    if right == 0:
        raise ValueError("runtime error: integer divide by zero")
    size = abs(left) // abs(right)
    return _wrap(size if (left < 0) == (right < 0) else -size)


def _remainder(one: Any, other: Any) -> Int64:
    """With the sign of the dividend."""
    left, right = to_integer(one), to_integer(other)
    if right == 0:
        raise ValueError("runtime error: integer divide by zero")
    return Int64(int(math.copysign(abs(left) % abs(right), left)) if left else 0)


def _product(first: Any, *others: Any) -> Int64:
    return _wrap(math.prod(map(to_integer, (first, *others))))


def _decimal(operation: Callable[[Decimal, Decimal], Decimal]) -> Callable[..., float]:
    def apply(first: Any, *others: Any) -> float:
        result = Decimal(repr(to_float(first)))
        for other in others:
            result = operation(result, Decimal(repr(to_float(other))))
        return float(result)

    return apply


_ADD = _decimal(lambda one, other: one + other)


def _round(value: Any, places: int, *on: float) -> float:
    power = math.pow(10, places)
    digit = power * to_float(value)
    fraction = math.modf(digit)[0]
    return (math.ceil(digit) if fraction >= (on[0] if on else 0.5) else math.floor(digit)) / power


def _steps(start: int, stop: int, step: int) -> list[int]:
    if (step > 0) != (stop >= start) or step == 0:
        return []
    items = range(start, stop, step)
    if len(items) > MAX_ITEMS:
        raise ValueError(f"more than {MAX_ITEMS} items")
    return list(items)


def _sequence(*bounds: int) -> str:
    if not 1 <= len(bounds) <= 3:
        return ""
    start, end = (1, bounds[0]) if len(bounds) == 1 else (bounds[0], bounds[-1])
    increment = -1 if end < start else 1
    step = bounds[1] if len(bounds) == 3 else increment
    if len(bounds) == 3 and increment < 0 < step:
        return ""
    return " ".join(map(str, _steps(start, end + increment, step)))


def _octal(value: Any) -> Int64:
    try:
        return Int64(int(sprint(value), 8))
    except ValueError:
        return Int64(0)


NUMBERS = table(
    ("int", "any", to_integer),
    ("int64", "any", lambda value: Int64(to_integer(value))),
    ("float64", "any", to_float),
    ("toDecimal", "any", _octal),
    ("add", "any...", lambda *values: _wrap(sum(map(to_integer, values)))),
    ("add1", "any", lambda value: _wrap(to_integer(value) + 1)),
    ("sub", "any any", lambda one, other: _wrap(to_integer(one) - to_integer(other))),
    ("mul", "any any...", _product),
    ("div", "any any", _divide),
    ("mod", "any any", _remainder),
    ("max biggest", "any any...", lambda *values: Int64(max(map(to_integer, values)))),
    ("min", "any any...", lambda *values: Int64(min(map(to_integer, values)))),
    ("addf", "any...", lambda *values: _ADD(0.0, *values)),
    ("add1f", "any", lambda value: _ADD(value, 1)),
    ("subf", "any any...", _decimal(lambda one, other: one - other)),
    ("mulf", "any any...", _decimal(lambda one, other: one * other)),
    ("maxf", "any any...", lambda *values: max(map(to_float, values))),
    ("minf", "any any...", lambda *values: min(map(to_float, values))),
    ("ceil", "any", lambda value: float(math.ceil(to_float(value)))),
    ("floor", "any", lambda value: float(math.floor(to_float(value)))),
    ("round", "any int float...", _round),
    ("until", "int", lambda count: integer_list(_steps(0, count, -1 if count < 0 else 1))),
    ("untilStep", "int int int", lambda start, stop, step: integer_list(_steps(start, stop, step))),
    ("seq", "int...", _sequence),
)
