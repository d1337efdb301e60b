"""Renewal by a token that the certificate's own key signed: what holds, and each way it must not."""

import asyncio
import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc import jws
from joserfc.jwk import ECKey

from tests.rig.authority import Served, founded
from tests.rig.pki import Pki
from troth.x509.keys import PrivateKey, generate_key, private_key_to_pem
from troth.x509.pem import parse_certificates
from troth.x509.requests import create_request, request_to_pem

NAME = "svc.example.com"


@dataclass(frozen=True)
class Holder:
    """A certificate of a running authority, and its key."""

    served: Served
    chain: tuple[x509.Certificate, ...]
    key: PrivateKey


async def ask(served: Served, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    connector = aiohttp.TCPConnector(ssl=served.tls())
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post(served.url + path, data=body, headers=dict(headers)) as response,
    ):
        return response.status, json.loads(await response.text())


def certificate(served: Served, **wish: str) -> Holder:
    key = generate_key()
    csr = request_to_pem(create_request(key, NAME, [NAME]))
    body = json.dumps({"csr": csr, "ott": served.token(NAME), **wish}).encode()
    status, answer = asyncio.run(ask(served, "/1.0/sign", body, {}))
    assert status == 201, answer
    return Holder(served, tuple(parse_certificates("".join(answer["certChain"]).encode())), key)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with founded(tmp_path_factory.mktemp("authority")) as one:
        raw = json.loads(one.configuration.read_text())
        claims = {"minTLSCertDuration": "1s", "allowRenewalAfterExpiry": True}
        raw["authority"]["provisioners"][0]["claims"] = claims
        one.configuration.write_text(json.dumps(raw))
        one.start()
        yield one


@pytest.fixture(scope="module")
def holder(served: Served) -> Holder:
    return certificate(served)


def token(holder: Holder, header: Mapping[str, Any] | None = None, /, **claims: Any) -> str:
    """A renewal token as step makes it, with members replaced; None leaves one out."""
    now = int(time.time())
    base = {"aud": f"{holder.served.url}/renew", "sub": NAME, "iss": "step-ca-client/1.0"}
    payload = {**base, "iat": now, "nbf": now, "exp": now + 300, **claims}
    chain = [base64.b64encode(c.public_bytes(Encoding.DER)).decode() for c in holder.chain]
    full = {"alg": "ES256", "typ": "JWT", "kid": "any", "x5cInsecure": chain, **(header or {})}
    registry = jws.JWSRegistry(strict_check_header=False)
    text = json.dumps({name: value for name, value in payload.items() if value is not None})
    key = ECKey.import_key(private_key_to_pem(holder.key))
    return jws.serialize_compact({n: v for n, v in full.items() if v is not None}, text, key, registry=registry)


def renew(served: Served, text: str, scheme: str = "Bearer", path: str = "/renew") -> tuple[int, dict[str, Any]]:
    return asyncio.run(ask(served, path, b"", {"Authorization": f"{scheme} {text}"}))


def test_the_successor_has_the_same_key_and_names(holder: Holder) -> None:
    for path in ("/renew", "/1.0/renew", "/re-sign"):
        status, answer = renew(holder.served, token(holder, sub=NAME, jti=f"one {path}"), path=path)
        assert status == 201, answer
        new, old = parse_certificates(answer["crt"].encode())[0], holder.chain[0]
        assert new.public_key() == old.public_key() and new.subject == old.subject
        assert new.serial_number != old.serial_number


def test_a_token_counts_once_with_and_without_an_id(holder: Holder) -> None:
    for text in (token(holder, jti="once"), token(holder, note="no id")):
        assert renew(holder.served, text)[0] == 201
        assert renew(holder.served, text)[0] == 401


def test_an_expired_certificate_may_ask_where_its_provisioner_allows_it(served: Served) -> None:
    short = certificate(served, notAfter="62s")
    while datetime.now(UTC) <= short.chain[0].not_valid_after_utc:
        time.sleep(0.1)
    status, answer = renew(served, token(short))
    assert status == 201, answer
    assert parse_certificates(answer["crt"].encode())[0].not_valid_after_utc > datetime.now(UTC)


MUTATIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "leaf alone": ({"x5cInsecure": "leaf"}, {}),
    "no chain": ({"x5cInsecure": None}, {}),
    "empty chain": ({"x5cInsecure": []}, {}),
    "chain of numbers": ({"x5cInsecure": [1, 2]}, {}),
    "chain that is not base64": ({"x5cInsecure": ["&&&"]}, {}),
    "chain that is no certificate": ({"x5cInsecure": ["AAAA"]}, {}),
    "very long chain": ({"x5cInsecure": ["AAAA"] * 500}, {}),
    "wrong audience": ({}, {"aud": "https://127.0.0.1/sign"}),
    "no audience": ({}, {"aud": None}),
    "other host": ({}, {"aud": "https://elsewhere.test/renew"}),
    "wrong subject": ({}, {"sub": "other.example.com"}),
    "no subject": ({}, {"sub": None}),
    "wrong issuer": ({}, {"iss": "someone"}),
    "expired": ({}, {"exp": 1_000_000_000, "nbf": 999_999_900, "iat": 999_999_900}),
    "not yet valid": ({}, {"nbf": 4_000_000_000, "exp": 4_000_000_300}),
    "issued in the future": ({}, {"iat": 4_000_000_000}),
    "good for years": ({}, {"exp": 4_000_000_000}),
    "no time at all": ({}, {"exp": None, "nbf": None, "iat": None}),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_what_is_not_right_is_refused(holder: Holder, name: str) -> None:
    header, claims = MUTATIONS[name]
    if header.get("x5cInsecure") == "leaf":
        header = {"x5cInsecure": [base64.b64encode(holder.chain[0].public_bytes(Encoding.DER)).decode()]}
    status, answer = renew(holder.served, token(holder, header, **{"jti": name, **claims}))
    assert (status, answer["status"]) == (401, 401), answer


def test_another_key_a_foreign_chain_and_a_changed_text_are_refused(holder: Holder, tmp_path: Path) -> None:
    stranger = Holder(holder.served, holder.chain, generate_key())
    assert renew(holder.served, token(stranger, jti="other key"))[0] == 401
    pair = Pki(tmp_path / "foreign").leaf(NAME)
    assert renew(holder.served, token(Holder(holder.served, pair.chain, pair.private), jti="foreign"))[0] == 401
    head, body, signature = token(holder, jti="changed").split(".")
    assert renew(holder.served, f"{head}.{body}.{signature[:-4]}AAAA")[0] == 401
    assert renew(holder.served, f"{head}.{body}")[0] == 401
    assert renew(holder.served, f"{head}.{body}.")[0] == 401


def test_the_scheme_is_exact_and_rekey_takes_no_token(holder: Holder) -> None:
    for scheme in ("bearer", "BEARER", "Basic"):
        assert renew(holder.served, token(holder, jti=scheme), scheme)[0] == 400
    assert renew(holder.served, token(holder, jti="rekey"), path="/rekey")[0] == 400


def test_a_revoked_certificate_is_refused(served: Served) -> None:
    doomed = certificate(served)
    serial = str(doomed.chain[0].serial_number)
    body = json.dumps({"serial": serial, "passive": True, "ott": served.token(serial, "/1.0/revoke")}).encode()
    assert asyncio.run(ask(served, "/revoke", body, {}))[0] == 200
    status, answer = renew(served, token(doomed, jti="revoked"))
    assert status == 401 and "revoked" in answer["message"]


def test_the_official_step_renews_an_expired_certificate(served: Served, tmp_path: Path) -> None:
    step = shutil.which("step", path=f"{Path(__file__).parents[2] / 'build' / 'bin'}:/usr/bin:/usr/local/bin")
    if step is None:
        pytest.skip("step is not installed")
    short = certificate(served, notAfter="62s")
    pem = "".join(c.public_bytes(Encoding.PEM).decode() for c in short.chain)
    (tmp_path / "a.crt").write_text(pem)
    (tmp_path / "a.key").write_bytes(private_key_to_pem(short.key))
    while datetime.now(UTC) <= short.chain[0].not_valid_after_utc:
        time.sleep(0.1)
    where = ["--ca-url", served.url, "--root", str(served.root), "--force"]
    done = subprocess.run(
        [step, "ca", "renew", "a.crt", "a.key", *where],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    new = parse_certificates((tmp_path / "a.crt").read_bytes())[0]
    assert new.serial_number != short.chain[0].serial_number and new.not_valid_after_utc > datetime.now(UTC)
