"""Several issuing intermediates: which one signs, what clients are handed, and what is refused at the start."""

import contextlib
import json
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.rig.authority import PASSWORD, Served, founded
from tests.rig.pki import Pki
from tests.server.calls import KEY, call, request, revoke, sign
from troth.ca.init import create_intermediate, create_root
from troth.x509.chains import verify_path
from troth.x509.keys import PrivateKey, generate_key, parse_private_key, private_key_to_pem
from troth.x509.pem import bundle_to_pem, parse_certificates, to_pem

EDGE = {
    "issuers": {"edge": {"crt": "certs/edge.crt", "key": "secrets/edge.key"}},
    "provisioners": {"admin": {"issuer": "edge"}},
}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with founded(tmp_path) as one:
        key = parse_private_key((tmp_path / "secrets" / "root_ca_key").read_bytes(), PASSWORD.encode())
        add_issuer(one, "edge", root(one), key)
        yield one


def root(served: Served) -> x509.Certificate:
    return parse_certificates(served.root.read_bytes())[0]


def limited(served: Served, domain: str) -> None:
    """An intermediate in place of edge's, with edge's key, that may certify names below one domain."""
    above = parse_private_key((served.directory / "secrets" / "root_ca_key").read_bytes(), PASSWORD.encode())
    path = served.directory / "certs" / "edge.crt"
    edge = parse_certificates(path.read_bytes())[0]
    builder = x509.CertificateBuilder(
        root(served).subject, edge.subject, edge.public_key(), 99, edge.not_valid_before_utc, edge.not_valid_after_utc
    )
    for extension in edge.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    limits = x509.NameConstraints([x509.DNSName(domain)], None)
    path.write_text(bundle_to_pem([builder.add_extension(limits, critical=True).sign(above, hashes.SHA256())]))


def add_issuer(served: Served, name: str, above: x509.Certificate, above_key: PrivateKey, password: str = "") -> None:
    key = generate_key()
    certificate = create_intermediate(name, key, above, above_key, 4711, datetime.now(UTC))
    (served.directory / "certs" / f"{name}.crt").write_text(bundle_to_pem([certificate, above]))
    secret = private_key_to_pem(key, password.encode() or None)
    (served.directory / "secrets" / f"{name}.key").write_bytes(secret)


def settings(served: Served, value: dict[str, Any]) -> None:
    (served.directory / "config" / "troth.json").write_text(json.dumps(value))


def chain(answer: tuple[int, dict[str, Any]]) -> list[x509.Certificate]:
    status, body = answer
    assert status == 201, body
    assert (body["crt"], body["ca"]) == (body["certChain"][0], body["certChain"][1])
    return [x509.load_pem_x509_certificate(text.encode()) for text in body["certChain"]]


def issuer_of(answer: tuple[int, dict[str, Any]], served: Served) -> str:
    """The organization of who signed; the chain handed out leads to the root."""
    leaf, *others = chain(answer)
    verify_path(leaf, others, [root(served)], datetime.now(UTC))
    return str(others[0].subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)[0].value)


def test_the_named_issuer_signs_renews_rekeys_and_lists(served: Served) -> None:
    raw = json.loads(served.configuration.read_text())
    served.configuration.write_text(json.dumps({**raw, "crl": {"enabled": True, "generateOnRevoke": True}}))
    settings(served, EDGE)
    served.start()
    issued = sign(served, "a.example")
    assert issuer_of(issued, served) == "edge"
    # A bare leaf of the further issuer verifies in the handshake too.
    for identity in ((issued[1]["crt"], KEY), ("".join(issued[1]["certChain"]), KEY)):
        assert issuer_of(call(served, "POST", "/renew", identity=identity), served) == "edge"
        assert issuer_of(call(served, "POST", "/rekey", {"csr": request(generate_key())}, identity), served) == "edge"
    status, body = call(served, "GET", "/intermediates")
    assert status == 201
    texts = [
        parse_certificates((served.directory / "certs" / f"{name}.crt").read_bytes())[0]
        for name in ("intermediate_ca", "edge")
    ]
    assert body["crts"] == [to_pem(one) for one in texts]
    serial = chain(issued)[0].serial_number
    revoke(served, serial)
    assert call(served, "POST", "/renew", identity=(issued[1]["crt"], KEY))[0] == 401


def test_each_issuer_signs_its_own_revocation_list(served: Served) -> None:
    import http.client

    raw = json.loads(served.configuration.read_text())
    served.configuration.write_text(json.dumps({**raw, "crl": {"enabled": True, "generateOnRevoke": True}}))
    settings(served, EDGE)
    served.start()
    revoke(served, 99)
    for path, name, point in (("/crl", "intermediate_ca", "/1.0/crl"), ("/1.0/crl/edge", "edge", "/1.0/crl/edge")):
        connection = http.client.HTTPSConnection("127.0.0.1", served.port, context=served.tls(), timeout=20)
        connection.request("GET", path)
        found = x509.load_der_x509_crl(connection.getresponse().read())
        connection.close()
        issuer = parse_certificates((served.directory / "certs" / f"{name}.crt").read_bytes())[0]
        assert found.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
        assert [entry.serial_number for entry in found] == [99]
        where = found.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value.full_name or []
        assert [one.value for one in where] == [f"https://127.0.0.1{point}"]


