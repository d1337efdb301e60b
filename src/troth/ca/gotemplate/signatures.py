"""What a template may call: a function, the types of its parameters in Go, and the checks before it is called."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from troth.ca.gotemplate.values import Int64, is_nil, type_name

MAX_ITEMS = 100_000
MAX_TEXT = 1024 * 1024
_GO_NAMES = {"map": "map[string]interface {}", "float": "float64", "time": "time.Time"}


class CallError(Exception):
    """A function cannot be called like this, or says that it failed; the message is Go's."""


@dataclass(frozen=True, slots=True)
class Function:
    """`parameters` are types: any, string, int, bool, float, map, time; the last may be repeated (``any...``)."""

    call: Callable[..., Any]
    parameters: tuple[str, ...]

    @property
    def variadic(self) -> str:
        """The type of the repeated last parameter, or nothing."""
        return self.parameters[-1][:-3] if self.parameters and self.parameters[-1].endswith("...") else ""


Functions = Mapping[str, Function]


def table(*rows: tuple[str, str, Callable[..., Any]]) -> dict[str, Function]:
    """Functions by name, of rows of name (several apart by blanks), parameter types, and what to call."""
    found: dict[str, Function] = {}
    for names, parameters, call in rows:
        for name in names.split():
            found[name] = Function(call, tuple(parameters.split()))
    return found


def apply(name: str, function: Function, arguments: Sequence[Any]) -> Any:
    """Call a function with values of the right number and types.

    Raises:
        CallError: they are not, or the function failed, or its result is too large.
    """
    variadic = function.variadic
    fixed = len(function.parameters) - bool(variadic)
    if len(arguments) < fixed or (len(arguments) > fixed and not variadic):
        wanted = f"at least {fixed}" if variadic else f"{fixed}"
        raise CallError(f"wrong number of args for {name}: want {wanted} got {len(arguments)}")
    types = (*function.parameters[:fixed], *(variadic,) * (len(arguments) - fixed))
    given = [_typed(kind, value) for kind, value in zip(types, arguments, strict=True)]
    try:
        result = function.call(*given)
    except (ValueError, TypeError, ArithmeticError, LookupError) as error:
        raise CallError(f"error calling {name}: {error}") from error
    if isinstance(result, str) and len(result) > MAX_TEXT:
        raise CallError(f"error calling {name}: result has more than {MAX_TEXT} characters")
    if isinstance(result, list | dict) and len(result) > MAX_ITEMS:
        raise CallError(f"error calling {name}: result has more than {MAX_ITEMS} items")
    return result


def _typed(kind: str, value: Any) -> Any:
    if kind == "raw":
        return value
    if kind == "any":
        return None if is_nil(value) else value
    if is_nil(value) and kind == "map":
        return {}
    go_name = _GO_NAMES.get(kind, kind)
    if is_nil(value):
        raise CallError(f"invalid value; expected {go_name}")
    fits = {
        "string": isinstance(value, str),
        "int": isinstance(value, int) and not isinstance(value, bool | Int64),
        "bool": isinstance(value, bool),
        "float": isinstance(value, float),
        "map": isinstance(value, Mapping),
        "time": isinstance(value, datetime),
    }
    if not fits[kind]:
        raise CallError(f"wrong type for value; expected {go_name}; got {type_name(value)}")
    return value
