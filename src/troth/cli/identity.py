"""Logging in at an identity provider: through the browser of this machine, on another device, or by a code typed in."""

import html
import ipaddress
import os
import ssl
import threading
from urllib.parse import urlsplit

from troth.client import device, openid
from troth.client.openid import Attempt, Client, LoginError, Provider
from troth.client.provisioners import Provisioner
from troth.client.web import Pace, system_trust
from troth.errors import TrothError
from troth.host.browser import open_browser
from troth.host.clock import now
from troth.host.listener import NOT_FOUND, ListenError, Page, listening, parse_listen
from troth.host.terminal import announce, ask, note

PATIENCE_SECONDS = 300.0
# While the browser waits for its page we ask the provider for the token.
PAGE_SECONDS = 60.0
LISTEN_HINT = "choose another address with STEP_LISTEN=127.0.0.1:PORT, or log in on another device with --console"
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
}
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body{{font:1.2rem/1.6 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem;color:#222}}</style>
</head><body><h1>{title}</h1><p>{text}</p></body></html>
"""


def identity_token(provisioner: Provisioner, *, console: bool) -> str:
    """Let a person log in, and return what the provider says of them.

    Raises:
        TrothError: they did not, it took too long, or what came back is not for this login.
    """
    client = Client.of(provisioner.name, provisioner.details)
    trust = system_trust()
    provider = openid.discover(client, trust)
    announce("Identity provider", provider.issuer)
    flow = os.environ.get("STEP_CONSOLE_FLOW", "").lower() or ("device" if console else "")
    if flow == "device" and (provider.device or not provider.authorization):
        token, nonce = _on_device(provider, client, trust), ""
    else:
        attempt = openid.new_attempt()
        login = _typed if flow else _in_browser
        token, nonce = login(provider, client, attempt, trust), attempt.nonce
    openid.check_identity(token, provider, client, nonce, now())
    return token


def _on_device(provider: Provider, client: Client, trust: ssl.SSLContext) -> str:
    code = device.start(provider, client, trust)
    note(f"Visit {code.complete_url or code.url}\nand check or enter the code: {code.user_code}")
    return device.await_token(code, provider, client, trust, Pace())


def _typed(provider: Provider, client: Client, attempt: Attempt, trust: ssl.SSLContext) -> str:
    """Out of band: the provider shows a code, which the person types in here."""
    note(f"Visit:\n\n{openid.authorization_url(provider, client, attempt, openid.OUT_OF_BAND)}\n")
    code = ask("Enter verification code", "", otherwise="log in without --console, where there is a browser")
    if not code:
        raise LoginError("no code was entered", hint="run it again and type in the code that the provider shows")
    return openid.exchange_code(provider, client, attempt, openid.OUT_OF_BAND, code, trust)


def _in_browser(provider: Provider, client: Client, attempt: Attempt, trust: ssl.SSLContext) -> str:
    host, port = _loopback(os.environ.get("STEP_LISTEN") or client.listen or "127.0.0.1:0")
    login = _Login(provider, client, attempt, trust)
    with listening(host, port, login.page, hint=LISTEN_HINT, seconds=PAGE_SECONDS) as bound:
        login.redirect = f"http://{f'[{host}]' if ':' in host else host}:{bound}"
        url = openid.authorization_url(provider, client, attempt, login.redirect)
        opened = open_browser(url)
        note(("Your web browser has been opened to visit:" if opened else "Visit with a web browser:") + f"\n\n{url}\n")
        return login.result()


def _loopback(address: str) -> tuple[str, int]:
    """Only this machine may bring a code back (RFC 8252 §8.3)."""
    host, port = parse_listen(address, "listenAddress")
    host = host or "127.0.0.1"
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if not local:
        raise ListenError(
            f"listenAddress {address!r} is not of this machine: expected 127.0.0.1:PORT", hint=LISTEN_HINT
        )
    return host, port


class _Login:
    """One login: the first redirection that answers it ends it, and its page tells the person how."""

    def __init__(self, provider: Provider, client: Client, attempt: Attempt, trust: ssl.SSLContext) -> None:
        self.redirect = ""
        self._parts = (provider, client, attempt)
        self._trust = trust
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._token = ""
        self._error: TrothError | None = None

    def page(self, target: str, host: str) -> Page:
        """The answer to a request; called from several threads."""
        parts = urlsplit(target)
        if parts.path != "/" or host.lower() != urlsplit(self.redirect).netloc:
            return NOT_FOUND
        with self._lock:
            if self._over.is_set():
                return _shown(400, "This login is over", "Look at the terminal, and start again there if need be.")
            return self._answered(parts.query)

    def _answered(self, query: str) -> Page:
        provider, client, attempt = self._parts
        try:
            code = openid.read_callback(query, attempt, provider)
            if code is None:
                text = "This is not the answer to the login that the terminal waits for. It goes on waiting."
                return _shown(400, "Not this login", text)
            token = openid.exchange_code(provider, client, attempt, self.redirect, code, self._trust)
            openid.check_identity(token, provider, client, attempt.nonce, now())
            self._token = token
        except TrothError as error:
            self._error = error
            self._over.set()
            return _shown(400, "The login failed", f"{error.message}. The terminal says more.")
        self._over.set()
        return _shown(200, "You are logged in", "You can close this page. The command goes on in the terminal.")

    def result(self) -> str:
        """Wait for the person.

        Raises:
            TrothError: the login failed, or took too long.
        """
        if not self._over.wait(PATIENCE_SECONDS):
            message = f"nobody logged in within {PATIENCE_SECONDS:g} seconds"
            raise LoginError(message, hint="run it again, or log in on another device with --console")
        if self._error is not None:
            raise self._error
        return self._token


def _shown(status: int, title: str, text: str) -> Page:
    body = _PAGE.format(title=html.escape(title), text=html.escape(text)).encode()
    return Page(status, body, "text/html; charset=utf-8", _HEADERS)
