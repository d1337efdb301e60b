"""``troth nginx rotate``: a new certificate now, proven; measured under load; and what it cannot rotate."""

import json
import os
from collections.abc import Iterator
from subprocess import CompletedProcess

import pytest

from tests.agent.sites import Site, site
from troth.agent.state import only_agent
from troth.cli.demo.stage import attempt


@pytest.fixture(scope="module", params=["bundled", "system"])
def visited(request: pytest.FixtureRequest) -> Iterator[Site]:
    with site(request.param) as found:
        yield found


def run(visited: Site, *words: str) -> "CompletedProcess[str]":
    return attempt(visited.stage, "nginx", "rotate", *words, "--config", str(visited.stage.declaration))


def seen(visited: Site) -> int:
    status, body = visited.ask()
    assert status == 200
    return int(json.loads(body)["serial"], 16)


def test_once_it_is_on_the_wire(visited: Site) -> None:
    before = seen(visited)
    done = run(visited, "myuser")
    assert done.returncode == 0, done.stderr
    assert seen(visited) != before
    assert f"serial {seen(visited):x} in" in done.stdout
    assert "✔ proof               witness: nginx showed serial" in done.stdout


@pytest.mark.timeout(120)
def test_measured_it_says_what_was_lost_how_late_an_old_one_was_seen_and_why(visited: Site) -> None:
    done = run(visited, "--measure", "--times", "3", "--connections", "4", "--json")
    report = json.loads(done.stdout)
    measured = report["measured"]
    assert len(report["rotations"]) == 3
    assert all(turn["ok"] and turn["proof"] == "witness" for turn in report["rotations"])
    assert measured["serials_reported"] is True
    assert measured["requests"] > 100
    assert measured["old_workers_ended"] is True
    assert not measured["failures"]
    assert 0 < measured["last_old"] <= measured["bound"]
    raceless = visited.proxy.capabilities().keepalive_min_timeout
    assert ("keepalive_min_timeout" if raceless else "reload itself") in measured["bounded_by"]
    assert done.returncode == (2 if measured["lost"] else 0)
    if raceless:
        assert not measured["lost"]


def test_a_url_that_does_not_answer_is_refused_before_anything_is_rotated(visited: Site) -> None:
    before = seen(visited)
    done = run(visited, "--measure", "--url", f"http://127.0.0.1:{visited.stage.proxy_port}/nowhere")
    assert done.returncode == 1
    assert "answers 404: expected 200 before anything is rotated" in done.stderr
    assert "hint: see why: troth nginx doctor" in done.stderr
    assert seen(visited) == before


@pytest.mark.parametrize("url", ["https://127.0.0.1/", "upstream", "http://"])
def test_a_url_that_cannot_be_asked_is_refused(visited: Site, url: str) -> None:
    done = run(visited, "--measure", "--url", url)
    assert done.returncode == 1
    assert "expected http://host[:port]/path" in done.stderr


def test_an_unknown_identity_is_refused_with_those_there_are(visited: Site) -> None:
    done = run(visited, "nobody")
    assert done.returncode == 1
    assert "there is no identity 'nobody'; there are: myuser" in done.stderr


def test_beside_an_agent_at_work_it_gives_way(visited: Site) -> None:
    with only_agent(visited.stage.proxy / "troth-state"):
        done = run(visited)
    assert done.returncode == 1
    assert f"(process {os.getpid()})" in done.stderr
