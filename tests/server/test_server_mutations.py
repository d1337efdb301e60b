"""Tokens and requests with one thing changed: the statuses of step-ca, seen on it, and where troth is stricter.

Every mutation is sent to the official step-ca and to troth. The status in the table is step-ca's; `STRICTER` lists
where troth answers otherwise, each with its entry in docs/divergences.md.
"""

import base64
import contextlib
import hashlib
import hmac
import http.client
import ipaddress
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from tests.cli.accounts import program
from tests.interop import material
from tests.rig.authority import Served, founded
from tests.rig.step_ca import founded_by_step
from tests.server.calls import KEY, call
from troth.x509.pem import parse_certificates

NAME, ADDRESS = "web.example.com", "10.0.0.7"
HOUR, YEAR = 3600, 365 * 24 * 3600
Members = dict[str, Any]
# What the text of a token becomes after it was signed, given the key that signed it.
Rewrite = Callable[[str, ec.EllipticCurvePrivateKey], str]


@dataclass(frozen=True)
class Program:
    """An authority, by whichever program."""

    kind: str
    served: Served

    @property
    def key(self) -> ec.EllipticCurvePrivateKey:
        number = int.from_bytes(material.unb64(self.served.key.jwk["d"]))
        return ec.derive_private_key(number, ec.SECP256R1())

    def expect(self, name: str, step: int) -> int:
        return STRICTER.get(name, step) if self.kind == "troth" else step


