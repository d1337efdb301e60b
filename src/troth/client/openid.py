"""An OpenID provider as its client sees it: discovery, the authorization code with PKCE, the identity token.

OpenID Connect Core 1.0 and Discovery 1.0, RFC 6749, RFC 7636 (PKCE), RFC 8252 (loopback), RFC 9207 (``iss``).
"""

import base64
import hashlib
import hmac
import secrets
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urljoin, urlsplit, urlunsplit

from troth.acme.problems import one_line
from troth.ca.provisioners.oidc import ProviderError, check_url, discovery_url
from troth.client import ClientError
from troth.client.tokens import read_token
from troth.client.transport import Answer
from troth.client.web import ask, json_object
from troth.errors import TrothError

MAX_REDIRECTS = 3
SCOPES = ("openid", "email")
FORM = "application/x-www-form-urlencoded"
LEEWAY_SECONDS = 60
OUT_OF_BAND = "urn:ietf:wg:oauth:2.0:oob"


class LoginError(ClientError):
    """The identity provider did not let somebody in, or what it said cannot be used."""


@dataclass(frozen=True, slots=True)
class Client:
    """What a provisioner says of itself as a client of its identity provider."""

    provisioner: str
    client_id: str
    secret: str
    endpoint: str
    tenant: str
    scopes: tuple[str, ...]
    parameters: tuple[tuple[str, str], ...]
    listen: str

    @classmethod
    def of(cls, name: str, entry: Mapping[str, Any]) -> "Client":
        """From a provisioner as it is listed.

        Raises:
            LoginError: its configuration endpoint is not usable.
        """
        try:
            endpoint = discovery_url(_text(entry, "configurationEndpoint"), name)
        except TrothError as error:
            raise LoginError(error.message) from error
        pairs = (one.partition("=") for one in _texts(entry, "authParams"))
        return cls(
            name,
            _text(entry, "clientID"),
            _text(entry, "clientSecret"),
            endpoint,
            _text(entry, "tenantID"),
            _texts(entry, "scopes") or SCOPES,
            tuple((key, value) for key, _, value in pairs if key),
            _text(entry, "listenAddress"),
        )


@dataclass(frozen=True, slots=True)
class Provider:
    """Where a provider does what; empty where it does not."""

    issuer: str
    token: str
    authorization: str = ""
    device: str = ""
    basic_only: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """The secrets of one login: nobody else can finish it, and its token is for nobody else (from `new_attempt`)."""

    state: str
    nonce: str
    verifier: str


def new_attempt() -> Attempt:
    """Fresh secrets of 256 bits each."""
    return Attempt(secrets.token_urlsafe(32), secrets.token_hex(32), secrets.token_urlsafe(48))


def discover(client: Client, trust: ssl.SSLContext) -> Provider:
    """What the provider publishes about itself.

    Raises:
        ClientError: it cannot be reached or understood.
    """
    url = client.endpoint
    for _ in range(MAX_REDIRECTS + 1):
        answer = ask(_safe(url), trust, hint=_hint(client))
        if answer.status in (301, 302, 303, 307, 308) and answer.headers.get("location"):
            url = urljoin(url, answer.headers["location"])
            continue
        return _parse_provider(client, url, answer)
    raise LoginError(f"{client.endpoint} redirects more than {MAX_REDIRECTS} times", hint=_hint(client))


def _parse_provider(client: Client, url: str, answer: Answer) -> Provider:
    value = json_object(answer)
    issuer = _text(value or {}, "issuer")
    if answer.status != 200 or value is None or not issuer or not _text(value, "token_endpoint"):
        message = f"{url} is not the configuration of an OpenID provider: status {answer.status}"
        raise LoginError(message, hint=_hint(client))
    methods = _texts(value, "token_endpoint_auth_methods_supported")
    optional = [_text(value, name) for name in ("authorization_endpoint", "device_authorization_endpoint")]
    authorization, device = (_safe(one) if one else "" for one in optional)
    return Provider(
        issuer.replace("{tenantid}", client.tenant) if client.tenant else issuer,
        _safe(_text(value, "token_endpoint")),
        authorization,
        device,
        "client_secret_basic" in methods and "client_secret_post" not in methods,
    )


