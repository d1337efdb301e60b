"""What both services tell systemd: ready when they serve, reloading and since when, alive while they are, stopping."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.interop.stage import free_port, initialise, troth_program
from tests.rig.notified import Notified, notified
from tests.rig.pki import Pki


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Notified]:
    with notified(tmp_path / "notify") as found:
        yield found


@contextlib.contextmanager
def running(command: Sequence[str], manager: Notified, directory: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(
            [*troth_program(), *command], env=manager.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(20)


def live_a_life(process: "subprocess.Popen[bytes]", manager: Notified) -> None:
    """Start, signs of life, a reload, an end."""
    manager.wait_for("READY=1")
    ready = manager.count("WATCHDOG=1")
    manager.wait_for("WATCHDOG=1", ready + 3)
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    process.send_signal(signal.SIGHUP)
    manager.wait_for("READY=1", 2)
    start = manager.said.index("RELOADING=1")
    name, _, since = manager.said[start + 1].partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(since) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert "READY=1" in manager.said[start:], "the reload has an end"
    assert manager.count("RELOADING=1") == 1
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    manager.hear()
    assert manager.count("STOPPING=1") == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_the_authority(tmp_path: Path, manager: Notified, workers: int) -> None:
    initialise(troth_program(), tmp_path / "ca", free_port())
    words = [str(tmp_path / "ca" / "config" / "ca.json"), "--password-file", str(tmp_path / "ca" / "password")]
    with running(["ca", "serve", *words, "--workers", str(workers)], manager, tmp_path) as process:
        live_a_life(process, manager)


def test_an_authority_that_cannot_reload_ends_the_reload_all_the_same(tmp_path: Path, manager: Notified) -> None:
    initialise(troth_program(), tmp_path / "ca", free_port())
    config = tmp_path / "ca" / "config" / "ca.json"
    words = [str(config), "--password-file", str(tmp_path / "ca" / "password")]
    with running(["ca", "serve", *words, "--workers", "2"], manager, tmp_path) as process:
        manager.wait_for("READY=1")
        config.write_text("{")
        process.send_signal(signal.SIGHUP)
        manager.wait_for("READY=1", 2)
    assert "not reloaded" in (tmp_path / "log").read_text()


def test_a_process_of_several_that_hangs_is_not_alive(tmp_path: Path, manager: Notified) -> None:
    """The supervisor would live on: what it says is what holds for all."""
    initialise(troth_program(), tmp_path / "ca", free_port())
    words = [str(tmp_path / "ca" / "config" / "ca.json"), "--password-file", str(tmp_path / "ca" / "password")]
    with running(["ca", "serve", *words, "--workers", "2"], manager, tmp_path) as process:
        manager.wait_for("READY=1")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGSTOP)
        time.sleep(3)
        manager.hear()
        seen = manager.count("WATCHDOG=1")
        time.sleep(2)
        manager.hear()
        assert manager.count("WATCHDOG=1") == seen
        os.kill(int(children[0]), signal.SIGCONT)
        manager.wait_for("WATCHDOG=1", seen + 1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_the_agent(tmp_path: Path, manager: Notified) -> None:
    pki = Pki(tmp_path / "pki")
    pair = pki.leaf("own.test")
    config = tmp_path / "troth.toml"
    config.write_text(
        f'[[identity]]\nname = "own"\ncertificate = "{pair.certificate}"\nkey = "{pair.key}"\ntrust = "{pki.trust}"\n'
    )
    with running(["agent", "run", "--config", str(config)], manager, tmp_path) as process:
        live_a_life(process, manager)
    assert "STATUS=1 identities, 0 problems in the last round" in manager.said


def test_a_child_is_not_the_one_that_the_manager_waits_for(manager: Notified) -> None:
    look = "from troth.host.systemd import watchdog_seconds; print(watchdog_seconds())"
    for pid, expected in (("", "2.0"), ("1", "None")):
        environment = {**manager.environment, "WATCHDOG_PID": pid}
        done = subprocess.run([sys.executable, "-c", look], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == expected


def test_the_password_comes_as_a_credential(tmp_path: Path, manager: Notified) -> None:
    initialise(troth_program(), tmp_path / "ca", free_port())
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (tmp_path / "ca" / "password").rename(credentials / "ca-password")
    command = [*troth_program(), "ca", "serve", str(tmp_path / "ca" / "config" / "ca.json")]
    environment = {**manager.environment, "CREDENTIALS_DIRECTORY": str(credentials)}
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        manager.wait_for("READY=1")
    finally:
        process.terminate()
        process.wait(20)
