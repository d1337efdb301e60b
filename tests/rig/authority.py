"""A ``troth ca serve`` in a directory of its own, and tokens for it; stopped, or killed, by the test."""

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from troth.ca.jwk import decrypt_provisioner_key
from troth.client.provisioners import SigningKey
from troth.client.tokens import Validity, sign_token
from troth.host.ports import free_ports
from troth.server.connection import Limits

PASSWORD = "a password of a test"
PROVISIONER = "admin"
MAIN = "from troth.cli.app import main; main()"
LIMITED = """import sys
from pathlib import Path
from troth.server.connection import Limits
from troth.server.workers import Options, run
configuration, password, limits = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes(), Limits(*map(float, sys.argv[3:]))
run(Options(configuration, configuration.parent.parent, lambda _: password, limits=limits))
"""


@dataclass
class Served:
    """An authority's directory, and its process while it runs."""

    directory: Path
    port: int
    key: SigningKey
    process: "subprocess.Popen[bytes] | None" = field(default=None)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def root(self) -> Path:
        return self.directory / "certs" / "root_ca.crt"

    @property
    def database(self) -> Path:
        return self.directory / "troth.sqlite"

    @property
    def configuration(self) -> Path:
        return self.directory / "config" / "ca.json"

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.root))

    def token(self, name: str, path: str = "/1.0/sign", **claims: Any) -> str:
        """A fresh token for a name."""
        now = datetime.now(UTC)
        span = Validity(now, now + timedelta(minutes=5))
        return sign_token(self.key, self.url + path, name, span, {"sans": [name], **claims})

    def edit(self, **authority: Any) -> None:
        """Set members of ``authority`` in ca.json."""
        raw = json.loads(self.configuration.read_text())
        raw["authority"].update(authority)
        self.configuration.write_text(json.dumps(raw))

    def migrate(self, *flags: str) -> "subprocess.CompletedProcess[str]":
        """``troth ca migrate``: what step-ca recorded here."""
        command = [sys.executable, "-c", MAIN, "ca", "migrate", str(self.configuration), *flags]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def start(self, *flags: str, **options: Any) -> None:
        """Serve, in a session of its own; returns when the port answers."""
        command = [sys.executable, "-c", MAIN, "ca", "serve", str(self.configuration)]
        self._run([*command, "--password-file", str(self.directory / "password"), *flags], options)

    def start_limited(self, limits: Limits, **options: Any) -> None:
        """As `start`, with other time limits than those of the command."""
        command = [sys.executable, "-c", LIMITED, str(self.configuration), str(self.directory / "password")]
        self._run([*command, *(str(value) for value in astuple(limits))], options)

    def _run(self, command: list[str], options: dict[str, Any]) -> None:
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **options,
            )
        until = time.monotonic() + 20
        while time.monotonic() < until and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.02)
        raise AssertionError(f"the authority did not start: {self.log}")

    def kill(self) -> None:
        """``kill -9`` of every process of it, at once."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        # The workers are nobody's children that we could wait for; one that still listens would be taken for the next.
        with contextlib.suppress(ConnectionRefusedError):
            while True:
                with contextlib.suppress(ConnectionResetError), socket.create_connection(("127.0.0.1", self.port), 1):
                    time.sleep(0.01)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(20)


def provisioner_key(directory: Path) -> SigningKey:
    """The key of the first provisioner of an authority's directory."""
    raw = json.loads((directory / "config" / "ca.json").read_text())
    opened = decrypt_provisioner_key(raw["authority"]["provisioners"][0]["encryptedKey"], PASSWORD.encode())
    return SigningKey(PROVISIONER, opened["kid"], opened)


@contextlib.contextmanager
def founded(directory: Path) -> Iterator[Served]:
    """A new authority, not yet started; whatever runs at the end is ended."""
    port = free_ports(1)[0]
    secret = directory / "password"
    secret.write_text(PASSWORD)
    flags = ["--name", "Test", "--dns", "127.0.0.1,localhost", "--address", f"127.0.0.1:{port}"]
    flags += ["--provisioner", PROVISIONER, "--password-file", str(secret)]
    environment = {**os.environ, "STEPPATH": str(directory)}
    command = [sys.executable, "-c", MAIN, "ca", "init", *flags]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)
    served = Served(directory, port, provisioner_key(directory))
    try:
        yield served
    finally:
        if served.process is not None and served.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(served.process.pid, signal.SIGKILL)
            served.process.wait(10)
