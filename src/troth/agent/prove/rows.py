"""One line of a proof."""

from dataclasses import dataclass

from troth.agent import AgentError


class ProveError(AgentError):
    """The location cannot be proven as it stands; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class ProofRow:
    """One thing tried. `observed` is what was seen on the wire; `detail` holds the log line or the reason."""

    id: str
    title: str
    expected: str
    observed: str
    ok: bool
    detail: str = ""
