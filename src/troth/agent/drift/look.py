"""The comparison as a whole: what is declared against the world, row by row."""

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from troth.agent.changes import APPLYING, Change, Journal
from troth.agent.config import Config as Declared
from troth.agent.config import Location
from troth.agent.drift.generated import file_rows, left_over_rows, level_rows
from troth.agent.drift.guards import guard_rows
from troth.agent.drift.identities import BY_WORKERS, IN_MEMORY, NOT, identity_rows, keep
from troth.agent.drift.locations import View, gone_row, location_row, own_name, undeclared_rows
from troth.agent.drift.process import configuration_row, process_row
from troth.agent.drift.rows import NOTHING, Row
from troth.agent.drift.wire import Sighting, see
from troth.agent.drift.world import World, observe
from troth.agent.proxy import witness_directory
from troth.host.nginx import Nginx
from troth.nginx import NginxError
from troth.nginx.family import FAMILIES
from troth.nginx.plan import Plan
from troth.nginx.tree import Config

Planner = Callable[[Config, Sequence[Location]], Plan]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is declared, and how it is planned.

    `steps` are the commands that mend: ``apply``, ``reload``, ``renew``, ``changes``.
    """

    declared: Declared
    include_dir: Path
    state: Path
    plan: Planner
    steps: Mapping[str, str]


def find_drift(nginx: Nginx, wanted: Wanted, now: datetime) -> list[Row]:
    """Compare; every thing has a row, and those whose `drift` is not empty depart.

    Raises:
        TrothError: the configuration or the journal cannot be read.
    """
    world = observe(nginx)
    changes = Journal(wanted.state / "changes").all()
    kept = {identity.name: keep(identity) for identity in wanted.declared.identities}
    held = {name: _held(world, wanted.include_dir, name) for name in kept}
    directory = witness_directory(wanted.declared)
    sightings = {
        name: see(name, wanted.include_dir, directory, one.anchors, one.serial)
        if held[name] != NOT and world.generation is not None
        else Sighting()
        for name, one in kept.items()
    }
    rows = [process_row(world), configuration_row(world, wanted.steps["reload"]), *_interrupted(changes, wanted.steps)]
    rows += _nginx_rows(world, wanted, changes, sightings)
    for name, one in kept.items():
        rows += identity_rows(one, world, sightings[name], now, wanted.steps, held[name])
    return rows


def _held(world: World, include_dir: Path, name: str) -> str:
    """How nginx has an identity's pair, from the files that apply wrote and nginx includes."""
    files = (str(include_dir / family.identity_file(name)) for family in FAMILIES)
    texts = [world.config.files[file] for file in files if file in world.config.files]
    if not texts:
        return NOT
    return BY_WORKERS if any(re.search(rb"_ssl_certificate \$", text) for text in texts) else IN_MEMORY


def _interrupted(changes: Sequence[Change], steps: Mapping[str, str]) -> list[Row]:
    return [
        Row(
            *("change", change.id, NOTHING, "half made", NOTHING, NOTHING, "interrupted"),
            *(f"change {change.id} was interrupted, the next apply or undo takes it back first", steps["apply"]),
        )
        for change in changes
        if change.state == APPLYING
    ]


def _nginx_rows(world: World, wanted: Wanted, changes: list[Change], sightings: Mapping[str, Sighting]) -> list[Row]:
    """The rows on locations and generated files."""
    plan, fitting, refused = _plan_what_fits(world.config, wanted)
    names = dict(zip(fitting, (binding.name for binding in plan.bindings), strict=True)) if plan is not None else {}
    view = View(world, wanted.include_dir, plan, wanted.steps)
    rows = [
        gone_row(one, refused[one], view)
        if one in refused
        else location_row(
            one, names[one], view, sightings[one.identity], shared=list(names.values()).count(names[one]) > 1
        )
        for one in wanted.declared.locations
    ]
    rows += undeclared_rows(view, set(names.values()))
    rows += guard_rows(wanted.declared.guards, view, _guards_refused(world.config, wanted))
    if plan is not None:
        rows += [
            *level_rows(view),
            *file_rows(view, changes, whole=not refused and len(set(names.values())) == len(names)),
        ]
    own = {str(view.location_file(one, own_name(one))) for one in wanted.declared.locations}
    return rows if refused else [*rows, *left_over_rows(view, own)]


def _guards_refused(config: Config, wanted: Wanted) -> NginxError | None:
    """Why the servers that ask for client certificates cannot be planned; None when they can."""
    try:
        wanted.plan(config, [])
    except NginxError as error:
        return error
    return None


def _plan_what_fits(config: Config, wanted: Wanted) -> tuple[Plan | None, list[Location], dict[Location, NginxError]]:
    """The plan of all locations that can be planned, those, and why the others cannot."""
    every = list(wanted.declared.locations)
    with contextlib.suppress(NginxError):
        return wanted.plan(config, every), every, {}
    fitting: list[Location] = []
    refused: dict[Location, NginxError] = {}
    # A location inside another is planned with it only: what is refused alone may fit once the others are there.
    for location in every * 2:
        if location in fitting:
            continue
        try:
            wanted.plan(config, [*fitting, location])
        except NginxError as error:
            refused[location] = error
        else:
            fitting.append(location)
            refused.pop(location, None)
    return (wanted.plan(config, fitting) if fitting else None), fitting, refused
