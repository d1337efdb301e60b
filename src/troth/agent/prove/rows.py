"""One line of a proof."""

from dataclasses import dataclass

from troth.agent import AgentError
from troth.host.http import Reply


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


def answered(reply: Reply) -> str:
    """What came back, in words."""
    return f"answered {reply.status}" if reply.status else "connection closed"


def refused(reply: Reply, evidence: str) -> bool:
    """Whether nginx or the upstream said no: no answer is a refusal only when the log tells of one, as in stream."""
    return reply.status != 200 and (reply.status != 0 or bool(evidence))
