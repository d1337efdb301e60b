"""What runs after a certificate has changed: a signal to a process, then a command; without a shell."""

import os
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from troth.host import HostError
from troth.host.files import read_file

MAX_SIGNAL = 64


class HookError(HostError):
    """A hook cannot run, or failed; the certificate it was to announce is already written."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """A process to signal (by id or by pid file) and a command to run; empty ones are skipped."""

    command: tuple[str, ...] = ()
    pid: int = 0
    pid_file: str = ""
    signal_number: int = 1

    def run(self) -> None:
        """Signal, then run.

        Raises:
            HookError: the process is not there, or the command failed.
        """
        pid = self.pid or (read_pid(Path(self.pid_file)) if self.pid_file else 0)
        if pid:
            _signal(pid, self.signal_number)
        if self.command:
            _execute(self.command)


def parse_hooks(command: str = "", pid: int = 0, pid_file: str = "", signal_number: int = 1) -> Hooks:
    """Read the flags of step's renewal commands; a command is split as a shell would, but no shell runs.

    Raises:
        HookError: quotes do not match, both ``--pid`` and ``--pid-file``, or numbers that are none.
    """
    if pid and pid_file:
        raise HookError("--pid and --pid-file cannot be used together")
    if pid < 0 or not 1 <= signal_number <= MAX_SIGNAL:
        raise HookError(f"expected a positive --pid and a --signal from 1 to {MAX_SIGNAL}")
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise HookError(f"cannot read --exec {command!r}: {str(error).lower()}") from error
    return Hooks(words, pid, pid_file, signal_number)


def read_pid(path: Path) -> int:
    """The process id in a file; read each time, for a service that restarts gets another one.

    Raises:
        HookError: the file does not hold a process id.
        FileError: it cannot be read.
    """
    text = read_file(path, limit=4096).decode("ascii", "replace").strip()
    if not text.isdecimal() or int(text) < 1:
        raise HookError(f"{path} does not hold a process id")
    return int(text)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError as error:
        raise HookError(f"cannot send signal {number}: there is no process {pid}") from error
    except OSError as error:
        raise HookError(f"cannot send signal {number} to process {pid}: {(error.strerror or '').lower()}") from error


def _execute(command: tuple[str, ...]) -> None:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, check=False)
    except OSError as error:
        raise HookError(f"cannot run {command[0]!r}: {(error.strerror or str(error)).lower()}") from error
    if done.returncode:
        raise HookError(f"command {shlex.join(command)!r} failed: expected exit code 0, got {done.returncode}")
