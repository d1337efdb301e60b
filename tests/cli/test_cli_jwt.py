"""Tokens that one program signs, the other verifies; and none that was not signed as expected."""

import base64
import json
import time
from pathlib import Path

import pytest

from tests.cli.accounts import Account, execute, program

PLAIN = ("--no-password", "--insecure")
CLAIMS = ("--iss", "me", "--aud", "you", "--sub", "it", "--exp", "4000000000")
WANTED = ("--iss", "me", "--aud", "you")
MAKERS = ("troth", "official")
KINDS = {"EC": "ES256", "RSA": "PS256", "OKP": "EdDSA"}


@pytest.fixture
def home(tmp_path: Path) -> Account:
    """An account with a key pair of every kind."""
    home = Account(tmp_path)
    for kind in KINDS:
        home.good("crypto", "keypair", f"{kind}.pub", f"{kind}.key", "--kty", kind, *PLAIN)
    home.good("crypto", "jwk", "create", "k.pub.jwk", "k.jwk", *PLAIN)
    return home


def run(home: Account, maker: str, *args: str, stdin: str = "") -> tuple[int, str]:
    if maker == "troth":
        done = home.troth(*args, stdin=stdin)
    else:
        done = execute([program("step"), *args], home.work, {"STEPPATH": str(home.step)}, stdin)
    return done.code, done.out


def signed(home: Account, maker: str, *flags: str, stdin: str = "") -> str:
    code, out = run(home, maker, "crypto", "jwt", "sign", *flags, stdin=stdin)
    assert code == 0 and out.count(".") == 2, (code, out)
    return out


def verify(home: Account, token: str, *flags: str, code: int = 0) -> str:
    done = home.troth("crypto", "jwt", "verify", *flags, stdin=token)
    assert done.code == code and "Traceback" not in done.err, done
    return done.out or done.err


@pytest.mark.parametrize("kind", [*KINDS, "jwk"])
@pytest.mark.parametrize(("maker", "other"), [MAKERS, MAKERS[::-1]])
def test_either_program_takes_the_others_tokens(home: Account, kind: str, maker: str, other: str) -> None:
    key, public = ("k.jwk", "k.pub.jwk") if kind == "jwk" else (f"{kind}.key", f"{kind}.pub")
    alg = ("--alg", KINDS.get(kind, "ES256"))
    token = signed(home, maker, "--key", key, *alg, *CLAIMS, stdin='{"sans": ["a"], "n": 1}')
    code, out = run(home, other, "crypto", "jwt", "verify", "--key", public, *alg, *WANTED, stdin=token)
    assert code == 0 and json.loads(out)["payload"]["sans"] == ["a"], out
    inspected = [run(home, one, "crypto", "jwt", "inspect", "--insecure", stdin=token) for one in MAKERS]
    assert json.loads(inspected[0][1]) == json.loads(inspected[1][1]) == json.loads(out)


def test_both_programs_make_the_same_claims(home: Account) -> None:
    shown = []
    for maker in MAKERS:
        token = signed(home, maker, "--key", "EC.key", *CLAIMS, "--aud", "more", "--jti", "x", "--header", "a=b")
        shown.append(json.loads(run(home, "troth", "crypto", "jwt", "inspect", "--insecure", stdin=token)[1]))
    for one in shown:
        assert abs(one["payload"].pop("iat") - time.time()) < 60 and abs(one["payload"].pop("nbf") - time.time()) < 60
    assert shown[0]["header"] == shown[1]["header"] and shown[0]["payload"] == shown[1]["payload"]


@pytest.mark.parametrize(("maker", "other"), [MAKERS, MAKERS[::-1]])
def test_key_sets_and_certificates(home: Account, maker: str, other: str) -> None:
    public = (home.work / "k.pub.jwk").read_text()
    assert run(home, maker, "crypto", "jwk", "keyset", "add", "set.json", stdin=public)[0] == 0
    kid = run(home, other, "crypto", "jwk", "keyset", "list", "set.json")[1].strip()
    assert kid == json.loads(public)["kid"]
    found = run(home, other, "crypto", "jwk", "keyset", "find", "set.json", "--kid", kid)[1]
    assert json.loads(found) == json.loads(public)
    token = signed(home, maker, "--key", "k.jwk", *CLAIMS)
    assert run(home, other, "crypto", "jwt", "verify", "--jwks", "set.json", *WANTED, stdin=token)[0] == 0
    assert run(home, other, "crypto", "jwk", "keyset", "remove", "set.json", "--kid", kid)[0] == 0
    assert json.loads((home.work / "set.json").read_text()) == {"keys": []}
    alone = ("--profile", "self-signed", "--subtle")
    home.good("certificate", "create", "a", "a.crt", "a.key", *alone, *PLAIN)
    token = signed(home, maker, "--x5c-cert", "a.crt", "--x5c-key", "a.key", *CLAIMS)
    header = json.loads(run(home, other, "crypto", "jwt", "inspect", "--insecure", stdin=token)[1])["header"]
    assert len(header["x5c"]) == 1
    said = home.refused("crypto", "jwt", "sign", "--x5c-cert", "a.crt", "--x5c-key", "EC.key", *CLAIMS)
    assert "does not belong" in said


