"""``troth nginx rotate``: a new certificate now, proven; measured under load; and what it cannot rotate."""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from subprocess import DEVNULL, CompletedProcess, Popen

import pytest

from tests.agent.sites import Site, site
from tests.interop.stage import troth_program
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


def test_beside_a_command_at_work_it_gives_way(visited: Site) -> None:
    state = visited.stage.proxy / "troth-state"
    with only_agent(state):
        done = run(visited)
    assert done.returncode == 1
    assert f"(process {os.getpid()})" in done.stderr
    assert f"error: another agent works with {state}, and cannot be asked on {state}/agent.sock: " in done.stderr
    assert "hint: wait until it is done, or stop it" in done.stderr


@contextlib.contextmanager
def agent_at_work(visited: Site) -> Iterator["Popen[bytes]"]:
    log = visited.stage.proxy / "agent.log"
    command = [*troth_program(), "agent", "run", "--config", str(visited.stage.declaration)]
    with log.open("wb") as stream, Popen(command, stdin=DEVNULL, stdout=stream, stderr=stream) as process:
        until = time.monotonic() + 30
        while b"agent started" not in log.read_bytes() and time.monotonic() < until:
            time.sleep(0.02)
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.timeout(120)
def test_a_running_agent_is_asked_and_goes_on(visited: Site) -> None:
    with agent_at_work(visited) as agent:
        before = seen(visited)
        done = run(visited, "myuser", "--json")
        assert done.returncode == 0, done.stderr
        assert f"(process {agent.pid}): it is asked to rotate" in done.stderr
        (turn,) = json.loads(done.stdout)["rotations"]
        assert (turn["ok"], turn["proof"]) == (True, "witness")
        assert before != seen(visited) == int(turn["serial"], 16)
        measured = run(visited, "--measure", "--times", "2", "--connections", "2", "--json")
        report = json.loads(measured.stdout)
        assert [one["ok"] for one in report["rotations"]] == [True, True]
        assert not report["measured"]["failures"]
        states = json.loads((visited.stage.proxy / "troth-state" / "state.json").read_text())["identities"]
        assert [int(one["serial"]) for one in states] == [seen(visited)]
        assert agent.poll() is None
        agent.terminate()
        assert agent.wait(30) == 0
    assert not (visited.stage.proxy / "troth-state" / "agent.sock").exists()


def test_what_the_running_agent_has_not_read_it_does_not_rotate(visited: Site) -> None:
    text = visited.stage.declaration.read_text()
    with agent_at_work(visited) as agent:
        visited.stage.declaration.write_text(text.replace('"myuser"', '"later"'))
        try:
            done = run(visited, "later")
        finally:
            visited.stage.declaration.write_text(text)
        assert done.returncode == 1
        assert "error: the running agent refuses: it rotates no identity 'later', as it last read " in done.stderr
        assert f"hint: make it read the file again: kill -HUP {agent.pid}" in done.stderr
