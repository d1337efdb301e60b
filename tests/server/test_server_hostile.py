"""Tokens and bodies by somebody who holds a provisioner's key, or none, and means harm: one reading, or a refusal."""

import asyncio
import base64
import contextlib
import http.client
import json
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from joserfc.jwk import ECKey

from tests.rig.authority import Served, founded
from tests.server.calls import Answer, call, request, sign
from troth.store import StoreError
from troth.store.group import GroupCommit
from troth.store.records import Change, SpentToken
from troth.store.sqlite import open_store

NAME = "www.example.com"
DEEP = "[" * 5000 + "]" * 5000


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with founded(tmp_path_factory.mktemp("authority")) as one:
        one.start()
        yield one
        assert "Traceback" not in one.log and "level=error" not in one.log
        assert one.stop() == 0


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(served: Served, header: str, claims: str | bytes, key: ec.EllipticCurvePrivateKey | None = None) -> str:
    """Exactly these texts, signed by the provisioner's key or another."""
    private = key or ECKey.import_key(dict(served.key.jwk)).private_key
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    text = f"{b64(header.encode())}.{b64(claims if isinstance(claims, bytes) else claims.encode())}"
    r, s = decode_dss_signature(private.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{b64(r.to_bytes(32) + s.to_bytes(32))}"


def header(served: Served, **members: Any) -> str:
    return json.dumps({"alg": "ES256", "kid": served.key.kid, "typ": "JWT", **members})


def claims(served: Served, **members: Any) -> str:
    now = int(time.time())
    base = {"aud": f"{served.url}/1.0/sign", "iss": "admin", "sub": NAME, "iat": now, "nbf": now, "exp": now + 300}
    return json.dumps({**base, "jti": str(time.time_ns()), **members})


def asked(served: Served, token: str) -> Answer:
    return call(served, "POST", "/sign", {"csr": request(), "ott": token})


def test_what_is_signed_here_is_accepted_when_nothing_is_wrong_with_it(served: Served) -> None:
    assert asked(served, signed(served, header(served), claims(served)))[0] == 201
    assert (
        asked(served, signed(served, header(served, jku="https://127.0.0.1:1/", zip="DEF"), claims(served)))[0] == 201
    )


@pytest.mark.parametrize(
    "members",
    [
        {"crit": ["exp"]},
        {"crit": ["nobody-knows"], "nobody-knows": 1},
        {"crit": []},
        {"crit": "b64"},
        {"b64": False},
        {"b64": False, "crit": ["b64"]},
        {"alg": ["ES256"]},
        {"alg": {}},
        {"alg": "ES384"},
        {"alg": "NoNe"},
        {"kid": {"a": 1}},
    ],
)
def test_headers(served: Served, members: dict[str, Any]) -> None:
    assert asked(served, signed(served, header(served, **members), claims(served)))[0] == 401


def test_a_key_that_the_token_brings_itself_does_not_count(served: Served) -> None:
    own = ec.generate_private_key(ec.SECP256R1())
    public = ECKey.import_key(own).as_dict(private=False)
    assert asked(served, signed(served, header(served, jwk=public), claims(served), own))[0] == 401


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "-Infinity", "1e400", "-1e308", '"1"', "true", "[]", "9" * 26, "-1", "0.5"]
)
def test_times_that_are_none(served: Served, name: str, value: str) -> None:
    text = claims(served)
    rest = json.dumps({key: member for key, member in json.loads(text).items() if key != name})
    assert asked(served, signed(served, header(served), f'{rest[:-1]}, "{name}": {value}}}'))[0] == 401


