"""A running official step-ca, an account that trusts it, and ways to run both command lines."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from troth.host.ports import free_ports
from troth.x509.keys import fingerprint, parse_private_key
from troth.x509.pem import to_pem

PASSWORD = "correct horse"
PROVISIONER = "admin"
TIMEOUT = 60


def program(name: str) -> str:
    """A program from PATH or ``build/bin``; the test is skipped when there is none."""
    built = Path(__file__).parents[2] / "build" / "bin"
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), str(built)]))
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def free_port() -> int:
    return free_ports(1)[0]


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


def execute(command: list[str], cwd: Path, env: Mapping[str, str], stdin: str = "") -> Result:
    """Run without a terminal: the session is new, so /dev/tty cannot be opened."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("STEP")}
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**clean, **env},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        start_new_session=True,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Account:
    """A directory to work in, with a step path of its own."""

    work: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def step(self) -> Path:
        return self.work / "step"

    def troth(self, *args: str, stdin: str = "", **env: str) -> Result:
        command = [sys.executable, "-c", "from troth.cli.app import main; main()", *args]
        return execute(command, self.work, {"STEPPATH": str(self.step), **self.env, **env}, stdin)

    def official(self, *args: str) -> Result:
        return execute([program("step"), *args], self.work, {"STEPPATH": str(self.step), **self.env})

    def good(self, *args: str, **env: str) -> Result:
        """Run troth and insist on exit code 0."""
        result = self.troth(*args, **env)
        assert result.code == 0, result
        return result

    def refused(self, *args: str, code: int = 1, **env: str) -> str:
        """Run troth, insist on a refusal in one voice, and return what it says."""
        result = self.troth(*args, **env)
        assert result.code == code, result
        assert result.out == "", result
        assert "Traceback" not in result.err, result
        lines = [line for line in result.err.splitlines() if not line.startswith("✔")]
        assert lines[0].startswith("error: ") and not lines[0].endswith("."), result
        assert all(line.startswith("hint: ") for line in lines[1:]), result
        return "\n".join(lines)

    def refused_at_login(self, *args: str, **env: str) -> str:
        """As `refused`, where lines for the person who logs in come before the error."""
        result = self.troth(*args, **env)
        assert result.code == 1 and result.out == "" and "Traceback" not in result.err, result
        _, error, said = result.err.rpartition("error: ")
        assert error and all(line.startswith("hint: ") for line in said.splitlines()[1:]), result
        return error + said


@dataclass(frozen=True)
class RunningAuthority:
    """A step-ca on loopback."""

    directory: Path
    port: int

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def root(self) -> Path:
        return self.directory / "certs" / "root_ca.crt"

    @property
    def password_file(self) -> str:
        return str(self.directory / "password")

    @property
    def fingerprint(self) -> str:
        return str(json.loads((self.directory / "config" / "defaults.json").read_text())["fingerprint"])

    @property
    def signing(self) -> tuple[str, ...]:
        """Flags that sign without questions."""
        return ("--provisioner", PROVISIONER, "--provisioner-password-file", self.password_file)


@contextlib.contextmanager
def serving(directory: Path) -> Iterator[RunningAuthority]:
    step, step_ca, port = program("step"), program("step-ca"), free_port()
    (directory / "password").write_text(PASSWORD + "\n")
    names = ("--name", "Test", "--dns", "localhost,127.0.0.1", "--address", f"127.0.0.1:{port}")
    secret = str(directory / "password")
    passwords = ("--password-file", secret, "--provisioner-password-file", secret)
    kind = ("--provisioner", PROVISIONER, "--deployment-type", "standalone")
    made = execute([step, "ca", "init", *names, *passwords, *kind], directory, {"STEPPATH": str(directory)})
    assert made.code == 0, made
    config = directory / "config" / "ca.json"
    allow_short_lives(config)
    make_older(directory)
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen(
            [step_ca, str(config), "--password-file", secret],
            env={**os.environ, "STEPPATH": str(directory)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        wait_until_listening(port, server, directory / "log")
        yield RunningAuthority(directory, port)
    finally:
        server.terminate()
        server.wait(20)


def allow_short_lives(config: Path) -> None:
    """Certificates of seconds, renewable after their end, so that expiry can be tested."""
    value = json.loads(config.read_text())
    claims = {"minTLSCertDuration": "1s", "allowRenewalAfterExpiry": True}
    value["authority"]["claims"] = {**value["authority"].get("claims", {}), **claims}
    config.write_text(json.dumps(value))


def make_older(directory: Path, password: str = PASSWORD) -> None:
    """Give root and intermediate a start an hour back: renewal of an expired certificate is judged a minute back."""
    root_path, issuer_path = directory / "certs" / "root_ca.crt", directory / "certs" / "intermediate_ca.crt"
    key_text = (directory / "secrets" / "root_ca_key").read_bytes()
    root_key = parse_private_key(key_text, password.encode())
    assert isinstance(root_key, EllipticCurvePrivateKey)
    for path in (root_path, issuer_path):
        old = x509.load_pem_x509_certificate(path.read_bytes())
        builder = x509.CertificateBuilder(
            issuer_name=old.issuer,
            subject_name=old.subject,
            public_key=old.public_key(),
            serial_number=old.serial_number,
            not_valid_before=old.not_valid_before_utc - timedelta(hours=1),
            not_valid_after=old.not_valid_after_utc,
        )
        for extension in old.extensions:
            builder = builder.add_extension(extension.value, extension.critical)
        path.write_text(to_pem(builder.sign(root_key, hashes.SHA256())))
    defaults = directory / "config" / "defaults.json"
    sha = fingerprint(x509.load_pem_x509_certificate(root_path.read_bytes()))
    defaults.write_text(json.dumps({**json.loads(defaults.read_text()), "fingerprint": sha}))


def wait_until_listening(port: int, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"step-ca did not start: {log.read_text()[-500:]}")
