"""A year of an agent: outages, full disks, clocks that jump, restarts, reloads, and people who ask how it is."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.agent.rig import Bench, SimulatedIssuer, kept, material
from tests.interop.stage import troth_program
from tests.prove.declared import site
from tests.rig.nginx import programs
from tests.rig.pki import HOUR, Pki
from troth.agent.agent import Agent
from troth.agent.config import Identity, load
from troth.agent.log import Log
from troth.agent.proxy import proxy_for
from troth.agent.state import only_agent, running_agent
from troth.cli.agent import status
from troth.host.generations import Material
from troth.host.nginx import alive

LONG = timedelta(days=90)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_an_authority_that_is_down_for_hours_is_asked_less_and_less_and_then_served(bench: Bench) -> None:
    agent = await bench.started()
    bench.wait(17 * HOUR)
    bench.issuer.refusals = {"app": "cannot reach https://ca.test: connection refused", "db": "the same"}
    asked = 0
    for _ in range(6 * 60):
        bench.wait(timedelta(minutes=1))
        await agent.act()
    asked = len(bench.issuer.asked)
    assert 20 < asked < 120, "tried on, and not every minute"
    assert bench.state().failures > 5
    assert "connection refused" in bench.state().last_error
    assert bench.state().next_action.startswith("try again")
    bench.issuer.refusals = {}
    for _ in range(40):
        bench.wait(timedelta(minutes=1))
        await agent.act()
    assert (bench.state().failures, bench.state().last_error) == (0, "")


@pytest.mark.parametrize("ahead", [timedelta(minutes=10), timedelta(days=90)])
async def test_a_clock_that_ran_ahead_and_went_back_does_not_stop_the_renewals(bench: Bench, ahead: timedelta) -> None:
    """A machine that starts with a wrong clock, until NTP sets it right."""
    bench.wait(ahead)
    agent = await bench.started()
    bench.passed -= ahead
    bench.issuer.shift -= ahead
    await agent.act()
    if ahead > HOUR:
        assert sorted(bench.issuer.asked) == ["app", "db"], "certificates whose life has not begun are replaced"
    assert agent.seconds_until_due() < 25 * 3600
    bench.wait(20 * HOUR)
    await agent.act()
    assert set(bench.issuer.asked) == {"app", "db"}, "renewed in time by the clock of today"


async def test_what_waits_to_be_tried_again_is_not_put_off_by_a_clock_that_went_back(bench: Bench) -> None:
    bench.wait(LONG)
    agent = await bench.started()
    bench.wait(20 * HOUR)
    bench.issuer.refusals = {"app": "no"}
    await agent.act()
    bench.wait(-LONG)
    await agent.act()
    assert agent.seconds_until_due() < 1800


async def test_a_clock_that_jumps_ahead_renews_at_once(bench: Bench) -> None:
    agent = await bench.started()
    bench.wait(LONG)
    results = await agent.act()
    assert all(result.ok for result in results) and len(results) == 2


async def test_a_state_that_cannot_be_written_leaves_no_generations_behind(bench: Bench) -> None:
    """As when its disk is full: the new files have a place, the record of the rotation has none."""
    agent = await bench.started()
    numbers = bench.generations().numbers()
    (bench.config.state / "journal").rmdir()
    (bench.config.state / "journal").write_text("in the way")
    for _ in range(5):
        (result, _) = await agent.rotate_now(*bench.config.identities)
        assert "cannot create directory" in result.error
    assert bench.generations().numbers() == numbers
    assert bench.serial() == bench.proxy.shown["app"]
    (bench.config.state / "journal").unlink()
    assert all(result.ok for result in await agent.rotate_now(*bench.config.identities))


@contextlib.contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """As on a full disk, every write beyond this many bytes fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 100, 500])
async def test_a_full_disk_leaves_the_old_pair_in_place_and_nothing_half_written(bench: Bench, size: int) -> None:
    """Not even the key fits, or the key and not the chain; and the state cannot be written either."""
    agent = await bench.started()
    old, numbers = bench.serial(), bench.generations().numbers()
    fresh = material(bench.pki.leaf("app.test", file="fresh"), bench.pki.trust)
    bench.issuer.faulty = lambda _: fresh
    with no_file_longer_than(size):
        for _ in range(3):
            (result,) = await agent.rotate_now(bench.app)
            assert not result.ok and "cannot write" in result.error
    assert bench.serial() == old == bench.proxy.shown["app"]
    assert bench.generations().numbers() == numbers
    assert not list(bench.directory.rglob("*.tmp")) and bench.records() == []
    (result,) = await agent.rotate_now(bench.app)
    assert result.ok and bench.serial() != old
    assert bench.state().failures == 0


