"""``troth nginx drift``: the comparison as a table or JSON."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict

import click

from troth.agent.drift import Row, Wanted, find_drift
from troth.cli.nginx_options import Target, required
from troth.cli.nginx_work import plan_of
from troth.host import clock

HEADINGS = ("", "declared", "on disk", "loaded by nginx", "on the wire")
WIDEST = 44


def drift(one: Target, *, as_json: bool) -> int:
    """Print the comparison; 2 when something departs.

    Raises:
        TrothError: nothing is declared, or it could not be compared.
    """
    declared = required(one)
    steps = {
        "apply": f"troth nginx apply{one.again}",
        "changes": f"troth nginx changes{one.words}",
        "reload": shlex.join(one.reload or one.nginx.command("-s", "reload")),
        "renew": f"troth agent run --config {shlex.quote(str(declared.path))} --once",
    }
    wanted = Wanted(
        declared, one.include_dir, one.state, lambda config, some: plan_of(one, declared, config, some), steps
    )
    rows = find_drift(one.nginx, wanted, clock.now())
    departs = any(row.drift for row in rows)
    click.echo(json.dumps({"drift": departs, "rows": list(map(asdict, rows))}, indent=2) if as_json else _table(rows))
    return 2 if departs else 0


def _table(rows: Sequence[Row]) -> str:
    """A line for each thing; what departs has a cross, and says below what it is and what to do."""
    cells = [HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADINGS))]
    lines = ["  " + _line(HEADINGS, widths)]
    for row, line in zip(rows, cells[1:], strict=True):
        lines.append(f"{'✘' if row.drift else '✔'} {_line(line, widths)}")
        if row.drift:
            lines += [f"    {row.drift}: {row.what}", f"    next: {row.next}"]
    count = sum(bool(row.drift) for row in rows)
    return "\n".join([*lines, "", f"{count} of {len(rows)} depart" if count else "all is as declared"])


def _cells(row: Row) -> tuple[str, ...]:
    columns = (row.declared, row.disk, row.loaded, row.wire)
    return (f"{row.kind} {row.subject}".strip(), *(_cut(column) for column in columns))


def _cut(text: str) -> str:
    """The end of a long path tells more than its beginning; of a sentence it is the other way round."""
    if len(text) <= WIDEST:
        return text
    return f"{text[: WIDEST - 1]}…" if " " in text else f"…{text[1 - WIDEST :]}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
