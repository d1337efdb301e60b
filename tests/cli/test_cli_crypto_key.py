"""Keys in every form, looked at, reformatted, signed and verified with, held against the official program."""

import base64
import subprocess
from pathlib import Path

import pytest

from tests.cli.accounts import Account

PLAIN = ("--no-password", "--insecure")
KINDS = {"ec": (), "p384": ("--curve", "P-384"), "rsa": ("--kty", "RSA"), "okp": ("--kty", "OKP")}
SECRET = "key password"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Account:
    """Keys of every kind, open and encrypted, in every form, a certificate and a request."""
    account = Account(tmp_path_factory.mktemp("keys"))
    (account.work / "pw").write_text(SECRET + "\n")
    (account.work / "message").write_bytes(b"to be signed\n\x00\xff")
    for name, flags in KINDS.items():
        account.good("crypto", "keypair", f"{name}.pub", f"{name}.key", *flags, *PLAIN)
        account.good("crypto", "keypair", f"{name}.spub", f"{name}.enc", *flags, "--password-file", "pw")
        for form, end in ((("--der",), "der"), (("--jwk", *PLAIN), "jwk"), (("--ssh", *PLAIN), "ssh")):
            made = account.official("crypto", "key", "format", f"{name}.key", *form, "--out", f"{name}.{end}")
            assert made.code == 0, made
        crt = ("certificate", "create", "a.example", f"{name}.crt", f"{name}.unused", "--profile", "self-signed")
        account.good(*crt, "--subtle", *PLAIN, *flags)
        account.good("certificate", "create", "a.example", f"{name}.csr", f"{name}.k2", "--csr", *PLAIN, *flags)
    return account


def same(home: Account, *args: str) -> str:
    """What both programs print, if it is the same."""
    ours, theirs = home.troth(*args), home.official(*args)
    assert theirs.code == 0, theirs
    assert (ours.code, ours.out) == (theirs.code, theirs.out), (ours, theirs)
    return ours.out


def raw(home: Account, *args: str) -> tuple[bytes, bytes]:
    """What troth and step print, as bytes, through files because they need not be text."""
    made = []
    for run, out in ((home.troth, "ours.out"), (home.official, "theirs.out")):
        done = run(*args, "--out", out, "--force")
        assert done.code == 0, done
        made.append((home.work / out).read_bytes())
    return made[0], made[1]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("end", ["key", "pub", "der", "jwk", "ssh", "crt", "csr"])
def test_numbers_and_fingerprints_are_steps(home: Account, name: str, end: str) -> None:
    file = f"{name}.{end}"
    same(home, "crypto", "key", "inspect", file)
    same(home, "crypto", "key", "fingerprint", file)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("flags", ["--sha1", "--pkix", "--ssh", "--format hex", "--sha1 --format base64-url"])
def test_fingerprints_of_every_sort_are_steps(home: Account, name: str, flags: str) -> None:
    same(home, "crypto", "key", "fingerprint", *flags.split(), f"{name}.pub")


@pytest.mark.parametrize("name", KINDS)
def test_key_public_half_and_certificate_have_one_fingerprint(home: Account, name: str) -> None:
    home.good("crypto", "key", "public", f"{name}.key", "--out", "half", "--force")
    assert (home.work / "half").read_text() == (home.work / f"{name}.pub").read_text()
    found = {
        home.good("crypto", "key", "fingerprint", f"{name}.{end}").out for end in ("key", "pub", "der", "jwk", "ssh")
    }
    assert len(found) == 1
    same(home, "crypto", "key", "public", f"{name}.crt")
    key_id = home.good("crypto", "key", "fingerprint", "--sha1", f"{name}.crt").out
    shown = home.good("certificate", "inspect", f"{name}.crt").out.replace(":", "").lower()
    assert key_id.removeprefix("SHA1:").strip() in shown


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("end", ["key", "pub", "crt"])
@pytest.mark.parametrize("form", [(), ("--pem",), ("--pem", "--pkcs8"), ("--der", "--pkcs8"), ("--jwk",)])
def test_what_is_reformatted_is_what_step_makes(home: Account, name: str, end: str, form: tuple[str, ...]) -> None:
    ours, theirs = raw(home, "crypto", "key", "format", f"{name}.{end}", *form, *PLAIN)
    assert ours == theirs


@pytest.mark.parametrize("name", KINDS)
def test_openssh_forms_are_read_and_written(home: Account, name: str) -> None:
    ours, theirs = raw(home, "crypto", "key", "format", f"{name}.pub", "--ssh")
    assert ours == theirs
    home.good("crypto", "key", "format", f"{name}.key", "--ssh", *PLAIN, "--out", "id", "--force")
    assert home.official("crypto", "key", "public", "id").out == (home.work / f"{name}.pub").read_text()
    assert (home.work / "id").stat().st_mode & 0o777 == 0o600
    (home.work / "id.pub").write_bytes(ours)
    assert same(home, "crypto", "key", "format", "id.pub") == (home.work / f"{name}.pub").read_text()
    said = home.refused("crypto", "key", "format", f"{name}.key", "--ssh")
    assert "--no-password" in said and "ssh-keygen" in said


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("form", [("--pem",), ("--pem", "--pkcs8"), ("--jwk",)])
def test_encrypted_keys_go_through_both_programs(home: Account, name: str, form: tuple[str, ...]) -> None:
    for first, second in ((home.troth, home.official), (home.official, home.troth)):
        with_password = ("--password-file", "pw")
        made = first("crypto", "key", "format", f"{name}.enc", *form, *with_password, "--out", "enc", "--force")
        assert made.code == 0, made
        assert (
            b"PRIVATE KEY" not in (home.work / "enc").read_bytes() or b"ENCRYPTED" in (home.work / "enc").read_bytes()
        )
        read = second("crypto", "key", "fingerprint", "enc", *with_password)
        assert read.out == home.good("crypto", "key", "fingerprint", f"{name}.spub").out, read


