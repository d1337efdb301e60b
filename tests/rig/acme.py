"""ACME servers on loopback: the official step-ca with an ACME provisioner, and pebble with its nonces and delays."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cli.accounts import PASSWORD, execute, program, wait_until_listening
from troth.host.ports import free_ports


@dataclass(frozen=True)
class AcmeServer:
    """Its directory, the root to trust, and the port that its validations ask."""

    directory: str
    root: Path
    validates_at: int
    ca_url: str = ""

    @property
    def standalone(self) -> tuple[str, str]:
        """The flag that lets its validations reach us."""
        return "--http-listen", f"127.0.0.1:{self.validates_at}"


@contextlib.contextmanager
def step_ca_with_acme(base: Path) -> Iterator[AcmeServer]:
    """``step ca init --acme``, served with an unprivileged port for validations."""
    step, step_ca = program("step"), program("step-ca")
    port, validates_at = free_ports(2)
    (base / "password").write_text(PASSWORD + "\n")
    flags = ["--name", "Test", "--dns", "localhost,127.0.0.1", "--address", f"127.0.0.1:{port}"]
    flags += ["--provisioner", "admin", "--password-file", str(base / "password"), "--acme"]
    made = execute([step, "ca", "init", *flags, "--deployment-type", "standalone"], base, {"STEPPATH": str(base)})
    assert made.code == 0, made
    command = [step_ca, str(base / "config" / "ca.json"), "--password-file", str(base / "password")]
    with running([*command, "--insecure", "--acme-http-port", str(validates_at)], base, port, {}):
        url = f"https://localhost:{port}"
        yield AcmeServer(f"{url}/acme/acme/directory", base / "certs" / "root_ca.crt", validates_at, url)


@contextlib.contextmanager
def pebble(base: Path, environment: Mapping[str, str]) -> Iterator[AcmeServer]:
    """The reference server of RFC 8555; the environment says how badly it behaves."""
    binary = program("pebble")
    port, management, validates_at, tls = free_ports(4)
    _server_certificate(base)
    value = {
        "listenAddress": f"127.0.0.1:{port}",
        "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": str(base / "server.crt"),
        "privateKey": str(base / "server.key"),
        "httpPort": validates_at,
        "tlsPort": tls,
        "externalAccountBindingRequired": False,
        "domainBlocklist": ["blocked-domain.example"],
        "retryAfter": {"authz": 1, "order": 1},
        "profiles": {"default": {"description": "default", "validityPeriod": 86400}},
    }
    (base / "pebble.json").write_text(json.dumps({"pebble": value}))
    with running([binary, "-config", str(base / "pebble.json")], base, port, environment):
        yield AcmeServer(f"https://localhost:{port}/dir", base / "root.crt", validates_at)


def _server_certificate(base: Path) -> None:
    from tests.interop.material import openssl

    names = base / "names"
    names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    root = (str(base / "root.key"), str(base / "root.crt"))
    openssl("req", "-x509", *curve, "-subj", "/CN=Pebble Root", "-keyout", root[0], "-out", root[1], "-days", "2")
    key, csr = str(base / "server.key"), str(base / "server.csr")
    openssl("req", *curve, "-subj", "/CN=localhost", "-keyout", key, "-out", csr)
    signing = ("-CA", root[1], "-CAkey", root[0], "-CAcreateserial", "-days", "2", "-extfile", str(names))
    openssl("x509", "-req", "-in", csr, "-out", str(base / "server.crt"), *signing)


@contextlib.contextmanager
def running(command: list[str], base: Path, port: int, environment: Mapping[str, str]) -> Iterator[None]:
    """A server until the block ends; its output is ``log``."""
    with (base / "log").open("ab") as log:
        process = subprocess.Popen(
            command,
            env={**os.environ, "STEPPATH": str(base), **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=base,
        )
    try:
        wait_until_listening(port, process, base / "log")
        yield
    finally:
        process.terminate()
        process.wait(20)
