"""``kill -9`` of the agent at every step of a rotation: nginx serves on, the files match, the next start converges."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.sites import Site, site
from tests.rig.nginx import programs
from troth.agent.rotation import STEPS
from troth.agent.state import JOURNAL
from troth.cli.demo.stage import attempt
from troth.host.generations import KEPT
from troth.x509.keys import key_matches, parse_private_key
from troth.x509.pem import parse_certificates

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=list(programs()))
def crashing(request: pytest.FixtureRequest) -> Iterator[Site]:
    with site(str(request.param)) as found:
        yield found


class Visitor:
    """Asks through the proxy all the time while the block runs, a fresh connection each; keeps what went wrong."""

    def __init__(self, visited: Site) -> None:
        self._site = visited
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.served = 0
        self.wrong: list[str] = []

    def __enter__(self) -> "Visitor":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)

    def _ask(self) -> None:
        while not self._stop.is_set():
            try:
                status, body = self._site.ask()
            except OSError as error:
                self.wrong.append(repr(error))
                continue
            if status == 200 and b"CN=myuser" in body:
                self.served += 1
            else:
                self.wrong.append(f"{status} {body[:200]!r}")
            time.sleep(0.005)


def serial_in_use(identity: Path) -> int:
    """The serial of the certificate at the identity's path; the key beside it must be its own."""
    current = identity / "current"
    certificate = parse_certificates((current / "client.crt").read_bytes())[0]
    assert key_matches(certificate, parse_private_key((current / "client.key").read_bytes()))
    return certificate.serial_number


def serial_on_the_wire(visited: Site) -> int:
    status, body = visited.ask()
    assert status == 200
    return int(json.loads(body)["serial"], 16)


def kill_at(visited: Site, step: str) -> "subprocess.CompletedProcess[bytes]":
    """A rotation by an agent that ends itself at this step."""
    return subprocess.run(
        [sys.executable, "-m", "tests.agent.victim", str(visited.stage.declaration), step],
        cwd=ROOT,
        env={**os.environ, "STEPPATH": str(visited.stage.steppath)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("step", STEPS)
def test_killed_after(crashing: Site, step: str) -> None:
    stage = crashing.stage
    old = serial_in_use(crashing.identity)
    with Visitor(crashing) as visitor:
        victim = kill_at(crashing, step)
        assert victim.returncode == -signal.SIGKILL, victim.stderr.decode()
        between = serial_in_use(crashing.identity)
        restarted = attempt(stage, "agent", "run", "--config", str(stage.declaration), "--once")
        assert restarted.returncode == 0, restarted.stderr
    assert not visitor.wrong
    assert visitor.served > 5
    final = serial_in_use(crashing.identity)
    assert serial_on_the_wire(crashing) == final
    # Before the switch the old pair stays in use; from then on the new one does.
    assert (between == old) == (step in ("obtained", "staged", "recorded"))
    assert final == between
    status = attempt(stage, "agent", "status", "--config", str(stage.declaration), "--json")
    assert status.returncode == 0, status.stdout
    assert str(final) in status.stdout
    left = list((crashing.identity / "generations").iterdir())
    assert all(sorted(path.name for path in one.iterdir()) == ["ca.crt", "client.crt", "client.key"] for one in left)
    assert 1 <= len(left) <= KEPT
    assert not list(stage.proxy.rglob(f"{JOURNAL}/*.json"))


def test_killed_twice_in_a_row_still_converges(crashing: Site) -> None:
    stage = crashing.stage
    for step in ("recorded", "switched"):
        assert kill_at(crashing, step).returncode == -signal.SIGKILL
    restarted = attempt(stage, "agent", "run", "--config", str(stage.declaration), "--once")
    assert restarted.returncode == 0, restarted.stderr
    assert serial_on_the_wire(crashing) == serial_in_use(crashing.identity)
