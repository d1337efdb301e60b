"""OIDC provisioners: identity tokens of an OpenID provider, whose keys the server fetches (OpenID Connect Core 1.0)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urldefrag, urlsplit, urlunsplit

from joserfc import jwk
from joserfc.errors import JoseError

from troth.ca import CAError, ConfigurationError, UnauthorizedError
from troth.ca.audiences import Audiences
from troth.ca.claims import Claims
from troth.ca.extension import ProvisionerExtension
from troth.ca.jwk import public_jwk
from troth.ca.provisioners.base import Grant, Naming, Provisioner
from troth.ca.tokens import Token, check_moment, verify_signature

WELL_KNOWN = "/.well-known/openid-configuration"
MAX_KEYS = 100
_LOCAL = ("localhost", "127.0.0.1", "::1")
_ALGORITHMS: dict[str, dict[str, tuple[str, ...]]] = {
    "EC": {"P-256": ("ES256",), "P-384": ("ES384",), "P-521": ("ES512",)},
    "OKP": {"Ed25519": ("EdDSA", "Ed25519")},
}
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


class ProviderError(CAError):
    """What an identity provider publishes cannot be used."""


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """One published key, its id, and the signature algorithms it is for."""

    kid: str
    algorithms: tuple[str, ...]
    key: Any


@dataclass(frozen=True, slots=True)
class Provider:
    """What an identity provider has published: its name and its keys."""

    issuer: str
    keys: tuple[ProviderKey, ...]

    def knows(self, key_id: str) -> bool:
        return any(key.kid == key_id for key in self.keys)


class OIDCProvisioner(Provisioner):
    """``clientID`` is whom tokens must be for. `provider` is put here by the server before it asks; None refuses."""

    kind = "OIDC"

    def __init__(self, raw: Mapping[str, Any], claims: Claims) -> None:
        super().__init__(raw, claims)
        self.client_id = self.text("clientID", required=True)
        self.endpoint = discovery_url(self.text("configurationEndpoint", required=True), self.name)
        self.tenant = self.text("tenantID")
        self._admins = frozenset(map(_mailbox, self.texts("admins")))
        self._domains = tuple(domain.lower() for domain in self.texts("domains"))
        self._groups = frozenset(self.texts("groups"))
        address = self.text("listenAddress")
        if address and not address.rpartition(":")[2].isdigit():
            raise ConfigurationError(f"provisioner {self.name}: listenAddress must be host:port, got {address!r}")
        self.provider: Provider | None = None

    @property
    def identifier(self) -> str:
        return self.client_id

    @property
    def extension(self) -> ProvisionerExtension:
        return ProvisionerExtension(self.kind, self.name, self.client_id)

    def verify(self, token: Token) -> None:
        wanted = token.header.get("kid") or ""
        for key in self._published().keys:
            if key.kid == wanted and token.header.get("alg") in key.algorithms:
                try:
                    return verify_signature(token, key.key)
                except UnauthorizedError:
                    continue
        raise UnauthorizedError(f"token signature is valid for no key {wanted!r} of the identity provider")

    def authorize(self, token: Token, audiences: Audiences, purpose: str, now: datetime) -> Grant:
        """Every claim of an identity token that names who may have what; only administrators revoke.

        Raises:
            UnauthorizedError: one of them is not right.
        """
        self.verify(token)
        if token.issuer != self._published().issuer:
            raise UnauthorizedError(f"token issuer is {token.issuer!r}, expected {self._published().issuer!r}")
        end = check_moment(token, now)
        if end is None:
            raise UnauthorizedError("token carries no exp")
        if self.client_id not in token.audiences:
            raise UnauthorizedError(f"token audience {', '.join(token.audiences)} does not have {self.client_id}")
        if token.text_claim("azp") not in ("", self.client_id):
            raise UnauthorizedError(f"token is authorized for {token.text_claim('azp')!r} (azp)")
        if not token.subject:
            raise UnauthorizedError("token has no subject")
        email = token.text_claim("email")
        admin = self._check_person(token, email)
        if purpose == "revoke" and not admin:
            raise UnauthorizedError(f"{email or token.subject} is no administrator of the provisioner: may not revoke")
        return Grant(
            self,
            token.text_claim("nonce") or token.digest,
            end,
            token.subject,
            _names(email, token),
            claims=token.claims,
            naming=Naming.REQUESTED if admin else Naming.GIVEN,
            any_serial=admin,
        )

    def _check_person(self, token: Token, email: str) -> bool:
        """Whether the token's holder is an administrator; whoever is not must be of a domain. Groups bind both."""
        if email and token.claims.get("email_verified") in (False, "false"):
            raise UnauthorizedError(f"the identity provider has not verified {email!r} (email_verified)")
        admin = bool(email) and _mailbox(email) in self._admins
        domain = _mailbox(email).rpartition("@")[2] if "@" in email else ""
        if self._domains and not admin and domain not in self._domains:
            raise UnauthorizedError(f"email {email!r} is in none of the domains {', '.join(self._domains)}")
        groups = token.claims.get("groups")
        named = {group for group in groups if isinstance(group, str)} if isinstance(groups, list) else set()
        if self._groups and not self._groups & named:
            raise UnauthorizedError("token is of none of the provisioner's groups")
        return admin

    def _published(self) -> Provider:
        if self.provider is None:
            raise UnauthorizedError(f"keys of provisioner {self.name}'s identity provider have not been fetched")
        return self.provider


