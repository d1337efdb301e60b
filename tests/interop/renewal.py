"""Section 4: renewal over mutual TLS and by token, and the commands around it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.interop import material
from tests.interop.http import refused
from tests.interop.matrix import operation
from tests.interop.stage import Answer, Side
from troth.client.tokens import Validity, renewal_token
from troth.x509.keys import parse_private_key


def extensions(certificate: x509.Certificate) -> dict[str, bytes]:
    skipped = x509.AuthorityKeyIdentifier.oid
    return {e.oid.dotted_string: e.value.public_bytes() for e in certificate.extensions if e.oid != skipped}


@operation("4.1", "POST /renew over mutual TLS")
def renew_raw(side: Side) -> None:
    crt, key = side.certificate("renew.example")
    answer = side.http("POST", "/renew", client=(crt, key))
    assert answer.status == 201 and answer.json["certChain"] == [answer.json["crt"], answer.json["ca"]]


@operation("4.4", "a renewed certificate keeps key, names, extensions and length")
def renew_same(side: Side) -> None:
    crt, key = side.certificate("renew.example", "--not-after", "2h")
    old = material.load(crt)[0]
    new = x509.load_pem_x509_certificate(side.http("POST", "/renew", client=(crt, key)).json["crt"].encode())
    spki = [c.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for c in (old, new)]
    assert spki[0] == spki[1] and old.subject == new.subject and old.serial_number != new.serial_number
    assert extensions(old) == extensions(new) and material.lifetime(old) == material.lifetime(new)


@operation("4.1", "POST /re-sign is the same")
def resign(side: Side) -> None:
    assert side.http("POST", "/re-sign", client=side.certificate("renew.example")).status == 201


@operation("4.1", "ca renew --force")
def renew(side: Side) -> None:
    crt, key = side.certificate("renew.example")
    before = material.serial_of(crt)
    result = side.run("ca", "renew", str(crt), str(key), "--force")
    assert material.serial_of(crt) != before and len(material.load(crt)) == 2 and "leaf.crt" in result.err


@operation("4.1", "ca renew --out leaves the old file")
def renew_out(side: Side) -> None:
    crt, key = side.certificate("renew.example")
    before = crt.read_bytes()
    side.run("ca", "renew", str(crt), str(key), "--out", "new.crt")
    assert crt.read_bytes() == before and material.load(side.work / "new.crt")[0] != material.load(crt)[0]


@operation("4.1", "ca renew --expires-in, not yet due")
def renew_not_due(side: Side) -> None:
    crt, key = side.certificate("renew.example")
    before = crt.read_bytes()
    result = side.run("ca", "renew", str(crt), str(key), "--expires-in", "1h", "--force")
    assert crt.read_bytes() == before and "not renewed" in result.err


@operation("4.1", "ca renew --expires-in, due")
def renew_due(side: Side) -> None:
    crt, key = side.certificate("renew.example", "--not-after", "1h")
    before = crt.read_bytes()
    side.run("ca", "renew", str(crt), str(key), "--expires-in", "59m59s", "--force")
    assert crt.read_bytes() != before


@operation("4.1", "ca renew --expires-in longer than the certificate")
def renew_expires_in_too_long(side: Side) -> str:
    crt, key = side.certificate("renew.example")
    side.run("ca", "renew", str(crt), str(key), "--expires-in", "48h", "--force", code=1)
    return "refuses (exit 1)"


@operation("4.1", "ca renew --exec")
def renew_exec(side: Side) -> None:
    crt, key = side.certificate("renew.example")
    side.run("ca", "renew", str(crt), str(key), "--force", "--exec", "touch done")
    assert (side.work / "done").exists()


@operation("4.1", "ca renew --exec that fails: exit 1, certificate written")
def renew_exec_fails(side: Side) -> None:
    crt, key = side.certificate("renew.example")
    before = crt.read_bytes()
    side.run("ca", "renew", str(crt), str(key), "--force", "--exec", "false", code=1)
    assert crt.read_bytes() != before


@operation("4.1", "ca renew with somebody else's key")
def renew_wrong_key(side: Side) -> str:
    crt, _ = side.certificate("renew.example")
    _, other = side.certificate("other.example", name="other")
    before = crt.read_bytes()
    side.run("ca", "renew", str(crt), str(other), "--force", code=1)
    assert crt.read_bytes() == before
    return "refuses (exit 1)"


@operation("4.3", "a revoked certificate is not renewed")
def renew_revoked(side: Side) -> str:
    crt, key = side.certificate("renew.example")
    side.run("ca", "revoke", "--cert", str(crt), "--key", str(key))
    return refused(side.http("POST", "/renew", client=(crt, key)), 401)


@operation("4.1", "ca renew of a revoked certificate")
def renew_revoked_command(side: Side) -> str:
    crt, key = side.certificate("renew.example")
    side.run("ca", "revoke", "--cert", str(crt), "--key", str(key))
    before = crt.read_bytes()
    side.run("ca", "renew", str(crt), str(key), "--force", code=1)
    assert crt.read_bytes() == before
    return "refuses (exit 1)"


@operation("4.1", "a client certificate of another authority ends the handshake")
def renew_foreign(side: Side) -> str:
    import ssl

    material.openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=foreign"),
        *("-keyout", str(side.work / "f.key"), "-out", str(side.work / "f.crt"), "-days", "1"),
    )
    try:
        side.http("POST", "/renew", client=(side.work / "f.crt", side.work / "f.key"))
    except (ssl.SSLError, ConnectionError):
        return "refuses (TLS alert)"
    raise AssertionError("the handshake went through")


def _bearer(side: Side, crt: Path, key: Path, **changes: str) -> Answer:
    chain = material.load(crt)
    now = datetime.now(UTC)
    token = renewal_token(
        parse_private_key(key.read_bytes()), chain, side.url, Validity(now, now + timedelta(minutes=5))
    )
    scheme = changes.get("scheme", "Bearer")
    return side.http("POST", changes.get("path", "/renew"), headers={"Authorization": f"{scheme} {token}"})


@operation("4.2", "POST /renew with a token by the certificate's key")
def renew_bearer(side: Side) -> None:
    crt, key = side.certificate("bearer.example")
    answer = _bearer(side, crt, key)
    assert answer.status == 201 and answer.json["certChain"][1:] == [answer.json["ca"]]


@operation("4.2", "the scheme is exactly Bearer")
def renew_bearer_scheme(side: Side) -> str:
    return refused(_bearer(side, *side.certificate("bearer.example"), scheme="bearer"), 400)


@operation("4.5", "POST /rekey takes no token")
def rekey_bearer(side: Side) -> str:
    return refused(_bearer(side, *side.certificate("bearer.example"), path="/rekey"), 400)
