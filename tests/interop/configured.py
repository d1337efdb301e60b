"""Sections 5, 6, 7.12 and 9.10 with an authority of its own for each row: lists, policies, federation, constraints."""

import base64
import contextlib
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.interop import material
from tests.interop.http import refused
from tests.interop.matrix import operation
from tests.interop.stage import Answer, Side, free_port, serving
from troth.ca.init import create_root
from troth.x509.keys import generate_key
from troth.x509.pem import bundle_to_pem, to_pem

LISTS = {"enabled": True, "generateOnRevoke": True, "cacheDuration": "12h"}


def copied(side: Side, authority: dict[str, Any] | None = None, **members: Any) -> Side:
    """The side with an authority that has the same keys, an empty database, and members of ca.json replaced."""
    directory, port = side.work / "ca", free_port()
    shutil.copytree(side.ca_dir, directory, ignore=shutil.ignore_patterns("db", "troth.sqlite*", "*.log"))
    path = directory / "config" / "ca.json"
    raw = json.loads(path.read_text().replace(str(side.ca_dir), str(directory)))
    raw.update(members, address=f"127.0.0.1:{port}")
    raw["authority"].update(authority or {})
    path.write_text(json.dumps(raw))
    return replace(side, ca_dir=directory, port=port)


@contextlib.contextmanager
def configured(side: Side, authority: dict[str, Any] | None = None, **members: Any) -> Iterator[Side]:
    """As `copied`, and served."""
    with running(copied(side, authority, **members)) as own:
        yield own


@contextlib.contextmanager
def running(own: Side) -> Iterator[Side]:
    """Serve a copied authority, and trust it."""
    with serving(own.serve, own.ca_dir, own.port):
        own.bootstrap()
        yield own


def revoke(side: Side, serial: int, code: int = 0) -> None:
    body = {"serial": str(serial), "ott": side.token(str(serial), "--revoke"), "reasonCode": code, "passive": True}
    assert side.http("POST", "/revoke", body).status == 200


def fetched(side: Side, path: str = "/crl") -> x509.CertificateRevocationList:
    answer = side.http("GET", path)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/pkix-crl")
    return x509.load_der_x509_crl(answer.body)


@operation("5", "GET /crl: form, window, issuing distribution point, number")
def crl_form(side: Side) -> None:
    with configured(side, crl=LISTS) as own:
        found = fetched(own)
        issuer = material.load(own.ca_dir / "certs" / "intermediate_ca.crt")[0]
        assert found.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
        assert found.issuer == issuer.subject and found.next_update_utc is not None
        assert found.next_update_utc - found.last_update_utc == timedelta(hours=12)
        assert [(one.oid.dotted_string, one.critical) for one in found.extensions] == [
            ("2.5.29.35", False),
            ("2.5.29.20", False),
            ("2.5.29.28", True),
        ]
        point = found.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
        assert [name.value for name in point.full_name or []] == ["https://localhost/1.0/crl"]
        assert found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 0
        assert fetched(own, "/1.0/crl").public_bytes(Encoding.DER) == found.public_bytes(Encoding.DER)


@operation("5", "GET /crl after revocations with and without a reason")
def crl_revoked(side: Side) -> None:
    with configured(side, crl=LISTS) as own:
        serial = material.serial_of(own.certificate("gone.example")[0])
        revoke(own, serial)
        revoke(own, 4711, 4)
        found = fetched(own)
        entries = {one.serial_number: [str(e.value) for e in one.extensions] for one in found}
        assert set(entries) == {serial, 4711}
        assert entries[serial] == [] and "superseded" in entries[4711][0]
        assert found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 2


@operation("1.3", "GET /crl?pem and the headers of both forms")
def crl_pem(side: Side) -> None:
    with configured(side, crl=LISTS) as own:
        der, pem = own.http("GET", "/crl"), own.http("GET", "/crl?pem")
        assert x509.load_pem_x509_crl(pem.body).public_bytes(Encoding.DER) == der.body
        assert pem.headers["content-type"] == "application/x-pem-file"
        for answer, name in ((der, "crl.crl"), (pem, "crl.pem")):
            assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
            ends = parsedate_to_datetime(answer.headers["expires"]).replace(tzinfo=UTC)
            assert ends == x509.load_der_x509_crl(der.body).next_update_utc


