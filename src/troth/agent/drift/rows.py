"""One line of the comparison."""

import shlex
from dataclasses import dataclass
from datetime import UTC, datetime

NOTHING = "-"
# Every kind of departure, which machines may go by, and what it means.
KINDS = {
    "not-running": "nginx does not run",
    "program-replaced": "the program on disk is not the one that runs",
    "refused": "nginx refuses the configuration on disk, and goes on with an older one",
    "older-configuration": "a file, or a link on the way to it, changed after the workers began",
    "interrupted": "a change was begun and not ended",
    "not-applied": "it is declared, and was not applied, or not since the declaration changed",
    "location-gone": "a declared place does not exist, or is not the only one",
    "include-gone": "a line of ours is gone, or was edited",
    "undeclared": "a place still shows an identity, and nothing declares it",
    "file-gone": "a file that apply wrote is gone",
    "file-edited": "a file that apply wrote is not as it was written",
    "left-over": "a file of an earlier declaration that nothing reads",
    "identity-missing": "certificate, key or trust is missing, or cannot be read",
    "identity-unfit": "the files do not fit each other, their purpose, their name, their authority or the moment",
    "not-on-wire": "nginx shows another certificate than is on disk, or none",
    "older-identity": "certificate or key changed after nginx read it, and what it shows could not be seen",
    "older-trust": "the roots on disk changed after nginx read them",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One thing in four columns; ``-`` where a column does not apply.

    `drift` is the kind of departure, one of `KINDS`, with `what` saying it and `next` the command that mends
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
