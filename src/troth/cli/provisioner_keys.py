"""The keys of JWK provisioners, made or read: the public half as a JWK, the private one encrypted."""

import secrets
from pathlib import Path
from typing import Any

from troth.ca.jwk import Randomness, encrypt_provisioner_key, public_jwk, thumbprint
from troth.ca.key_forms import as_compact_jwe, check_pair, is_private, read_jwk, to_jwk
from troth.cli.founding import ask_password, read_password
from troth.errors import UsageError
from troth.host.files import read_file
from troth.host.terminal import ask_password as ask_secret
from troth.x509.keys import generate_key


def created_key(password_file: str) -> dict[str, Any]:
    """A new P-256 key: ``key`` and ``encryptedKey``."""
    password = ask_password(password_file)
    private = to_jwk(generate_key(), use="sig")
    return {"key": public_jwk(private), "encryptedKey": encrypted(private, password)}


def given_keys(public_file: str | None, private_file: str | None, password_file: str) -> dict[str, Any]:
    """The keys of files; an encrypted private key is taken as it is, another one is encrypted.

    Raises:
        UsageError: the private key is a public one.
        TrothError: a file is no key, or the two do not belong together.
    """
    details: dict[str, Any] = {}
    if public_file:
        read = read_jwk(read_file(Path(public_file)), lambda: _opening(password_file, public_file), public_file)
        details["key"] = public_jwk(read)
    if private_file == "":
        details["encryptedKey"] = None
    elif private_file:
        data = read_file(Path(private_file))
        jwe = as_compact_jwe(data)
        if jwe is None:
            private = read_jwk(data, lambda: _opening(password_file, private_file), private_file)
            if not is_private(private):
                raise UsageError(f"{private_file} is a public key: expected the private one")
            if "key" in details:
                check_pair(details["key"], private)
                private = {**private, "kid": details["key"].get("kid") or thumbprint(private)}
            jwe = encrypted(private, ask_password(password_file))
        details["encryptedKey"] = jwe
    return details


def encrypted(private: dict[str, Any], password: bytes) -> str:
    """A private JWK as the compact JWE that authorities hand out."""
    randomness = Randomness(secrets.token_bytes(16), secrets.token_bytes(32), secrets.token_bytes(12))
    return encrypt_provisioner_key(private, password, randomness)


def _opening(password_file: str, path: str) -> bytes:
    if password_file:
        return read_password(password_file)
    return ask_secret(f"Please enter the password to decrypt {path}", otherwise="give --password-file")
