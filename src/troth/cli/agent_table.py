"""How the agent's states look to a person and to a machine."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from troth.agent.state import IdentityState

GRACE = timedelta(minutes=15)
HEADINGS = ("identity", "subject", "serial", "valid until", "next", "last", "proof")


@dataclass(frozen=True, slots=True)
class Seen:
    """What the agent left on record, at a moment; `pid` is that of the agent that runs, or None."""

    states: Mapping[str, IdentityState]
    pid: int | None
    now: datetime

    def overdue(self, state: IdentityState) -> bool:
        """Whether what was to be done is long past; files of others are only looked at, which may wait."""
        if not state.next_at or state.next_action.startswith("look"):
            return False
        return datetime.fromisoformat(state.next_at) < self.now - GRACE

    @property
    def troubled(self) -> bool:
        """Whether an identity failed last time, is overdue, or its certificate has ended."""
        return any(
            state.last_error
            or self.overdue(state)
            or (state.not_after and datetime.fromisoformat(state.not_after) < self.now)
            for state in self.states.values()
        )


def as_table(seen: Seen) -> str:
    """Aligned columns; what is wrong with an identity stands below its row, and the agent itself at the end."""
    states = list(seen.states.values())
    rows = [HEADINGS, *(_row(state) for state in states)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = []
    for index, row in enumerate(rows):
        lines.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        lines += _troubles(states[index - 1], seen) if index else []
    lines += ["", f"the agent runs, process {seen.pid}" if seen.pid is not None else "no agent runs"]
    return "\n".join(lines)


def _troubles(state: IdentityState, seen: Seen) -> Iterator[str]:
    if state.last_error:
        yield f"  error: {state.last_error}"
    if state.last_hint:
        yield f"  hint: {state.last_hint}"
    if seen.overdue(state):
        who = "the agent that runs has not done it" if seen.pid is not None else "no agent runs"
        yield f"  overdue: {state.next_action.partition(' (')[0]} since {state.next_at}, {who}"


def _row(state: IdentityState) -> tuple[str, ...]:
    serial = f"{int(state.serial):x}" if state.serial else "-"
    short = serial if len(serial) <= 16 else f"{serial[:12]}…"
    failures = f", {state.failures} in a row" if state.failures > 1 else ""
    last = f"{state.last_result}{failures} {state.last_at}".strip() or "-"
    upcoming = f"{state.next_at} {state.next_action.partition(' (')[0]}".strip()
    return (state.name, state.subject, short, state.not_after or "-", upcoming or "-", last, state.proof or "-")


def as_json(seen: Seen) -> str:
    identities = [{**asdict(state), "overdue": seen.overdue(state)} for state in seen.states.values()]
    return json.dumps({"agent": {"pid": seen.pid}, "identities": identities}, indent=2)
