"""Where a one-time token comes from: given, or signed with a provisioner's key that a password opens."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from troth.client.authority import Authority
from troth.client.provisioners import (
    CertifiedKey,
    Provisioner,
    ProvisionerError,
    SigningKey,
    certificate_provisioners,
    enrolling,
    matching,
    open_key,
)
from troth.client.tokens import TokenView, read_token
from troth.client.transport import RefusedError
from troth.errors import TrothError, UsageError
from troth.host.files import read_file
from troth.host.terminal import MAX_TRIES, announce, ask_password, choose, note

WHICH = "Which provisioner key do you want to use?"


@dataclass(frozen=True, slots=True)
class Chosen:
    """The flags that say whose key signs."""

    provisioner: str = ""
    kid: str = ""
    password_file: str = ""
    key_file: str = ""
    x5c_cert: str = ""
    x5c_key: str = ""
    x5c_chain: str = ""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Chosen":
        """From a command's flags, those of them that it has."""
        found = {field.name: given[field.name] for field in fields(cls) if given.get(field.name)}
        return cls(**{**found, "password_file": password_file(given)})


def password_file(given: Mapping[str, Any]) -> str:
    """The file with the password of the key that signs the token; ``--password-file`` where nothing else says."""
    return str(given.get("provisioner_password_file") or given.get("password_file") or "")


def read_password(path: str, question: str) -> bytes:
    """A password from a file, trailing white space removed, or from the terminal."""
    if path:
        return read_file(Path(path), limit=64 * 1024).rstrip()
    return ask_password(question, otherwise="pass it with --provisioner-password-file FILE")


def chosen_provisioner(authority: Authority, chosen: Chosen, hinted: str = "") -> Provisioner | None:
    """The provisioner to enrol with, asking where flags leave it open; None where a certificate's key signs.

    `hinted` is the kind of provisioner that a command's other flags speak for; a password speaks for JWK.

    Raises:
        ProvisionerError: none fits.
        TerminalError: several fit, and there is nobody to ask.
    """
    if chosen.x5c_cert or chosen.x5c_key or chosen.x5c_chain:
        return None
    hinted = hinted or ("JWK" if chosen.password_file or chosen.key_file else "")
    one = _pick(enrolling(authority.provisioners(), chosen.provisioner, chosen.kid, hinted))
    announce("Provisioner", _described(one))
    return one


def signing_key(
    authority: Authority, chosen: Chosen, provisioner: Provisioner | None = None
) -> SigningKey | CertifiedKey:
    """Open the key of a JWK provisioner, picked here unless one is given.

    With ``--x5c-cert`` the key is a certificate's, and the provisioner one that takes such.

    Raises:
        ProvisionerError: none fits or the password is wrong.
        TerminalError: something must be asked and there is no terminal.
    """
    if chosen.x5c_cert or chosen.x5c_key or chosen.x5c_chain:
        return _certified_key(authority, chosen)
    if provisioner is None:
        provisioner = _pick(matching(authority.token_provisioners(), chosen.provisioner, chosen.kid))
        announce("Provisioner", _described(provisioner))
    if chosen.key_file:
        return _key_of_file(provisioner, chosen)
    encrypted = provisioner.encrypted_key or authority.encrypted_key(provisioner.kid)
    key = _opened(
        provisioner, encrypted, chosen.password_file, "Please enter the password to decrypt the provisioner key"
    )
    announce("CA", authority.url)
    return key


def _opened(provisioner: Provisioner, encrypted: str, password_file: str, question: str) -> SigningKey:
    """The key behind a password; one that a person typed wrong is asked for again."""
    left = 1 if password_file or not encrypted else MAX_TRIES
    while True:
        left -= 1
        try:
            return open_key(provisioner, encrypted, read_password(password_file, question) if encrypted else b"")
        except ProvisionerError as error:
            if password_file or "the password is wrong" not in error.message:
                raise
            if not left:
                error.hint = "it may be read from a file: --provisioner-password-file FILE"
                raise
            note(error.message)


