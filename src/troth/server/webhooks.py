"""Asking webhooks over HTTPS: ten seconds each, one more attempt after a failure, no redirections."""

import asyncio
import ssl
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import aiohttp
from cryptography import x509

from troth.ca import ForbiddenError
from troth.ca.gotemplate import TemplateError
from troth.ca.provisioners import Grant, Provisioner
from troth.ca.settings import Settings
from troth.ca.webhooks import (
    AUTHORIZING,
    ENRICHING,
    Webhook,
    address_data,
    authorizing_body,
    enriching_body,
    parse_answer,
    parse_webhooks,
)
from troth.server.log import Log

TIMEOUT_SECONDS = 10.0
PAUSE_SECONDS = 1.0
MAX_ANSWER_BYTES = 1024 * 1024
ATTEMPTS = 2
# How to speak TLS to a webhook: showing our certificate, or not.
Outward = Callable[[bool], ssl.SSLContext]


def load_webhooks(provisioners: Iterable[Provisioner], settings: Settings) -> dict[str, tuple[Webhook, ...]]:
    """By name of the provisioner, those that have any.

    Raises:
        ConfigurationError: one is malformed.
    """
    found = {}
    for provisioner in provisioners:
        options = provisioner.raw.get("options")
        secrets = settings.webhook_secrets.get(provisioner.name, {})
        raw = options.get("webhooks") if isinstance(options, dict) else None
        hooks = parse_webhooks(raw, secrets, f"provisioner {provisioner.name}")
        if hooks:
            found[provisioner.name] = hooks
    return found


class Asking:
    """The webhooks of one request."""

    def __init__(
        self,
        hooks: Iterable[Webhook],
        grant: Grant,
        request: x509.CertificateSigningRequest,
        now: datetime,
        log: Log | None,
        outward: Outward,
    ) -> None:
        self._hooks = tuple(hooks)
        self._grant = grant
        self._request = request
        self._now = now
        self._log = log
        self._outward = outward

    async def enrich(self) -> dict[str, Any]:
        """The data of every enriching webhook, by name.

        Raises:
            ForbiddenError: one did not allow the request, or could not be asked.
        """
        hooks = [hook for hook in self._hooks if hook.kind == ENRICHING]
        if not hooks:
            return {}
        body = enriching_body(self._grant, self._request, self._now)
        return {hook.name: await self._ask(hook, body) for hook in hooks}

    async def authorize(self, certificate: bytes) -> None:
        """Show the certificate, DER, to every authorizing webhook.

        Raises:
            ForbiddenError: one did not allow it, or could not be asked.
        """
        hooks = [hook for hook in self._hooks if hook.kind == AUTHORIZING]
        if hooks:
            body = authorizing_body(self._grant, x509.load_der_x509_certificate(certificate), self._now)
            for hook in hooks:
                await self._ask(hook, body)

    async def _ask(self, hook: Webhook, body: bytes) -> Any:
        try:
            url = hook.address.execute(address_data(self._grant, self._request), self._now)
            async with asyncio.timeout(TIMEOUT_SECONDS):
                tls = self._outward(hook.shows_certificate)
                answer = await _post(url, body, hook.headers(body), tls)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, TemplateError) as error:
            if self._log is not None:
                self._log.failure(
                    "webhook cannot be asked", webhook=hook.name, error=f"{type(error).__name__}: {error}"
                )
            raise ForbiddenError(f"webhook {hook.name} cannot be asked; the log of the authority says why") from error
        return parse_answer(hook, answer)


async def _post(url: str, body: bytes, headers: dict[str, str], tls: ssl.SSLContext) -> bytes:
    # Proxies are those of the environment.
    async with aiohttp.ClientSession(trust_env=True, connector=aiohttp.TCPConnector(ssl=tls)) as session:
        for attempt in range(ATTEMPTS):
            last = attempt == ATTEMPTS - 1
            try:
                async with session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                    if answer.status < 300:
                        return await _read(answer)
                    if answer.status < 500 or last:
                        raise ValueError(f"answered with status {answer.status}")
            except aiohttp.ClientConnectionError:
                if last:
                    raise
            await asyncio.sleep(PAUSE_SECONDS)
    raise ValueError("did not answer")


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    body = await answer.content.read(MAX_ANSWER_BYTES + 1)
    while len(body) <= MAX_ANSWER_BYTES and (more := await answer.content.read(MAX_ANSWER_BYTES + 1)):
        body += more
    if len(body) > MAX_ANSWER_BYTES:
        raise ValueError(f"answered with more than {MAX_ANSWER_BYTES} bytes")
    return body
