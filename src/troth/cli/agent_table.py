"""How the agent's states look to a person and to a machine."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime

from troth.agent.state import IdentityState

HEADINGS = ("identity", "subject", "serial", "valid until", "next", "last", "proof")


def as_table(states: Mapping[str, IdentityState]) -> str:
    """Aligned columns; the last error of an identity stands below its row."""
    rows = [HEADINGS, *(_row(state) for state in states.values())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = []
    for index, row in enumerate(rows):
        lines.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if index and (error := list(states.values())[index - 1].last_error):
            lines.append(f"  error: {error}")
    return "\n".join(lines)


def _row(state: IdentityState) -> tuple[str, ...]:
    serial = f"{int(state.serial):x}" if state.serial else "-"
    short = serial if len(serial) <= 16 else f"{serial[:12]}…"
    failures = f", {state.failures} in a row" if state.failures > 1 else ""
    last = f"{state.last_result}{failures} {state.last_at}".strip() or "-"
    upcoming = f"{state.next_at} {state.next_action.partition(' (')[0]}".strip()
    return (state.name, state.subject, short, state.not_after or "-", upcoming or "-", last, state.proof or "-")


def as_json(states: Mapping[str, IdentityState]) -> str:
    return json.dumps({"identities": [asdict(state) for state in states.values()]}, indent=2)


def troubled(states: Mapping[str, IdentityState], now: datetime) -> bool:
    """Whether an identity failed last time, or its certificate has ended."""
    return any(
        state.last_error or (state.not_after and datetime.fromisoformat(state.not_after) < now)
        for state in states.values()
    )
