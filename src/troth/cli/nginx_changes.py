"""``troth nginx undo`` and ``changes``: taking a change back, and the list of what there is to take back."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from troth.agent.apply import undo as take_back
from troth.agent.changes import APPLIED, APPLYING, FAILED, UNDONE, Change, Journal
from troth.cli.nginx_options import Target
from troth.host.terminal import announce

_STATES = {APPLYING: "interrupted", APPLIED: "in effect", FAILED: "put back", UNDONE: "undone"}


def undo(one: Target, identifier: str, *, as_json: bool) -> int:
    """Take back a change, the last one in effect when none is named.

    Raises:
        TrothError: there is nothing to take back, or not without what others did.
    """
    outcome = take_back(one.nginx, one.state, identifier, one.reload, words=one.words)
    if as_json:
        facts = {"undone": outcome.undone, "by": outcome.identifier}
        click.echo(json.dumps({**facts, "files": outcome.files, "workers": outcome.workers}, indent=2))
        return 0
    announce("Undone", outcome.undone)
    for name in outcome.files:
        announce("Restored" if Path(name).exists() else "Removed", name)
    return 0


def changes(one: Target, *, as_json: bool) -> int:
    """List what apply and undo did, newest first.

    Raises:
        TrothError: the journal cannot be read.
    """
    found = Journal(one.state / "changes").all()
    if as_json:
        click.echo(json.dumps({"changes": [_json(change) for change in found]}, indent=2))
    else:
        click.echo(_table(found) if found else f"no change was made yet: there is none in {one.state / 'changes'}")
    return 0


def _json(change: Change) -> dict[str, object]:
    facts = {"id": change.id, "when": change.when, "state": _STATES.get(change.state, change.state)}
    return {**facts, "undoes": change.undoes, "reason": change.reason, "files": change.files}


def _table(found: Sequence[Change]) -> str:
    width = max(len(change.id) for change in found)
    lines = [f"{'id':<{width}}  {'when':<25}  {'state':<11}  what"]
    for change in found:
        state = _STATES.get(change.state, change.state)
        lines.append(f"{change.id:<{width}}  {change.when:<25}  {state:<11}  {_what(change)}".rstrip())
        lines += [f"    {name}" for name in change.files]
    return "\n".join(lines)


def _what(change: Change) -> str:
    what = f"takes back {change.undoes}" if change.undoes else f"{len(change.files)} files"
    return f"{what}: {change.reason}" if change.reason else what
