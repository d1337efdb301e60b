"""Rows on locations: declared ones as they stand in the configuration, and those of ours that nobody declares."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from troth.agent.config import Location
from troth.agent.drift.rows import NOTHING, Row
from troth.agent.drift.wire import Sighting
from troth.agent.drift.world import World
from troth.nginx import NginxError
from troth.nginx.map import location_path, server_names
from troth.nginx.plan import Plan
from troth.nginx.render import quote, slug
from troth.nginx.tree import Directive

PREFIXES, SUFFIX = ("location-", "server-"), ".conf"


@dataclass(frozen=True, slots=True)
class View:
    """The world with the plan that would make it as declared (None: nothing can be planned).

    `include_dir` is where the generated files are; `steps` are commands by name: ``apply``, ``reload``, ``changes``.
    """

    world: World
    include_dir: Path
    plan: Plan | None
    steps: Mapping[str, str]

    def adds(self, file: Path | str) -> str:
        """The file into which the plan puts an include of this one; empty where that is there already."""
        edits = self.plan.edits if self.plan is not None else ()
        return next((edit.file for edit in edits if str(file).encode() in edit.text), "")

    def location_file(self, location: Location, name: str) -> Path:
        return self.include_dir / f"{PREFIXES[bool(location.listen)]}{name}{SUFFIX}"

    def level_file(self, level: str) -> Path:
        return self.include_dir / f"{level}.conf"


@dataclass(frozen=True, slots=True)
class Included:
    """A place of the configuration that includes a file of ours: a location, or a server of stream."""

    name: str
    file: str
    node: Directive

    @property
    def place(self) -> tuple[str, str]:
        """Kind and subject of its row."""
        around = self.node.parent
        if around is not None and around.name == "server":
            return "stream", next((d.arguments[0] for d in around.find("listen") if d.arguments), "")
        server = self.node.enclosing("server")
        path = location_path(around) if around is not None and around.name == "location" else ""
        return "location", f"{'/'.join(server_names(server)) if server is not None else ''} {path}".strip()


def included(view: View) -> list[Included]:
    """Every include of a location file of ours, in the order of the configuration."""
    found = []
    for node in view.world.config.root.walk():
        path = Path(node.arguments[0]) if node.name == "include" and node.arguments else Path()
        if path.parent == view.include_dir and path.name.startswith(PREFIXES) and path.suffix == SUFFIX:
            found.append(Included(path.stem.partition("-")[2], str(path), node))
    return found


def own_name(location: Location) -> str:
    """The name that a location's file gets where no other has it."""
    return slug(location.server, location.path, location.listen)


def gone_row(location: Location, why: NginxError, view: View) -> Row:
    """A declared location that cannot be planned: it does not exist, is not the only one, or has lost our line."""
    row = (*_named(location), _declared(location))
    file = view.location_file(location, own_name(location))
    if file.exists() and "there is no " not in why.message:
        return _without_line(row, file, why.message)
    step = why.hint or "put the location back, or take it out of the declaration"
    return Row(*row, "not there", NOTHING, NOTHING, "location-gone", why.message, step)


def _without_line(row: tuple[str, str, str], file: Path, why: str) -> Row:
    what = f"the location does not include {file}: {why}"
    step = f"put the line back into the location: include {quote(str(file))};"
    return Row(*row, "not as declared", NOTHING, NOTHING, "include-gone", what, step)


def location_row(location: Location, name: str, view: View, sighting: Sighting, *, shared: bool) -> Row:
    """A declared location.

    Args:
        location: as declared.
        name: of its file.
        view: what is there, and what would change.
        sighting: whom its identity's witness saw.
        shared: whether another declared location includes the same file.
    """
    row = (*_named(location), _declared(location))
    if shared and name != own_name(location):
        other = view.location_file(location, name)
        return _without_line(
            row, view.location_file(location, own_name(location)), f"it includes {other} of another location"
        )
    file = view.location_file(location, name)
    place = view.adds(file)
    if place:
        made = file.exists()
        why = "its include line is gone, or was edited" if made else "the declaration was not applied yet"
        what = f"the location in {place} does not show the identity by troth's file: {why}"
        drift = "include-gone" if made else "not-applied"
        return Row(*row, "not as declared", NOTHING, NOTHING, drift, what, view.steps["apply"])
    node = next((one.node for one in included(view) if one.name == name), None)
    where = view.world.place(node.where if node is not None else str(file))
    newer = view.world.newer(
        [
            *([node.file] if node is not None else []),
            str(file),
            str(view.level_file("stream" if location.listen else "http")),
        ]
    )
    if newer:
        what = f"nginx runs with this location as it was before {newer[0][0]} changed"
        step = view.steps["reload"]
        return Row(*row, where, "as it was before", sighting.text, "older-configuration", what, step)
    return Row(*row, where, "as on disk" if view.world.since is not None else NOTHING, sighting.text)


def _named(location: Location) -> tuple[str, str]:
    """Kind and subject of its row."""
    return ("stream", location.listen) if location.listen else ("location", location.label)


def _declared(location: Location) -> str:
    return f"shows {location.identity}"


def undeclared_rows(view: View, declared: set[str]) -> Iterator[Row]:
    """Places that a change of ours left in the configuration and that the declaration no longer names.

    `declared` are the names of the location files that it does name.
    """
    for one in included(view):
        if one.name in declared and not view.adds(one.file):
            continue
        running = view.world.since is not None
        loaded = "older" if view.world.newer([one.node.file]) else "as on disk" if running else NOTHING
        what = f"{one.node.where} still shows an identity by troth's file, and nothing declares it there"
        step = f"declare it again, or take the change back: {view.steps['changes']}, then troth nginx undo ID"
        where = view.world.place(one.node.where)
        yield Row(*one.place, "not declared", where, loaded, NOTHING, "undeclared", what, step)