@operation("1.1", "GET /crl on the plain listener, and nothing else there")
def crl_plain(side: Side) -> None:
    import http.client

    port = free_port()

    def plain(path: str) -> Answer:
        connection = http.client.HTTPConnection("localhost", port, timeout=20)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    with configured(side, crl=LISTS, insecureAddress=f"127.0.0.1:{port}") as own:
        assert plain("/crl").body == plain("/1.0/crl").body == own.http("GET", "/crl").body
        assert [plain(path).status for path in ("/health", "/roots", "/provisioners")] == [404, 404, 404]


@operation("9.10", "certificate verify --verify-crl --crl-endpoint")
def verify_crl(side: Side) -> None:
    with configured(side, crl=LISTS) as own:
        crt, _ = own.certificate("good.example")
        issuer = str(own.ca_dir / "certs" / "intermediate_ca.crt")
        flags = ("--roots", str(own.root), "--verify-crl", "--crl-endpoint", f"{own.url}/crl", "--issuing-ca", issuer)
        own.run("certificate", "verify", str(crt), *flags)
        revoke(own, material.serial_of(crt), 1)
        assert "revoked" in own.run("certificate", "verify", str(crt), *flags, code=1).err


def sign(side: Side, *names: str) -> Answer:
    flags = [flag for name in names for flag in ("--san", name)]
    token = side.token(names[0], *flags)
    return side.http("POST", "/sign", {"csr": material.pem(material.request(material.new_key())), "ott": token})


def judged(side: Side, policy: dict[str, Any], good: Sequence[tuple[str, ...]], bad: Sequence[tuple[str, ...]]) -> str:
    with configured(side, {"policy": {"x509": policy}}) as own:
        for names in good:
            assert sign(own, *names).status == 201, names
        verdicts = {refused(sign(own, *names), 403) for names in bad}
    assert len(verdicts) == 1
    return verdicts.pop()


@operation("7.12", "policy: allow dns, exact and one label below")
def policy_dns(side: Side) -> str:
    policy = {"allow": {"dns": ["*.inside.example", "localhost"]}}
    good = [("a.inside.example",), ("localhost",), ("A.Inside.Example", "localhost")]
    bad = [("inside.example",), ("a.b.inside.example",), ("a.inside.example", "other.example"), ("*.inside.example",)]
    return judged(side, policy, good, bad)


@operation("7.12", "policy: deny goes before allow")
def policy_deny(side: Side) -> str:
    policy = {"allow": {"dns": ["*.inside.example"]}, "deny": {"dns": ["bad.inside.example"]}}
    return judged(side, policy, [("good.inside.example",)], [("bad.inside.example",)])


@operation("7.12", "policy: kinds that nothing is allowed of are refused")
def policy_kinds(side: Side) -> str:
    names = [
        ("10.0.0.1",),
        ("a.inside.example", "jane@inside.example"),
        ("a.inside.example", "https://inside.example/x"),
    ]
    return judged(side, {"allow": {"dns": ["*.inside.example"]}}, [("a.inside.example",)], names)


@operation("7.12", "policy: wildcard names with allowWildcardNames")
def policy_wildcards(side: Side) -> str:
    policy = {"allow": {"dns": ["*.inside.example"]}, "allowWildcardNames": True}
    return judged(side, policy, [("*.inside.example",)], [("*.other.example",)])


@operation("7.12", "policy: addresses and ranges")
def policy_ip(side: Side) -> str:
    policy = {"allow": {"ip": ["10.0.0.0/8", "2001:db8::/32"]}, "deny": {"ip": ["10.9.0.0/16"]}}
    return judged(side, policy, [("10.1.2.3",), ("2001:db8::1",)], [("10.9.1.1",), ("11.0.0.1",), ("2001:db9::1",)])


@operation("7.12", "policy: mailboxes and hosts of URIs")
def policy_rest(side: Side) -> str:
    policy = {"allow": {"email": ["@inside.example"], "uri": ["*.inside.example"], "cn": ["jane"]}}
    good = [("jane@inside.example",), ("https://a.inside.example/x",)]
    return judged(side, policy, good, [("jane@other.example",), ("https://inside.example/x",)])


@operation("7.12", "policy: not enforced at renewal")
def policy_renewal(side: Side) -> None:
    crt, key = side.certificate("old.example")
    with configured(side, {"policy": {"x509": {"deny": {"dns": ["old.example"]}}}}) as own:
        refused(sign(own, "old.example"), 403)
        assert own.http("POST", "/renew", client=(crt, key)).status == 201


