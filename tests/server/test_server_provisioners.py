"""X5C, OIDC and K8sSA tokens at a served authority: what they get, and each way they must not; and kinds not served."""

import base64
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.interop import material
from tests.rig.authority import Served, founded
from tests.rig.identity_provider import WELL_KNOWN, IdentityProvider
from tests.rig.pki import Pki
from tests.server.calls import KEY, Answer, call, revoke, sign
from troth.ca import extension
from troth.x509.keys import public_pem
from troth.x509.names import SubjectNames, alternative_names, common_name
from troth.x509.pem import parse_certificates
from troth.x509.requests import create_request, request_to_pem

CLIENT = "client-of-the-provider"
CLUSTER = material.new_key()


@dataclass(frozen=True)
class Holder:
    """What an X5C token is signed with."""

    chain: tuple[x509.Certificate, ...]
    key: Any


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    one = IdentityProvider()
    yield one
    one.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, provider: IdentityProvider) -> Iterator[Served]:
    with founded(tmp_path_factory.mktemp("authority")) as one:
        raw = json.loads(one.configuration.read_text())
        oidc = {"clientSecret": "", "configurationEndpoint": provider.url}
        restricted = {"admins": ["root@Example.com"], "domains": ["example.com"], "groups": ["ops"]}
        more = [
            {"type": "X5C", "name": "fleet", "roots": b64(one.root.read_bytes())},
            {"type": "OIDC", "name": "people", "clientID": CLIENT, "admins": ["root@example.com"], **oidc},
            {"type": "OIDC", "name": "few", "clientID": "few", **oidc, **restricted},
            {"type": "K8SSA", "name": "cluster", "publicKeys": b64(public_pem(CLUSTER.public_key()).encode())},
        ]
        one.edit(provisioners=[*raw["authority"]["provisioners"], *more])
        one.start()
        yield one


@pytest.fixture(scope="module")
def holder(served: Served) -> Holder:
    return hold(served, "machine.example.com")


def hold(served: Served, name: str) -> Holder:
    status, answer = sign(served, name)
    assert status == 201, answer
    return Holder(tuple(parse_certificates("".join(answer["certChain"]).encode())), KEY)


def x5c(served: Served, holder: Holder, header: dict[str, Any] | None = None, /, **claims: Any) -> str:
    """As step makes it."""
    now = int(time.time())
    chain = [b64(one.public_bytes(Encoding.DER)) for one in holder.chain]
    base = {"aud": f"{served.url}/1.0/sign#x5c/fleet", "iss": "fleet", "sub": "new.example.com"}
    payload = {**base, "iat": now, "nbf": now, "exp": now + 300, "jti": material.b64(str(time.time_ns()).encode())}
    full = {**payload, "sans": ["new.example.com", "10.0.0.7"], **claims}
    return material.jws(
        holder.key,
        {"alg": "ES256", "kid": "/some/key", "typ": "JWT", "x5c": chain, **(header or {})},
        {name: value for name, value in full.items() if value is not None},
    )


def ask(served: Served, ott: str, name: str = "", sans: tuple[str, ...] = (), **more: str) -> Answer:
    csr = request_to_pem(create_request(KEY, name, sans))
    return call(served, "POST", "/sign", {"csr": csr, "ott": ott, **more})


def leaf_of(answer: Answer) -> x509.Certificate:
    assert answer[0] == 201, answer
    return parse_certificates(answer[1]["crt"].encode())[0]


# X5C


def test_an_x5c_token_gets_its_names_and_never_outlives_its_certificate(served: Served, holder: Holder) -> None:
    leaf = leaf_of(ask(served, x5c(served, holder)))
    assert common_name(leaf.subject) == "new.example.com"
    assert alternative_names(leaf.extensions) == SubjectNames(dns=("new.example.com",), ips=("10.0.0.7",))
    assert extension.of(leaf) == extension.ProvisionerExtension("X5C", "fleet")
    assert leaf.not_valid_after_utc == holder.chain[0].not_valid_after_utc
    short = leaf_of(ask(served, x5c(served, holder), notAfter="1h"))
    assert short.not_valid_after_utc < holder.chain[0].not_valid_after_utc
    status, answer = ask(served, x5c(served, holder), notAfter="24h30m")
    assert status == 403 and "notAfter" in answer["message"]
    status, answer = ask(served, x5c(served, holder), notBefore="-1h", notAfter="2h")
    assert status == 403 and "notBefore" in answer["message"]


