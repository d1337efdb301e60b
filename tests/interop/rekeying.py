"""Sections 4, 9.6 and 9.7: new keys, loops, signals, and who may renew at all."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.cli.accounts import make_older
from tests.interop import material
from tests.interop.configured import configured, copied, running
from tests.interop.http import refused
from tests.interop.matrix import operation
from tests.interop.stage import PASSWORD, Side
from troth.x509.keys import key_matches, parse_private_key


def fits(crt: Path, key: Path) -> bool:
    return key_matches(material.load(crt)[0], parse_private_key(key.read_bytes()))


@operation("4.5", "POST /rekey over mutual TLS: only the request's key counts")
def rekey_raw(side: Side) -> None:
    crt, key = side.certificate("rekey.example")
    fresh = material.new_key()
    body = {"csr": material.pem(material.request(fresh, "other.example", ("other.example",)))}
    answer = side.http("POST", "/rekey", body, client=(crt, key))
    assert answer.status == 201
    new = material.load_text(answer.json["crt"])
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert new.public_key().public_bytes(*form) == fresh.public_key().public_bytes(*form)
    assert new.subject == material.load(crt)[0].subject and material.names_of(new) == {"rekey.example"}


@operation("4.5", "POST /rekey without a request")
def rekey_without_request(side: Side) -> str:
    return refused(side.http("POST", "/rekey", {}, client=side.certificate("rekey.example")), 400)


@operation("4.5", "POST /rekey without a client certificate")
def rekey_without_certificate(side: Side) -> str:
    body = {"csr": material.pem(material.request(material.new_key()))}
    return refused(side.http("POST", "/rekey", body), 400)


@operation("9.7", "ca rekey: a new key, certificate and key fit")
def rekey(side: Side) -> None:
    crt, key = side.certificate("rekey.example")
    before = key.read_bytes()
    side.run("ca", "rekey", str(crt), str(key), "--force")
    assert key.read_bytes() != before and fits(crt, key)


@operation("9.7", "ca rekey --out-cert --out-key leaves the old files")
def rekey_out(side: Side) -> None:
    crt, key = side.certificate("rekey.example")
    before = crt.read_bytes(), key.read_bytes()
    side.run("ca", "rekey", str(crt), str(key), "--out-cert", "n.crt", "--out-key", "n.key")
    assert (crt.read_bytes(), key.read_bytes()) == before and fits(side.work / "n.crt", side.work / "n.key")
    assert (side.work / "n.key").stat().st_mode & 0o777 == 0o600


@operation("9.7", "ca rekey --private-key --out-key")
def rekey_private_key(side: Side) -> None:
    crt, key = side.certificate("rekey.example")
    own, _ = material.write_request(side, "x")
    side.run("ca", "rekey", str(crt), str(key), "--private-key", str(own), "--out-key", "n.key", "--force")
    assert fits(crt, own)


@operation("9.7", "ca rekey --kty RSA --size 3072")
def rekey_kind(side: Side) -> None:
    crt, key = side.certificate("rekey.example")
    side.run("ca", "rekey", str(crt), str(key), "--force", "--kty", "RSA", "--size", "3072")
    assert getattr(material.load(crt)[0].public_key(), "key_size", 0) == 3072 and fits(crt, key)


@operation("9.7", "ca rekey --expires-in, not yet due")
def rekey_not_due(side: Side) -> None:
    crt, key = side.certificate("rekey.example")
    before = crt.read_bytes(), key.read_bytes()
    side.run("ca", "rekey", str(crt), str(key), "--expires-in", "1h", "--force")
    assert (crt.read_bytes(), key.read_bytes()) == before


@operation("9.7", "ca rekey of a revoked certificate")
def rekey_revoked(side: Side) -> str:
    crt, key = side.certificate("rekey.example")
    side.run("ca", "revoke", "--cert", str(crt), "--key", str(key))
    before = crt.read_bytes(), key.read_bytes()
    side.run("ca", "rekey", str(crt), str(key), "--force", code=1)
    assert (crt.read_bytes(), key.read_bytes()) == before
    return "refuses (exit 1)"


@operation("9.6", "ca renew --mtls=false signs a token")
def renew_by_token(side: Side) -> None:
    crt, key = side.certificate("renew.example")
    before = material.serial_of(crt)
    side.run("ca", "renew", str(crt), str(key), "--force", "--mtls=false")
    assert material.serial_of(crt) != before


@operation("9.6", "ca renew --pid --signal")
def renew_signal(side: Side) -> None:
    crt, key = side.certificate("renew.example")
    with subprocess.Popen(["sleep", "60"]) as waiting:
        side.run("ca", "renew", str(crt), str(key), "--force", "--pid", str(waiting.pid), "--signal", "15")
        assert waiting.wait(10) == -signal.SIGTERM


@operation("9.6", "ca renew --pid-file")
def renew_pid_file(side: Side) -> None:
    crt, key = side.certificate("renew.example")
    with subprocess.Popen(["sleep", "60"]) as waiting:
        (side.work / "pid").write_text(str(waiting.pid))
        side.run("ca", "renew", str(crt), str(key), "--force", "--pid-file", "pid")
        assert waiting.wait(10) == -signal.SIGHUP


@operation("9.6", "ca renew --renew-period without --daemon")
def renew_period_alone(side: Side) -> str:
    crt, key = side.certificate("renew.example")
    side.run("ca", "renew", str(crt), str(key), "--force", "--renew-period", "1h", code=1)
    return "refuses (exit 1)"


@operation("9.6", "ca renew --daemon with both --expires-in and --renew-period")
def renew_both_times(side: Side) -> str:
    crt, key = side.certificate("renew.example")
    side.run("ca", "renew", str(crt), str(key), "--daemon", "--renew-period", "1h", "--expires-in", "1h", code=1)
    return "refuses (exit 1)"


@operation("9.6", "ca renew keeps the mode of an existing file")
def renew_mode(side: Side) -> None:
    crt, key = side.certificate("renew.example")
    crt.chmod(0o644)
    side.run("ca", "renew", str(crt), str(key), "--force")
    assert crt.stat().st_mode & 0o777 == 0o644


@operation("9.6", "ca renew --daemon: SIGHUP renews at once, SIGTERM ends it with 0")
def renew_daemon(side: Side) -> None:
    crt, key = side.certificate("renew.example")
    before, out = material.serial_of(crt), side.work / "out"
    command = [*side.program, "ca", "renew", str(crt), str(key), "--daemon", "--exec", "touch hooked"]
    with out.open("wb") as stream, side.started(command, stream) as daemon:
        _until(lambda: "first renewal in" in out.read_text())
        daemon.send_signal(signal.SIGHUP)
        _until(lambda: (side.work / "hooked").exists() and "certificate renewed, next in" in out.read_text())
        assert material.serial_of(crt) != before
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(20) == 0


def _until(holds: object, seconds: float = 30) -> None:
    assert callable(holds)
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@contextlib.contextmanager
def _expired(side: Side, **claims: bool) -> Iterator[tuple[Side, Path, Path]]:
    """An authority with these claims, which served a certificate that has ended."""
    own = copied(side, {"claims": {"minTLSCertDuration": "1s", **claims}})
    make_older(own.ca_dir, PASSWORD)
    with running(own):
        crt, key = own.certificate("late.example", "--not-after", "1s")
        end = material.load(crt)[0].not_valid_after_utc
        _until(lambda: datetime.now(UTC).timestamp() > end.timestamp() + 1)
        yield own, crt, key


@operation("4.3", "ca renew of an expired certificate, allowRenewalAfterExpiry")
def renew_expired(side: Side) -> None:
    with _expired(side, allowRenewalAfterExpiry=True) as (own, crt, key):
        before = material.serial_of(crt)
        own.run("ca", "renew", str(crt), str(key), "--force")
        assert material.serial_of(crt) != before


@operation("4.3", "ca renew of an expired certificate without that claim")
def renew_expired_refused(side: Side) -> str:
    with _expired(side) as (own, crt, key):
        own.run("ca", "renew", str(crt), str(key), "--force", code=1)
    return "refuses (exit 1)"


@operation("9.7", "ca rekey of an expired certificate")
def rekey_expired(side: Side) -> str:
    with _expired(side, allowRenewalAfterExpiry=True) as (own, crt, key):
        own.run("ca", "rekey", str(crt), str(key), "--force", code=1)
    return "refuses (exit 1)"


@operation("4.3", "POST /renew with disableRenewal")
def renew_disabled(side: Side) -> str:
    with configured(side, {"claims": {"disableRenewal": True}}) as own:
        return refused(own.http("POST", "/renew", client=own.certificate("fixed.example")), 401)
