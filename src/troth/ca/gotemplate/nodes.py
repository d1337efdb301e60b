"""The parsed form of a template."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant: text, number, true, false or nil. `text` is as written."""

    value: Any
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Dot:
    line: int


@dataclass(frozen=True, slots=True)
class Field:
    """``.A.B``"""

    names: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Variable:
    """``$x.A.B``; the name has its dollar."""

    name: str
    names: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    line: int


@dataclass(frozen=True, slots=True)
class Chain:
    """``(pipeline).A.B``"""

    base: "Pipeline | Function"
    names: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Command:
    """Operands: a value alone, or a function, field or variable and its arguments."""

    operands: tuple["Operand", ...]
    line: int


@dataclass(frozen=True, slots=True)
class Pipeline:
    """``$a, $b := command | command``; without variables `declared` is empty."""

    commands: tuple[Command, ...]
    declared: tuple[str, ...]
    assigns: bool
    line: int


Operand = Literal | Dot | Field | Variable | Function | Chain | Pipeline


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Action:
    pipeline: Pipeline


@dataclass(frozen=True, slots=True)
class Branch:
    """``if``, ``with`` or ``range``; `keyword` says which."""

    keyword: str
    pipeline: Pipeline
    body: tuple["Node", ...]
    otherwise: tuple["Node", ...] | None
    line: int


@dataclass(frozen=True, slots=True)
class Include:
    """``template "name" pipeline``"""

    name: str
    pipeline: Pipeline | None
    line: int


@dataclass(frozen=True, slots=True)
class Jump:
    """``break`` or ``continue``."""

    keyword: str


Node = Text | Action | Branch | Include | Jump


@dataclass(frozen=True, slots=True)
class Parsed:
    """The main template and those it defines."""

    name: str
    root: tuple[Node, ...]
    defined: dict[str, tuple[Node, ...]] = field(default_factory=dict)
