"""Fetching what identity providers publish: once for all who wait, kept for its time, and never from just anywhere."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.rig.identity_provider import WELL_KNOWN, IdentityProvider
from troth.ca import UnauthorizedError
from troth.ca.audiences import audiences_for
from troth.ca.claims import DEFAULTS
from troth.ca.provisioners import Provisioners, load_provisioners
from troth.ca.provisioners.oidc import (
    OIDCProvisioner,
    ProviderError,
    check_url,
    discovery_url,
    parse_discovery,
    parse_keys,
)
from troth.ca.tokens import parse_token
from troth.host import clock
from troth.server import providers as module
from troth.server.providers import KEEP, LONGEST, PAUSE, SHORTEST, Providers, keep_for

HERE = audiences_for(["localhost"])


class Asked:
    """As much of an authority as is looked at."""

    def __init__(self, provisioners: Provisioners) -> None:
        self.provisioners, self.audiences = provisioners, HERE


@pytest.fixture
def provider() -> Iterator[IdentityProvider]:
    one = IdentityProvider()
    yield one
    one.close()


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> list[timedelta]:
    """What is in the list is added to the clock."""
    ahead: list[timedelta] = []
    monkeypatch.setattr(clock, "now", lambda: datetime.now(UTC) + sum(ahead, timedelta()))
    return ahead


def people(url: str, **more: Any) -> Provisioners:
    return load_provisioners(
        [{"type": "OIDC", "name": "people", "clientID": "c", "configurationEndpoint": url, **more}], DEFAULTS
    )


async def prepare(all_: Providers, provisioners: Provisioners, token: str) -> bool:
    """Whether the provisioner then knows a provider whose key has signed the token."""
    await all_.prepare(Asked(provisioners), token)  # type: ignore[arg-type]
    one = provisioners.remote[0]
    try:
        one.authorize(parse_token(token), HERE, "sign", datetime.now(UTC))
    except UnauthorizedError:
        return False
    return True


async def test_many_who_wait_share_one_fetch(provider: IdentityProvider) -> None:
    provider.delay = 0.2
    all_, provisioners = Providers(), people(provider.url)
    done = await asyncio.gather(*(prepare(all_, provisioners, provider.token("c")) for _ in range(20)))
    assert all(done) and provider.asked == {WELL_KNOWN: 1, "/keys": 1}


async def test_who_goes_away_does_not_take_the_fetch_along(provider: IdentityProvider) -> None:
    provider.delay = 0.3
    all_, provisioners = Providers(), people(provider.url)
    first = asyncio.create_task(prepare(all_, provisioners, provider.token("c")))
    second = asyncio.create_task(prepare(all_, provisioners, provider.token("c")))
    await asyncio.sleep(0.1)
    first.cancel()
    assert await second and provider.asked[WELL_KNOWN] == 1


async def test_keys_are_kept_for_their_time_also_over_a_reload(
    provider: IdentityProvider, time: list[timedelta]
) -> None:
    provider.headers = {"Cache-Control": "public, max-age=3600"}
    all_ = Providers()
    assert await prepare(all_, people(provider.url), provider.token("c"))
    time.append(timedelta(minutes=59))
    assert await prepare(all_, people(provider.url), provider.token("c"))
    assert provider.asked["/keys"] == 1
    time.append(timedelta(minutes=2))
    assert await prepare(all_, people(provider.url), provider.token("c"))
    assert provider.asked["/keys"] == 2


async def test_a_provider_that_is_down_keeps_its_old_keys_and_is_not_asked_at_once(
    provider: IdentityProvider, time: list[timedelta]
) -> None:
    all_, provisioners = Providers(), people(provider.url)
    assert await prepare(all_, provisioners, provider.token("c"))
    provider.status = 500
    time.append(timedelta(hours=13))
    for _ in range(3):
        assert await prepare(all_, provisioners, provider.token("c"))
    assert provider.asked[WELL_KNOWN] == 2
    provider.status = 200
    time.append(PAUSE)
    assert await prepare(all_, provisioners, provider.token("c")) and provider.asked[WELL_KNOWN] == 3


async def test_a_provider_that_was_never_reached_says_why(provider: IdentityProvider, time: list[timedelta]) -> None:
    provider.status = 503
    all_, provisioners = Providers(), people(provider.url)
    for _ in range(2):
        with pytest.raises(UnauthorizedError, match="answered 503"):
            await prepare(all_, provisioners, provider.token("c"))
    assert provider.asked[WELL_KNOWN] == 1
    provider.status = 200
    time.append(PAUSE)
    assert await prepare(all_, provisioners, provider.token("c"))


async def test_a_slow_provider_is_given_up(provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FETCH_SECONDS", 0.2)
    provider.delay = 5
    with pytest.raises(UnauthorizedError, match="TimeoutError"):
        await prepare(Providers(), people(provider.url), provider.token("c"))


async def test_a_new_key_is_asked_for_after_the_pause(provider: IdentityProvider, time: list[timedelta]) -> None:
    all_, provisioners = Providers(), people(provider.url)
    assert await prepare(all_, provisioners, provider.token("c"))
    provider.keys = {"two": provider.keys["one"]}
    assert not await prepare(all_, provisioners, provider.token("c", kid="two"))
    time.append(PAUSE)
    assert await prepare(all_, provisioners, provider.token("c", kid="two"))
    assert not await prepare(all_, provisioners, provider.token("c", kid="one", key=provider.keys["two"]))


async def test_redirections_are_followed_to_where_we_would_ask_ourselves(provider: IdentityProvider) -> None:
    provider.redirect = provider.url + "/elsewhere" + WELL_KNOWN
    assert await prepare(Providers(), people(provider.url), provider.token("c"))
    provider.redirect = "http://192.0.2.1" + WELL_KNOWN
    with pytest.raises(UnauthorizedError, match="expected https"):
        await prepare(Providers(), people(provider.url), provider.token("c"))
    provider.redirect = provider.url + WELL_KNOWN
    with pytest.raises(UnauthorizedError, match="redirections"):
        await prepare(Providers(), people(provider.url), provider.token("c"))


async def test_the_tenant_stands_in_the_issuer(provider: IdentityProvider) -> None:
    provider.issuer = provider.url + "/{tenantid}/v2.0"
    token = provider.token("c", iss=provider.url + "/t-1/v2.0", tid="t-1")
    assert await prepare(Providers(), people(provider.url, tenantID="t-1"), token)
    assert not await prepare(Providers(), people(provider.url, tenantID="t-2"), token)


async def test_a_symmetric_key_in_the_set_is_none(provider: IdentityProvider) -> None:
    provider.more_keys = [{"kty": "oct", "kid": "one", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}, {"kty": "EC"}]
    assert await prepare(Providers(), people(provider.url), provider.token("c"))
    entry = {"kty": "oct", "kid": "one", "k": "AAAA"}
    for keys in ([], [entry], ["text"], [{"kty": "RSA"}], [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]):
        with pytest.raises(ProviderError):
            parse_keys(json.dumps({"keys": keys}).encode())


def test_freshness_is_max_age_within_bounds() -> None:
    assert keep_for("public, max-age=7200, must-revalidate") == timedelta(hours=2)
    assert keep_for("MAX-AGE = 7200") == timedelta(hours=2)
    assert keep_for("no-store") == KEEP and keep_for("s-maxage=5") == KEEP and keep_for("x-max-age=5") == KEEP
    assert keep_for("max-age=0") == SHORTEST and keep_for("max-age=99999999") == LONGEST


@pytest.mark.parametrize(
    "url", ["", "idp", "http://idp.test", "ftp://idp.test", "file:///x", "https://", "http://[::1"]
)
def test_keys_come_over_tls_or_from_this_machine(url: str) -> None:
    with pytest.raises(ProviderError):
        check_url(url)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"issuer":"x"}', b'{"issuer":"x","jwks_uri":"http://idp.test/"}']
)
def test_a_malformed_configuration_is_refused(body: bytes) -> None:
    with pytest.raises(ProviderError):
        parse_discovery(body, "")


def test_the_well_known_path_is_appended_once() -> None:
    assert discovery_url("https://idp.test", "n") == "https://idp.test" + WELL_KNOWN
    assert discovery_url("https://idp.test/t/v2.0/", "n") == "https://idp.test/t/v2.0" + WELL_KNOWN
    assert discovery_url("https://idp.test/t" + WELL_KNOWN, "n") == "https://idp.test/t" + WELL_KNOWN
    assert isinstance(people("https://idp.test").remote[0], OIDCProvisioner)