def test_an_x5c_certificate_renews_and_its_token_revokes(served: Served, holder: Holder) -> None:
    status, answer = ask(served, x5c(served, holder))
    leaf = leaf_of((status, answer))
    assert call(served, "POST", "/renew", identity=("".join(answer["certChain"]), KEY))[0] == 201
    audience = f"{served.url}/1.0/revoke#x5c/fleet"
    token = x5c(served, holder, aud=audience, sub=str(leaf.serial_number), sans=None)
    body = {"serial": str(leaf.serial_number), "ott": token, "passive": True}
    assert call(served, "POST", "/revoke", body) == (200, {"status": "ok"})


LONG_AGO = {"iat": None, "nbf": None, "exp": 1_000_000_300}
X5C_MUTATIONS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no chain": ({"x5c": None}, {}, "token header x5c is not a list"),
    "empty chain": ({"x5c": []}, {}, "token header x5c is not a list"),
    "chain that is no certificate": ({"x5c": ["AAAA"]}, {}, "a certificate that cannot be read"),
    "algorithm none": ({"alg": "none"}, {}, "token algorithm is not one"),
    "algorithm of another kind of key": ({"alg": "RS256"}, {}, "token algorithm is not one"),
    "symmetric algorithm": ({"alg": "HS256"}, {}, "token algorithm is not one"),
    "without fragment": ({}, {"aud": "https://127.0.0.1/1.0/sign"}, "no provisioner is named"),
    "another provisioner's": ({}, {"aud": "https://127.0.0.1/1.0/sign#x5c/other"}, "no provisioner is named"),
    "for revocation": ({}, {"aud": "https://127.0.0.1/1.0/revoke#x5c/fleet"}, "is not this authority's for sign"),
    "other host": ({}, {"aud": "https://elsewhere.test/1.0/sign#x5c/fleet"}, "no provisioner is named"),
    "other issuer": ({}, {"iss": "admin"}, "token issuer is"),
    "no subject": ({}, {"sub": None}, "token has no subject"),
    "expired": ({}, LONG_AGO, "token expired at"),
    "not yet valid": ({}, {"nbf": 4_000_000_000, "exp": 4_000_000_300}, "token is not valid before"),
}


def refused(served: Served, token: str, reason: str, status: int = 401) -> None:
    """The answer's status, and the reason in the log: a test that is refused for another one tests nothing."""
    before = len(served.log)
    assert ask(served, token)[0] == status
    assert reason in served.log[before:]


@pytest.mark.parametrize("name", X5C_MUTATIONS)
def test_what_is_not_right_with_an_x5c_token_is_refused(served: Served, holder: Holder, name: str) -> None:
    header, claims, reason = X5C_MUTATIONS[name]
    refused(served, x5c(served, holder, header, **claims), reason)


def test_an_x5c_token_counts_once_and_binds_the_names(served: Served, holder: Holder) -> None:
    token = x5c(served, holder)
    assert ask(served, token)[0] == 201 and ask(served, token)[0] == 401
    assert ask(served, x5c(served, holder), "10.0.0.7")[0] == 403  # a name of the token, but not its subject
    assert ask(served, x5c(served, holder), "new.example.com", ("evil.example.com",))[0] == 403


def test_x5c_wants_the_holder_of_a_certificate_of_its_roots(served: Served, holder: Holder, tmp_path: Any) -> None:
    assert ask(served, x5c(served, Holder(holder.chain, material.new_key())))[0] == 401
    assert ask(served, x5c(served, Holder(holder.chain[:1], holder.key)))[0] == 401  # its issuer is not there
    foreign = Pki(tmp_path / "foreign").leaf("machine.example.com")
    assert ask(served, x5c(served, Holder(foreign.chain, foreign.private)))[0] == 401


def test_a_revoked_certificate_signs_no_tokens(served: Served) -> None:
    lost = hold(served, "lost.example.com")
    assert ask(served, x5c(served, lost))[0] == 201
    revoke(served, lost.chain[0].serial_number)
    assert ask(served, x5c(served, lost))[0] == 401
    assert "is revoked" in served.log


