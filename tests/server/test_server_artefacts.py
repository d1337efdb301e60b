"""What the authority makes, examined by programs that are not ours: openssl and pkilint."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.rig.authority import MAIN, Served, founded
from troth.x509.keys import fingerprint
from troth.x509.pem import parse_blocks, parse_certificates, to_pem

PKILINT = Path(sys.executable).with_name("lint_pkix_cert")
# The one thing allowed: names without a dot, such as the guide's own "myuser" and the server's "localhost".
EXEMPT = re.compile(r"^pkix\.invalid_domain_name_syntax \(ERROR\): Invalid domain name syntax: \"(myuser|localhost)\"$")


@dataclass(frozen=True)
class Artefacts:
    """A running authority and one certificate from it."""

    served: Served
    work: Path

    @property
    def root(self) -> Path:
        return self.served.root

    @property
    def intermediate(self) -> Path:
        return self.served.directory / "certs" / "intermediate_ca.crt"


def run(*command: str, cwd: Path, stdin: str = "", **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **env},
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Artefacts]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    work = tmp_path_factory.mktemp("work")
    with founded(tmp_path_factory.mktemp("authority")) as served:
        served.start("--quiet")
        root = parse_certificates(served.root.read_bytes())[0]
        steps = [
            ["bootstrap", "--ca-url", served.url, "--fingerprint", fingerprint(root)],
            ["certificate", "myuser", "client.crt", "client.key"],
            [
                "certificate",
                "svc.example.com",
                "names.crt",
                "names.key",
                "--san",
                "svc.example.com",
                "--san",
                "10.1.2.3",
            ],
            ["certificate", "old.example.com", "rsa.crt", "rsa.key", "--kty", "RSA"],
        ]
        for step in steps:
            secret = (
                ["--provisioner-password-file", str(served.directory / "password")] if step[0] != "bootstrap" else []
            )
            done = run(sys.executable, "-c", MAIN, "ca", *step, *secret, cwd=work, STEPPATH=str(work / "step"))
            assert done.returncode == 0, done.stderr
        renewed = run(
            sys.executable, "-c", MAIN, "ca", "renew", "names.crt", "names.key", "--out", "renewed.crt", "--force",
            cwd=work, STEPPATH=str(work / "step"),
        )  # fmt: skip
        assert renewed.returncode == 0, renewed.stderr
        yield Artefacts(served, work)


@pytest.mark.parametrize("leaf", ["client.crt", "names.crt", "rsa.crt", "renewed.crt"])
@pytest.mark.parametrize("purpose", ["sslclient", "sslserver"])
def test_openssl_verifies_every_chain(made: Artefacts, leaf: str, purpose: str) -> None:
    flags = ["-x509_strict", "-purpose", purpose, "-CAfile", str(made.root), "-untrusted", leaf, leaf]
    done = run("openssl", "verify", *flags, cwd=made.work)
    assert done.returncode == 0 and done.stdout.strip() == f"{leaf}: OK", done.stdout + done.stderr
    without = run("openssl", "verify", "-CAfile", str(made.root), leaf, cwd=made.work)
    assert without.returncode != 0, "the intermediate must be needed"


def s_client(made: Artefacts, *flags: str, root: Path | None = None) -> "subprocess.CompletedProcess[str]":
    where = ["-connect", f"127.0.0.1:{made.served.port}", "-CAfile", str(root or made.root), "-showcerts"]
    return run(
        "openssl", "s_client", *where, "-verify_return_error", "-x509_strict", *flags, cwd=made.work, stdin="Q\n"
    )


def test_openssl_connects_and_verifies_the_servers_chain(made: Artefacts) -> None:
    for version in ("-tls1_2", "-tls1_3"):
        done = s_client(made, "-verify_hostname", "localhost", version)
        assert done.returncode == 0 and "Verify return code: 0 (ok)" in done.stdout, done.stderr
    assert s_client(made, "-verify_ip", "127.0.0.1").returncode == 0
    assert s_client(made, "-verify_hostname", "elsewhere.test").returncode != 0
    assert s_client(made, root=made.intermediate.with_name("none.crt")).returncode != 0
    assert s_client(made, "-tls1_1").returncode != 0
    assert s_client(made, "-cert", "client.crt", "-key", "client.key").returncode == 0


def findings(certificate: str, work: Path) -> list[str]:
    """What pkilint has against one certificate at WARNING or above."""
    file = work / "one.pem"
    file.write_text(certificate)
    done = run(str(PKILINT), "lint", "-s", "WARNING", str(file), cwd=work)
    assert "Traceback" not in done.stderr, done.stderr
    return [line.strip() for line in done.stdout.splitlines() if re.search(r"\((WARNING|ERROR|FATAL)\)", line)]


def test_pkilint_finds_nothing_wrong(made: Artefacts) -> None:
    if not PKILINT.exists():
        pytest.skip("pkilint is not installed")
    shown = s_client(made).stdout
    server = [to_pem(certificate) for certificate in parse_certificates(shown.encode())]
    assert len(server) == 2, "the server shows its certificate and the intermediate"
    assert server[1] == to_pem(parse_certificates(made.intermediate.read_bytes())[0])
    texts = {"root": made.root.read_text(), "intermediate": made.intermediate.read_text(), "server": server[0]}
    for leaf in ("client.crt", "names.crt", "rsa.crt", "renewed.crt"):
        texts[leaf] = parse_blocks((made.work / leaf).read_bytes())[0].text.decode()
    found = {name: findings(text, made.work) for name, text in texts.items()}
    wrong = {name: [line for line in lines if not EXEMPT.match(line)] for name, lines in found.items()}
    assert {name: lines for name, lines in wrong.items() if lines} == {}
    assert not found["names.crt"] and not found["root"] and not found["intermediate"]


def test_pkilint_would_find_something(made: Artefacts) -> None:
    """The check above can fail: a certificate with a fault is found out."""
    if not PKILINT.exists():
        pytest.skip("pkilint is not installed")
    config = made.work / "bad.cnf"
    config.write_text("[req]\ndistinguished_name=d\nx509_extensions=x\n[d]\n[x]\nbasicConstraints=CA:TRUE\n")
    make = [
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "bad.key",
        "-out",
        "bad.crt",
        "-subj",
        "/CN=bad",
    ]
    done = run("openssl", *make, "-config", str(config), cwd=made.work)
    assert done.returncode == 0, done.stderr
    assert findings((made.work / "bad.crt").read_text(), made.work)