async def test_what_nobody_foresaw_of_one_authority_is_the_failure_of_one_identity(bench: Bench) -> None:
    agent = await bench.started()
    fresh = material(bench.pki.leaf("db.test", file="fresh"), bench.pki.trust)

    def surprising(identity: Identity) -> Material:
        if identity.name == "app":
            raise ValueError("an answer like no other")
        return fresh

    bench.issuer.faulty = surprising
    results = {result.name: result for result in await agent.rotate_now(*bench.config.identities)}
    assert results["app"].error.startswith("internal error (ValueError)")
    assert results["db"].ok


async def test_a_directory_that_the_system_will_not_look_into_is_a_failure_and_not_an_end(bench: Bench) -> None:
    beyond = kept(bench.directory / ("x" * 300), "app")
    bench.config = replace(bench.config, identities=(beyond, bench.config.identities[1]))
    agent = bench.agent()
    await agent.start()
    results = {result.name: result for result in await agent.act()}
    assert "file name too long" in results["app"].error
    assert results["db"].ok


async def test_a_year_of_rotations_leaves_three_generations(bench: Bench) -> None:
    agent = await bench.started()
    for _ in range(60):
        bench.wait(20 * HOUR)
        assert all(result.ok for result in await agent.act())
    for name in ("app", "db"):
        assert len(bench.generations(name).numbers()) == 3
        assert not list(bench.generations(name).directory.rglob("*.tmp"))
    assert bench.records() == []


async def test_nginx_that_stops_and_starts_under_the_agent(bench: Bench) -> None:
    agent = await bench.started()
    bench.proxy.up = False
    bench.wait(20 * HOUR)
    assert all(result.ok and result.proof.kind == "" for result in await agent.act())
    bench.proxy.up = True
    bench.proxy.load()
    bench.wait(20 * HOUR)
    assert all(result.ok and result.proof.kind == "witness" for result in await agent.act())


@pytest.mark.parametrize("build", sorted(programs()))
async def test_a_real_nginx_that_stops_starts_and_is_killed_under_the_agent(build: str) -> None:
    with site(build) as found:
        found.done("apply", "--yes")
        config = load(found.toml)
        named = replace(config.nginx, binary=found.nginx.binary, conf=found.nginx.main, prefix=found.directory)
        config = replace(config, nginx=named)
        agent = Agent(config, SimulatedIssuer(found.pki), proxy_for(config), Log(quiet=True))
        await agent.start()

        async def proof() -> str:
            (result,) = await agent.rotate_now(config.identities[0])
            assert result.ok, result.error
            return result.proof.kind

        assert await proof() == "witness"
        found.nginx.stop()
        assert await proof() == "", "kept, and nothing is claimed"
        found.nginx.start()
        assert await proof() == "witness"
        generation = found.nginx.generation()
        for pid in (generation.master, *generation.workers):
            os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + 10
        while any(alive(pid) for pid in (generation.master, *generation.workers)) and time.monotonic() < until:
            time.sleep(0.02)
        assert (found.directory / "nginx.pid").exists(), "as nobody removed it"
        assert await proof() == ""
        found.nginx.start()
        assert await proof() == "witness"
        assert len(found.generations.numbers()) == 3


def declaration(directory: Path, more: str = "") -> Path:
    """Files of their owner's, no nginx."""
    pki = Pki(directory / "pki")
    pair = pki.leaf("own.test")
    path = directory / "troth.toml"
    path.write_text(
        f'[agent]\nstate = "state"\nlog = "json"\n{more}[[identity]]\nname = "own"\n'
        f'certificate = "{pair.certificate}"\nkey = "{pair.key}"\ntrust = "{pki.trust}"\n'
    )
    return path


def once(config: Path, *, stderr: int | None = subprocess.PIPE) -> "subprocess.CompletedProcess[str]":
    command = [*troth_program(), "agent", "run", "--config", str(config), "--once"]
    return subprocess.run(command, stdin=subprocess.DEVNULL, stderr=stderr, text=True, timeout=60, check=False)


