"""Problem documents (RFC 7807, RFC 8555 §6.7): what was wrong, for which identifier, in one line for a person."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PREFIX = "urn:ietf:params:acme:error:"
MAX_DETAIL_CHARACTERS = 1000
MAX_SUBPROBLEMS = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem: its type without the ACME prefix, what the server says, and the parts it is made of."""

    kind: str
    detail: str = ""
    identifier: str = ""
    parts: tuple["Problem", ...] = ()

    def text(self) -> str:
        """``example.com: dns: no such host``, the parts in parentheses."""
        said = ": ".join(part for part in (self.identifier, self.kind, self.detail) if part)
        inner = "; ".join(part.text() for part in self.parts)
        return f"{said} ({inner})" if inner else said

    def kinds(self) -> set[str]:
        """The types of this problem and of its parts."""
        return {self.kind}.union(*(part.kinds() for part in self.parts))


def parse_problem(value: object) -> Problem:
    """Read a problem as far as it can be read; what a server says in an error is never another error."""
    return _parse(value, nested=False)


def _parse(value: object, *, nested: bool) -> Problem:
    if not isinstance(value, Mapping):
        return Problem("")
    inner = value.get("subproblems")
    parts = inner[:MAX_SUBPROBLEMS] if isinstance(inner, list) and not nested else []
    identifier = value.get("identifier")
    return Problem(
        one_line(value.get("type")).removeprefix(PREFIX),
        one_line(value.get("detail")),
        one_line(identifier.get("value")) if isinstance(identifier, Mapping) else "",
        tuple(_parse(part, nested=True) for part in parts),
    )


def one_line(text: Any) -> str:
    """The other side's words for a terminal: one line, no control characters, no final full stop; empty if no text."""
    if not isinstance(text, str):
        return ""
    plain = "".join(c if c.isprintable() else " " for c in text[:MAX_DETAIL_CHARACTERS])
    return " ".join(plain.split()).removesuffix(".")
