"""Rows on servers that are declared to ask for client certificates."""

from collections.abc import Iterator, Sequence

from troth.agent.config import ClientAuth
from troth.agent.drift.locations import View
from troth.agent.drift.rows import NOTHING, Row
from troth.nginx import NginxError
from troth.nginx.map import guards
from troth.nginx.selector import answers


def guard_rows(declared: Sequence[ClientAuth], view: View, refused: NginxError | None) -> Iterator[Row]:
    """A row for each; `refused` is why none of them can be planned as the configuration stands."""
    for one in declared:
        row = ("client-auth", one.server, f"asks clients, {one.mode}")
        found = next((g for g in guards(view.world.config) if answers(g.node, one.server)), None)
        where = view.world.place(found.where) if found is not None else "does not ask"
        if refused is not None:
            step = refused.hint or "put the server back, or take it out of the declaration"
            yield Row(*row, where, NOTHING, NOTHING, "location-gone", refused.message, step)
            continue
        missing = [file for file in _files(view) if view.adds(file)]
        if missing:
            made = any(view.include_dir.glob("client-auth-*.conf"))
            why = "a line of ours is gone, or was edited" if made else "the declaration was not applied yet"
            what = f"{view.adds(missing[0])} does not include {missing[0]}: {why}"
            drift = "include-gone" if made else "not-applied"
            yield Row(*row, where, NOTHING, NOTHING, drift, what, view.steps["apply"])
            continue
        newer = view.world.newer([found.node.file, *_files(view)] if found is not None else _files(view))
        if newer:
            what = f"nginx runs with this server as it was before {newer[0][0]} changed"
            yield Row(*row, where, "as it was before", NOTHING, "older-configuration", what, view.steps["reload"])
        else:
            yield Row(*row, where, "as on disk" if view.world.since is not None else NOTHING)


def _files(view: View) -> list[str]:
    """The generated files of servers that ask and of their locations."""
    names = view.plan.new_files if view.plan is not None else ()
    return [name for name in names if name.startswith(f"{view.include_dir}/client-")]
