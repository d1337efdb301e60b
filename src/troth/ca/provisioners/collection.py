"""All provisioners of an authority: listing with cursors, and finding the one a token or certificate belongs to."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from troth.ca import ConfigurationError, UnauthorizedError
from troth.ca.audiences import Audiences, fragment_of
from troth.ca.claims import Claims, parse_claims
from troth.ca.provisioners.base import ListedProvisioner, Provisioner
from troth.ca.provisioners.jwk import JWKProvisioner
from troth.ca.provisioners.k8ssa import ISSUER as SERVICE_ACCOUNT
from troth.ca.provisioners.k8ssa import K8sSAProvisioner
from troth.ca.provisioners.oidc import OIDCProvisioner
from troth.ca.provisioners.x5c import X5CProvisioner
from troth.ca.tokens import Token

DEFAULT_LIMIT, MAX_LIMIT = 20, 100
_SERVED: dict[str, type[Provisioner]] = {
    "jwk": JWKProvisioner,
    "x5c": X5CProvisioner,
    "oidc": OIDCProvisioner,
    "k8ssa": K8sSAProvisioner,
}
_LISTED = {
    "gcp": "GCP",
    "aws": "AWS",
    "azure": "Azure",
    "acme": "ACME",
    "sshpop": "SSHPOP",
    "scep": "SCEP",
    "nebula": "Nebula",
}


@dataclass(frozen=True, slots=True)
class Page:
    """Provisioners as the interface lists them, and where the next page begins (empty at the end)."""

    provisioners: tuple[dict[str, Any], ...]
    next_cursor: str


class Provisioners:
    """In configuration order; names and ids are unique. `remote` are those whose keys are published elsewhere."""

    def __init__(self, members: Sequence[Provisioner]) -> None:
        self.members = tuple(members)
        self._by_id = {member.identifier: member for member in members}
        self._by_name = {member.name: member for member in members}
        self._by_fragment = {member.token_fragment: member for member in members if member.token_fragment}
        self.remote = tuple(member for member in members if isinstance(member, OIDCProvisioner))
        self._cursors = [_cursor(index, member.identifier) for index, member in enumerate(members)]
        for kind, index in (("id", self._by_id), ("name", self._by_name)):
            if len(index) != len(self.members):
                raise ConfigurationError(f"two provisioners have the same {kind}: expected every {kind} once")

    def of_token(self, token: Token, audiences: Audiences) -> Provisioner:
        """The provisioner a token claims to come from, by its unverified audience, issuer and key id.

        Raises:
            UnauthorizedError: there is none.
        """
        fragment = next((fragment_of(audience) for audience in token.audiences if "#" in audience), "")
        if audiences.match_any(token.audiences):
            key_id = token.header.get("kid")
            if fragment:
                found = self._by_fragment.get(fragment)
            else:
                found = self._by_id.get(f"{token.issuer}:{key_id}") if isinstance(key_id, str) and key_id else None
        elif token.issuer == SERVICE_ACCOUNT:
            found = next((one for one in self.members if one.kind == "K8sSA"), None)
        else:
            found = self._of_client(token)
        if found is None:
            raise UnauthorizedError(f"no provisioner is named by the token (iss {token.issuer!r})")
        return found

    def _of_client(self, token: Token) -> Provisioner | None:
        """Whose client id, or tenant, a token of an identity provider is for: step's order of claims."""
        audience = next(iter(token.audiences), "")
        tenant = token.text_claim("tid")
        names = [token.text_claim("azp")] if audience else []
        names += [audience] if tenant and token.text_claim("email") else []
        names += [tenant, audience] if audience else []
        return next((self._by_fragment[name] for name in names if name in self._by_fragment), None)

    def by_id(self, identifier: str) -> Provisioner | None:
        return self._by_id.get(identifier)

    def by_name(self, name: str) -> Provisioner | None:
        return self._by_name.get(name)

    def encrypted_key(self, key_id: str) -> str | None:
        """The encrypted private key of a JWK provisioner, or None."""
        keys = (m.encrypted_key for m in self.members if isinstance(m, JWKProvisioner) and m.kid == key_id)
        return next(keys, None) or None

    def page(self, cursor: str = "", limit: int = 0) -> Page:
        """One page; a limit of 0 or less means 20, and at most 100 are given."""
        size = DEFAULT_LIMIT if limit <= 0 else min(limit, MAX_LIMIT)
        wanted = cursor.rjust(40, "0")
        first = next((i for i, uid in enumerate(self._cursors) if uid >= wanted), len(self.members))
        after = first + size
        following = self._cursors[after].lstrip("0") if after < len(self.members) else ""
        return Page(tuple(member.public() for member in self.members[first:after]), following)


def _cursor(index: int, identifier: str) -> str:
    """40 hex digits: the position, then a part of the hash of the id (step-ca's cursor)."""
    digest = hashlib.sha1(identifier.encode(), usedforsecurity=False).hexdigest()
    return f"{index:08x}{digest[8:]}"


def load_provisioners(raw: object, base: Claims) -> Provisioners:
    """The configured provisioners; a kind nobody knows is left out, as step-ca does.

    Raises:
        ConfigurationError: an entry is malformed.
    """
    if raw is None:
        return Provisioners([])
    if not isinstance(raw, list):
        raise ConfigurationError("authority.provisioners: expected a list")
    members = []
    for index, entry in enumerate(raw):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not entry["name"]:
            raise ConfigurationError(f"authority.provisioners[{index}]: expected an object with a name")
        member = _load(entry, base)
        if member is not None:
            members.append(member)
    return Provisioners(members)


def _load(entry: Mapping[str, Any], base: Claims) -> Provisioner | None:
    kind = str(entry.get("type", "")).lower()
    what = f"provisioner {entry['name']}"
    claims = parse_claims(entry.get("claims"), base, what)
    if kind in _SERVED:
        try:
            return _SERVED[kind](entry, claims)
        except ConfigurationError as error:
            if _SERVED[kind] is JWKProvisioner:
                raise
            # As with step-ca, one provisioner that cannot be used does not keep the others from being served.
            return ListedProvisioner(entry, claims, _SERVED[kind].kind, error.message)
    if kind in _LISTED:
        return ListedProvisioner(entry, claims, _LISTED[kind], f"{_LISTED[kind]} provisioners are not served by troth")
    return None
