"""``--offline``: tokens, certificates and revocations from the authority's own files, and what is refused."""

import base64
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.accounts import Account
from tests.interop.material import claims_of, header_of
from tests.rig.authority import Served, founded
from tests.rig.step_ca import founded_by_step
from troth.x509.keys import generate_key
from troth.x509.names import alternative_names, common_name
from troth.x509.pem import parse_certificates
from troth.x509.requests import create_request, request_to_pem


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """An authority that is not running."""
    directory = tmp_path / "authority"
    directory.mkdir()
    with founded(directory) as one:
        yield one


@pytest.fixture
def owner(tmp_path: Path, served: Served) -> Account:
    """Somebody with the authority's step path."""
    return Account(tmp_path, {"STEPPATH": str(served.directory)})


def secret(served: Served) -> tuple[str, str]:
    return ("--password-file", str(served.directory / "password"))


def test_a_token_made_offline_says_what_the_official_one_says(owner: Account, served: Served) -> None:
    flags = ("web.example", "--san", "web.example", "--san", "10.0.0.7", "--offline", *secret(served))
    ours = owner.good("ca", "token", *flags).out.strip()
    theirs = owner.official("ca", "token", *flags)
    assert theirs.code == 0, theirs
    assert header_of(ours) == header_of(theirs.out.strip())
    # step leaves out the audience's port, which no authority looks at, and an empty claim user.
    moving = {"iat", "nbf", "exp", "jti", "aud", "user"}
    mine, other = ({n: v for n, v in claims_of(t).items() if n not in moving} for t in (ours, theirs.out.strip()))
    assert mine == other


def test_the_provisioner_and_the_intermediate_may_have_passwords_of_their_own(tmp_path: Path) -> None:
    """As step's own example of ``ca certificate --offline`` has it."""
    owner = Account(tmp_path)
    (tmp_path / "ca.pw").write_text("first\n")
    (tmp_path / "who.pw").write_text("second\n")
    who, its = ("--provisioner-password-file", "who.pw"), ("--password-file", "ca.pw")
    names = ("--name", "A", "--dns", "localhost", "--address", "127.0.0.1:9443", "--provisioner", "admin")
    owner.good("ca", "init", *names, *its, *who)
    owner.good("ca", "certificate", "a.example", "a.crt", "a.key", "--offline", *who, *its)
    variables = {"STEP_PASSWORD_FILE": "ca.pw", "STEP_PROVISIONER_PASSWORD_FILE": "who.pw"}
    owner.good("ca", "certificate", "b.example", "b.crt", "b.key", "--offline", **variables)
    (tmp_path / "r.csr").write_text(request_to_pem(create_request(generate_key(), "r.example", ["r.example"])))
    owner.good("ca", "sign", "r.csr", "r.crt", "--offline", *who, *its)
    assert owner.good("ca", "token", "c.example", "--offline", *who, *its).out
    assert owner.good("ca", "token", "c.example", "--offline", *who).out
    owner.good("ca", "revoke", "123", "--offline", *who, *its)
    files = ("c.example", "c.crt", "c.key", "--offline")
    assert "the password is wrong" in owner.refused("ca", "certificate", *files, *its)
    assert "--password-file does not open it" in owner.refused("ca", "certificate", *files, *who)
    swapped = ("--provisioner-password-file", "ca.pw", "--password-file", "who.pw")
    assert "the password is wrong" in owner.refused("ca", "certificate", *files, *swapped)


def test_a_token_made_offline_is_good_at_the_running_authority(owner: Account, served: Served) -> None:
    # step-ca and troth refuse tokens of before their start.
    served.start()
    token = owner.good("ca", "token", "web.example", "--offline", *secret(served)).out.strip()
    owner.good("ca", "certificate", "web.example", "a.crt", "a.key", "--token", token)
    assert "the authority refused" in owner.refused(
        "ca", "certificate", "web.example", "b.crt", "b.key", "--token", token
    )


def test_a_certificate_made_offline_is_recorded_and_renews(owner: Account, served: Served) -> None:
    names = ("--san", "web.example", "--san", "10.0.0.7")
    owner.good("ca", "certificate", "web.example", "a.crt", "a.key", *names, "--offline", *secret(served))
    chain = parse_certificates((owner.work / "a.crt").read_bytes())
    assert common_name(chain[0].subject) == "web.example" and len(chain) == 2
    assert alternative_names(chain[0].extensions).ips == ("10.0.0.7",)
    served.start()
    owner.good("ca", "renew", "a.crt", "a.key", "--force")
    renewed = parse_certificates((owner.work / "a.crt").read_bytes())[0]
    assert renewed.serial_number != chain[0].serial_number
    with sqlite3.connect(f"file:{served.database}?mode=ro", uri=True) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        spent = database.execute("SELECT count(*) FROM used_tokens").fetchone()[0]
    assert "used_tokens" in tables and spent == 1


def test_a_token_counts_once_also_offline_and_beside_the_server(owner: Account, served: Served) -> None:
    served.start()
    token = owner.good("ca", "token", "web.example", *secret(served)).out.strip()
    flags = ("--token", token, "--offline", *secret(served))
    owner.good("ca", "certificate", "web.example", "a.crt", "a.key", *flags)
    assert "used" in owner.refused("ca", "certificate", "web.example", "b.crt", "b.key", *flags)
    assert "the authority refused" in owner.refused(
        "ca", "certificate", "web.example", "b.crt", "b.key", "--token", token
    )


