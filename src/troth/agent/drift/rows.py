"""One line of the comparison."""

import shlex
from dataclasses import dataclass
from datetime import UTC, datetime

NOTHING = "-"


@dataclass(frozen=True, slots=True)
class Row:
    """One thing in four columns; ``-`` where a column does not apply.

    `drift` is the kind of departure, such as ``not-on-wire``, with `what` saying it and `next` the command that mends
    it; all three are empty when there is none.
    """

    kind: str
    subject: str
    declared: str = NOTHING
    disk: str = NOTHING
    loaded: str = NOTHING
    wire: str = NOTHING
    drift: str = ""
    what: str = ""
    next: str = ""


def moment(seconds: float) -> str:
    """Seconds since the epoch as a text."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def command(words: list[str]) -> str:
    return shlex.join(words)