@pytest.fixture(scope="module", params=["troth", "step-ca"])
def authority(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    directory = tmp_path_factory.mktemp("authority")
    with contextlib.ExitStack() as stack:
        if request.param == "troth":
            served = stack.enter_context(founded(directory))
            served.start()
        else:
            program("step-ca")
            found = founded_by_step(directory / "step", "bbolt")
            served = found.served
            stack.enter_context(found.running())
        yield Program(request.param, served)


@dataclass(frozen=True)
class Change:
    """Members of header and claims, None leaves one out; moments are seconds from now; then the text is rewritten."""

    status: int
    claims: Members | None = None
    header: Members | None = None
    moments: dict[str, int] | None = None
    rewrite: Rewrite | None = None

    def apply(self, header: Members, claims: Members, key: ec.EllipticCurvePrivateKey) -> str:
        now = int(time.time())
        times = {name: now + seconds for name, seconds in (self.moments or {}).items()}
        full = {**claims, **(self.claims or {}), **times}
        head = {**header, **(self.header or {})}
        text = material.jws(
            key,
            {name: value for name, value in head.items() if value is not None},
            {name: value for name, value in full.items() if value is not None},
        )
        return self.rewrite(text, key) if self.rewrite else text


def forged(text: str, key: ec.EllipticCurvePrivateKey) -> str:
    return material.jws(material.new_key(), material.header_of(text), material.claims_of(text))


def tampered(text: str, key: ec.EllipticCurvePrivateKey) -> str:
    head, _, signature = text.split(".")
    claims = {**material.claims_of(text), "sub": "evil.example.com", "sans": ["evil.example.com"]}
    return f"{head}.{material.b64(json.dumps(claims).encode())}.{signature}"


def unsigned(text: str, key: ec.EllipticCurvePrivateKey) -> str:
    head = material.b64(json.dumps({**material.header_of(text), "alg": "none"}).encode())
    return f"{head}.{text.split('.')[1]}."


def symmetric(text: str, key: ec.EllipticCurvePrivateKey) -> str:
    """HS256 with the public key as the secret."""
    head = material.b64(json.dumps({**material.header_of(text), "alg": "HS256"}).encode())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signing = f"{head}.{text.split('.')[1]}"
    return f"{signing}.{material.b64(hmac.digest(public, signing.encode(), hashlib.sha256))}"


def two_parts(text: str, key: ec.EllipticCurvePrivateKey) -> str:
    return text.rpartition(".")[0]


def five_parts(text: str, key: ec.EllipticCurvePrivateKey) -> str:
    return f"{text}.AA.AA"


HOST = "https://127.0.0.1"
TOKENS: dict[str, Change] = {
    "unchanged": Change(201),
    "no key id": Change(401, header={"kid": None}),
    "unknown key id": Change(401, header={"kid": "nobody"}),
    "no type": Change(201, header={"typ": None}),
    "unknown header": Change(201, header={"x-team": "blue"}),
    "unknown claim": Change(201, {"team": "blue"}),
    "no id": Change(201, {"jti": None}),
    "no issued-at": Change(201, {"iat": None}),
    "issued before the start": Change(401, {"iat": 1_000_000_000}),
    "issued in the future": Change(401, moments={"iat": 150}),
    "no end": Change(201, {"exp": None}),
    "no start": Change(201, {"nbf": None}),
    "good for a year": Change(201, moments={"exp": YEAR}),
    "no time at all": Change(201, {"exp": None, "nbf": None, "iat": None}),
    "expired 30 s ago": Change(201, moments={"nbf": -330, "exp": -30}),
    "expired 90 s ago": Change(401, moments={"nbf": -390, "exp": -90}),
    "starts in 30 s": Change(201, moments={"nbf": 30}),
    "starts in 150 s": Change(401, moments={"nbf": 150}),
    "other issuer": Change(401, {"iss": "nobody"}),
    "no subject": Change(401, {"sub": None}),
    "empty subject": Change(401, {"sub": ""}),
    "other fingerprint of the root": Change(201, {"sha": "00" * 32}),
    "no fingerprint of the root": Change(201, {"sha": None}),
    "no names": Change(201, {"sans": None}),
    "empty names": Change(201, {"sans": []}),
    "names that are no list": Change(401, {"sans": NAME}),
    "names that are false": Change(401, {"sans": False}),
    "names that are an object": Change(401, {"sans": {}}),
    "a name that is a number": Change(401, {"sans": [NAME, 1]}),
    "a name that is null": Change(201, {"sans": [NAME, None]}),
    "a number as id": Change(401, {"jti": 5}),
    "an object as id": Change(401, {"jti": {}}),
    "a list as id": Change(401, {"jti": []}),
    "a number as subject": Change(401, {"sub": 5}),
    "a number as issuer": Change(401, {"iss": 5}),
    "a number as audience": Change(401, {"aud": 5}),
    "a number among audiences": Change(401, {"aud": [f"{HOST}/1.0/sign", 5]}),
    "a number as email": Change(401, {"email": 5}),
    "a number as nonce": Change(401, {"nonce": 5}),
    "a number as step": Change(401, {"step": 5}),
    "a number as confirmation": Change(401, {"cnf": 5}),
    "a text as end": Change(401, {"exp": "tomorrow"}),
    "true as start": Change(401, {"nbf": True}),
    "a chain that is no chain": Change(401, header={"x5c": ["abc"]}),
    "a chain that is a text": Change(401, header={"x5c": "abc"}),
    "other port": Change(201, {"aud": f"{HOST}:1/1.0/sign"}),
    "no port": Change(201, {"aud": f"{HOST}/1.0/sign"}),
    "path without version": Change(201, {"aud": f"{HOST}/sign"}),
    "literal audience": Change(201, {"aud": "step-certificate-authority"}),
    "several audiences, one ours": Change(201, {"aud": ["https://elsewhere.test/sign", f"{HOST}/1.0/sign"]}),
    "several audiences, none ours": Change(401, {"aud": ["https://elsewhere.test/sign", "x"]}),
    "audience over http": Change(401, {"aud": "http://127.0.0.1/1.0/sign"}),
    "audience with a slash": Change(401, {"aud": f"{HOST}/1.0/sign/"}),
    "audience with a query": Change(401, {"aud": f"{HOST}/1.0/sign?x=1"}),
    "audience in other case": Change(401, {"aud": "https://LOCALHOST/1.0/sign"}),
    "audience of revocation": Change(401, {"aud": f"{HOST}/1.0/revoke"}),
    "audience with a fragment": Change(401, {"aud": f"{HOST}/1.0/sign#x5c/admin"}),
    "other host": Change(401, {"aud": "https://elsewhere.test/1.0/sign"}),
    "no audience": Change(401, {"aud": None}),
    "bound to another request": Change(403, {"cnf": {"x5rt#S256": material.b64(b"\0" * 32)}}),
    "signed by another key": Change(401, rewrite=forged),
    "changed after signing": Change(401, rewrite=tampered),
    "algorithm none": Change(401, rewrite=unsigned),
    "symmetric with the public key": Change(401, rewrite=symmetric),
    "two parts": Change(401, rewrite=two_parts),
    "five parts": Change(401, rewrite=five_parts),
}
RENEWALS: dict[str, Change] = {
    "renewal: unchanged": Change(201),
    "renewal: no key id": Change(201, header={"kid": None}),
    "renewal: an id": Change(201, {"jti": "an id of its own"}),
    "renewal: issued before the start": Change(201, {"iat": 1_000_000_000}),
    "renewal: no end": Change(201, {"exp": None}),
    "renewal: good for a year": Change(201, moments={"exp": YEAR}),
    "renewal: expired 30 s ago": Change(201, moments={"nbf": -330, "exp": -30, "iat": -330}),
    "renewal: expired 90 s ago": Change(401, moments={"nbf": -390, "exp": -90, "iat": -390}),
    "renewal: starts in 150 s": Change(401, moments={"nbf": 150}),
    "renewal: path with version": Change(201, {"aud": f"{HOST}/1.0/renew"}),
    "renewal: audience of signing": Change(500, {"aud": f"{HOST}/1.0/sign"}),
    "renewal: no audience": Change(500, {"aud": None}),
    "renewal: other issuer": Change(401, {"iss": "nobody"}),
    "renewal: the provisioner as issuer": Change(201, {"iss": "PROVISIONER"}),
    "renewal: other subject": Change(401, {"sub": "other.example.com"}),
    "renewal: no chain": Change(401, header={"x5cInsecure": None}),
    "renewal: leaf alone": Change(401, header={"x5cInsecure": "LEAF"}),
    "renewal: chain that is none": Change(401, header={"x5cInsecure": ["AAAA"]}),
    "renewal: signed by another key": Change(500, rewrite=forged),
    "renewal: changed after signing": Change(500, rewrite=tampered),
}
STRICTER = {
    # "A token lives an hour at most": so does one without a start, counted from now, and none has no times at all.
    "good for a year": 401,
    "no time at all": 401,
    "renewal: good for a year": 401,
    # "Nothing is read two ways": step-ca takes null for an empty name.
    "a name that is null": 401,
    # "A renewal token that is not right is answered with 401": it is no failure of the server.
    "renewal: audience of signing": 401,
    "renewal: no audience": 401,
    "renewal: signed by another key": 401,
    "renewal: changed after signing": 401,
}


def request(
    key: Any, common_name: str = "", names: tuple[x509.GeneralName, ...] = ()
) -> x509.CertificateSigningRequest:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    builder = x509.CertificateSigningRequestBuilder(x509.Name(attributes))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def token(authority: Program, change: Change, name: str) -> str:
    served, now = authority.served, int(time.time())
    base = {"aud": f"{served.url}/1.0/sign", "iss": served.key.provisioner, "sub": NAME, "sans": [NAME, ADDRESS]}
    claims = {**base, "iat": now, "nbf": now, "exp": now + 300, "sha": "ab" * 32, "jti": f"{name} {time.time_ns()}"}
    return change.apply({"alg": "ES256", "kid": served.key.kid, "typ": "JWT"}, claims, authority.key)


def sign(authority: Program, ott: str, csr: str = "") -> tuple[int, Members]:
    body = {"csr": csr or material.pem(request(KEY)), "ott": ott, "notBefore": "", "notAfter": ""}
    return call(authority.served, "POST", "/1.0/sign", body)


@pytest.mark.parametrize("name", TOKENS)
def test_a_token_with_one_thing_changed(authority: Program, name: str) -> None:
    change = TOKENS[name]
    status, answer = sign(authority, token(authority, change, name))
    assert status == authority.expect(name, change.status), answer
    assert status == 201 or (answer["status"] == status and answer["message"])


@pytest.mark.parametrize("names", [None, []])
def test_a_token_without_names_is_for_its_subject(authority: Program, names: list[str] | None) -> None:
    status, answer = sign(authority, token(authority, Change(201, {"sans": names}), "names"))
    assert status == 201
    assert material.names_of(parse_certificates(answer["crt"].encode())[0]) == {NAME}


@pytest.mark.parametrize("identifier", ["an id", None])
def test_a_token_is_good_once_also_when_the_request_then_failed(authority: Program, identifier: str | None) -> None:
    change = Change(201, {"jti": identifier and f"{identifier} of {authority.kind}", "note": authority.kind})
    ott = token(authority, change, "once")
    assert sign(authority, ott)[0] == 201 and sign(authority, ott)[0] == 401
    spent = token(authority, Change(201, {"jti": f"failed {identifier} {authority.kind}"}), "failed")
    assert sign(authority, spent, material.pem(request(KEY, "evil.example.com")))[0] == 403
    assert sign(authority, spent)[0] == 401


def test_a_forged_token_burns_nobodys_id_but_at_step_ca(authority: Program) -> None:
    good = token(authority, Change(201), "burnt")
    assert sign(authority, forged(good, authority.key))[0] == 401
    assert sign(authority, good)[0] == (201 if authority.kind == "troth" else 401)


def test_a_token_bound_to_the_request_is_good_for_it(authority: Program) -> None:
    csr = request(KEY, NAME)
    digest = material.b64(hashlib.sha256(csr.public_bytes(Encoding.DER)).digest())
    bound = token(authority, Change(201, {"cnf": {"x5rt#S256": digest}}), "bound")
    assert sign(authority, bound, material.pem(csr))[0] == 201


# Renewal by token


@dataclass(frozen=True)
class Holder:
    chain: tuple[x509.Certificate, ...]
    key: ec.EllipticCurvePrivateKey


@pytest.fixture(scope="module")
def holder(authority: Program) -> Holder:
    key = material.new_key()
    status, answer = sign(authority, token(authority, Change(201), "holder"), material.pem(request(key)))
    assert status == 201, answer
    return Holder(tuple(parse_certificates("".join(answer["certChain"]).encode())), key)


def renewal(authority: Program, holder: Holder, change: Change) -> str:
    now = int(time.time())
    chain = [base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in holder.chain]
    claims = {"aud": f"{authority.served.url}/renew", "sub": NAME, "iss": "step-ca-client/1.0"}
    claims = {**claims, "iat": now, "nbf": now, "exp": now + 300, "salt": time.time_ns()}  # type: ignore[dict-item]
    named = {"PROVISIONER": authority.served.key.provisioner}
    ours = {name: named.get(str(value), value) for name, value in (change.claims or {}).items()}
    header = {**(change.header or {})}
    if header.get("x5cInsecure") == "LEAF":
        header["x5cInsecure"] = chain[:1]
    full = Change(change.status, ours, header, change.moments, change.rewrite)
    return full.apply({"alg": "ES256", "kid": "any", "typ": "JWT", "x5cInsecure": chain}, claims, holder.key)


def renew(authority: Program, text: str, scheme: str = "Bearer") -> int:
    return call(authority.served, "POST", "/renew", headers={"Authorization": f"{scheme} {text}"})[0]


@pytest.mark.parametrize("name", RENEWALS)
def test_a_renewal_token_with_one_thing_changed(authority: Program, holder: Holder, name: str) -> None:
    change = RENEWALS[name]
    assert renew(authority, renewal(authority, holder, change)) == authority.expect(name, change.status)


def test_a_renewal_token_is_good_once_and_its_scheme_is_exact(authority: Program, holder: Holder) -> None:
    text = renewal(authority, holder, Change(201))
    assert renew(authority, text, "bearer") == 400
    assert renew(authority, text) == 201 and renew(authority, text) == 401


def test_two_renewal_tokens_that_say_the_same_are_two(authority: Program, holder: Holder) -> None:
    """The official program writes no id: two of its renewals within a second differ in the signature alone."""
    one = renewal(authority, holder, Change(201))
    two = material.jws(holder.key, material.header_of(one), material.claims_of(one))
    assert one != two and one.rpartition(".")[0] == two.rpartition(".")[0]
    assert [renew(authority, text) for text in (one, two, one, two)] == [201, 201, 401, 401]


def test_a_token_whose_signature_is_spelled_otherwise_is_the_same_but_at_step_ca(
    authority: Program, holder: Holder
) -> None:
    """Whoever sees a token can write down the other signature of the pair (r, s), (r, order - s)."""
    text = renewal(authority, holder, Change(201))
    signed, _, signature = text.rpartition(".")
    raw = material.unb64(signature)
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    twin = raw[:32] + (order - int.from_bytes(raw[32:])).to_bytes(32)
    assert renew(authority, text) == 201
    assert renew(authority, f"{signed}.{material.b64(twin)}") == (401 if authority.kind == "troth" else 201)


# Requests


def dns(*names: str) -> tuple[x509.GeneralName, ...]:
    return tuple(x509.DNSName(name) for name in names)


def authority_request() -> x509.CertificateSigningRequest:
    """One that asks to be an authority; extensions of requests are not copied."""
    builder = x509.CertificateSigningRequestBuilder(x509.Name([]))
    builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
    return builder.sign(KEY, hashes.SHA256())


def broken_signature() -> str:
    der = bytearray(request(KEY).public_bytes(Encoding.DER))
    der[-1] ^= 1
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{base64.b64encode(der).decode()}\n-----END CERTIFICATE REQUEST-----\n"


REQUESTS: dict[str, tuple[Callable[[], x509.CertificateSigningRequest | str], int]] = {
    "no names": (lambda: request(KEY), 201),
    "the subject": (lambda: request(KEY, NAME), 201),
    "a name as common name": (lambda: request(KEY, ADDRESS), 201),
    "other common name": (lambda: request(KEY, "evil.example.com"), 403),
    "common name in other case": (lambda: request(KEY, NAME.upper()), 403),
    "one kind of name left out": (lambda: request(KEY, NAME, dns(NAME)), 201),
    "one name more": (lambda: request(KEY, NAME, dns(NAME, "evil.example.com")), 403),
    "another name": (lambda: request(KEY, NAME, dns("evil.example.com")), 403),
    "another kind of name": (lambda: request(KEY, NAME, (*dns(NAME), x509.RFC822Name("jane@example.com"))), 403),
    "an authority": (authority_request, 201),
    "RSA of 1024 bits": (lambda: request(rsa.generate_private_key(65537, 1024)), 403),
    "RSA of 2048 bits": (lambda: request(rsa.generate_private_key(65537, 2048)), 201),
    "P-224": (lambda: request(ec.generate_private_key(ec.SECP224R1())), 201),
    "P-521": (lambda: request(ec.generate_private_key(ec.SECP521R1())), 201),
    "secp256k1": (lambda: request(ec.generate_private_key(ec.SECP256K1())), 400),
    "Ed25519": (lambda: request(ed25519.Ed25519PrivateKey.generate()), 201),
    "broken signature": (broken_signature, 400),
    "no request": (lambda: "text", 400),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_with_one_thing_changed(authority: Program, name: str) -> None:
    make, step = REQUESTS[name]
    csr = make()
    text = csr if isinstance(csr, str) else material.pem(csr)
    status, answer = sign(authority, token(authority, Change(201), name), text)
    assert status == authority.expect(name, step), answer
    if status == 201:
        leaf = parse_certificates(answer["crt"].encode())[0]
        assert material.names_of(leaf) == {NAME, ADDRESS}
        with pytest.raises(x509.ExtensionNotFound):
            leaf.extensions.get_extension_for_class(x509.BasicConstraints)


@pytest.mark.parametrize("claimed", ["10.0.0.7", "::ffff:10.0.0.7"])
def test_an_ipv4_address_in_the_form_of_ipv6_is_the_ipv4_address(authority: Program, claimed: str) -> None:
    address = x509.IPAddress(ipaddress.IPv6Address("::ffff:10.0.0.7"))
    csr = material.pem(request(KEY, NAME, (*dns(NAME), address)))
    names = Change(201, {"sans": [NAME, claimed]})
    for text in (csr, material.pem(request(KEY))):
        status, answer = sign(authority, token(authority, names, "mapped"), text)
        assert status == 201, answer
        leaf = parse_certificates(answer["crt"].encode())[0]
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert found.get_values_for_type(x509.IPAddress) == [ipaddress.IPv4Address("10.0.0.7")]


@pytest.mark.parametrize("path", ["/health", "/version", "/roots", "/1.0/intermediates", "/provisioners", "/sign"])
def test_answers_are_written_without_blanks(authority: Program, path: str) -> None:
    """Scripts look for what step-ca writes: ``"status":"ok"``."""
    body = None
    if path == "/sign":
        text = token(authority, Change(201), "blanks")
        body = json.dumps({"csr": material.pem(request(KEY)), "ott": text})
    served = authority.served
    connection = http.client.HTTPSConnection("127.0.0.1", served.port, context=served.tls(), timeout=20)
    with contextlib.closing(connection):
        connection.request("POST" if body else "GET", path, body)
        written = connection.getresponse().read().decode()
    value = json.loads(written)
    assert written == json.dumps(value, separators=(",", ":"), ensure_ascii=False) + "\n"


def test_there_are_as_many_as_were_tried_on_step_ca() -> None:
    assert len(TOKENS) >= 30 and len(RENEWALS) >= 14 and len(REQUESTS) >= 8
    assert set(TOKENS) | set(RENEWALS) | set(REQUESTS) >= set(STRICTER)
