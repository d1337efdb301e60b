"""Rows on nginx itself: whether it runs, the program on disk, and the configuration on disk."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from troth.agent.drift.rows import NOTHING, Row, command, moment
from troth.agent.drift.world import World
from troth.host.nginx import Generation, outgoing

MOST_NAMED = 3


def process_row(world: World) -> Row:
    """The running nginx against the program on disk."""
    binary, generation = world.nginx.binary, world.generation
    capabilities = world.nginx.capabilities()
    disk = f"{capabilities.name} {capabilities.version_text}"
    if generation is None:
        what = "nginx does not run: nothing shows the identities"
        return Row(
            *("nginx", "", "runs", disk, "does not run", NOTHING),
            *("not-running", what, f"start it: {command(world.nginx.command())}"),
        )
    ending = len(outgoing(generation.master))
    loaded = f"master {generation.master}, {len(generation.workers)} workers"
    loaded += f", {ending} old ones ending" if ending else ""
    if _replaced(binary, generation):
        what = f"master {generation.master} runs a program that {binary} no longer holds"
        step = f"restart nginx, or upgrade it while it serves: kill -USR2 {generation.master}"
        return Row("nginx", "", "runs", disk, loaded, NOTHING, "program-replaced", what, step)
    return Row("nginx", "", "runs", disk, loaded)


def _replaced(binary: Path, generation: Generation) -> bool:
    """A package that is updated puts another file in place of the one that runs."""
    with contextlib.suppress(OSError):
        return not binary.samefile(f"/proc/{generation.master}/exe")
    return False


def configuration_row(world: World, reload: str) -> Row:
    """The configuration on disk against what the workers were started with."""
    count = len(world.config.files)
    disk = f"{count} {'file' if count == 1 else 'files'}"
    loaded = f"since {moment(world.since)}" if world.since is not None else NOTHING
    row = ("configuration", "", Path(world.config.main).name, disk, loaded, NOTHING)
    if world.refused:
        what = f"nginx refuses what is on disk, and would not start with it: {world.refused}"
        return Row(*row, "refused", what, f"mend the line, or what is said of troth's own below; then: {reload}")
    newer = world.newer(world.sources())
    if newer:
        what = f"nginx runs with an older configuration than is on disk: {'; '.join(_named(newer))}"
        return Row(*row, "older-configuration", what, reload)
    return Row(*row)


def _named(newer: list[tuple[str, float]]) -> Iterator[str]:
    for path, at in newer[:MOST_NAMED]:
        yield f"{path} changed at {moment(at)}"
    if len(newer) > MOST_NAMED:
        yield f"and {len(newer) - MOST_NAMED} more"
