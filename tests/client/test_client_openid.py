"""What an identity provider may publish and answer, wrong or malicious, and what a login makes of it."""

import ssl
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.rig.identity_provider import WELL_KNOWN, IdentityProvider
from troth.client import openid
from troth.client.openid import Attempt, Client, LoginError, Provider
from troth.errors import TrothError

TRUST = ssl.create_default_context()
ATTEMPT = Attempt("the-state", "the-nonce", "the-verifier")
PROVIDER = Provider("https://idp.test", "https://idp.test/token", "https://idp.test/authorize?tenant=1")
ENTRY = {"clientID": "client", "configurationEndpoint": "https://idp.test"}


@pytest.fixture
def idp() -> Iterator[IdentityProvider]:
    one = IdentityProvider()
    yield one
    one.close()


def discovered(idp: IdentityProvider) -> Provider:
    return openid.discover(Client.of("people", {**ENTRY, "configurationEndpoint": idp.url}), TRUST)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (WELL_KNOWN, "redirects more than 3 times"),
        ("http://idp.example.com/", "names an address that is not safe: 'http://idp.example.com/'"),
        ("file:///etc/passwd", "names an address that is not safe"),
    ],
)
def test_redirections_of_the_configuration_end_and_stay_safe(idp: IdentityProvider, target: str, expected: str) -> None:
    idp.redirect = target
    with pytest.raises(LoginError) as caught:
        discovered(idp)
    assert expected in caught.value.message


@pytest.mark.parametrize("name", ["token_endpoint", "authorization_endpoint", "device_authorization_endpoint"])
def test_endpoints_that_are_not_safe_are_refused(idp: IdentityProvider, name: str) -> None:
    idp.more_configuration = {name: "http://169.254.169.254/latest"}
    with pytest.raises(LoginError, match="not safe"):
        discovered(idp)


def test_a_configuration_without_end_is_refused(idp: IdentityProvider) -> None:
    idp.more_configuration = {"x": "y" * 5_000_000}
    with pytest.raises(TrothError, match="answered with more than"):
        discovered(idp)


def test_parameters_of_the_provisioner_replace_none_of_the_logins_own() -> None:
    params = ["prompt=login", "state=mine", "redirect_uri=https://evil.test", "code_challenge_method=plain", "=x"]
    client = Client.of("people", {**ENTRY, "scopes": ["openid", "groups"], "authParams": params})
    query = parse_qs(urlsplit(openid.authorization_url(PROVIDER, client, ATTEMPT, "http://127.0.0.1:1")).query)
    assert query["tenant"] == ["1"] and query["prompt"] == ["login"] and query["scope"] == ["openid groups"]
    assert query["state"] == ["the-state"] and query["redirect_uri"] == ["http://127.0.0.1:1"]
    assert query["code_challenge_method"] == ["S256"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("code=c&state=the-state", "c"),
        ("code=c&state=the-state&iss=https://idp.test", "c"),
        ("code=c&state=the-state&iss=https://other.test", None),
        ("code=c&state=the-stat", None),
        ("code=c&state=th%C3%A9", None),
        ("code=c", None),
        ("state=the-state", None),
        ("error=access_denied&state=wrong", None),
        ("&".join(f"a{n}=1" for n in range(200)), None),
    ],
)
def test_only_the_answer_to_this_login_counts(query: str, code: str | None) -> None:
    assert openid.read_callback(query, ATTEMPT, PROVIDER) == code


def test_a_refusal_for_this_login_says_why_on_one_line() -> None:
    with pytest.raises(LoginError) as caught:
        openid.read_callback("error=server_error&error_description=a%0Ab%1B[2J&state=the-state", ATTEMPT, PROVIDER)
    assert caught.value.message == "the identity provider refused: server_error: a b [2J"