def _mailbox(email: str) -> str:
    """The domain in lower case, the rest as it is."""
    local, at, domain = email.rpartition("@")
    return f"{local}{at}{domain.lower()}"


def _names(email: str, token: Token) -> tuple[str, ...]:
    """The email address, and issuer and subject as one URI."""
    names = [email] if email else []
    if urlsplit(token.issuer).scheme:
        fragment = quote(token.subject, safe="!$&'()*+,-./:;=?@_~")
        names.append(f"{urldefrag(token.issuer).url}#{fragment}")
    return tuple(names)


def discovery_url(endpoint: str, name: str) -> str:
    """Where the provider describes itself; the well-known path is appended unless it is there.

    Raises:
        ConfigurationError: it is not a URL with https, or with http on this machine.
    """
    try:
        check_url(endpoint)
    except ProviderError as error:
        raise ConfigurationError(f"provisioner {name}: configurationEndpoint: {error.message}") from error
    parts = urlsplit(endpoint)
    if WELL_KNOWN in parts.path:
        return endpoint
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + WELL_KNOWN))


def check_url(url: str) -> None:
    """Keys are believed because of whom they come from, so over TLS only, or from this machine.

    Raises:
        ProviderError: neither.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ProviderError(f"{url!r} is not a URL") from error
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and host in _LOCAL)):
        raise ProviderError(f"{url!r}: expected https://HOST (plain http is accepted from this machine only)")


def parse_discovery(body: bytes, tenant: str) -> tuple[str, str]:
    """Issuer and key address of an OpenID configuration; ``{tenantid}`` in the issuer becomes the tenant.

    Raises:
        ProviderError: it is malformed.
    """
    value = _object(body, "OpenID configuration")
    issuer, keys = value.get("issuer"), value.get("jwks_uri")
    if not isinstance(issuer, str) or not issuer or not isinstance(keys, str):
        raise ProviderError("OpenID configuration has no issuer or no jwks_uri")
    check_url(keys)
    return issuer.replace("{tenantid}", tenant) if tenant else issuer, keys


def parse_keys(body: bytes) -> tuple[ProviderKey, ...]:
    """The signature keys of a JWK set (RFC 7517 §5); those of other kinds are left out, symmetric ones above all.

    Raises:
        ProviderError: it is not a set, or there is no usable key in it.
    """
    entries = _object(body, "key set").get("keys")
    if not isinstance(entries, list):
        raise ProviderError("key set has no keys")
    usable = [key for key in map(_parse_key, entries[:MAX_KEYS]) if key is not None]
    if not usable:
        raise ProviderError("key set has no key that can verify signatures")
    return tuple(usable)


def _parse_key(entry: object) -> ProviderKey | None:
    if not isinstance(entry, dict) or entry.get("use") not in (None, "", "sig"):
        return None
    kty, curve = entry.get("kty"), entry.get("crv")
    known = _RSA if kty == "RSA" else _ALGORITHMS.get(str(kty), {}).get(str(curve), ())
    named = entry.get("alg")
    algorithms = tuple(one for one in known if not named or one == named)
    if not algorithms:
        return None
    members = {name: value for name, value in public_jwk(entry).items() if name in ("kty", "crv", "x", "y", "n", "e")}
    try:
        return ProviderKey(str(entry.get("kid") or ""), algorithms, jwk.import_key(members))
    except (JoseError, ValueError, KeyError, TypeError):
        return None


def _object(body: bytes, what: str) -> Mapping[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProviderError(f"{what} is not JSON") from error
    if not isinstance(value, dict):
        raise ProviderError(f"{what} is not a JSON object")
    return value