class Running:
    """A real agent with its log."""

    def __init__(self, config: Path) -> None:
        self.log = config.parent / "log"
        command = [*troth_program(), "agent", "run", "--config", str(config)]
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)

    @property
    def logged(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def wait_for(self, message: str, count: int = 1) -> dict[str, Any]:
        until = time.monotonic() + 30
        while len(found := [one for one in self.logged if one["msg"] == message]) < count:
            assert time.monotonic() < until and self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        return found[-1]


@contextlib.contextmanager
def running(config: Path) -> Iterator[Running]:
    found = Running(config)
    try:
        yield found
    finally:
        found.process.kill()
        found.process.wait(20)


def test_hup_reads_the_file_again_and_one_that_is_no_use_changes_nothing(tmp_path: Path) -> None:
    config = declaration(tmp_path)
    text = config.read_text()
    with running(config) as agent:
        agent.wait_for("agent started")
        config.write_text(text.replace("name =", "nome ="))
        agent.process.send_signal(signal.SIGHUP)
        said = agent.wait_for("configuration not read again, the old one stays")
        assert "unknown key 'nome'" in said["error"]
        config.write_text(text.replace('state = "state"', 'state = "other"'))
        agent.process.send_signal(signal.SIGHUP)
        assert "state cannot change" in agent.wait_for("configuration not read again, the old one stays", 2)["error"]
        config.write_text(text + text.partition("[[identity]]")[2].replace('"own"', '"two"').join(["[[identity]]", ""]))
        agent.process.send_signal(signal.SIGHUP)
        assert agent.wait_for("configuration read again")["identities"] == 2
        agent.process.send_signal(signal.SIGTERM)
        assert agent.process.wait(20) == 0
        assert agent.logged[-1]["msg"] == "agent stopped"
    assert not (tmp_path / "other").exists()


def test_two_agents_do_not_work_with_one_state_and_the_second_says_who_does(tmp_path: Path) -> None:
    config = declaration(tmp_path)
    with running(config) as agent:
        agent.wait_for("agent started")
        done = once(config)
        assert done.returncode == 1
        assert f"another agent works with {tmp_path}/state (process {agent.process.pid})" in done.stderr
        assert agent.process.poll() is None


def test_a_log_that_cannot_be_written_does_not_end_the_agent(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        assert once(declaration(tmp_path), stderr=full.fileno()).returncode == 0
    states = json.loads((tmp_path / "state" / "state.json").read_text())
    assert states["identities"][0]["last_result"] == "ok"


def test_a_failure_says_what_to_do_in_log_and_status(tmp_path: Path) -> None:
    config = tmp_path / "troth.toml"
    config.write_text(
        '[agent]\nlog = "json"\n[[identity]]\nname = "app"\nca = { url = "https://127.0.0.1:1", root = "ca.crt" }\n'
        'dir = "app"\n'
    )
    (tmp_path / "ca.crt").write_bytes(Pki(tmp_path / "pki").trust.read_bytes())
    done = once(config)
    assert done.returncode == 1
    (line,) = [json.loads(line) for line in done.stderr.splitlines()]
    assert (line["level"], line["identity"]) == ("error", "app")
    assert "no credential to get one" in line["error"]
    assert "add password-file or token-file" in line["hint"]
    code, said = ask(config)
    assert code == 2
    assert "error: identity app has no certificate" in said and "hint: add password-file or token-file" in said


def ask(config: Path, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(status, ["--config", str(config), *words], standalone_mode=False)
    assert result.exception is None, result.exception
    return result.return_value, result.stdout


def test_status_says_whether_an_agent_runs(tmp_path: Path) -> None:
    config = declaration(tmp_path)
    assert once(config).returncode == 0
    assert running_agent(tmp_path / "state") is None
    code, said = ask(config)
    assert (code, said.splitlines()[-1]) == (0, "no agent runs")
    with only_agent(tmp_path / "state"):
        code, said = ask(config)
        assert (code, said.splitlines()[-1]) == (0, f"the agent runs, process {os.getpid()}")
        assert json.loads(ask(config, "--json")[1])["agent"] == {"pid": os.getpid()}
    assert json.loads(ask(config, "--json")[1])["agent"] == {"pid": None}


@pytest.mark.parametrize(("ago", "code"), [(timedelta(minutes=5), 0), (timedelta(minutes=20), 2)])
async def test_a_renewal_that_nobody_made_is_overdue(tmp_path: Path, ago: timedelta, code: int) -> None:
    """The agent is gone, the certificate still good: nothing has failed, and all will fail."""
    bench = Bench(tmp_path)
    await bench.started()
    file = bench.config.state / "state.json"
    states = json.loads(file.read_text())
    states["identities"][0]["next_at"] = (bench.now() - ago).isoformat(timespec="seconds").replace("+00:00", "Z")
    file.write_text(json.dumps(states))
    config = tmp_path / "troth.toml"
    config.write_text(f'[agent]\nstate = "{bench.config.state}"\n')
    found, said = ask(config)
    assert found == code
    assert ("overdue: renew since" in said and "no agent runs" in said) is (code == 2)
    assert json.loads(ask(config, "--json")[1])["identities"][0]["overdue"] is (code == 2)
