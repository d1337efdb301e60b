"""The demo's directory, its free ports, and the programs it starts, through the command line a person would use."""

import contextlib
import os
import secrets
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from troth.errors import TrothError
from troth.host.files import make_directory, write_file
from troth.host.ports import free_ports

COMMAND_TIMEOUT = 60
START_TIMEOUT = 30
UPSTREAM_NAME = "myserver.internal.net"
PROXY_NAME = "proxy.internal.net"


class DemoError(TrothError):
    """A step of the demo could not be made; nothing of it keeps running."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Directories and ports; everything the demo writes is below `base`."""

    base: Path
    ca_port: int
    proxy_port: int
    trial_port: int
    upstream_ports: dict[str, int]

    @property
    def authority(self) -> Path:
        return self.base / "ca"

    @property
    def upstream(self) -> Path:
        return self.base / "upstream"

    @property
    def proxy(self) -> Path:
        return self.base / "proxy"

    @property
    def trials(self) -> Path:
        return self.base / "trials"

    @property
    def steppath(self) -> Path:
        return self.base / "step"

    @property
    def password_file(self) -> Path:
        return self.base / "password"

    @property
    def declaration(self) -> Path:
        return self.proxy / "troth.toml"

    @property
    def ca_url(self) -> str:
        return f"https://localhost:{self.ca_port}"

    @property
    def proxy_url(self) -> str:
        return f"http://127.0.0.1:{self.proxy_port}/upstream"


def prepare(base: Path) -> Stage:
    """Make the directories, a password and free ports.

    Raises:
        FileError: a directory cannot be made.
    """
    names = ("good", "foreign", "wrong-name", "expired", "client-only")
    ports = free_ports(3 + len(names))
    stage = Stage(base, ports[0], ports[1], ports[2], dict(zip(names, ports[3:], strict=True)))
    for directory in (stage.upstream, stage.proxy, stage.trials, stage.steppath):
        make_directory(directory, 0o755)
    write_file(stage.password_file, secrets.token_urlsafe(18).encode() + b"\n")
    return stage


def troth(stage: Stage, *arguments: str, steppath: Path | None = None, cwd: Path | None = None) -> str:
    """Run one troth command as a person would, and return its standard output.

    Raises:
        DemoError: it did not exit 0; the message quotes what it printed.
    """
    done = attempt(stage, *arguments, steppath=steppath, cwd=cwd)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-600:]
        raise DemoError(f"'troth {shlex.join(arguments)}' exited {done.returncode}: {said}")
    return done.stdout


def attempt(
    stage: Stage,
    *arguments: str,
    steppath: Path | None = None,
    cwd: Path | None = None,
    timeout: float = COMMAND_TIMEOUT,
) -> "subprocess.CompletedProcess[str]":
    """Run one troth command and return whatever came of it; `timeout` is in seconds.

    Raises:
        DemoError: it did not end in time.
    """
    try:
        return subprocess.run(
            [*program(), *arguments],
            cwd=cwd or stage.proxy,
            env=environment(stage, steppath or stage.steppath),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DemoError(f"'troth {shlex.join(arguments)}' did not end within {timeout:.0f} s") from None


def program() -> list[str]:
    """This very troth, as a command."""
    return [sys.executable, "-c", "from troth.cli.app import main; main()"]


def environment(stage: Stage, steppath: Path) -> dict[str, str]:
    """The caller's environment without its step settings, so that nothing of theirs is read or written."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STEP")}
    return {**kept, "STEPPATH": str(steppath), "STEP_PROVISIONER_PASSWORD_FILE": str(stage.password_file)}


@contextlib.contextmanager
def authority(stage: Stage) -> Iterator[None]:
    """``troth ca serve`` on the demo's directory while the block runs.

    Raises:
        DemoError: it did not start; the message quotes its log.
    """
    log = stage.authority / "server.log"
    config = str(stage.authority / "config" / "ca.json")
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [*program(), "ca", "serve", config, "--password-file", str(stage.password_file)],
            env=environment(stage, stage.authority),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
        )
    try:
        _await_port(process, stage.ca_port, log)
        yield
    finally:
        _end(process)


def _await_port(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise DemoError(f"the authority did not start: {log.read_text()[-600:].strip()}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def show(arguments: Sequence[str]) -> str:
    """A command line as a person would type it."""
    return shlex.join(["troth", *arguments])
