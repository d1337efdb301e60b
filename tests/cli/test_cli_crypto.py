"""Keys and tokens that we write, the official program reads, and the other way round."""

import json
from pathlib import Path

import pytest

from tests.cli.accounts import Account

PLAIN = ("--no-password", "--insecure")


@pytest.fixture
def home(tmp_path: Path) -> Account:
    """An account that knows no authority, with two passwords."""
    for name in ("old", "new"):
        (tmp_path / name).write_text(f"{name} password\n")
    return Account(tmp_path)


def first_line(path: Path) -> str:
    return path.read_text().splitlines()[0]


@pytest.mark.parametrize("kind", [(), ("--kty", "RSA"), ("--kty", "OKP"), ("--kty", "EC", "--curve", "P-384")])
def test_keypairs_have_steps_form_and_modes(home: Account, kind: tuple[str, ...]) -> None:
    for run, name in ((home.troth, "ours"), (home.official, "theirs")):
        done = run("crypto", "keypair", f"{name}.pub", f"{name}.key", *kind, *PLAIN)
        assert (done.code, done.out) == (0, ""), done
        for end in ("pub", "key"):
            assert (home.work / f"{name}.{end}").stat().st_mode & 0o777 == 0o600
    for end in ("pub", "key"):
        assert first_line(home.work / f"ours.{end}") == first_line(home.work / f"theirs.{end}")
    assert home.official("crypto", "key", "public", "ours.key").out == (home.work / "ours.pub").read_text()


def test_an_unencrypted_key_must_be_meant(home: Account) -> None:
    assert "needs --insecure" in home.refused("crypto", "keypair", "a.pub", "a.key", "--no-password")
    assert "without a terminal" in home.refused("crypto", "keypair", "a.pub", "a.key")
    assert not (home.work / "a.key").exists() and not (home.work / "a.pub").exists()
    home.good("crypto", "keypair", "a.pub", "a.key", *PLAIN)
    before = (home.work / "a.key").read_text()
    assert "--force" in home.refused("crypto", "keypair", "a.pub", "a.key", *PLAIN)
    assert (home.work / "a.key").read_text() == before


@pytest.mark.parametrize("maker", ["troth", "official"])
@pytest.mark.parametrize("what", [("keypair",), ("keypair", "--kty", "OKP"), ("jwk", "create")])
def test_passwords_change_whoever_made_the_key(home: Account, maker: str, what: tuple[str, ...]) -> None:
    made = getattr(home, maker)("crypto", *what, "k.pub", "k.key", "--password-file", "old")
    assert made.code == 0, made
    assert "wrong" in home.refused("crypto", "change-pass", "k.key", "--password-file", "new", *PLAIN, "--force")
    home.good("crypto", "change-pass", "k.key", "--password-file", "old", "--new-password-file", "new", "-f")
    for run, out in ((home.troth, "ours"), (home.official, "theirs")):
        done = run("crypto", "change-pass", "k.key", "--password-file", "new", *PLAIN, "--out", out)
        assert done.code == 0, done
    assert (home.work / "ours").read_text() == (home.work / "theirs").read_text()
    assert (home.work / "ours").stat().st_mode & 0o777 == 0o600


def test_json_web_keys(home: Account) -> None:
    home.good("crypto", "jwk", "create", "a.pub", "a.jwk", *PLAIN)
    public, private = ((home.work / name).read_text() for name in ("a.pub", "a.jwk"))
    assert home.troth("crypto", "jwk", "public", stdin=private).out == public + "\n"
    assert home.troth("crypto", "jwk", "thumbprint", stdin=private).out.strip() == json.loads(public)["kid"]
    home.good("crypto", "keypair", "a.pem", "a.key", "--from-jwk", "a.jwk", *PLAIN)
    home.good("crypto", "jwk", "create", "b.pub", "b.jwk", "--from-pem", "a.key", *PLAIN)
    assert home.official("crypto", "jwk", "create", "c.pub", "c.jwk", "--from-pem", "a.key", *PLAIN).code == 0
    assert (home.work / "b.pub").read_text() == (home.work / "c.pub").read_text() == public
    assert (home.work / "b.jwk").read_text() == (home.work / "c.jwk").read_text() == private
    assert "does not fit" in home.refused("crypto", "jwk", "create", "d", "e", "--alg", "RS256", *PLAIN)
    assert home.troth("crypto", "jwk", "thumbprint").code == 1