def _certified_key(authority: Authority, chosen: Chosen) -> CertifiedKey:
    from troth.cli.owned import read_pair
    from troth.x509.pem import parse_certificates

    if not chosen.x5c_cert or not chosen.x5c_key:
        raise UsageError("--x5c-cert and --x5c-key belong together: expected a certificate and its key")
    if chosen.key_file or chosen.kid:
        raise UsageError("--key and --kid cannot be used with --x5c-cert: its own key signs")
    pair = read_pair(chosen.x5c_cert, chosen.x5c_key, chosen.password_file)
    more = parse_certificates(read_file(Path(chosen.x5c_chain)), chosen.x5c_chain) if chosen.x5c_chain else []
    names = certificate_provisioners(authority.provisioners(), chosen.provisioner)
    hint = "choose one with --provisioner: " + "; ".join(names)
    name = names[0] if len(names) == 1 else names[choose(WHICH, names, otherwise=hint)]
    announce("Provisioner", f"{name} (X5C)")
    announce("CA", authority.url)
    return CertifiedKey(name, tuple(dict.fromkeys((*pair.chain, *more))), pair.key, chosen.x5c_key)


def _pick(found: Sequence[Provisioner]) -> Provisioner:
    if len(found) == 1:
        return found[0]
    hint = "choose one with --provisioner or --kid: " + "; ".join(one.name for one in found)
    return found[choose(WHICH, [_described(one) for one in found], otherwise=hint)]


def _described(one: Provisioner) -> str:
    label = {"JWK": f" [kid: {one.kid}]", "OIDC": f" [client: {one.kid}]"}.get(one.kind, "")
    return f"{one.name} ({one.kind}){label}"


def _key_of_file(provisioner: Provisioner, chosen: Chosen) -> SigningKey:
    """``--key``: a JWK, plain or as a compact JWE, or a PEM key."""
    data = read_file(Path(chosen.key_file)).strip()
    if data.count(b".") == 4:
        question = f"Please enter the password to decrypt {chosen.key_file}"
        return _opened(provisioner, data.decode("ascii", "replace"), chosen.password_file, question)
    return SigningKey(provisioner.name, provisioner.kid, _jwk_of(data, chosen))


def detached_key(chosen: Chosen) -> SigningKey:
    """The key of ``--key`` under the name and id given, with nobody asked whether there is such a provisioner."""
    return _key_of_file(Provisioner(chosen.provisioner, chosen.kid), chosen)


def _jwk_of(data: bytes, chosen: Chosen) -> dict[str, Any]:
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    from troth.x509.keys import parse_private_key, private_key_to_pem

    if data.startswith(b"{"):
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            value = {}
        if not isinstance(value, dict) or not ("d" in value or "k" in value):
            raise UsageError(f"{chosen.key_file} is not a private JWK")
        return value
    password = read_file(Path(chosen.password_file)).rstrip() if chosen.password_file else None
    pem = private_key_to_pem(parse_private_key(data, password, chosen.key_file), pkcs8=True)
    for kind in (ECKey, RSAKey, OKPKey):
        try:
            return dict(kind.import_key(pem).as_dict(private=True))
        except ValueError:
            continue
    raise UsageError(f"{chosen.key_file} cannot sign tokens: expected EC, RSA or Ed25519")


def given_token(token: str) -> TokenView:
    """What a token from the command line says."""
    return read_token(token.strip())


def explained(error: RefusedError, view: TokenView, now: datetime) -> TrothError:
    """A refused token in clearer words: the authority does not tell a client why, but the token itself may.

    Only the hint is ours; the authority's verdict stays first.
    """
    again = f"make a new token: troth ca token {view.subject or 'SUBJECT'}"
    if error.status != 401:
        hint = error.hint
        if "requested duration" in error.message:
            hint = "ask for another end: --not-after, or change the limits: troth ca provisioner update NAME --help"
        return RefusedError(f"the authority refused: {error.message}", error.status, hint=hint)
    if view.expires is not None and now > view.expires:
        message = f"the authority refused the token: it expired at {view.expires:%Y-%m-%dT%H:%M:%SZ}"
        return RefusedError(message, error.status, hint=again)
    hint = f"a token is good once, for minutes, and for its own CA; {again}"
    return RefusedError(f"the authority refused the token: {error.message}", error.status, hint=hint)