SCHEMES = [
    *((name, ()) for name in KINDS),
    *(("rsa", ("--alg", alg)) for alg in ("sha1", "sha224", "sha384", "SHA512", "sha512-224", "sha512-256", "md5")),
    ("rsa", ("--pss",)),
    ("rsa", ("--pss", "--alg", "sha512")),
]


@pytest.mark.parametrize(("name", "scheme"), SCHEMES)
def test_signatures_verify_in_the_other_program(home: Account, name: str, scheme: tuple[str, ...]) -> None:
    for signer, judge in ((home.troth, home.official), (home.official, home.troth)):
        signed = signer("crypto", "key", "sign", "--key", f"{name}.key", *scheme, "message")
        assert signed.code == 0, signed
        rest = ("--sig", signed.out.strip(), *scheme)
        judged = judge("crypto", "key", "verify", "--key", f"{name}.pub", *rest, "message")
        assert (judged.code, judged.out) == (0, "true\n"), judged
        for wrong in (("--key", f"{name}.pub", *rest, "pw"), ("--key", f"{name}.spub", *rest, "message")):
            assert judge("crypto", "key", "verify", *wrong).code == 1
    said = home.refused(
        "crypto", "key", "verify", "--key", f"{name}.pub", "--sig", base64.b64encode(b"x").decode(), "pw"
    )
    assert f"signature is not one of pw by {name}.pub" in said


def test_an_encrypted_key_signs_with_its_password_file_and_a_certificate_verifies(home: Account) -> None:
    signed = home.good("crypto", "key", "sign", "--key", "ec.enc", "--password-file", "pw", "message").out.strip()
    assert home.official("crypto", "key", "verify", "--key", "ec.spub", "--sig", signed, "message").out == "true\n"
    signed = home.good("crypto", "key", "sign", "--key", "ec.unused", "message").out.strip()
    assert home.good("crypto", "key", "verify", "--key", "ec.crt", "--sig", signed, "message").out == "true\n"


def test_raw_prints_the_bytes(home: Account) -> None:
    done = subprocess.run(
        [*troth(), "crypto", "key", "fingerprint", "--pkix", "--raw", "ec.pub"],
        cwd=home.work,
        capture_output=True,
        timeout=60,
        check=True,
    )
    pem = (home.work / "ec.pub").read_text().splitlines()[1:-1]
    assert done.stdout == base64.b64decode("".join(pem))


def troth() -> list[str]:
    import sys

    return [sys.executable, "-c", "from troth.cli.app import main; main()"]


REFUSALS = [
    (("inspect", "none"), "cannot read none"),
    (("inspect", "message"), "message is not a key: expected"),
    (("inspect", "ec.enc"), "give --password-file"),
    (("format", "ec.key", "--pem", "--der"), "--pem and --der exclude each other"),
    (("format", "ec.key", "--pem", "--no-password"), "needs --insecure"),
    (("format", "ec.key", "--pem"), "give --password-file"),
    (("fingerprint", "ec.key", "--pkix", "--ssh"), "exclude each other"),
    (("fingerprint", "ec.key", "--format", "octal"), "unknown --format 'octal': expected one of hex"),
    (("sign", "message"), "--key is missing"),
    (("sign", "message", "--key", "ec.pub"), "ec.pub holds no private key"),
    (("sign", "message", "--key", "rsa.key", "--alg", "sha3"), "unknown --alg 'sha3': expected one of sha1"),
    (("verify", "message", "--key", "ec.pub"), "--signature is missing"),
    (("verify", "message", "--key", "ec.pub", "--sig", "no!"), "--signature is not base64"),
]


@pytest.mark.parametrize(("args", "said"), REFUSALS)
def test_wrong_input_is_named_and_nothing_is_written(home: Account, args: tuple[str, ...], said: str) -> None:
    before = listing(home.work)
    assert said in home.refused("crypto", "key", *args)
    assert listing(home.work) == before


def test_an_existing_file_is_kept_and_a_truncated_key_is_named(home: Account) -> None:
    before = (home.work / "ec.pub").read_bytes()
    assert "--force" in home.refused("crypto", "key", "public", "rsa.key", "--out", "ec.pub")
    assert (home.work / "ec.pub").read_bytes() == before
    (home.work / "cut.der").write_bytes((home.work / "ec.der").read_bytes()[:-9])
    assert "cut.der is DER but not readable" in home.refused("crypto", "key", "inspect", "cut.der")


def listing(directory: Path) -> list[tuple[str, bytes]]:
    return sorted((path.name, path.read_bytes()) for path in directory.iterdir() if path.is_file())
