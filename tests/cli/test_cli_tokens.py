"""Tokens of either program serve the other, are good once, and say no more than they should."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from tests.cli.accounts import PROVISIONER, Account, RunningAuthority
from troth.x509.keys import generate_key, private_key_to_pem
from troth.x509.names import alternative_names
from troth.x509.pem import parse_certificates
from troth.x509.requests import create_request, request_to_pem


def part(token: str, number: int) -> dict[str, Any]:
    text = token.split(".")[number]
    value = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    assert isinstance(value, dict)
    return value


def token_of(account: Account, authority: RunningAuthority, subject: str, *flags: str) -> str:
    return account.good("ca", "token", subject, *flags, *authority.signing).out.strip()


def elsewhere(account: Account) -> Account:
    """Somebody who has nothing but what we hand over."""
    other = account.work / "elsewhere"
    other.mkdir(exist_ok=True)
    return Account(other)


def without_dates(claims: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in claims.items() if name not in ("iat", "nbf", "exp", "jti")}


def test_a_token_says_what_the_official_one_says(account: Account, authority: RunningAuthority) -> None:
    flags = ("--san", "web.example", "--san", "10.0.0.7", "--set", "team=blue", "--set", "size=3")
    secret = ("--provisioner", PROVISIONER, "--password-file", authority.password_file)
    ours = token_of(account, authority, "web.example", *flags)
    theirs = account.official("ca", "token", "web.example", *flags, *secret).out.strip()
    assert part(ours, 0) == part(theirs, 0)
    assert without_dates(part(ours, 1)) == without_dates(part(theirs, 1))
    assert part(ours, 1)["exp"] - part(ours, 1)["nbf"] == 300 and len(part(ours, 1)["jti"]) == 64


def test_a_revoke_token_says_what_the_official_one_says(account: Account, authority: RunningAuthority) -> None:
    secret = ("--provisioner", PROVISIONER, "--password-file", authority.password_file)
    theirs = account.official("ca", "token", "1234", "--revoke", *secret).out.strip()
    ours = token_of(account, authority, "1234", "--revoke")
    differing = {n for n in part(ours, 1) if part(ours, 1).get(n) != part(theirs, 1).get(n)} - {
        "iat",
        "nbf",
        "exp",
        "jti",
    }
    assert differing == set()
    assert part(ours, 1)["aud"] == f"{authority.url}/1.0/revoke" and "sans" not in part(ours, 1)


def test_a_token_is_all_one_needs(account: Account, authority: RunningAuthority) -> None:
    token = token_of(account, authority, "host.example", "--san", "host.example", "--san", "10.0.0.1")
    other = elsewhere(account)
    other.good("ca", "certificate", "HOST.example", "h.crt", "h.key", "--token", token)
    names = alternative_names(parse_certificates((other.work / "h.crt").read_bytes())[0].extensions)
    assert (names.dns, names.ips) == (("host.example",), ("10.0.0.1",))
    assert not other.step.exists(), "a token configures nothing"


def test_the_official_program_accepts_our_token(account: Account, authority: RunningAuthority) -> None:
    token = token_of(account, authority, "o.example")
    done = elsewhere(account).official("ca", "certificate", "o.example", "o.crt", "o.key", "--token", token)
    assert done.code == 0, done


def test_we_accept_the_official_programs_token(account: Account, authority: RunningAuthority) -> None:
    secret = ("--provisioner", PROVISIONER, "--password-file", authority.password_file)
    token = account.official("ca", "token", "w.example", *secret).out.strip()
    elsewhere(account).good("ca", "certificate", "w.example", "w.crt", "w.key", "--token", token)


def test_a_token_is_good_once(account: Account, authority: RunningAuthority) -> None:
    token = token_of(account, authority, "once.example")
    account.good("ca", "certificate", "once.example", "a.crt", "a.key", "--token", token)
    said = account.refused("ca", "certificate", "once.example", "b.crt", "b.key", "--token", token)
    assert "refused the token" in said and "troth ca token once.example" in said
    assert not (account.work / "b.crt").exists() and not (account.work / "b.key").exists()


def test_a_token_for_others_names_is_refused_without_asking(account: Account, authority: RunningAuthority) -> None:
    token = token_of(account, authority, "one.example")
    said = account.refused("ca", "certificate", "two.example", "b.crt", "b.key", "--token", token)
    assert "expected 'one.example'" in said
    flags = ("--token", token, "--san", "more.example")
    assert "the names are in the token" in account.refused("ca", "certificate", "one.example", "b.crt", "b.key", *flags)
    account.good("ca", "certificate", "one.example", "b.crt", "b.key", "--token", token)


def test_an_expired_token_is_called_expired(account: Account, authority: RunningAuthority) -> None:
    from datetime import timedelta

    from troth.client.authority import Authority
    from troth.client.enroll import signing_key
    from troth.client.tokens import request_claims, sign_audience, sign_token, validity
    from troth.host.clock import now

    client = Authority.at(authority.url, authority.root.read_text())
    key = signing_key(client, PROVISIONER, Path(authority.password_file).read_bytes().strip())
    span = validity(now() - timedelta(minutes=10))
    claims = request_claims("late.example", [], authority.fingerprint)
    token = sign_token(key, sign_audience(authority.url), "late.example", span, claims)
    said = account.refused("ca", "certificate", "late.example", "l.crt", "l.key", "--token", token)
    assert "refused the token: it expired at " in said and "troth ca token late.example" in said


def test_what_is_no_token_is_refused_unsent(account: Account) -> None:
    for text in ("x", "a.b.c", "e30.W10.x", "." * 4, "a" * 70_000):
        assert "invalid token" in account.refused("ca", "certificate", "x", "a", "b", "--token", text)


def test_a_token_bound_to_a_request_serves_that_request_only(account: Account, authority: RunningAuthority) -> None:
    requests = [create_request(generate_key(), "b.example", ["b.example"]) for _ in range(2)]
    for number, request in enumerate(requests):
        (account.work / f"{number}.csr").write_text(request_to_pem(request))
    token = token_of(account, authority, "b.example", "--cnf-file", "0.csr")
    digest = base64.urlsafe_b64encode(hashlib.sha256(requests[0].public_bytes(Encoding.DER)).digest())
    assert part(token, 1)["cnf"] == {"x5rt#S256": digest.rstrip(b"=").decode()}
    account.refused("ca", "sign", "1.csr", "b.crt", "--token", token)
    again = token_of(account, authority, "b.example", "--cnf-file", "0.csr")
    account.good("ca", "sign", "0.csr", "b.crt", "--token", again)


def test_sign_makes_tokens_bound_to_the_request(account: Account, authority: RunningAuthority) -> None:
    (account.work / "r.csr").write_text(request_to_pem(create_request(generate_key(), "r.example", ["r.example"])))
    wrong = token_of(account, authority, "other.example")
    assert "expected 'other.example', got 'r.example'" in account.refused(
        "ca", "sign", "r.csr", "r.crt", "--token", wrong
    )
    assert not (account.work / "r.crt").exists()


def test_a_tokens_term_has_bounds(account: Account, authority: RunningAuthority) -> None:
    assert "10 seconds to 1 hour" in account.refused("ca", "token", "x", "--not-after", "2h", *authority.signing)
    assert "10 seconds to 1 hour" in account.refused("ca", "token", "x", "--not-after", "5s", *authority.signing)
    assert "30 minutes" in account.refused("ca", "token", "x", "--not-before", "31m", *authority.signing)
    claims = part(token_of(account, authority, "x", "--not-before", "1m", "--not-after", "10m"), 1)
    assert claims["exp"] - claims["nbf"] == 600


def test_a_token_file_is_born_private(account: Account, authority: RunningAuthority) -> None:
    done = account.good("ca", "token", "f.example", "--output-file", "token", *authority.signing)
    path = account.work / "token"
    assert done.out == "" and path.stat().st_mode & 0o777 == 0o600 and path.read_text().count(".") == 2


def test_a_key_file_signs_without_the_authoritys_copy(account: Account, authority: RunningAuthority) -> None:
    listed = json.loads(account.good("ca", "provisioner", "list").out)[0]
    (account.work / "provisioner.jwe").write_text(listed["encryptedKey"])
    token = token_of(account, authority, "k.example", "--key", "provisioner.jwe")
    account.good("ca", "certificate", "k.example", "k.crt", "k.key", "--token", token)
    (account.work / "junk").write_text("{}")
    assert "is not a private JWK" in account.refused("ca", "token", "k", "--key", "junk", *authority.signing)
    (account.work / "pem").write_bytes(private_key_to_pem(generate_key()))
    foreign = token_of(account, authority, "k.example", "--key", "pem")
    assert "refused the token" in account.refused("ca", "certificate", "k.example", "a", "b", "--token", foreign)


def test_template_data_is_json_where_it_parses(account: Account, authority: RunningAuthority) -> None:
    (account.work / "data.json").write_text('{"team": "red", "list": [1]}')
    flags = ("--set-file", "data.json", "--set", "team=blue", "--set", "n=3", "--set", 'o={"a":1}', "--set", "t=1=2")
    claims = part(token_of(account, authority, "u.example", *flags), 1)
    assert claims["user"] == {"team": "blue", "list": [1], "n": 3, "o": {"a": 1}, "t": "1=2"}
    assert "expected KEY=VALUE" in account.refused("ca", "token", "x", "--set", "novalue", *authority.signing)
