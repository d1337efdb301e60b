"""Where a one-time token comes from: given, or signed with a provisioner's key that a password opens."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from troth.client.authority import Authority
from troth.client.provisioners import Provisioner, SigningKey, matching, open_key
from troth.client.tokens import TokenView, read_token
from troth.client.transport import RefusedError
from troth.errors import TrothError, UsageError
from troth.host.files import read_file
from troth.host.terminal import announce, ask_password, choose


@dataclass(frozen=True, slots=True)
class Chosen:
    """The flags that say whose key signs."""

    provisioner: str = ""
    kid: str = ""
    password_file: str = ""
    key_file: str = ""


def read_password(path: str, question: str) -> bytes:
    """A password from a file, trailing white space removed, or from the terminal."""
    if path:
        return read_file(Path(path), limit=64 * 1024).rstrip()
    return ask_password(question, otherwise="pass it with --provisioner-password-file FILE")


def signing_key(authority: Authority, chosen: Chosen) -> SigningKey:
    """Pick a provisioner and open its key, asking where flags leave it open and there is a terminal.

    Raises:
        ProvisionerError: none fits or the password is wrong.
        TerminalError: something must be asked and there is no terminal.
    """
    provisioner = _pick(matching(authority.token_provisioners(), chosen.provisioner, chosen.kid))
    announce("Provisioner", f"{provisioner.name} ({provisioner.kind}) [kid: {provisioner.kid}]")
    if chosen.key_file:
        return _key_of_file(provisioner, chosen)
    encrypted = provisioner.encrypted_key or authority.encrypted_key(provisioner.kid)
    password = read_password(chosen.password_file, "Please enter the password to decrypt the provisioner key")
    key = open_key(provisioner, encrypted, password)
    announce("CA", authority.url)
    return key


def _pick(found: Sequence[Provisioner]) -> Provisioner:
    if len(found) == 1:
        return found[0]
    names = [f"{one.name} ({one.kind}) [kid: {one.kid}]" for one in found]
    hint = "choose one with --provisioner or --kid: " + "; ".join(one.name for one in found)
    return found[choose("Which provisioner key do you want to use?", names, otherwise=hint)]


def _key_of_file(provisioner: Provisioner, chosen: Chosen) -> SigningKey:
    """``--key``: a JWK, plain or as a compact JWE, or a PEM key."""
    data = read_file(Path(chosen.key_file)).strip()
    if data.count(b".") == 4:
        password = read_password(chosen.password_file, f"Please enter the password to decrypt {chosen.key_file}")
        return open_key(provisioner, data.decode("ascii", "replace"), password)
    return SigningKey(provisioner.name, provisioner.kid, _jwk_of(data, chosen))


def _jwk_of(data: bytes, chosen: Chosen) -> dict[str, Any]:
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    from troth.x509.keys import parse_private_key, private_key_to_pem

    if data.startswith(b"{"):
        try:
            value = json.loads(data)
        except ValueError:
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
        return RefusedError(f"the authority refused: {error.message}", error.status, hint=error.hint)
    if view.expires is not None and now > view.expires:
        message = f"the authority refused the token: it expired at {view.expires:%Y-%m-%dT%H:%M:%SZ}"
        return RefusedError(message, error.status, hint=again)
    hint = f"a token is good once, for minutes, and for its own CA; {again}"
    return RefusedError(f"the authority refused the token: {error.message}", error.status, hint=hint)
