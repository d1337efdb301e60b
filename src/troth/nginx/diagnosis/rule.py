"""The shape of a rule: which symptoms it explains, and what in the situation speaks for it or against it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from troth.nginx.diagnosis.situation import Situation

# Where a symptom was seen.
REFUSED_CONFIG, LOG, ANSWER, PEER_LOG, SILENCE = "nginx -t", "error log", "answer", "upstream's log", "no line"
SOURCES = (REFUSED_CONFIG, LOG, ANSWER, PEER_LOG, SILENCE)


class Verdict(Protocol):
    """Judges whether a cause holds.

    The result is evidence for it; an empty text where nothing is known; None where the situation rules it out.
    """

    def __call__(self, said: "re.Match[str]", situation: Situation) -> str | None: ...


def possible(_: "re.Match[str]", __: Situation) -> str | None:
    """The line alone says it."""
    return ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One cause.

    `pattern` is searched in the symptom; `status` is what the client gets (0: nothing, nginx does not run or no
    HTTP). ``{family}`` and the pattern's named groups are filled into `cause` and `fix`. `alike` says that the line has
    other causes too, so that a handshake or a look into the files is worth it. `unseen` says why a rule cannot be
    reproduced with the programs at hand, `only` with which versions of nginx its symptom comes (empty: with all).
    """

    id: str
    source: str
    pattern: str
    cause: str
    fix: str
    status: int = 502
    alike: bool = False
    judge: Callable[["re.Match[str]", Situation], str | None] = possible
    unseen: str = ""
    only: str = ""

    def match(self, text: str) -> "re.Match[str] | None":
        return re.search(self.pattern, text)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One cause, its evidence, its fix.

    `certain` is whether the evidence leaves no other rule; `others` are the ids that the evidence does not rule out.
    """

    id: str
    cause: str
    evidence: tuple[str, ...]
    fix: str
    status: int
    certain: bool
    others: tuple[str, ...] = ()
    where: str = ""


def filled(text: str, said: "re.Match[str]", situation: Situation, family: str = "") -> str:
    """A cause or fix with what the line said."""
    known = situation.place.family if situation.place is not None else family or "proxy"
    groups = {name: value or "" for name, value in said.groupdict().items()}
    return re.sub(r"\{(\w+)\}", lambda one: {"family": known, **groups}.get(one[1], one[0]), text)