# OIDC


def test_an_identity_token_gets_its_person_whatever_the_request_names(
    served: Served, provider: IdentityProvider
) -> None:
    leaf = leaf_of(ask(served, provider.token(CLIENT), "root", ("www.example.com",)))
    assert common_name(leaf.subject) == "u-17"
    wanted = SubjectNames(emails=("jane@example.com",), uris=(f"{provider.issuer}#u-17",))
    assert alternative_names(leaf.extensions) == wanted
    assert extension.of(leaf) == extension.ProvisionerExtension("OIDC", "people", CLIENT)
    lonely = leaf_of(ask(served, provider.token(CLIENT, email=None, aud=["other", CLIENT], azp=CLIENT)))
    assert alternative_names(lonely.extensions) == SubjectNames(uris=(f"{provider.issuer}#u-17",))


def test_an_administrator_gets_what_the_request_names(served: Served, provider: IdentityProvider) -> None:
    for email in ("root@example.com", "root@EXAMPLE.com"):
        leaf = leaf_of(ask(served, provider.token(CLIENT, email=email), "www", ("www.example.com", "10.0.0.9")))
        assert common_name(leaf.subject) == "www"
        assert alternative_names(leaf.extensions) == SubjectNames(dns=("www.example.com",), ips=("10.0.0.9",))


def test_an_identity_token_counts_once_with_and_without_nonce(served: Served, provider: IdentityProvider) -> None:
    for token in (provider.token(CLIENT), provider.token(CLIENT, nonce=None)):
        assert ask(served, token)[0] == 201 and ask(served, token)[0] == 401
    assert ask(served, provider.token(CLIENT, nonce="again"))[0] == 201
    assert ask(served, provider.token(CLIENT, nonce="again", sub="u-18"))[0] == 401


