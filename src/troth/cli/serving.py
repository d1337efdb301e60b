"""What ``troth ca serve`` does before the server takes over: find the files, the password, and the pid file."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from troth.cli.founding import read_password
from troth.errors import UsageError
from troth.host import terminal
from troth.host.files import write_file
from troth.host.steppath import StepPath, served_base
from troth.server.state import base_of
from troth.server.workers import Options, run
from troth.x509.keys import KeyPasswordError

CREDENTIAL = "ca-password"


def serve(config: str, context: str, password_file: str, workers: int, pidfile: str, quiet: bool) -> int:
    """Serve until stopped; the exit code.

    A context says whose configuration is meant when no file is named, and has to exist in any case, as with step-ca.

    Raises:
        TrothError: it cannot be served.
    """
    base = served_base(context) if context or not config else Path()
    path = Path(config) if config else StepPath(base.absolute()).ca_config
    if not path.exists():
        hint = "create an authority: troth ca init" if not config else "name the file: troth ca serve /path/to/ca.json"
        raise UsageError(f"configuration {path} does not exist", hint=hint)

    credential = _credential()

    def password(key: str) -> bytes:
        if password_file or credential:
            return read_password(password_file or credential)
        return terminal.ask_password(f"Password of {key}", otherwise="give --password-file")

    with _pid_file(pidfile):
        try:
            return run(Options(path.absolute(), base_of(path), password, workers, quiet))
        except KeyPasswordError as error:
            file = password_file or credential
            error.hint = f"check what is in {file}" if file else "try again, or give --password-file FILE"
            raise


def _credential() -> str:
    """The password that a service manager hands over (systemd's ``LoadCredential=ca-password:FILE``), or nothing."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY", "")
    path = Path(directory) / CREDENTIAL
    return str(path) if directory and path.is_file() else ""


@contextlib.contextmanager
def _pid_file(name: str) -> Iterator[None]:
    if not name:
        yield
        return
    path = Path(name)
    write_file(path, f"{os.getpid()}\n".encode(), 0o644)
    # Until the server has its own handlers, the end that SIGTERM brings must still take the file away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
