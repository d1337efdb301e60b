"""Logging in at an identity provider from the command line, for our authority and for the official step-ca."""

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.cli.accounts import Account
from tests.rig.authority import Served, founded
from tests.rig.identity_provider import IdentityProvider, with_browser
from tests.rig.official import official
from troth.host.ports import free_ports
from troth.x509.names import SubjectNames, alternative_names, common_name
from troth.x509.pem import parse_certificates

JANE = "jane@example.com"


@pytest.fixture
def provider() -> Iterator[IdentityProvider]:
    one = IdentityProvider()
    yield one
    one.close()


@pytest.fixture(params=["troth", "step-ca"])
def served(tmp_path: Path, provider: IdentityProvider, request: pytest.FixtureRequest) -> Iterator[Served]:
    base = tmp_path / "authority"
    base.mkdir()
    with founded(base) as one:
        raw = json.loads(one.configuration.read_text())
        people: dict[str, object] = {"type": "OIDC", "name": "people", "clientID": "client", "clientSecret": "s3cret"}
        people |= {"configurationEndpoint": provider.url, "authParams": ["prompt=login", "state=mine"]}
        one.edit(provisioners=[*raw["authority"]["provisioners"], {**people, "admins": ["root@example.com"]}])
        provider.secret = "s3cret"
        if request.param == "troth":
            one.start()
            yield one
        else:
            with official(one):
                yield one


@pytest.fixture
def account(tmp_path: Path, served: Served) -> Account:
    """One that has a browser."""
    path = with_browser(tmp_path / "programs", tmp_path / "page")
    return Account(tmp_path, {"STEP_CA_URL": served.url, "STEP_ROOT": str(served.root), "PATH": path})


def page(account: Account) -> str:
    return (account.work / "page").read_text()


def names(account: Account, file: str = "a.crt") -> tuple[str, SubjectNames]:
    leaf = parse_certificates((account.work / file).read_bytes())[0]
    return common_name(leaf.subject), alternative_names(leaf.extensions)


def only(*params: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("served", params, indirect=True)


def test_a_person_logs_in_by_browser_and_gets_a_certificate(account: Account, provider: IdentityProvider) -> None:
    done = account.good("ca", "certificate", JANE, "a.crt", "a.key", "--provisioner", "people")
    assert done.out == "" and "s3cret" not in done.err
    assert names(account) == ("u-17", SubjectNames(emails=(JANE,), uris=(f"{provider.issuer}#u-17",)))
    assert page(account).startswith("200 ") and "You are logged in" in page(account)
    [asked] = provider.authorized
    assert asked["scope"] == "openid email" and asked["prompt"] == "login" and asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"].startswith("http://127.0.0.1:") and asked["state"] != "mine"


def test_a_person_logs_in_on_another_device(account: Account, provider: IdentityProvider) -> None:
    provider.pending = ["authorization_pending", "authorization_pending"]
    done = account.good("ca", "certificate", JANE, "a.crt", "a.key", "--provisioner", "people", "--console")
    assert f"Visit {provider.url}/activate" in done.err and "WDJB-MJHT" in done.err
    assert names(account)[1].emails == (JANE,)
    assert len(provider.exchanged) == 3 and not provider.authorized


@only("troth")
def test_an_identity_token_is_printed_and_nothing_else(account: Account, provider: IdentityProvider) -> None:
    done = account.good("ca", "token", JANE, "--provisioner", "people")
    account.good("ca", "certificate", JANE, "a.crt", "a.key", "--token", done.out.strip())
    assert done.out.strip() not in done.err
    said = account.refused("ca", "token", JANE, "--provisioner", "people", "--cnf", "abc")
    assert "--cnf cannot be used with provisioner 'people'" in said


@only("troth")
def test_a_request_is_signed_for_who_logs_in(account: Account) -> None:
    from tests.interop import material

    csr = account.work / "own.csr"
    csr.write_text(material.pem(material.request(material.new_key(), JANE)))
    account.good("ca", "sign", "own.csr", "a.crt", "--provisioner", "people")
    assert names(account)[0] == "u-17"


@only("troth")
def test_console_chooses_the_provisioner_of_people(account: Account) -> None:
    account.good("ca", "certificate", JANE, "a.crt", "a.key", "--console")
    assert names(account)[0] == "u-17"


@only("troth")
def test_who_is_not_let_in_sees_it_in_the_browser_and_in_the_terminal(
    account: Account, provider: IdentityProvider
) -> None:
    provider.denies = "access_denied"
    said = account.refused_at_login("ca", "token", JANE, "--provisioner", "people")
    assert "the identity provider refused: access_denied: no entry <b>" in said
    assert page(account).startswith("400 ") and "The login failed" in page(account)
    assert "&lt;b&gt;" in page(account) and "no entry <b>" not in page(account)


@only("troth")
@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"aud": "somebody-else"}, "the identity token is for 'somebody-else': expected the client 'client'"),
        ({"nonce": "another"}, "the identity token is not the answer to this login (nonce)"),
        ({"iss": "https://elsewhere.test"}, "the identity token is of 'https://elsewhere.test'"),
        ({"exp": 1}, "the identity token has expired already"),
    ],
)
def test_a_token_that_is_not_for_this_login_goes_nowhere(
    account: Account, provider: IdentityProvider, claims: dict[str, object], expected: str
) -> None:
    provider.claims = claims
    said = account.refused_at_login("ca", "certificate", JANE, "a.crt", "a.key", "--provisioner", "people")
    assert expected in said and "The login failed" in page(account)
    assert not (account.work / "a.key").exists()


