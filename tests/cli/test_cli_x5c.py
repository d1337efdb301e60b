"""Tokens signed by a certificate's key (X5C): ours say what step's say, and serve both authorities."""

import base64
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.accounts import Account, program
from tests.interop.material import claims_of, header_of
from tests.rig.authority import Served, founded
from tests.rig.step_ca import founded_by_step
from troth.x509.keys import private_key_to_pem
from troth.x509.names import alternative_names, common_name
from troth.x509.pem import parse_certificates

NAME = "machine.example.com"


def with_x5c(served: Served, *names: str) -> None:
    raw = json.loads(served.configuration.read_text())
    roots = base64.b64encode(served.root.read_bytes()).decode()
    entries = [{"type": "X5C", "name": name, "roots": roots} for name in names]
    served.edit(provisioners=[*raw["authority"]["provisioners"], *entries])


@pytest.fixture(scope="module", params=["troth", "step-ca"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An authority with the X5C provisioner ``fleet``, by either program."""
    directory = tmp_path_factory.mktemp("authority")
    with contextlib.ExitStack() as stack:
        if request.param == "troth":
            one = stack.enter_context(founded(directory))
            with_x5c(one, "fleet")
            one.start()
        else:
            program("step")
            found = founded_by_step(directory / "step", "bbolt")
            one = found.served
            with_x5c(one, "fleet")
            stack.enter_context(found.running())
        yield one


@pytest.fixture
def account(tmp_path: Path, served: Served) -> Account:
    """One that has a certificate of the authority, and no provisioner's password."""
    fresh = Account(tmp_path, {"STEP_CA_URL": served.url, "STEP_ROOT": str(served.root)})
    fresh.good("ca", "certificate", NAME, "a.crt", "a.key", "--token", served.token(NAME))
    return fresh


X5C = ("--x5c-cert", "a.crt", "--x5c-key", "a.key")


def test_a_token_says_what_the_official_one_says(account: Account) -> None:
    flags = ("new.example", "--san", "new.example", "--san", "10.0.0.7", *X5C)
    ours = account.good("ca", "token", *flags).out.strip()
    theirs = account.official("ca", "token", *flags)
    assert theirs.code == 0, theirs
    moving = {"iat", "nbf", "exp", "jti"}
    assert header_of(ours) == header_of(theirs.out.strip())
    mine, other = ({n: v for n, v in claims_of(t).items() if n not in moving} for t in (ours, theirs.out.strip()))
    assert mine == other
    assert mine["aud"].endswith("/1.0/sign#x5c/fleet")


def test_a_certificate_gets_another_by_token_and_at_once(account: Account) -> None:
    token = account.good("ca", "token", "new.example", *X5C, "--provisioner", "fleet").out.strip()
    account.good("ca", "certificate", "new.example", "b.crt", "b.key", "--token", token)
    account.good("ca", "certificate", "more.example", "c.crt", "c.key", "--san", "10.0.0.7", *X5C)
    own, more = (parse_certificates((account.work / name).read_bytes())[0] for name in ("a.crt", "c.crt"))
    assert common_name(more.subject) == "more.example" and alternative_names(more.extensions).ips == ("10.0.0.7",)
    assert more.not_valid_after_utc <= own.not_valid_after_utc


def test_the_official_program_gets_another_too(account: Account) -> None:
    done = account.official("ca", "certificate", "new.example", "b.crt", "b.key", *X5C, "--provisioner", "fleet")
    assert done.code == 0, done
    assert common_name(parse_certificates((account.work / "b.crt").read_bytes())[0].subject) == "new.example"


def test_a_request_made_elsewhere_is_signed(account: Account) -> None:
    from troth.x509.keys import generate_key
    from troth.x509.requests import create_request, request_to_pem

    (account.work / "r.csr").write_text(request_to_pem(create_request(generate_key(), "r.example", ["r.example"])))
    account.good("ca", "sign", "r.csr", "r.crt", *X5C)
    leaf = parse_certificates((account.work / "r.crt").read_bytes())[0]
    assert common_name(leaf.subject) == "r.example"


def test_a_bare_certificate_needs_its_issuers(account: Account, served: Served) -> None:
    leaf, *rest = parse_certificates((account.work / "a.crt").read_bytes())
    from troth.x509.pem import bundle_to_pem

    (account.work / "leaf.crt").write_text(bundle_to_pem([leaf]))
    (account.work / "rest.crt").write_text(bundle_to_pem(rest))
    bare = ("--x5c-cert", "leaf.crt", "--x5c-key", "a.key")
    account.refused("ca", "certificate", "b.example", "b.crt", "b.key", *bare)
    account.good("ca", "certificate", "b.example", "b.crt", "b.key", *bare, "--x5c-chain", "rest.crt")


def test_the_token_of_a_certificate_revokes(account: Account) -> None:
    serial = str(parse_certificates((account.work / "a.crt").read_bytes())[0].serial_number)
    token = account.good("ca", "token", serial, "--revoke", *X5C).out.strip()
    account.good("ca", "revoke", serial, "--token", token)
    account.refused("ca", "renew", "a.crt", "a.key", "--force")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--x5c-cert", "a.crt"), "--x5c-cert and --x5c-key belong together"),
        (("--x5c-key", "a.key"), "--x5c-cert and --x5c-key belong together"),
        ((*X5C, "--kid", "x"), "--key and --kid cannot be used with --x5c-cert"),
        ((*X5C, "--provisioner", "admin"), "no X5C provisioner with name 'admin'"),
        (("--x5c-cert", "a.crt", "--x5c-key", "other.key"), "does not belong to certificate"),
        (("--x5c-cert", "absent.crt", "--x5c-key", "a.key"), "absent.crt"),
    ],
)
def test_what_cannot_sign_says_why(account: Account, flags: tuple[str, ...], says: str) -> None:
    from troth.x509.keys import generate_key

    (account.work / "other.key").write_bytes(private_key_to_pem(generate_key()))
    assert says in account.refused("ca", "token", "x.example", *flags)


def test_an_encrypted_key_needs_its_password(account: Account) -> None:
    from troth.x509.keys import parse_private_key

    plain = parse_private_key((account.work / "a.key").read_bytes())
    (account.work / "a.key").write_bytes(private_key_to_pem(plain, b"of the key"))
    (account.work / "pw").write_text("of the key\n")
    account.refused("ca", "token", "x.example", *X5C)
    token = account.good("ca", "token", "x.example", *X5C, "--password-file", "pw").out.strip()
    account.good("ca", "certificate", "x.example", "x.crt", "x.key", "--token", token)