def test_a_request_is_signed_and_a_serial_revoked_offline(owner: Account, served: Served) -> None:
    (owner.work / "r.csr").write_text(request_to_pem(create_request(generate_key(), "r.example", ["r.example"])))
    owner.good("ca", "sign", "r.csr", "r.crt", "--offline", *secret(served))
    serial = str(parse_certificates((owner.work / "r.crt").read_bytes())[0].serial_number)
    owner.good("ca", "revoke", serial, "--offline", *secret(served))
    assert "revoked" in owner.refused("ca", "revoke", serial, "--offline", *secret(served))


def test_a_pair_is_renewed_rekeyed_and_revoked_offline(owner: Account, served: Served) -> None:
    owner.good("ca", "certificate", "web.example", "a.crt", "a.key", "--offline", *secret(served))
    serials = {parse_certificates((owner.work / "a.crt").read_bytes())[0].serial_number}
    keys = set()
    for verb, *flags in (("renew",), ("renew", "--mtls=false"), ("rekey",)):
        owner.good("ca", verb, "a.crt", "a.key", "--force", "--offline", *flags, *secret(served))
        serials.add(parse_certificates((owner.work / "a.crt").read_bytes())[0].serial_number)
        keys.add((owner.work / "a.key").read_bytes())
    assert len(serials) == 4 and len(keys) == 2
    # What was renewed and rekeyed here is the running authority's own, and what it revokes stays revoked here.
    served.start()
    owner.good("ca", "renew", "a.crt", "a.key", "--force")
    served.stop()
    whose = ("--cert", "a.crt", "--key", "a.key", "--offline", *secret(served))
    owner.good("ca", "revoke", *whose)
    assert "already revoked" in owner.refused("ca", "revoke", *whose)
    for verb in ("renew", "rekey"):
        said = owner.refused("ca", verb, "a.crt", "a.key", "--force", "--offline", *secret(served))
        assert "revoked" in said


def test_a_certificate_of_somebody_else_is_not_renewed_offline(owner: Account, served: Served) -> None:
    """The handshake that keeps foreign certificates out does not take place; the same is checked without it."""
    names = ("web.example", "a.crt", "a.key")
    assert (
        owner.official(
            "certificate", "create", *names, "--profile", "self-signed", "--subtle", "--no-password", "--insecure"
        ).code
        == 0
    )
    for verb in ("renew", "rekey"):
        said = owner.refused("ca", verb, "a.crt", "a.key", "--force", "--offline", *secret(served))
        assert "signed by unknown authority" in said
    whose = ("--cert", "a.crt", "--key", "a.key", "--offline", *secret(served))
    assert "signed by unknown authority" in owner.refused("ca", "revoke", *whose)


def test_another_configuration_is_named_by_its_flag(tmp_path: Path, served: Served) -> None:
    (tmp_path / "away").mkdir()
    stranger = Account(tmp_path / "away")
    assert "--ca-config" in stranger.refused("ca", "token", "x.example", "--offline", *secret(served))
    where = ("--ca-config", str(served.configuration))
    token = stranger.good("ca", "token", "x.example", "--offline", *where, *secret(served)).out.strip()
    assert claims_of(token)["iss"] == "admin"


def test_all_parameters_need_no_configuration(tmp_path: Path, served: Served) -> None:
    (tmp_path / "away").mkdir()
    stranger = Account(tmp_path / "away")
    (stranger.work / "admin.key").write_text(json.dumps(dict(served.key.jwk)))
    whose = ("--provisioner", "admin", "--kid", served.key.kid, "--key", "admin.key")
    where = ("--ca-url", served.url, "--root", str(served.root))
    token = stranger.good("ca", "token", "x.example", "--offline", *whose, *where).out.strip()
    served.start()
    fresh = stranger.good("ca", "token", "x.example", "--offline", *whose, *where).out.strip()
    stranger.good("ca", "certificate", "x.example", "a.crt", "a.key", "--token", fresh)
    assert header_of(token)["kid"] == served.key.kid


def test_what_the_authority_would_refuse_is_refused_with_its_reason(owner: Account, served: Served) -> None:
    names = ("x.example", "a.crt", "a.key", "--offline", *secret(served))
    assert "more than the maximum" in owner.refused("ca", "certificate", *names, "--not-after", "48h")
    (owner.work / "wrong").write_text("wrong")
    wrong = ("x.example", "a.crt", "a.key", "--offline", "--password-file", "wrong")
    assert "password is wrong" in owner.refused("ca", "certificate", *wrong)
    assert not (owner.work / "a.crt").exists()


def test_an_x5c_certificate_signs_offline(owner: Account, served: Served) -> None:
    raw = json.loads(served.configuration.read_text())
    roots = base64.b64encode(served.root.read_bytes()).decode()
    served.edit(provisioners=[*raw["authority"]["provisioners"], {"type": "X5C", "name": "fleet", "roots": roots}])
    first = ("ca", "certificate", "a.example", "a.crt", "a.key", "--offline", *secret(served))
    owner.good(*first, "--provisioner", "admin")
    x5c = ("--x5c-cert", "a.crt", "--x5c-key", "a.key", "--offline", *secret(served))
    token = owner.good("ca", "token", "b.example", *x5c).out.strip()
    flags = ("--token", token, "--offline", *secret(served))
    owner.good("ca", "certificate", "b.example", "b.crt", "b.key", *flags)


def test_a_step_directory_with_records_of_its_own_is_not_signed_from(tmp_path: Path) -> None:
    found = founded_by_step(tmp_path / "step", "bbolt")
    with found.running():
        found.issue(1)
    owner = Account(tmp_path, {"STEPPATH": str(found.served.directory)})
    secret_ = ("--password-file", str(found.served.directory / "password"))
    said = owner.refused("ca", "certificate", "x.example", "a.crt", "a.key", "--offline", *secret_)
    assert "troth ca migrate" in said
