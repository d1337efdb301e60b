"""Federation: the roots of other authorities are handed out beside ours, and trusted by nobody here for that."""

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from tests.cli.accounts import program
from tests.rig.authority import MAIN, Served, founded
from tests.rig.pki import Pki
from tests.server.calls import call
from troth.ca.init import create_root
from troth.x509.keys import fingerprint, generate_key
from troth.x509.pem import bundle_to_pem, parse_certificates, to_pem


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "ca").mkdir()
    with founded(tmp_path / "ca") as one:
        yield one


def federate(served: Served, *names: str) -> None:
    raw = json.loads(served.configuration.read_text())
    served.configuration.write_text(json.dumps({**raw, "federatedRoots": list(names)}))


def root(name: str) -> x509.Certificate:
    return create_root(name, generate_key(), 1, datetime.now(UTC))


def test_federated_roots_are_listed_and_found_by_fingerprint(served: Served, tmp_path: Path) -> None:
    own = parse_certificates(served.root.read_bytes())[0]
    near, far, third = root("Near"), root("Far"), root("Third")
    (served.directory / "certs" / "near.crt").write_text(bundle_to_pem([near]))
    (tmp_path / "far.crt").write_text(bundle_to_pem([far, third, own]))
    federate(served, "certs/near.crt", str(tmp_path / "far.crt"))
    served.start()
    status, answer = call(served, "GET", "/federation")
    assert status == 201
    assert sorted(answer["crts"]) == sorted(to_pem(one) for one in (own, near, far, third))
    assert call(served, "GET", "/1.0/federation") == (status, answer)
    assert call(served, "GET", "/roots") == (201, {"crts": [to_pem(own)]})
    for one in (own, near, far, third):
        assert call(served, "GET", f"/root/{fingerprint(one).upper()}") == (200, {"ca": to_pem(one)})


def test_both_command_lines_fetch_the_federation(served: Served) -> None:
    near = root("Near")
    (served.directory / "certs" / "near.crt").write_text(bundle_to_pem([near]))
    federate(served, "certs/near.crt")
    served.start()
    wanted = {to_pem(one) for one in (near, *parse_certificates(served.root.read_bytes()))}
    environment = {**os.environ, "STEPPATH": str(served.directory)}
    for command in ([sys.executable, "-c", MAIN], [program("step")]):
        done = subprocess.run(
            [*command, "ca", "federation", "--ca-url", served.url, "--root", str(served.root)],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=True,
        )
        assert {to_pem(one) for one in parse_certificates(done.stdout)} == wanted


def test_a_certificate_of_a_federated_authority_is_not_a_client_here(served: Served, tmp_path: Path) -> None:
    other = Pki(tmp_path / "other")
    federate(served, str(other.trust))
    served.start()
    pair = other.leaf("stranger.example")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        call(served, "POST", "/renew", identity=(bundle_to_pem(list(pair.chain)), pair.private))
