"""``troth crypto jwt``: JSON web tokens, signed and verified with a key at hand."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click

from troth.cli import flags

SIGN = """
troth crypto jwt sign --key key.jwk --iss ci --aud https://ca.internal/1.0/sign --sub web.example --exp 5m
echo '{"sans": ["web.example"]}' | troth crypto jwt sign - --key key.pem --iss ci --aud x --sub web.example --exp 1900000000
troth crypto jwt sign --x5c-cert client.crt --x5c-key client.key --iss ci --aud x --sub y --exp 5m
"""  # noqa: E501 - a command is as long as it is
VERIFY = """
troth crypto jwt verify --key key.pub --iss ci --aud https://ca.internal/1.0/sign < token
troth crypto jwt verify --jwks keys.json --iss ci --aud x < token
"""
INSPECT = """
troth crypto jwt inspect --insecure < token
"""
KEY = flags.all_of(
    click.option("--alg", "--algorithm", "alg", metavar="NAME", default="", help="ES256, RS256, PS256, EdDSA ..."),
    click.option("--jwks", metavar="FILE", default="", help="JSON web key set instead of --key; with --kid."),
    click.option("--kid", metavar="ID", default="", help="Id of the key."),
    click.option("--password-file", metavar="FILE", default="", help="File with the key's password."),
)
CLAIMS = flags.all_of(
    click.option("--iss", "--issuer", "iss", metavar="NAME", default="", help="Who makes it."),
    click.option("--aud", "--audience", "aud", metavar="NAME", multiple=True, help="For whom it is; repeatable."),
    click.option("--sub", "--subject", "sub", metavar="NAME", default="", help="Whom it is about."),
    click.option("--exp", "--expiration", "exp", metavar="TIME", default="", help="Until when it is good."),
    click.option("--nbf", "--not-before", "nbf", metavar="TIME", default="", help="From when; now unless given."),
    click.option("--iat", "--issued-at", "iat", metavar="TIME", default="", help="When it was made; now unless given."),
    click.option("--jti", "--jwt-id", "jti", metavar="ID", default="", help="Its id; random unless given."),
)
CERTIFIED = flags.all_of(
    click.option("--x5c-cert", metavar="FILE", default="", help="Put this certificate and its issuers into x5c."),
    click.option("--x5c-insecure", is_flag=True, help="Call that header x5cInsecure."),
    click.option("--x5t-cert", metavar="FILE", default="", help="Put the fingerprint of this certificate into x5t."),
)
SUBTLE = click.option("--subtle", is_flag=True, help="Allow claims, or their checks, to be left out.")


@flags.command("sign", SIGN)
@click.argument("file", default="", metavar="[FILE|-]")
@click.option(
    *("--key", "--x5c-key", "--x5t-key", "key"), metavar="FILE", default="", help="The key: JSON web key or PEM."
)
@KEY
@CLAIMS
@click.option("--header", "headers", metavar="KEY=VALUE", multiple=True, help="Another header; repeatable.")
@click.option("--no-kid", is_flag=True, help="Leave the key's id out of the header.")
@CERTIFIED
@SUBTLE
def sign(file: str, **given: Any) -> None:
    """Print a signed token with the claims that the flags name and those of the JSON object in FILE, or on stdin.

    Times are Unix times, RFC 3339, or durations from now.
    """
    from troth.ca.jwt import sign_jwt
    from troth.cli.jose_keys import chosen_key
    from troth.host import clock

    now = clock.now()
    claims = {**_claims(given, now), **_payload(file)}
    jwk, algorithm = chosen_key(given, given["kid"], defaults=True)
    header = {"alg": algorithm, "typ": "JWT", **({} if given["no_kid"] else {"kid": jwk["kid"]})}
    print(sign_jwt({**header, **_headers(given["headers"]), **_certified(given, jwk)}, claims, jwk))


def _claims(given: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """The registered claims; the recommended ones must be there unless ``--subtle`` says otherwise."""
    import secrets

    from troth.errors import UsageError

    seconds = int(now.timestamp())
    times = {name: _seconds(given[name], name, now) for name in ("exp", "nbf", "iat")}
    if not given["subtle"]:
        for name in ("iss", "aud", "sub", "exp"):
            if not given[name]:
                raise UsageError(f"--{name} is missing: expected it, or --subtle")
        if times["exp"] is not None and times["exp"] <= seconds:
            raise UsageError("--exp lies in the past: expected a time to come, or --subtle")
    audience = list(given["aud"])
    claims = {
        "iss": given["iss"],
        "sub": given["sub"],
        "aud": audience[0] if len(audience) == 1 else audience,
        "exp": times["exp"],
        "nbf": seconds if times["nbf"] is None else times["nbf"],
        "iat": seconds if times["iat"] is None else times["iat"],
        "jti": given["jti"] or secrets.token_hex(32),
    }
    return {name: value for name, value in claims.items() if value not in ("", [], None)}


def _seconds(text: str, name: str, now: datetime) -> int | None:
    from troth.durations import DurationError, parse_time_or_duration
    from troth.errors import UsageError

    if not text or (text.isascii() and text.isdecimal()):
        return int(text[:18]) if text else None
    try:
        value = parse_time_or_duration(text)
        return int((value if isinstance(value, datetime) else now + (value or now - now)).timestamp())
    except (DurationError, OverflowError) as error:
        hint = f"--{name} $(date -d tomorrow +%s)"
        raise UsageError(f"--{name} {text!r} is no time: expected Unix time, RFC 3339, or 5m", hint=hint) from error


def _payload(file: str) -> dict[str, Any]:
    """Further claims, which win over the flags' as with step; nothing where nothing is piped in."""
    import json
    import os
    import stat
    import sys

    from troth.cli.sources import read_source
    from troth.errors import UsageError

    if not file:
        mode = os.fstat(sys.stdin.fileno())
        if not stat.S_ISFIFO(mode.st_mode) and not mode.st_size:
            return {}
    data = read_source(file or "-")
    if not file and not data.strip():
        return {}
    what = "stdin" if file in ("", "-") else file
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{what} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UsageError(f"{what} holds no claims: expected a JSON object")
    return value