def authorization_url(provider: Provider, client: Client, attempt: Attempt, redirect: str) -> str:
    """Where a person logs in (RFC 6749 §4.1.1, RFC 7636 §4.3).

    Raises:
        LoginError: the provider has no such page.
    """
    if not provider.authorization:
        hint = "try the flow for other devices: --console"
        raise LoginError(f"{provider.issuer} has no authorization endpoint", hint=hint)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(attempt.verifier.encode()).digest()).rstrip(b"=").decode()
    own = {
        "client_id": client.client_id,
        "redirect_uri": redirect,
        "response_type": "code",
        "scope": " ".join(client.scopes),
        "state": attempt.state,
        "nonce": attempt.nonce,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    # Parameters of the provisioner come on top, and replace none of those that make the login ours.
    more = [(key, value) for key, value in client.parameters if key not in own]
    parts = urlsplit(provider.authorization)
    query = "&".join(part for part in (parts.query, urlencode([*own.items(), *more], quote_via=quote)) if part)
    return urlunsplit(parts._replace(query=query, fragment=""))


def read_callback(query: str, attempt: Attempt, provider: Provider) -> str | None:
    """The code that a redirection brings back; None when it is not the answer to this attempt, whoever sent it.

    Raises:
        LoginError: the provider answers this attempt with a refusal.
    """
    try:
        fields = {name: values[0] for name, values in parse_qs(query, max_num_fields=50).items()}
    except ValueError:
        return None
    if not hmac.compare_digest(fields.get("state", "").encode(), attempt.state.encode()):
        return None
    if fields.get("iss", provider.issuer) != provider.issuer:
        return None
    if fields.get("error"):
        raise _denied(fields)
    return fields.get("code") or None


def exchange_code(
    provider: Provider, client: Client, attempt: Attempt, redirect: str, code: str, trust: ssl.SSLContext
) -> str:
    """The identity token that a code is good for (RFC 6749 §4.1.3).

    Raises:
        ClientError: the provider refused, or its answer is none.
    """
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect,
        "code_verifier": attempt.verifier,
    }
    answer = post_form(provider.token, provider, client, form, trust)
    value = json_object(answer) or {}
    if answer.status != 200 or value.get("error"):
        raise _denied(value, answer.status)
    return identity_of(value, provider)


def post_form(url: str, provider: Provider, client: Client, form: Mapping[str, str], trust: ssl.SSLContext) -> Answer:
    """A form, with the client's id and secret where the provider wants them (RFC 6749 §2.3.1)."""
    headers = {"Content-Type": FORM, "Accept": "application/json"}
    own = {"client_id": client.client_id}
    if client.secret and provider.basic_only:
        pair = f"{quote(client.client_id, safe='')}:{quote(client.secret, safe='')}"
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    elif client.secret:
        own["client_secret"] = client.secret
    return ask(url, trust, "POST", urlencode({**own, **form}).encode(), headers, hint=_hint(client))


def identity_of(value: Mapping[str, Any], provider: Provider) -> str:
    """The identity token of a token response. Raises: LoginError: there is none."""
    token = _text(value, "id_token")
    if not token:
        hint = "the provisioner's scopes must have openid: troth ca provisioner update NAME --scope openid"
        raise LoginError(f"{provider.issuer} answered without an identity token", hint=hint)
    return token


def check_identity(token: str, provider: Provider, client: Client, nonce: str, now: datetime) -> None:
    """What the authority will look at, so that a person hears the reason; the signature is the authority's to check.

    Args:
        token: from the provider.
        provider: whose it is.
        client: whom it must be for.
        nonce: of the attempt; empty where the flow carries none.
        now: the present, UTC.

    Raises:
        LoginError: something is not right.
    """
    try:
        view = read_token(token)
    except TrothError as error:
        raise LoginError(f"{provider.issuer} answered with a malformed identity token") from error
    if view.issuer != provider.issuer:
        raise LoginError(f"the identity token is of {one_line(view.issuer)!r}: expected {provider.issuer!r}")
    if client.client_id not in view.audiences:
        audiences = one_line(", ".join(view.audiences))
        raise LoginError(f"the identity token is for {audiences!r}: expected the client {client.client_id!r}")
    if nonce and not hmac.compare_digest(view.nonce.encode(), nonce.encode()):
        hint = "log in again; when it happens twice, somebody may be interfering"
        raise LoginError("the identity token is not the answer to this login (nonce)", hint=hint)
    if view.expires is None or (now - view.expires).total_seconds() > LEEWAY_SECONDS:
        raise LoginError("the identity token has expired already", hint="is the clock of this machine right?")


def _denied(fields: Mapping[str, Any], status: int = 0) -> LoginError:
    kind, detail = one_line(fields.get("error")), one_line(fields.get("error_description"))
    said = ": ".join(part for part in (kind or (f"status {status}" if status else ""), detail) if part)
    hint = "register this client and its redirect URI (http://127.0.0.1) at the provider, and check its secret"
    return LoginError(f"the identity provider refused: {said}", hint=None if kind == "access_denied" else hint)


def _hint(client: Client) -> str:
    return f"the identity provider of provisioner {client.provisioner!r} is at {client.endpoint}"


def _safe(url: str) -> str:
    try:
        check_url(url)
    except ProviderError as error:
        raise LoginError(f"the identity provider names an address that is not safe: {error.message}") from error
    return url


def _text(value: Mapping[str, Any], name: str) -> str:
    found = value.get(name)
    return found if isinstance(found, str) else ""


def _texts(value: Mapping[str, Any], name: str) -> tuple[str, ...]:
    found = value.get(name)
    return tuple(one for one in found if isinstance(one, str)) if isinstance(found, list) else ()
