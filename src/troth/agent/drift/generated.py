"""Rows on the files that apply writes: as declared, edited since, missing, or left over."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from troth.agent.changes import APPLIED, Change
from troth.agent.drift.locations import View
from troth.agent.drift.rows import NOTHING, Row
from troth.agent.drift.world import World
from troth.errors import TrothError
from troth.host.files import read_file
from troth.nginx.family import LEVELS
from troth.nginx.map import GENERATED


def file_rows(view: View, changes: list[Change], *, whole: bool) -> Iterator[Row]:
    """Each file that differs from the plan's, and one row for those that do not.

    `changes` are newest first; `whole` says whether the plan holds every declared location: where it does not, the
    file that all share is compared with what was written last.
    """
    good = []
    for name, planned in sorted(view.plan.new_files.items()) if view.plan is not None else ():
        present, written = _present(name), _written(name, changes)
        shared = name in {str(view.level_file(level)) for level in LEVELS}
        wanted = planned if whole or not shared else written
        if present == wanted:
            good.append(name)
        else:
            yield _file_row(name, present, written, view.steps["apply"], view.world)
    if good:
        loaded = "older" if view.world.newer(good) else "as on disk" if view.world.since is not None else NOTHING
        yield Row("generated", "", "1 file" if len(good) == 1 else f"{len(good)} files", "as declared", loaded)


def _present(name: str) -> bytes | None:
    try:
        return read_file(Path(name))
    except TrothError:
        return None


def _written(name: str, changes: list[Change]) -> bytes | None:
    """What the last change in effect wrote there."""
    for change in changes:
        if change.state == APPLIED and name in change.files:
            return change.after[change.files.index(name)]
    return None


def _file_row(name: str, present: bytes | None, written: bytes | None, apply: str, world: World) -> Row:
    file = Path(name).name
    loaded = "older" if world.newer([name]) else NOTHING
    if present is None:
        what = f"{name} is gone" if written is not None else f"{name} was not written yet"
        drift = "file-gone" if written is not None else "not-applied"
        return Row("generated", file, "a file", "missing", loaded, NOTHING, drift, what, apply)
    if written is None or present == written:
        what = f"{name} is what was declared before: the declaration changed and was not applied"
        return Row("generated", file, "changed", "as before", loaded, NOTHING, "not-applied", what, apply)
    line = _first_difference(present, written)
    what = f"{name}:{line} is not as troth wrote it: somebody edited the file"
    return Row("generated", file, "a file", "edited", loaded, NOTHING, "file-edited", what, apply)


def _first_difference(one: bytes, two: bytes) -> int:
    """The number of the first line in which they differ."""
    pairs = zip(one.splitlines(), two.splitlines(), strict=False)
    same = next((number for number, (a, b) in enumerate(pairs, 1) if a != b), None)
    return same or min(len(one.splitlines()), len(two.splitlines())) + 1


def level_rows(view: View) -> Iterator[Row]:
    """The lines of ``http`` and ``stream`` that read the groups and the witnesses."""
    for level in LEVELS:
        file = view.level_file(level)
        place = view.adds(file)
        if not place or not file.exists():
            continue
        what = f"{level} in {place} does not include {file}: the line is gone, or was edited"
        step = view.steps["apply"]
        yield Row("generated", level, "an include", "missing", NOTHING, NOTHING, "include-gone", what, step)


def left_over_rows(view: View, own: set[str]) -> Iterator[Row]:
    """Generated files that nothing includes and that are not the `own` ones of declared locations."""
    known = {*own, *(view.plan.new_files if view.plan is not None else ()), *view.world.config.files}
    for path in sorted(view.include_dir.glob("*.conf")):
        if str(path) not in known and (_present(str(path)) or b"").startswith(GENERATED):
            what = f"{path} is of an earlier declaration, and nothing reads it"
            step = f"rm {shlex.quote(str(path))}"
            yield Row("generated", path.name, NOTHING, "left over", NOTHING, NOTHING, "left-over", what, step)
