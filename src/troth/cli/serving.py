"""What ``troth ca serve`` does before the server takes over: find the files, the password, and the pid file."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from troth.cli.founding import read_password
from troth.errors import UsageError
from troth.host import terminal
from troth.host.files import write_file
from troth.host.steppath import StepPath, step_base
from troth.server.state import base_of
from troth.server.workers import Options, run


def serve(config: str, password_file: str, workers: int, pidfile: str, quiet: bool) -> int:
    """Serve until stopped; the exit code.

    Raises:
        TrothError: it cannot be served.
    """
    path = Path(config) if config else StepPath(step_base().absolute()).ca_config
    if not path.exists():
        hint = "create an authority: troth ca init" if not config else "name the file: troth ca serve /path/to/ca.json"
        raise UsageError(f"configuration {path} does not exist", hint=hint)

    def password(key: str) -> bytes:
        if password_file:
            return read_password(password_file)
        return terminal.ask_password(f"Password of {key}", otherwise="give --password-file")

    with _pid_file(pidfile):
        return run(Options(path.absolute(), base_of(path), password, workers, quiet))


@contextlib.contextmanager
def _pid_file(name: str) -> Iterator[None]:
    if not name:
        yield
        return
    path = Path(name)
    write_file(path, f"{os.getpid()}\n".encode(), 0o644)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
