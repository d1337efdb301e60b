"""The provisioners an authority lists, as far as a client needs them: who can sign tokens, and with which key."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.x509 import Certificate

from troth.ca.jwk import decrypt_provisioner_key
from troth.client import ClientError
from troth.errors import TrothError
from troth.x509.keys import PrivateKey


class ProvisionerError(ClientError):
    """No provisioner fits, or its key does not open."""


@dataclass(frozen=True, slots=True)
class Provisioner:
    """A provisioner to enrol with: its name, its key's id (OIDC: the client's id), and what else a kind is known by."""

    name: str
    kid: str
    encrypted_key: str = ""
    kind: str = "JWK"
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An opened provisioner key: whose it is, and the private JWK."""

    provisioner: str
    kid: str
    jwk: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CertifiedKey:
    """A certificate whose key signs tokens for an X5C provisioner; the chain travels in the token, leaf first.

    `kid` is what step writes into the header and nobody reads: the name of the key's file.
    """

    provisioner: str
    chain: tuple[Certificate, ...]
    key: PrivateKey
    kid: str = ""


def certificate_provisioners(entries: Sequence[Mapping[str, Any]], name: str = "") -> list[str]:
    """The names of the X5C provisioners listed, or the one asked for.

    Raises:
        ProvisionerError: none fits.
    """
    known = [str(entry.get("name", "")) for entry in entries if str(entry.get("type", "")).upper() == "X5C"]
    found = [one for one in known if not name or one == name]
    if found:
        return found
    listed = ", ".join(known) or "none"
    wanted = f"no X5C provisioner with name {name!r}" if name else "the authority has no X5C provisioner"
    hint = "run: troth ca provisioner list"
    raise ProvisionerError(f"{wanted}: the authority has {listed}" if name else wanted, hint=hint)


def parse_provisioner(entry: Mapping[str, Any]) -> Provisioner | None:
    """A listed JWK provisioner; None for the other kinds, whose tokens come from elsewhere."""
    key = entry.get("key")
    if str(entry.get("type", "")).upper() != "JWK" or not isinstance(key, Mapping) or not key.get("kid"):
        return None
    return Provisioner(str(entry.get("name", "")), str(key["kid"]), str(entry.get("encryptedKey") or ""))


def matching(provisioners: Sequence[Provisioner], name: str = "", kid: str = "") -> list[Provisioner]:
    """The provisioners of that name and key id, each when given.

    Raises:
        ProvisionerError: none fits.
    """
    found = [p for p in provisioners if (not name or p.name == name) and (not kid or p.kid == kid)]
    if found:
        return found
    known = ", ".join(sorted({p.name for p in provisioners})) or "none"
    if not name and not kid:
        raise ProvisionerError("the authority has no JWK provisioner", hint="pass a token with --token")
    wanted = " and ".join([f"name {name!r}"] * bool(name) + [f"key id {kid!r}"] * bool(kid))
    raise ProvisionerError(
        f"no JWK provisioner with {wanted}: the authority has {known}", hint="run: troth ca provisioner list"
    )


# How one enrols with provisioners of the other kinds.
_ELSEWHERE = {
    "X5C": "it takes a certificate: --x5c-cert FILE --x5c-key FILE",
    "K8SSA": "it takes the token of a service account: troth ca certificate ... --k8ssa-token-path FILE",
}


def enrolling(
    entries: Sequence[Mapping[str, Any]], name: str = "", kid: str = "", hinted: str = ""
) -> list[Provisioner]:
    """The provisioners of kind JWK, OIDC and ACME that fit; `hinted` is the kind that other flags speak for.

    Raises:
        ProvisionerError: none fits.
    """
    known = [one for one in map(_enrolling, entries) if one is not None]
    found = [one for one in known if (not name or one.name == name) and (not kid or one.kid == kid)]
    if len(found) != 1 and hinted:
        found = [one for one in found if one.kind == hinted]
    if found:
        return found
    other = next((one for one in entries if name and one.get("name") == name), None)
    kind = str(other.get("type", "")).upper() if other else ""
    if kind and kind not in ("JWK", "OIDC", "ACME"):
        hint = _ELSEWHERE.get(kind, "pass a token with --token")
        raise ProvisionerError(f"provisioner {name!r} is of type {kind}, which signs no tokens here", hint=hint)
    return matching([one for one in known if one.kind == "JWK"], name, kid)


def _enrolling(entry: Mapping[str, Any]) -> Provisioner | None:
    kind, name = str(entry.get("type", "")).upper(), str(entry.get("name", ""))
    if kind == "OIDC":
        return Provisioner(name, str(entry.get("clientID", "")), kind=kind, details=entry)
    return Provisioner(name, "", kind=kind) if kind == "ACME" else parse_provisioner(entry)


def open_key(provisioner: Provisioner, encrypted_key: str, password: bytes) -> SigningKey:
    """Decrypt a provisioner's key.

    Raises:
        ProvisionerError: the password is wrong, or the key is not one.
    """
    if not encrypted_key:
        hint = "pass the key with --key, or a token with --token"
        raise ProvisionerError(
            f"the authority does not hand out the key of provisioner {provisioner.name!r}", hint=hint
        )
    try:
        jwk = decrypt_provisioner_key(encrypted_key, password)
    except TrothError as error:
        hint = "check the file given with --provisioner-password-file"
        message = f"cannot open the key of provisioner {provisioner.name!r}: {error.message}"
        raise ProvisionerError(message, hint=error.hint or hint) from error
    return SigningKey(provisioner.name, provisioner.kid, jwk)
