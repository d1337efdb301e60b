"""What an ACME server may answer, wrong or malicious, and what the client makes of it: an error, in bounded time."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.interop import material
from tests.rig.acme_simulator import AcmeSimulator, Said, certificate
from troth.acme import states
from troth.acme.identifiers import identifiers_of
from troth.acme.keys import new_account_key
from troth.client.acme import Issuance, Wanted
from troth.client.acme_session import NONCE_TRIES, Session, fetch_directory
from troth.client.authority import Chain
from troth.client.web import Pace
from troth.errors import TrothError
from troth.x509.pem import to_pem

DNS_01 = {"type": "dns-01", "url": "https://localhost/"}
PREFIX = "urn:ietf:params:acme:error:"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[AcmeSimulator]:
    one = AcmeSimulator(tmp_path)
    yield one
    one.close()


@dataclass
class Shown:
    """A publisher that remembers what it showed; a clock that waiting moves."""

    texts: list[str] = field(default_factory=list)
    now: float = 0.0
    waits: list[float] = field(default_factory=list)

    @contextlib.contextmanager
    def publish(self, token: str, text: str) -> Iterator[None]:
        self.texts.append(text)
        try:
            yield
        finally:
            self.texts.append("gone")

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def obtain(server: AcmeSimulator, shown: Shown, path: str = "/dir") -> Chain:
    trust = server.trust()
    url = server.url + path
    session = Session(url, fetch_directory(url, trust), trust, new_account_key())
    session.open_account(["ops@example.com"])
    issuance = Issuance(session, Pace(lambda: shown.now, shown.sleep), lambda _: None, "ask {name}")
    request = material.request(material.new_key(), "", ("web.test",))
    return issuance.obtain(Wanted(identifiers_of(["web.test"])), shown, request)


def refused(server: AcmeSimulator, shown: Shown | None = None) -> str:
    with pytest.raises(TrothError) as caught:
        obtain(server, shown or Shown())
    return f"{caught.value.message}; hint: {caught.value.hint}"


def test_a_server_that_does_everything_right_issues(server: AcmeSimulator) -> None:
    shown = Shown()
    assert obtain(server, shown).leaf == server.leaf
    assert shown.texts[0].startswith("t" * 43 + ".") and shown.texts[1:] == ["gone"]


@pytest.mark.parametrize("name", ["newNonce", "newAccount", "newOrder"])
@pytest.mark.parametrize("url", ["http://localhost/x", "/relative", "file:///etc/passwd", "https://", 7, "https:// b"])
def test_a_directory_with_another_url_than_https_is_refused(server: AcmeSimulator, name: str, url: Any) -> None:
    server.change("/dir", **{name: url})
    assert f"is not an ACME directory: {name} of the directory has URL" in refused(server)
    assert server.asked == ["/dir"]


@pytest.mark.parametrize(
    ("path", "members", "expected"),
    [
        ("/newOrder", {"authorizations": ["http://127.0.0.1/authz"]}, "expected https://HOST/..."),
        ("/newOrder", {"finalize": "ftp://localhost/"}, "finalize of the order has URL 'ftp://localhost/'"),
        ("/newOrder", {"authorizations": []}, "order has no usable authorizations"),
        ("/newOrder", {"authorizations": ["https://localhost/"] * 500}, "order has no usable authorizations"),
        ("/newOrder", {"status": "sleeping"}, "the order has status 'sleeping': expected one of pending, ready"),
        ("/newOrder", {"identifiers": [{"type": "dns", "value": "other.test"}]}, "made an order for other names"),
        (
            "/authorization",
            {"challenges": [{**DNS_01, "status": "pending"}]},
            "offers dns-01",
        ),
        ("/authorization", {"challenges": ["x"]}, "malformed challenge"),
        ("/authorization", {"wildcard": True, "status": "pending"}, "cannot be proven over HTTP"),
        ("/order", {"status": "valid"}, "names no certificate"),
    ],
)
def test_what_is_malformed_is_refused(server: AcmeSimulator, path: str, members: dict[str, Any], expected: str) -> None:
    server.change(path, **members)
    assert expected in refused(server)


@pytest.mark.parametrize("token", ["../../../../etc/passwd", "short", "a/b" * 20, "", "x" * 500, "\x1b[31m" + "t" * 40])
def test_a_token_that_is_a_path_is_never_shown(server: AcmeSimulator, token: str) -> None:
    challenge = {"type": "http-01", "url": f"{server.url}/challenge", "token": token, "status": "pending"}
    server.change("/authorization", challenges=[challenge])
    shown = Shown()
    assert "the challenge's token is malformed" in refused(server, shown)
    assert shown.texts == []


@pytest.mark.parametrize("path", ["/dir", "/newAccount", "/newOrder", "/authorization", "/finalize", "/certificate"])
def test_bodies_without_end_and_redirections_are_refused(server: AcmeSimulator, path: str) -> None:
    server.changes[path] = lambda said: replace(said, body=b" " * 5_000_000)
    assert "answered with more than 4194304 bytes" in refused(server)
    server.changes[path] = lambda said: replace(said, status=302, headers={"Location": server.url + path})
    before, server.proven, server.finalized = len(server.asked), False, False
    refused(server)
    assert server.asked[before:].count(path) == 1


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"a":' * 50_000, b"\xff\xfe"])
def test_bodies_that_are_no_objects_are_refused(server: AcmeSimulator, body: bytes) -> None:
    server.changes["/newOrder"] = lambda said: replace(said, body=body)
    assert "no JSON object" in refused(server)


def test_a_proof_that_is_pending_for_ever_is_given_up(server: AcmeSimulator) -> None:
    server.change("/authorization", status="pending", challenges=[_challenge(server, "processing")])
    shown = Shown()
    assert "could not verify web.test: not done within 90 seconds; hint: ask web.test" in refused(server, shown)
    assert 85 <= shown.now <= 90 and shown.texts[1:] == ["gone"]


def test_an_order_that_is_processed_for_ever_is_given_up(server: AcmeSimulator) -> None:
    server.change("/order", status="processing")
    shown = Shown()
    assert "the order stays processing: not done within 90 seconds" in refused(server, shown)
    assert shown.now <= 90


def test_retry_after_is_kept_to_and_bounded(server: AcmeSimulator) -> None:
    server.changes["/order"] = _once(server, "7")
    shown = Shown()
    obtain(server, shown)
    assert shown.waits == [7.0]
    server.proven = server.finalized = False
    server.changes["/order"] = _always_processing("99999")
    assert "the server asks to come back in 99999 seconds" in refused(server)


def test_a_refused_proof_says_what_the_server_found(server: AcmeSimulator) -> None:
    found = {"type": PREFIX + "connection", "detail": "refused\x1b[2J by\nweb.test."}
    server.change("/authorization", status="pending", challenges=[{**_challenge(server, "invalid"), "error": found}])
    assert "could not verify web.test: connection: refused [2J by web.test; hint: ask web.test" in refused(server)


def test_a_proof_that_the_server_could_not_look_at_is_offered_again_a_few_times(server: AcmeSimulator) -> None:
    found = {"type": PREFIX + "connection", "detail": "no route"}
    server.change("/authorization", status="pending", challenges=[{**_challenge(server, "pending"), "error": found}])
    assert "connection: no route" in refused(server)
    assert server.asked.count("/challenge") == 5


def test_subproblems_name_their_identifiers(server: AcmeSimulator) -> None:
    inner = {"type": PREFIX + "dns", "detail": "no such host", "identifier": {"type": "dns", "value": "web.test"}}
    problem = {"type": PREFIX + "compound", "detail": "see below", "subproblems": [inner]}
    server.changes["/newOrder"] = lambda _: Said(problem, 400, kind="application/problem+json")
    assert "refused the order for web.test: compound: see below (web.test: dns: no such host)" in refused(server)


def test_a_server_that_refuses_every_nonce_is_given_up(server: AcmeSimulator) -> None:
    server.changes["/newOrder"] = lambda _: Said({"type": PREFIX + "badNonce"}, 400)
    assert f"refused {NONCE_TRIES} nonces in a row" in refused(server)


def test_a_server_without_nonces_is_refused(server: AcmeSimulator) -> None:
    server.changes["/newNonce"] = lambda said: replace(said, headers={"Replay-Nonce": ""})
    assert "gives no nonces" in refused(server)


def test_accounts_that_must_be_bound_are_refused_before_anything_is_sent(server: AcmeSimulator) -> None:
    server.change("/dir", meta={"externalAccountRequired": True})
    assert "externalAccountRequired" in refused(server)
    assert server.asked == ["/dir"]


def test_a_certificate_for_another_key_name_or_of_another_type_is_refused(server: AcmeSimulator) -> None:
    other = material.new_key()
    foreign = to_pem(certificate(server.key, other.public_key(), "web.test")).encode()
    server.changes["/certificate"] = lambda said: replace(said, body=foreign)
    assert "a certificate for another key" in refused(server)
    server.changes["/certificate"] = lambda said: replace(said, kind="text/html")
    assert "answered the certificate as 'text/html'" in refused(server)
    server.proven = server.finalized = False
    server.changes["/certificate"] = lambda said: replace(
        said, body=to_pem(certificate(server.key, server.leaf.public_key(), "other.test")).encode()
    )
    assert "a certificate without web.test" in refused(server)


def test_every_status_of_the_rfc_has_a_step_and_no_other() -> None:
    for following, steps in (
        (states.ORDER_NEXT, states.ORDER_STEP),
        (states.AUTHORIZATION_NEXT, states.AUTHORIZATION_STEP),
        (states.CHALLENGE_NEXT, states.CHALLENGE_STEP),
    ):
        assert set(following) == set(steps)
        assert {later for after in following.values() for later in after} <= set(steps)
        ends = {status for status, step in steps.items() if step is states.Step.FAIL}
        assert all(not following[status] for status in ends)


def _challenge(server: AcmeSimulator, status: str) -> dict[str, Any]:
    return {"type": "http-01", "url": f"{server.url}/challenge", "token": "t" * 43, "status": status}


def _always_processing(seconds: str) -> Any:
    return lambda said: replace(said, value={**said.value, "status": "processing"}, headers={"Retry-After": seconds})


def _once(server: AcmeSimulator, seconds: str) -> Any:
    seen: list[int] = []

    def change(said: Said) -> Said:
        if server.finalized and not seen:
            seen.append(1)
            return Said({**said.value, "status": "processing"}, headers={"Retry-After": seconds})
        return said

    return change