def test_a_signature_rewritten_is_no_other_token(served: Served, provider: IdentityProvider) -> None:
    """Of an ECDSA signature (r, s) everybody can make (r, n - s); it holds as well."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    for token in (provider.token(CLIENT, nonce=None, session="twins"), material.jws(*unsigned_of(served))):
        signing, _, signature = token.rpartition(".")
        raw = material.unb64(signature)
        twin = raw[:32] + (order - int.from_bytes(raw[32:])).to_bytes(32, "big")
        assert ask(served, f"{signing}.{material.b64(twin)}")[0] == 201
        for again in (token, f" {token}\n", f"{signing}.{material.b64(twin)}"):
            refused(served, again, "used")


def unsigned_of(served: Served) -> tuple[ec.EllipticCurvePrivateKey, dict[str, Any], dict[str, Any]]:
    """A token of the JWK provisioner without an id, to be signed."""
    key = ec.derive_private_key(int.from_bytes(material.unb64(served.key.jwk["d"])), ec.SECP256R1())
    claims = {"aud": f"{served.url}/1.0/sign", "iss": "admin", "sub": "web.example.com", "iat": int(time.time())}
    return key, {"alg": "ES256", "kid": served.key.kid}, claims


def test_only_administrators_revoke_and_they_revoke_anything(served: Served, provider: IdentityProvider) -> None:
    serial = hold(served, "going.example.com").chain[0].serial_number
    body = {"serial": str(serial), "passive": True}
    assert call(served, "POST", "/revoke", {**body, "ott": provider.token(CLIENT)})[0] == 401
    token = provider.token(CLIENT, email="root@example.com")
    assert call(served, "POST", "/revoke", {**body, "ott": token}) == (200, {"status": "ok"})


OIDC_MUTATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "other issuer": ({"iss": "https://accounts.example.org"}, "token issuer is"),
    "other audience": ({"aud": "somebody-else"}, "no provisioner is named"),
    "other audience for a party": ({"aud": "somebody-else", "azp": CLIENT}, "does not have"),
    "no audience": ({"aud": None}, "no provisioner is named"),
    "other party": ({"azp": "somebody-else"}, "token is authorized for"),
    "no subject": ({"sub": None}, "token has no subject"),
    "no end": ({"exp": None}, "token carries no exp"),
    "expired": (LONG_AGO, "token expired at"),
    "not yet valid": ({"nbf": 4_000_000_000}, "token is not valid before"),
    "unverified email": ({"email_verified": False}, "has not verified"),
}


@pytest.mark.parametrize("name", OIDC_MUTATIONS)
def test_what_is_not_right_with_an_identity_token_is_refused(
    served: Served, provider: IdentityProvider, name: str
) -> None:
    claims, reason = OIDC_MUTATIONS[name]
    refused(served, provider.token(CLIENT, **claims), reason)


def test_an_identity_token_of_another_key_is_refused(served: Served, provider: IdentityProvider) -> None:
    refused(served, provider.token(CLIENT, key=material.new_key()), "is valid for no key")
    stranger = material.jws(CLUSTER, {"alg": "ES256", "kid": "none"}, {"iss": provider.issuer, "aud": CLIENT})
    refused(served, stranger, "is valid for no key")


def test_domains_and_groups_bind(served: Served, provider: IdentityProvider) -> None:
    def status(**claims: Any) -> int:
        return ask(served, provider.token("few", **{"groups": ["dev", "ops"], **claims}))[0]

    assert status() == 201
    assert status(email="jane@EXAMPLE.COM") == 201
    assert status(email="jane@elsewhere.test") == 401
    assert status(email="jane@not-example.com") == 401
    assert status(email=None) == 401  # no mailbox is of no domain
    assert status(groups=["dev"]) == 401
    assert status(groups=None) == 401
    assert status(groups="ops") == 401


def test_a_new_key_of_the_provider_is_fetched(served: Served, provider: IdentityProvider) -> None:
    assert ask(served, provider.token(CLIENT))[0] == 201
    provider.keys["two"] = material.new_key()
    until = time.monotonic() + 30
    while (status := ask(served, provider.token(CLIENT, kid="two"))[0]) != 201 and time.monotonic() < until:
        time.sleep(0.5)
    assert status == 201
    # In between it was asked at most once in ten seconds, and once for all its configurations are kept.
    asked = provider.asked[WELL_KNOWN]
    for _ in range(5):
        assert ask(served, provider.token(CLIENT, kid="three", key=KEY))[0] == 401  # type: ignore[arg-type]
    assert provider.asked[WELL_KNOWN] <= asked + 1


# K8sSA


def service_account(header: dict[str, Any] | None = None, /, **claims: Any) -> str:
    base = {"iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:default:web"}
    payload = {name: value for name, value in {**base, **claims}.items() if value is not None}
    return material.jws(CLUSTER, {"alg": "ES256", "kid": "", **(header or {})}, payload)


def test_a_service_account_gets_what_it_asks_for_as_often_as_it_asks(served: Served) -> None:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "web"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example"),
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CH"),
        ]
    )
    names = [x509.DNSName("web.default.svc"), x509.RFC822Name("web@example.com")]
    builder = x509.CertificateSigningRequestBuilder(name)
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    assert isinstance(KEY, ec.EllipticCurvePrivateKey)
    csr = builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
    token = service_account()
    for _ in range(2):
        leaf = leaf_of(call(served, "POST", "/sign", {"csr": csr, "ott": token}))
        assert leaf.subject.rfc4514_string() == "CN=web,O=Example,C=CH"
        assert alternative_names(leaf.extensions) == SubjectNames(("web.default.svc",), ("web@example.com",))
        assert extension.of(leaf) == extension.ProvisionerExtension("K8sSA", "cluster")
    body = {"serial": str(leaf.serial_number), "ott": token, "passive": True}
    assert call(served, "POST", "/revoke", body) == (200, {"status": "ok"})


def test_what_is_not_right_with_a_service_account_is_refused(served: Served) -> None:
    stranger = material.jws(material.new_key(), {"alg": "ES256"}, {"iss": "kubernetes/serviceaccount", "sub": "x"})
    refused(served, service_account(sub=None), "token has no subject")
    refused(served, service_account(iss="kubernetes"), "no provisioner is named")
    refused(served, service_account(exp=int(time.time()) - 3600), "token expired at")
    refused(served, service_account({"alg": "RS256"}), "is valid for none of")
    refused(served, stranger, "is valid for none of")
