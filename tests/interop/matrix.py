"""The registry of operations, and running them on both sides."""

import json
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.interop.stage import Side, operation_directory

Check = Callable[[Side], str | None]


@dataclass(frozen=True)
class Operation:
    """One row: the section of behaviour, what is done, and why a side has no such operation (if it has none)."""

    section: str
    title: str
    check: Check
    bootstrapped: bool
    na_step: str
    na_troth: str


@dataclass(frozen=True)
class Cell:
    verdict: str
    detail: str

    @property
    def good(self) -> bool:
        return self.verdict != "FAILED"


OPERATIONS: list[Operation] = []


def operation(
    section: str, title: str, *, bootstrapped: bool = True, na_step: str = "", na_troth: str = ""
) -> Callable[[Check], Check]:
    """Register a row; `na_step` and `na_troth` say why that column has no such operation."""

    def register(check: Check) -> Check:
        OPERATIONS.append(Operation(section, title, check, bootstrapped, na_step, na_troth))
        return check

    return register


def observe(row: Operation, side: Side, missing: str) -> Cell:
    """Run one cell; an operation returns "refuses" (with how) when a refusal was the expected outcome."""
    if missing:
        return Cell(f"n/a: {missing}", "")
    try:
        with operation_directory(side, bootstrapped=row.bootstrapped) as fresh:
            return Cell(row.check(fresh) or "works", "")
    except Exception as error:  # a cell shows whatever went wrong and the others go on
        return Cell("FAILED", f"{error}\n{traceback.format_exc(limit=-2)}")


def run(ours: Side | None, theirs: Side | None, only: str = "") -> list[tuple[Operation, Cell, Cell]]:
    """Every operation on both sides; a side that is None was not available."""
    rows = []
    for row in sorted(OPERATIONS, key=lambda row: [int(part) for part in row.section.split(".")]):
        if only and only not in row.title:
            continue
        left = observe(row, ours, row.na_step) if ours else Cell("skipped: no step", "")
        right = observe(row, theirs, row.na_troth) if theirs else Cell("skipped: no step-ca", "")
        rows.append((row, left, right))
        print(f"{row.section:<5} {row.title:<66.66} {left.verdict:<24.24} {right.verdict}", flush=True)
        for cell in (left, right):
            if not cell.good:
                print(f"      {cell.detail}", flush=True)
    return rows


def write(rows: Sequence[tuple[Operation, Cell, Cell]], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = [
        {"section": row.section, "operation": row.title, "step_troth": asdict(left), "troth_step_ca": asdict(right)}
        for row, left, right in rows
    ]
    path.write_text(json.dumps(text, indent=2) + "\n")
