"""A row of the proof table: what was tried, what had to happen, and what was seen on the wire."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """`observed` is what the wire or the authority answered, never what was meant to happen."""

    title: str
    expected: str
    observed: str
    ok: bool


@dataclass(frozen=True, slots=True)
class Section:
    """Rows under one heading."""

    title: str
    rows: tuple[Row, ...]

    @property
    def ok(self) -> bool:
        return all(row.ok for row in self.rows)


def as_text(section: Section, colour: bool) -> str:
    """The section as an aligned table; a tick or a cross begins each row."""
    width = max(len(row.title) for row in section.rows)
    lines = ["", section.title]
    for row in section.rows:
        lines.append(f"  {_mark(row.ok, colour)} {row.title:<{width}}  {row.observed}")
        if not row.ok:
            lines.append(f"    {'':<{width}}  expected {row.expected}")
    return "\n".join(lines)


def _mark(ok: bool, colour: bool) -> str:
    mark = "✔" if ok else "✘"
    return f"\x1b[{32 if ok else 31}m{mark}\x1b[0m" if colour else mark


def as_json(sections: Sequence[Section], **more: object) -> str:
    """Everything the demo saw, for machines."""
    text = {
        "ok": all(section.ok for section in sections),
        **more,
        "sections": [{"title": section.title, "rows": [asdict(row) for row in section.rows]} for section in sections],
    }
    return json.dumps(text, indent=2)
