"""Mode variable with a real nginx: no reload at a rotation, the new identity within the bound, and back again."""

import asyncio
import grp
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.sites import Site, site
from troth.agent.agent import Agent
from troth.agent.config import load
from troth.agent.issuer import AuthorityIssuer
from troth.agent.log import Log
from troth.agent.proxy import proxy_for
from troth.agent.state import only_agent
from troth.cli.demo.stage import attempt
from troth.nginx.render import CACHE_VALID_SECONDS, VARIABLE_KEEPALIVE_SECONDS

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has workers of another user")


@pytest.fixture
def visited() -> Iterator[Site]:
    with site("bundled") as found:
        yield found


def declare(visited: Site, mode: str, *, group: bool = True) -> str:
    path = visited.stage.declaration
    text = path.read_text().replace('path = "/upstream"', f'path = "/upstream"\nmode = "{mode}"', 1)
    gid = (Path("/proc") / str(min(visited.proxy.generation().workers))).stat().st_gid
    name = grp.getgrgid(gid).gr_name
    if group:
        text = text.replace('name = "myuser"', f'name = "myuser"\ngroup = "{name}"', 1)
    path.write_text(text)
    return name


def run(visited: Site, *words: str, ok: int = 0, timeout: float = 60) -> str:
    done = attempt(visited.stage, *words, "--config", str(visited.stage.declaration), timeout=timeout)
    assert done.returncode == ok, (done.stdout, done.stderr)
    return done.stdout


def seen(visited: Site) -> int:
    status, body = visited.ask()
    assert status == 200, body
    return int(json.loads(body)["serial"], 16)


async def rotated(visited: Site) -> str:
    """One rotation by the agent's own code; the new serial."""
    config = load(visited.stage.declaration)
    with only_agent(config.state):
        agent = Agent(config, AuthorityIssuer(), proxy_for(config), Log(quiet=True))
        await agent.start()
        result = (await agent.rotate_now(config.identity("myuser")))[0]
    assert result.ok, result.error
    assert result.facts is not None
    assert result.proof.kind == "witness"
    return str(result.facts.serial)


def test_a_rotation_needs_no_reload_and_the_way_back_is_a_plan(visited: Site) -> None:
    before = seen(visited)
    declare(visited, "variable")
    run(visited, "agent", "run", "--once")
    diff = run(visited, "nginx", "plan", ok=2)
    assert "# note: identity myuser is read by the workers at each handshake" in diff
    run(visited, "nginx", "apply", "--yes")
    assert run(visited, "nginx", "plan").startswith("nothing to do")
    workers = visited.proxy.generation().workers
    assert seen(visited) == before
    serial = int(asyncio.run(rotated(visited)))
    assert serial != before
    until = time.monotonic() + VARIABLE_KEEPALIVE_SECONDS + CACHE_VALID_SECONDS + 5
    while seen(visited) != serial:
        assert time.monotonic() < until
        time.sleep(0.2)
    assert visited.proxy.generation().workers == workers, "nothing was reloaded"
    report = json.loads(run(visited, "nginx", "inspect", "--json"))
    assert report["findings"] == [], report["findings"]
    drift = json.loads(run(visited, "nginx", "drift", "--json"))
    assert not [row for row in drift["rows"] if row["drift"]], drift
    assert "read by the workers" not in run(visited, "nginx", "prove")
    visited.stage.declaration.write_text(visited.stage.declaration.read_text().replace('mode = "variable"', ""))
    run(visited, "nginx", "apply", "--yes")
    assert run(visited, "nginx", "plan").startswith("nothing to do")
    assert seen(visited) == serial


@pytest.mark.timeout(170)
def test_no_request_is_lost_and_old_identities_end_with_their_connections(visited: Site) -> None:
    declare(visited, "variable")
    run(visited, "agent", "run", "--once")
    run(visited, "nginx", "apply", "--yes")
    words = ("nginx", "rotate", "--measure", "--times", "20", "--json")
    report = json.loads(run(visited, *words, timeout=150))
    measured = report["measured"]
    assert report["mode"] == "variable"
    assert len(report["rotations"]) == 20
    assert all(turn["proof"] == "witness" for turn in report["rotations"])
    assert measured["lost"] == 0
    assert measured["serials_reported"] is True
    assert measured["last_old"] <= measured["bound"] <= 75
    # On a machine that stands still for a minute every connection has ended before anybody looks.
    assert ("keepalive_time 50s" if measured["last_old"] else "it was not seen") in measured["bounded_by"]


def test_a_new_pair_that_the_workers_cannot_load_is_never_met(visited: Site) -> None:
    declare(visited, "variable")
    run(visited, "agent", "run", "--once")
    run(visited, "nginx", "apply", "--yes")
    before = seen(visited)
    text = visited.stage.declaration.read_text()
    visited.stage.declaration.write_text(re.sub(r"group = .*\n", "", text))
    with pytest.raises(AssertionError, match="may not read"):
        asyncio.run(rotated(visited))
    assert seen(visited) == before