def test_certificates_go_on_under_the_issuer_of_today(served: Served) -> None:
    served.start()
    issued = sign(served, "a.example")
    assert issuer_of(issued, served) == "Test"
    settings(served, EDGE)
    assert served.process is not None
    served.process.send_signal(1)
    until = time.monotonic() + 20
    while "configuration reloaded" not in served.log and time.monotonic() < until:
        time.sleep(0.05)
    renewed = call(served, "POST", "/renew", identity=("".join(issued[1]["certChain"]), KEY))
    assert issuer_of(renewed, served) == "edge"
    edge = parse_certificates((served.directory / "certs" / "edge.crt").read_bytes())[0]
    key_id = edge.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    leaf = chain(renewed)[0]
    assert leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == key_id
    # And back again, with the issuer still there: what it signed is renewed by the authority's own.
    settings(served, {"issuers": EDGE["issuers"]})
    served.stop()
    served.start()
    again = call(served, "POST", "/renew", identity=("".join(renewed[1]["certChain"]), KEY))
    assert issuer_of(again, served) == "Test"


def test_a_provisioner_that_no_issuer_is_named_for_is_served_by_the_authority_s_own(served: Served) -> None:
    settings(served, {"issuers": EDGE["issuers"], "provisioners": {"admin": {}}})
    served.start()
    assert issuer_of(sign(served, "a.example"), served) == "Test"


def test_an_issuer_s_key_may_have_a_password_of_its_own(served: Served) -> None:
    key = parse_private_key((served.directory / "secrets" / "root_ca_key").read_bytes(), PASSWORD.encode())
    add_issuer(served, "locked", root(served), key, "another password")
    (served.directory / "locked.txt").write_text("another password\n")
    files = {"crt": "certs/locked.crt", "key": "secrets/locked.key", "passwordFile": "locked.txt"}
    settings(served, {"issuers": {"locked": files}, "provisioners": {"admin": {"issuer": "locked"}}})
    served.start()
    assert issuer_of(sign(served, "a.example"), served) == "locked"


def test_an_issuer_that_could_not_serve_ends_the_start(served: Served) -> None:
    other_key = generate_key()
    other = create_root("Other", other_key, 1, datetime.now(UTC))
    add_issuer(served, "foreign", other, other_key)
    cases = [
        ({"crt": "certs/foreign.crt", "key": "secrets/foreign.key"}, "issuer edge: ", "no issuer"),
        ({"crt": "certs/edge.crt", "key": "secrets/foreign.key"}, "issuer edge: ", "does not belong to"),
        ({"crt": "certs/root_ca.crt", "key": "secrets/edge.key"}, "issuer edge: ", "holds a root"),
        ({"crt": "certs/edge.crt", "key": "secrets/none.key"}, "secrets/none.key", ""),
    ]
    for files, who, why in cases:
        settings(served, {"issuers": {"edge": files}})
        with pytest.raises(AssertionError, match="did not start"):
            served.start()
        last = [line for line in served.log.splitlines() if line.startswith("error: ")][-1]
        assert who in last
        assert why in last


def test_name_constraints_of_the_issuer_hold_at_issuance_and_at_renewal(served: Served) -> None:
    served.start()
    outside = sign(served, "www.other.test")[1]
    limited(served, "inside.example")
    settings(served, EDGE)
    served.stop()
    served.start()
    inside = sign(served, "www.inside.example")
    assert issuer_of(inside, served) == "edge"
    assert call(served, "POST", "/renew", identity=("".join(inside[1]["certChain"]), KEY))[0] == 201
    for status, answer in (
        sign(served, "www.other.test"),
        call(served, "POST", "/renew", identity=("".join(outside["certChain"]), KEY)),
    ):
        assert status == 403
        assert answer["message"].startswith("DNS name 'www.other.test' is not permitted by")


def test_an_authority_that_may_not_certify_its_own_names_does_not_start(served: Served) -> None:
    limited(served, "inside.example")
    raw = json.loads(served.configuration.read_text())
    served.configuration.write_text(json.dumps({**raw, "crt": "certs/edge.crt", "key": "secrets/edge.key"}))
    with contextlib.suppress(AssertionError):
        served.start()
    assert served.process is not None
    assert served.process.wait(20) == 1
    assert "DNS name 'localhost' is not permitted" in served.log


def test_a_root_that_is_taken_out_is_not_trusted_any_more_after_a_reload(served: Served, tmp_path: Path) -> None:
    other = Pki(tmp_path / "other")
    raw = json.loads(served.configuration.read_text())
    pair = other.leaf("client.example")
    identity = (bundle_to_pem(list(pair.chain)), pair.private)

    def reload(roots: list[str], **members: Any) -> None:
        served.configuration.write_text(json.dumps({**raw, **members, "root": roots}))
        assert served.process is not None
        before = served.log.count("configuration reloaded")
        served.process.send_signal(1)
        until = time.monotonic() + 20
        while served.log.count("configuration reloaded") == before and time.monotonic() < until:
            time.sleep(0.05)

    served.start()
    for _ in range(2):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            call(served, "POST", "/renew", identity=identity)
        reload([str(served.root), str(other.trust)])
        assert call(served, "POST", "/renew", identity=identity)[0] == 201
        reload([str(served.root)])
    # And what is said of TLS itself holds from then on, too.
    context = served.tls()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    reload([str(served.root)], tls={"minVersion": 1.3})
    with pytest.raises(ssl.SSLError), socket.create_connection(("127.0.0.1", served.port), 10) as plain:
        context.wrap_socket(plain, server_hostname="localhost")
    assert call(served, "GET", "/health")[0] == 200
