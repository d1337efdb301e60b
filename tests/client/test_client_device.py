"""The device flow's waiting (RFC 8628 §3.5), and what a malicious provider may put on the terminal."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.rig.identity_provider import IdentityProvider
from troth.client import device, openid
from troth.client.device import DeviceCode
from troth.client.openid import Client, LoginError, Provider
from troth.client.web import Pace

TRUST = ssl.create_default_context()


@dataclass
class Clock:
    now: float = 0.0
    waits: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def idp() -> Iterator[IdentityProvider]:
    one = IdentityProvider()
    yield one
    one.close()


def begun(idp: IdentityProvider) -> tuple[Client, Provider, DeviceCode]:
    client = Client.of("people", {"clientID": "client", "configurationEndpoint": idp.url})
    provider = openid.discover(client, TRUST)
    code = device.start(provider, client, TRUST)
    return client, provider, replace(code, interval=5.0, patience=60.0)


def waited(idp: IdentityProvider, clock: Clock) -> str:
    client, provider, code = begun(idp)
    return device.await_token(code, provider, client, TRUST, Pace(lambda: clock.now, clock.sleep))


def test_it_slows_down_when_it_is_told_to(idp: IdentityProvider) -> None:
    idp.pending = ["authorization_pending", "slow_down", "authorization_pending"]
    clock = Clock()
    assert waited(idp, clock).count(".") == 2
    assert clock.waits == [5.0, 5.0, 10.0, 10.0]


def test_it_ends_when_the_code_does(idp: IdentityProvider) -> None:
    idp.pending = ["authorization_pending"] * 99
    clock = Clock()
    with pytest.raises(LoginError, match="nobody logged in within 60 seconds"):
        waited(idp, clock)
    assert clock.now == 60.0


@pytest.mark.parametrize("kind", ["expired_token", "access_denied", "invalid_grant", "x\x1b[2J"])
def test_it_ends_with_a_refusal(idp: IdentityProvider, kind: str) -> None:
    idp.pending = [kind]
    with pytest.raises(LoginError) as caught:
        waited(idp, Clock())
    assert caught.value.message.startswith("the identity provider refused: ") and "\x1b" not in caught.value.message


@pytest.mark.parametrize("members", [{"device_authorization_endpoint": ""}, {"device_authorization_endpoint": None}])
def test_a_provider_without_the_flow_says_so(idp: IdentityProvider, members: dict[str, Any]) -> None:
    idp.more_configuration = members
    with pytest.raises(LoginError, match="has no device authorization endpoint"):
        begun(idp)


@pytest.mark.parametrize(
    ("url", "usable"),
    [("https://a.test/x", True), ("javascript:alert(1)", False), ("https://a.test/\x1b[2J", False), (None, False)],
)
def test_what_is_shown_is_a_web_address(url: object, usable: bool) -> None:
    assert device._is_page(url) is usable