@operation("7.12", "policy: an entry that cannot be used ends the start")
def policy_broken(side: Side) -> str:
    try:
        with configured(side, {"policy": {"x509": {"allow": {"dns": ["*bad"]}}}}):
            raise AssertionError("started")
    except RuntimeError as error:
        assert re.search(r"\*bad", str(error)), error
    return "refuses to start"


@operation("9.5", "ca federation with federated roots")
def federation(side: Side) -> None:
    other = create_root("Other", generate_key(), 1, datetime.now(UTC))
    path = side.work / "other.crt"
    path.write_text(bundle_to_pem([other]))
    with configured(side, federatedRoots=[str(path)]) as own:
        wanted = {to_pem(other), to_pem(material.load(own.root)[0])}
        own.run("ca", "federation", "federation.pem")
        assert {to_pem(one) for one in material.load(own.work / "federation.pem")} == wanted
        assert set(own.http("GET", "/federation").json["crts"]) == wanted
        assert own.http("GET", "/roots").json["crts"] == [to_pem(material.load(own.root)[0])]


@operation(
    "9.9", "ca policy without an administration interface", na_troth="troth ca policy edits the authority's file"
)
def policy_command(side: Side) -> str:
    with configured(side) as own:
        keys = ("--admin-subject", "step", "--admin-password-file", str(own.password_file))
        assert "policy" in own.run("ca", "policy", "authority", "view", *keys, code=1).err
    return "refuses (exit 1)"


def described(side: Side, **members: Any) -> dict[str, Any]:
    """Members for `configured` that change the side's first provisioner."""
    raw = json.loads((side.ca_dir / "config" / "ca.json").read_text())
    first, *others = raw["authority"]["provisioners"]
    return {"provisioners": [{**first, **members}, *others]}


@operation("6.3", "a provisioner's claims go before the authority's")
def claims(side: Side) -> None:
    own = {"defaultTLSCertDuration": "2h", "maxTLSCertDuration": "3h"}
    settings = {**described(side, claims=own), "claims": {"defaultTLSCertDuration": "9h", "maxTLSCertDuration": "9h"}}
    with configured(side, settings) as one:
        crt, _ = one.certificate("a.example")
        leaf = x509.load_pem_x509_certificate(crt.read_bytes())
        assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == timedelta(hours=2, minutes=1)
        body = {"csr": material.write_request(one, "", ())[1].read_text(), "ott": one.token("b.example")}
        assert one.http("POST", "/sign", {**body, "notAfter": "4h"}).status == 403


@operation("6.4", "a template of one's own: token, request, user data and fail")
def own_template(side: Side) -> None:
    template = """{{ if not .Insecure.User.team }}{{ fail "name a team" }}{{ end }}
    {"subject": {"commonName": {{ toJson .Token.sub }}, "organizationalUnit": {{ toJson .Insecure.User.team }}},
     "sans": {{ toJson .SANs }}, "keyUsage": ["digitalSignature"], "extKeyUsage": ["clientAuth"]}"""
    encoded = base64.b64encode(template.encode()).decode()
    with configured(side, described(side, options={"x509": {"template": encoded}})) as one:
        crt, _ = one.certificate("a.example", "--set", "team=blue")
        text = material.openssl("x509", "-in", str(crt), "-noout", "-text")
        assert "TLS Web Client Authentication" in text and "TLS Web Server" not in text and "blue" in text
        body = {"csr": material.write_request(one, "", ())[1].read_text(), "ott": one.token("b.example")}
        answer = one.http("POST", "/sign", body)
        assert answer.status == 400 and "name a team" in answer.json["message"]


@operation("7.8", "ca certificate by a service account's token (K8sSA)")
def service_account(side: Side) -> None:
    key = material.new_key()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    entry = {"type": "K8sSA", "name": "cluster", "publicKeys": base64.b64encode(public).decode()}
    provisioners = json.loads((side.ca_dir / "config" / "ca.json").read_text())["authority"]["provisioners"]
    with configured(side, {"provisioners": [*provisioners, entry]}) as one:
        issued = {"iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:default:web"}
        for signer, code in ((key, 0), (material.new_key(), 1)):
            (one.work / "sa").write_text(material.jws(signer, {"alg": "ES256", "typ": "JWT"}, issued))
            flags = ("--provisioner", "cluster", "--k8ssa-token-path", "sa", "--san", "web.example", "--force")
            one.run("ca", "certificate", "web.example", "web.crt", "web.key", *flags, code=code)
        assert material.names_of(material.load(one.work / "web.crt")[0]) == {"web.example"}
