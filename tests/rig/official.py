"""The official step-ca on the files of an authority of ours."""

import contextlib
import os
import subprocess
from collections.abc import Iterator

from tests.cli.accounts import program, wait_until_listening
from tests.rig.authority import Served


@contextlib.contextmanager
def official(served: Served) -> Iterator[None]:
    """Serve the directory with step-ca, on the same port; the log is ``official.log``."""
    command = [program("step-ca"), str(served.configuration), "--password-file", str(served.directory / "password")]
    log = served.directory / "official.log"
    with log.open("ab") as stream:
        environment = {**os.environ, "STEPPATH": str(served.directory)}
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=environment)
    try:
        wait_until_listening(served.port, process, log)
        yield
    finally:
        process.terminate()
        process.wait(20)