CLAIMS: dict[str, Callable[[str], str | bytes]] = {
    "a subject twice": lambda text: text[:-1] + ', "sub": "evil.example.com"}',
    "a member twice, deep inside": lambda text: text[:-1] + ', "x": [{"a": {"b": 1, "b": 2}}]}',
    "half a surrogate pair as id": lambda text: text[:-1].replace('"jti": "', '"jti": "\\ud800') + "}",
    "half a surrogate pair as name": lambda text: text.replace(NAME, "\\udfff"),
    "half a surrogate pair as member": lambda text: text[:-1] + ', "\\ud800": 1}',
    "octets that are no UTF-8": lambda text: text.encode().replace(NAME.encode(), b"\xed\xa0\x80"),
    "UTF-16": lambda text: text.encode("utf-16"),
    "nesting without end": lambda text: text[:-1] + f', "x": {DEEP}}}',
    "a list": lambda text: f"[{text}]",
    "a binding that is a list": lambda text: text[:-1] + ', "cnf": []}',
    "a binding to a number": lambda text: text[:-1] + ', "cnf": {"x5rt#S256": 5}}',
}


@pytest.mark.parametrize("name", CLAIMS)
def test_claims(served: Served, name: str) -> None:
    assert asked(served, signed(served, header(served), CLAIMS[name](claims(served))))[0] == 401
    assert sign(served, "afterwards.example")[0] == 201


def test_a_header_that_says_twice_what_signed_it(served: Served) -> None:
    both = '{"alg": "none", ' + header(served)[1:]
    assert asked(served, signed(served, both, claims(served)))[0] == 401


@pytest.mark.parametrize("name", ["a\0.example.com", "a\n.example.com", "a\x7f", "x@a\r.example", "https://a/\x1b[2J"])
def test_names_that_cannot_be_printed(served: Served, name: str) -> None:
    status, answer = asked(served, signed(served, header(served), claims(served, sans=[name])))
    assert status in (400, 403), answer
    status, answer = asked(served, signed(served, header(served), claims(served, sub=name, sans=[NAME])))
    assert status == 403, answer
    assert "cannot be printed" in answer["message"]


@pytest.mark.parametrize("body", ['{"csr": "x", "csr": "y"}', '{"csr": "x", "ott": "y", "templateData": {"a": NaN}}'])
def test_bodies_with_two_readings(served: Served, body: str) -> None:
    connection = http.client.HTTPSConnection("127.0.0.1", served.port, context=served.tls(), timeout=20)
    with contextlib.closing(connection):
        connection.request("POST", "/sign", body)
        answer = json.loads(connection.getresponse().read())
    assert answer["status"] == 400
    assert answer["message"].startswith("request body is not a JSON object that can be read: ")


def test_one_token_thrown_thirty_times_at_once_is_one_certificate(served: Served) -> None:
    token = served.token(NAME)
    with ThreadPoolExecutor(30) as crowd:
        statuses = list(crowd.map(lambda _: asked(served, token)[0], range(30)))
    assert sorted(set(statuses)) == [201, 401]
    assert statuses.count(201) == 1


def test_reloads_under_load_refuse_nobody(served: Served) -> None:
    assert served.process is not None
    before = served.log.count("configuration reloaded")
    with ThreadPoolExecutor(6) as crowd:
        asking = [crowd.submit(sign, served, f"host{number}.example") for number in range(120)]
        for _ in range(8):
            served.process.send_signal(signal.SIGHUP)
            time.sleep(0.05)
        assert {one.result()[0] for one in asking} == {201}
    until = time.monotonic() + 10
    while served.log.count("configuration reloaded") == before and time.monotonic() < until:
        time.sleep(0.05)
    assert served.log.count("configuration reloaded") > before


def test_a_change_that_cannot_be_written_down_fails_alone(tmp_path: Path) -> None:
    ends = datetime.now(UTC) + timedelta(hours=1)
    store = open_store(tmp_path / "troth.sqlite")

    async def all_at_once() -> list[BaseException | None]:
        commit = GroupCommit(store)
        changes = [Change(token=SpentToken(name, ends)) for name in ("one", "\ud800", "two", "one")]
        return await asyncio.gather(*(commit.record(change) for change in changes), return_exceptions=True)

    try:
        first, second, third, fourth = asyncio.run(all_at_once())
    finally:
        store.close()
    assert (first, third) == (None, None)
    assert isinstance(second, StoreError) and "cannot record" in second.message
    assert isinstance(fourth, StoreError) and "used before" in fourth.message
