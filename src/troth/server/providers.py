"""What identity providers publish, fetched and kept: their name and keys, for the OIDC provisioners.

A provider that does not answer is not asked again for a while, and keys that are due go on being used until new ones
come. Requests that wait for one provider share one fetch.
"""

import asyncio
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

import aiohttp
from yarl import URL

from troth.ca import UnauthorizedError
from troth.ca.authority import Authority
from troth.ca.provisioners.oidc import OIDCProvisioner, Provider, ProviderError, check_url, parse_discovery, parse_keys
from troth.ca.tokens import parse_token
from troth.host import clock
from troth.server.log import Log

# A client of ours waits 15 s for its certificate; both fetches together must leave time to sign it.
FETCH_SECONDS = 4.0
MAX_BYTES = 1024 * 1024
MAX_REDIRECTS = 5
KEEP = timedelta(hours=12)
SHORTEST, LONGEST = timedelta(minutes=1), timedelta(hours=24)
PAUSE = timedelta(seconds=10)


@dataclass
class _Entry:
    """What is known of one provider, until when it is fresh, and when it may be asked next."""

    provider: Provider | None = None
    fresh_until: datetime | None = None
    ask_from: datetime | None = None
    problem: str = ""
    task: "asyncio.Task[None] | None" = None


class Providers:
    """Kept by address, so that a reload of the configuration forgets nothing."""

    def __init__(self, log: Log | None = None) -> None:
        self._log = log
        self._entries: dict[str, _Entry] = {}

    async def prepare(self, authority: Authority, text: str) -> None:
        """Give the provisioner of a token its provider's keys; nothing to do for those of other kinds.

        Raises:
            UnauthorizedError: there are none and none can be fetched now, or the token is none's.
        """
        token = parse_token(text)
        one = authority.provisioners.of_token(token, authority.audiences)
        if not isinstance(one, OIDCProvisioner):
            return
        entry = self._entries.setdefault(f"{one.endpoint} {one.tenant}", _Entry())
        if self._due(entry, str(token.header.get("kid") or "")):
            if entry.task is None:
                entry.task = asyncio.create_task(self._refresh(one, entry))
            # Whoever waits may go away; the fetch is for the others too.
            await asyncio.shield(entry.task)
        one.provider = entry.provider
        if entry.provider is None:
            raise UnauthorizedError(f"keys of provisioner {one.name} cannot be fetched: {entry.problem}")

    def _due(self, entry: _Entry, key_id: str) -> bool:
        """An unknown key id may be a new key; whether to ask for it is still a matter of the pause."""
        now = clock.now()
        if entry.task is None and entry.ask_from is not None and now < entry.ask_from:
            return False
        fresh = entry.fresh_until is not None and now < entry.fresh_until
        return entry.provider is None or not fresh or not entry.provider.knows(key_id)

    async def _refresh(self, one: OIDCProvisioner, entry: _Entry) -> None:
        try:
            entry.provider, keep = await _fetch_provider(one)
            entry.fresh_until, entry.problem = clock.now() + keep, ""
        except (ProviderError, aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            entry.problem = error.message if isinstance(error, ProviderError) else f"{type(error).__name__}: {error}"
            if self._log is not None:
                self._log.failure("identity provider cannot be used", provisioner=one.name, error=entry.problem)
        finally:
            entry.ask_from, entry.task = clock.now() + PAUSE, None


async def _fetch_provider(one: OIDCProvisioner) -> tuple[Provider, timedelta]:
    timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS)
    # Trusted are the roots of the system, or those of SSL_CERT_FILE; proxies are those of the environment.
    async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as session:
        body, _ = await _get(session, one.endpoint)
        issuer, address = parse_discovery(body, one.tenant)
        body, control = await _get(session, address)
        return Provider(issuer, parse_keys(body)), keep_for(control)


def keep_for(control: str) -> timedelta:
    """How long keys are fresh by a ``Cache-Control`` header: ``max-age`` within bounds, 12 hours when it says none."""
    age = re.search(r"(?:^|[\s,])max-age\s*=\s*\"?(\d{1,9})", control, re.IGNORECASE)
    return min(LONGEST, max(SHORTEST, timedelta(seconds=int(age[1])))) if age else KEEP


async def _get(session: aiohttp.ClientSession, url: str) -> tuple[bytes, str]:
    """Body and ``Cache-Control`` of a page; every step of a redirection must be an address we would ask ourselves."""
    for _ in range(MAX_REDIRECTS):
        check_url(url)
        async with session.get(url, allow_redirects=False) as answer:
            if answer.status in (301, 302, 303, 307, 308) and "Location" in answer.headers:
                url = str(answer.url.join(URL(answer.headers["Location"])))
                continue
            if answer.status != 200:
                raise ProviderError(f"{url} answered {answer.status}")
            body = bytearray()
            async for part in answer.content.iter_chunked(64 * 1024):
                body += part
                if len(body) > MAX_BYTES:
                    raise ProviderError(f"{url} answered more than {MAX_BYTES} bytes")
            return bytes(body), answer.headers.get("Cache-Control", "")
    raise ProviderError(f"{url}: more than {MAX_REDIRECTS} redirections")