def _headers(pairs: tuple[str, ...]) -> dict[str, str]:
    from troth.errors import UsageError

    headers = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or name in ("", "alg", "crit", "b64"):
            raise UsageError(f"invalid --header {pair!r}: expected KEY=VALUE, and not alg, crit or b64")
        headers[name] = value
    return headers


def _certified(given: Mapping[str, Any], jwk: Mapping[str, Any]) -> dict[str, Any]:
    from pathlib import Path

    from troth.ca.jwt import certified_header
    from troth.ca.key_forms import from_jwk
    from troth.errors import UsageError
    from troth.host.files import read_file
    from troth.x509.keys import PrivateKey
    from troth.x509.pem import parse_certificates

    file = given["x5c_cert"] or given["x5t_cert"]
    key = from_jwk(jwk)
    if not isinstance(key, PrivateKey):
        raise UsageError(f"{given['key'] or given['jwks']} is a public key: expected the private one")
    if given["x5c_cert"] and given["x5t_cert"]:
        raise UsageError("--x5c-cert and --x5t-cert cannot be used together")
    if not file:
        return {}
    if given["jwks"]:
        raise UsageError("--jwks cannot be used with a certificate: expected its --key")
    member = "x5t" if given["x5t_cert"] else "x5cInsecure" if given["x5c_insecure"] else "x5c"
    return certified_header(parse_certificates(read_file(Path(file)), file), key, member)


@flags.command("verify", VERIFY)
@click.option("--key", metavar="FILE", default="", help="The key, public or private: JSON web key or PEM.")
@KEY
@click.option("--iss", "--issuer", "iss", metavar="NAME", default="", help="Who must have made it.")
@click.option("--aud", "--audience", "aud", metavar="NAME", default="", help="For whom it must be.")
@SUBTLE
@click.option("--insecure", is_flag=True, help="Allow --no-exp-check, and RS256 for an RSA key that says nothing.")
@click.option("--no-exp-check", is_flag=True, help="Take an expired token; needs --insecure.")
def verify(**given: Any) -> None:
    """Check the token on stdin, and print what it says: it was signed by the key, for the audience, by the issuer, and
    is in force. Exits 1 when not.
    """
    import json

    from troth.ca.jwt import check_claims, shown, verify_jwt
    from troth.cli.jose_keys import chosen_key
    from troth.errors import UsageError
    from troth.host import clock

    if given["no_exp_check"] and not given["insecure"]:
        raise UsageError("--no-exp-check needs --insecure")
    for name in ("iss", "aud"):
        if not given[name] and not given["subtle"]:
            raise UsageError(f"--{name} is missing: expected it, or --subtle")
    text = _token()
    said = shown(text)
    header = said["header"] if isinstance(said["header"], dict) else {}
    kid = given["kid"] or (str(header.get("kid") or "") if given["jwks"] else "")
    jwk, algorithm = chosen_key(given, kid, defaults=given["insecure"])
    token = verify_jwt(text, jwk, algorithm)
    if given["kid"] and header.get("kid") not in (None, given["kid"]):
        raise UsageError(f"the token was made with key {header['kid']!r}: expected {given['kid']!r}")
    check_claims(token, clock.now(), issuer=given["iss"], audience=given["aud"], expired=given["no_exp_check"])
    print(json.dumps(said, indent=2, ensure_ascii=False))


@flags.command("inspect", INSPECT)
@click.option("--insecure", is_flag=True, help="Say that nothing of this is verified.")
def inspect(insecure: bool) -> None:
    """Print what the token on stdin says, without verifying anything of it."""
    import json

    from troth.ca.jwt import shown
    from troth.errors import UsageError

    if not insecure:
        hint = "to check it: troth crypto jwt verify --key FILE --iss NAME --aud NAME"
        raise UsageError("inspect needs --insecure: nothing is verified", hint=hint)
    print(json.dumps(shown(_token()), indent=2, ensure_ascii=False))


def _token() -> str:
    from troth.ca.tokens import MAX_TOKEN_CHARACTERS
    from troth.cli.sources import read_source
    from troth.errors import UsageError

    data = read_source("-")
    if not data.strip():
        raise UsageError("stdin is empty: expected a token")
    if len(data) > MAX_TOKEN_CHARACTERS or not data.isascii():
        raise UsageError(f"stdin is not a token: expected at most {MAX_TOKEN_CHARACTERS} ASCII characters")
    return data.decode()