@only("troth")
def test_a_wrong_secret_is_said_to_be_one(account: Account, provider: IdentityProvider) -> None:
    provider.secret = "another"
    said = account.refused_at_login("ca", "token", JANE, "--provisioner", "people")
    assert "the identity provider refused: invalid_client" in said and "check its secret" in said
    said = account.refused_at_login("ca", "token", JANE, "--provisioner", "people", "--console")
    assert "gives no device code: invalid_client" in said


@only("troth")
def test_a_login_on_another_device_ends_when_it_is_refused(account: Account, provider: IdentityProvider) -> None:
    provider.pending = ["authorization_pending", "access_denied"]
    said = account.refused_at_login("ca", "token", JANE, "--provisioner", "people", "--console")
    assert "the identity provider refused: access_denied" in said


@only("troth")
def test_endpoints_over_plain_http_elsewhere_are_not_used(account: Account, provider: IdentityProvider) -> None:
    provider.more_configuration = {"token_endpoint": "http://idp.example.com/token"}
    said = account.refused_at_login("ca", "token", JANE, "--provisioner", "people")
    assert "names an address that is not safe: 'http://idp.example.com/token'" in said


@only("troth")
def test_a_stranger_cannot_answer_for_the_provider(account: Account, provider: IdentityProvider) -> None:
    """Wrong state, wrong host, wrong path: none of them ends the login; the right answer then does, and only once."""
    command = [sys.executable, "-c", "from troth.cli.app import main; main()"]
    port = free_ports(1)[0]
    environment = {**os.environ, **account.env, "STEPPATH": str(account.step), "STEP_OPEN_BROWSER": "0"}
    environment["STEP_LISTEN"] = f"127.0.0.1:{port}"
    process = subprocess.Popen(
        [*command, "ca", "token", JANE, "--provisioner", "people"],
        cwd=account.work,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    url = next(line for line in process.stderr if re.match("http://.*/authorize", line)).strip()
    state = parse_qs(urlsplit(url).query)["state"][0]
    assert ask(f"http://127.0.0.1:{port}/?code=c&state=wrong") == 400
    assert ask(f"http://127.0.0.1:{port}/?error=access_denied") == 400
    assert ask(f"http://127.0.0.1:{port}/?{'&'.join(f'a{n}=1' for n in range(99))}") == 400
    assert ask(f"http://127.0.0.1:{port}/other?code=c&state={state}") == 404
    assert ask(f"http://127.0.0.1:{port}/?code=c&state={state}", Host="attacker.example") == 404
    assert process.poll() is None
    assert ask(url) == 200
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0 and out.count(".") == 2
    with pytest.raises(urllib.error.URLError):
        ask(f"http://127.0.0.1:{port}/?code=c&state={state}")


@only("troth")
def test_a_listener_for_the_network_is_refused(account: Account) -> None:
    said = account.refused_at_login("ca", "token", JANE, "--provisioner", "people", STEP_LISTEN="0.0.0.0:10000")
    assert "listenAddress '0.0.0.0:10000' is not of this machine" in said and "STEP_LISTEN=127.0.0.1:PORT" in said


def ask(url: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
