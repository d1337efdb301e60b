"""The key that ``troth crypto jwt`` signs or verifies with: a file in any form, or one key of a set."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from troth.ca.jwk import decrypt_provisioner_key, thumbprint
from troth.ca.jwt import key_of_set
from troth.ca.key_forms import KeyFormError, as_compact_jwe, read_jwk
from troth.cli.key_secrets import given_password
from troth.errors import UsageError
from troth.host.files import read_file

FIXED = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA"}


def chosen_key(given: Mapping[str, Any], kid: str, *, defaults: bool) -> tuple[dict[str, Any], str]:
    """The key that ``--key`` or ``--jwks`` names, and the algorithm to use it with.

    Args:
        given: a command's flags.
        kid: the id it must have; needed for a set.
        defaults: whether an RSA key without an algorithm of its own is used with RS256.

    Raises:
        TrothError: it cannot be read, is another, or may not sign.
    """
    if bool(given["key"]) == bool(given["jwks"]):
        raise UsageError("expected either --key or --jwks")
    path = given["key"] or given["jwks"]
    if given["jwks"] and not kid:
        raise UsageError("--jwks needs --kid: which of its keys")
    jwk, own = _read(path, kid, bool(given["jwks"]), given["password_file"])
    if kid and jwk.get("kid") and kid != jwk["kid"] and not given["subtle"]:
        raise UsageError(f"{path} has id {jwk['kid']!r}: expected {kid!r}")
    if jwk.get("use") not in (None, "", "sig"):
        raise UsageError(f"{path} is for {jwk['use']!r}: expected a key for signatures (sig)")
    fixed = FIXED.get(str(jwk.get("crv") or "")) or ("RS256" if defaults else "")
    algorithm = given["alg"] or own or fixed
    if given["alg"] and own and given["alg"] != own and not given["subtle"]:
        raise UsageError(f"--alg {given['alg']} is not the key's own, {own}: give --subtle if that is meant")
    if not algorithm:
        hint = "a token may not choose it: give --alg RS256, or --insecure"
        raise UsageError(f"--alg is missing: {path} does not say how it signs", hint=hint)
    return {**jwk, "kid": kid or jwk.get("kid") or thumbprint(jwk)}, algorithm


def _read(path: str, kid: str, is_set: bool, password_file: str) -> tuple[dict[str, Any], str]:
    """A key, and the algorithm that it says itself, which PEM never does."""

    def password() -> bytes:
        return given_password(password_file, f"Please enter the password to decrypt {path}")

    data = read_file(Path(path))
    jwe = as_compact_jwe(data)
    if jwe is not None:
        data = json.dumps(decrypt_provisioner_key(jwe, password(), member="keys" if is_set else "kty")).encode()
    if is_set:
        data = json.dumps(key_of_set(read_set(data, path), kid, path)).encode()
    jwk = read_jwk(data, password, path)
    own = json.loads(data).get("alg") if data.lstrip().startswith(b"{") else ""
    return jwk, str(own or "")


def read_set(data: bytes, path: str) -> dict[str, Any]:
    """A JWK set's object; an empty file is an empty one.

    Raises:
        KeyFormError: it is not JSON, or no object.
    """
    if not data.strip():
        return {"keys": []}
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise KeyFormError(f"{path} is not a JSON web key set: {error}") from error
    if not isinstance(value, dict):
        raise KeyFormError(f"{path} is not a JSON web key set: expected an object with 'keys'")
    return value