def changed(token: str, part: int, **members: object) -> str:
    parts = token.strip().split(".")
    value = json.loads(base64.urlsafe_b64decode(parts[part] + "=="))
    text = json.dumps({**value, **members}).encode()
    parts[part] = base64.urlsafe_b64encode(text).rstrip(b"=").decode()
    return ".".join(parts)


def test_forged_tokens(home: Account) -> None:
    token = signed(home, "troth", "--key", "EC.key", *CLAIMS)
    key = ("--key", "EC.pub")
    assert json.loads(verify(home, token, *key, *WANTED))["payload"]["sub"] == "it"
    for forged, why in (
        (changed(token, 1, sub="else"), "not valid"),
        (changed(token, 0, alg="none"), "expected ES256"),
        (changed(token, 0, alg="HS256"), "expected ES256"),
        (changed(token, 0, crit=["x"]), "(crit)"),
        (token.strip()[:-4], "validation failed"),
        (token.rpartition(".")[0] + ".", "validation failed"),
        ("a.b.c", "not a token"),
        ("", "stdin is empty"),
        ("x" * 70_000, "not a token"),
    ):
        assert why in verify(home, forged, *key, *WANTED, code=1), forged[-40:]
    for flags, why in (
        (("--key", "OKP.pub", *WANTED), "expected EdDSA"),
        (("--key", "RSA.pub", *WANTED), "--alg is missing"),
        ((*key, "--iss", "you", "--aud", "me"), "(iss); audience"),
        ((*key, "--iss", "me"), "--aud is missing"),
        ((*WANTED,), "either --key or --jwks"),
        (("--key", "EC.pub", "--alg", "ES384", *WANTED), "does not fit"),
        (("--key", ".", *WANTED), "is a directory"),
        (("--jwks", "EC.pub", *WANTED), "not a JSON web key set"),
    ):
        assert why in verify(home, token, *flags, code=1), flags


def test_times(home: Account) -> None:
    late = signed(home, "troth", "--key", "EC.key", *CLAIMS[:-1], "1000", "--subtle")
    assert "expired on" in verify(home, late, "--key", "EC.pub", *WANTED, code=1)
    assert "needs --insecure" in verify(home, late, "--key", "EC.pub", *WANTED, "--no-exp-check", code=1)
    verify(home, late, "--key", "EC.pub", *WANTED, "--no-exp-check", "--insecure")
    early = signed(home, "troth", "--key", "EC.key", *CLAIMS[:-1], "10m", "--nbf", "5m")
    assert "not valid before" in verify(home, early, "--key", "EC.pub", *WANTED, code=1)


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (CLAIMS, "either --key or --jwks"),
        (("--key", "EC.pub", *CLAIMS), "is a public key"),
        (("--key", "EC.key", *CLAIMS[:-2]), "--exp is missing"),
        (("--key", "EC.key", *CLAIMS[:-1], "1000"), "in the past"),
        (("--key", "EC.key", *CLAIMS[:-1], "soon"), "is no time"),
        (("--key", "EC.key", *CLAIMS, "--header", "alg=none"), "not alg"),
        (("--key", "EC.key", *CLAIMS, "--alg", "HS256"), "does not fit"),
        (("--key", "none.key", *CLAIMS), "no such file"),
    ],
)
def test_what_is_not_signed(home: Account, flags: tuple[str, ...], why: str) -> None:
    assert why in home.refused("crypto", "jwt", "sign", *flags)


def test_inspecting_is_no_verifying(home: Account) -> None:
    assert "needs --insecure" in home.refused("crypto", "jwt", "inspect")
