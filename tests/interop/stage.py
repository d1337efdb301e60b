"""One side of the matrix: a running authority, the program that talks to it, and a fresh directory per operation."""

import contextlib
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from troth.host.ports import free_ports

PASSWORD = "interop-password"
PROVISIONER = "admin@example.com"
TIMEOUT = 60


def troth_program() -> list[str]:
    """The troth of this environment."""
    return [str(Path(sys.executable).with_name("troth"))]


def free_port() -> int:
    return free_ports(1)[0]


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"exit {self.code}; stdout {self.out[-300:]!r}; stderr {self.err[-500:]!r}"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Side:
    """What an operation sees: where the authority is, which program drives it, and where it may write."""

    program: Sequence[str]
    ca_dir: Path
    port: int
    work: Path = Path()
    env: Mapping[str, str] = field(default_factory=dict)
    serve: Sequence[str] = ()

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def root(self) -> Path:
        return self.ca_dir / "certs" / "root_ca.crt"

    @property
    def password_file(self) -> Path:
        return self.ca_dir / "password"

    @property
    def fingerprint(self) -> str:
        return str(json.loads((self.ca_dir / "config" / "defaults.json").read_text())["fingerprint"])

    @property
    def steppath(self) -> Path:
        return self.work / "step"

    def run(self, *args: str, code: int | None = 0, stdin: str = "", env: Mapping[str, str] | None = None) -> Result:
        """Run the side's program in the operation's directory and check its exit code (None: any)."""
        return self.call([*self.program, *args], code=code, stdin=stdin, env=env)

    def call(
        self, command: Sequence[str], code: int | None = 0, stdin: str = "", env: Mapping[str, str] | None = None
    ) -> Result:
        done = subprocess.run(
            command,
            cwd=self.work,
            env={**os.environ, "STEPPATH": str(self.steppath), **self.env, **(env or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            start_new_session=True,
            check=False,
        )
        result = Result(done.returncode, done.stdout, done.stderr)
        assert code is None or done.returncode == code, f"{' '.join(command[1:4])}: expected exit {code}, {result}"
        return result

    @contextlib.contextmanager
    def started(self, command: Sequence[str], stream: IO[bytes]) -> "Iterator[subprocess.Popen[bytes]]":
        """A program that stays, in the operation's directory; ended at the latest with the block."""
        environment = {**os.environ, "STEPPATH": str(self.steppath), **self.env}
        process = subprocess.Popen(
            command, cwd=self.work, env=environment, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def http(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        client: tuple[Path, Path] | None = None,
    ) -> Answer:
        """One request to the authority over TLS verified with its root."""
        context = ssl.create_default_context(cafile=str(self.root))
        if client is not None:
            context.load_cert_chain(*client)
        connection = http.client.HTTPSConnection("localhost", self.port, context=context, timeout=20)
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        try:
            connection.request(method, path, data, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def bootstrap(self) -> None:
        self.run("ca", "bootstrap", "--ca-url", self.url, "--fingerprint", self.fingerprint, "--force")

    def token(self, subject: str, *flags: str) -> str:
        """A one-time token made by the side's program."""
        keys = ("--provisioner", PROVISIONER, "--password-file", str(self.password_file))
        return self.run("ca", "token", subject, *keys, *flags).out.strip()

    def certificate(self, subject: str, *flags: str, name: str = "leaf") -> tuple[Path, Path]:
        """A certificate and key made by the side's program, as files ``<name>.crt`` and ``<name>.key``."""
        keys = ("--provisioner", PROVISIONER, "--provisioner-password-file", str(self.password_file))
        self.run("ca", "certificate", subject, f"{name}.crt", f"{name}.key", *keys, "--force", *flags)
        return self.work / f"{name}.crt", self.work / f"{name}.key"


@contextlib.contextmanager
def operation_directory(side: Side, *, bootstrapped: bool) -> Iterator[Side]:
    """A copy of the side with an empty working directory and STEPPATH of its own."""
    work = Path(tempfile.mkdtemp(prefix="op-"))
    fresh = replace(side, work=work)
    try:
        if bootstrapped:
            fresh.bootstrap()
        yield fresh
    finally:
        shutil.rmtree(work, ignore_errors=True)


def initialise(program: Sequence[str], directory: Path, port: int) -> None:
    """``ca init`` without questions, by whichever program."""
    directory.mkdir(parents=True)
    password = directory / "password"
    password.write_text(PASSWORD + "\n")
    command = [*program, "ca", "init", "--name", "Interop", "--dns", "localhost,127.0.0.1"]
    command += ["--address", f"127.0.0.1:{port}", "--provisioner", PROVISIONER, "--deployment-type", "standalone"]
    command += ["--password-file", str(password), "--provisioner-password-file", str(password)]
    environment = {**os.environ, "STEPPATH": str(directory)}
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=TIMEOUT, start_new_session=True)


@contextlib.contextmanager
def serving(command: Sequence[str], directory: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A running authority; its log is ``<directory>/server.log``."""
    log = directory / "server.log"
    arguments = [str(directory / "config" / "ca.json"), "--password-file", str(directory / "password")]
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env={**os.environ, "STEPPATH": str(directory)},
            start_new_session=True,
        )
    try:
        wait_until_listening(process, port, log)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"the authority did not start: {log.read_text()[-800:]}")
