"""Certificates come from an official step-ca through our commands; what cannot work is refused before anything is
written, in one clear line."""

import json
import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from tests.cli.accounts import PASSWORD, PROVISIONER, Account, RunningAuthority
from tests.cli.terminals import converse
from troth.client.schedule import length_of
from troth.x509.keys import generate_key, key_matches, parse_private_key, private_key_to_pem
from troth.x509.names import alternative_names, common_name
from troth.x509.pem import parse_certificates
from troth.x509.requests import create_request, request_to_pem


def chain_of(path: Path) -> list[x509.Certificate]:
    return parse_certificates(path.read_bytes())


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def files_of(account: Account) -> set[str]:
    return {path.name for path in account.work.iterdir()}


def test_the_three_commands_of_the_guide(stranger: Account, authority: RunningAuthority) -> None:
    stranger.good("ca", "bootstrap", "--ca-url", authority.url, "--fingerprint", authority.fingerprint)
    made = stranger.good("ca", "certificate", "myuser", "client.crt", "client.key", *authority.signing)
    stranger.good("ca", "root", "ca.crt")
    leaf, issuer = chain_of(stranger.work / "client.crt")
    assert common_name(leaf.subject) == "myuser" and alternative_names(leaf.extensions).dns == ("myuser",)
    assert length_of(leaf) == timedelta(hours=24, minutes=1)
    assert leaf.issuer == issuer.subject
    assert key_matches(leaf, parse_private_key((stranger.work / "client.key").read_bytes()))
    assert (stranger.work / "ca.crt").read_bytes() == authority.root.read_bytes()
    assert [mode_of(stranger.work / name) for name in ("client.crt", "client.key", "ca.crt")] == [0o600] * 3
    assert "✔ Certificate: client.crt\n✔ Private Key: client.key\n" in made.err and made.out == ""
    assert "\033[" not in made.err, "colour belongs on a terminal only"


def test_bootstrap_writes_what_step_reads(account: Account, authority: RunningAuthority) -> None:
    defaults = json.loads((account.step / "config" / "defaults.json").read_text())
    assert defaults == {
        "ca-url": authority.url,
        "fingerprint": authority.fingerprint,
        "root": str(account.step / "certs" / "root_ca.crt"),
    }
    assert mode_of(account.step / "certs" / "root_ca.crt") == 0o600
    assert mode_of(account.step / "config" / "defaults.json") == 0o644
    assert account.official("ca", "health").out.strip() == "ok"


def test_bootstrap_accepts_dashes_and_upper_case(stranger: Account, authority: RunningAuthority) -> None:
    sha = authority.fingerprint.upper()
    stranger.good("ca", "bootstrap", "--ca-url", authority.url, "--fingerprint", f"{sha[:8]}-{sha[8:]}")
    assert stranger.good("ca", "health").out == "ok\n"


def test_bootstrap_keeps_an_existing_configuration_without_force(account: Account, authority: RunningAuthority) -> None:
    before = (account.step / "config" / "defaults.json").read_bytes()
    again = ("ca", "bootstrap", "--ca-url", authority.url, "--fingerprint", authority.fingerprint)
    assert "--force" in account.refused(*again)
    assert (account.step / "config" / "defaults.json").read_bytes() == before
    account.good(*again, "--force")


def test_a_wrong_fingerprint_leaves_nothing_behind(stranger: Account, authority: RunningAuthority) -> None:
    said = stranger.refused("ca", "bootstrap", "--ca-url", authority.url, "--fingerprint", "ab" * 32)
    assert "no root certificate with fingerprint " + "ab" * 32 in said
    assert not stranger.step.exists()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://localhost:1", "cannot reach https://localhost:1: connection refused"),
        ("http://localhost:9000", "uses http: expected https"),
        ("https://", "invalid CA URL"),
        ("https://localhost:99999", "invalid CA URL"),
        ("https://no-such-host.invalid", "cannot find host 'no-such-host.invalid'"),
    ],
)
def test_an_unusable_url_is_named(stranger: Account, url: str, reason: str) -> None:
    assert reason in stranger.refused("ca", "bootstrap", "--ca-url", url, "--fingerprint", "ab" * 32)
    assert not stranger.step.exists()


def test_without_an_authority_the_hint_is_bootstrap(stranger: Account) -> None:
    for command in (("health",), ("roots",), ("certificate", "x", "a", "b"), ("token", "x"), ("provisioner", "list")):
        assert "troth ca bootstrap --ca-url URL --fingerprint FINGERPRINT" in stranger.refused("ca", *command)


def test_another_authority_behind_the_url_is_not_trusted(account: Account, authority: RunningAuthority) -> None:
    account.good("ca", "certificate", "x.example", "x.crt", "x.key", *authority.signing)
    assert "is not trusted" in account.refused("ca", "health", "--root", "x.crt")


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        (("--kty", "RSA"), "RSA PRIVATE KEY"),
        (("--kty", "OKP"), "PRIVATE KEY"),
        (("--curve", "P-384"), "EC PRIVATE KEY"),
    ],
)
def test_every_kind_of_key(account: Account, authority: RunningAuthority, flags: tuple[str, ...], kind: str) -> None:
    account.good("ca", "certificate", *flags, "k.example", "k.crt", "k.key", *authority.signing)
    pem = (account.work / "k.key").read_bytes()
    assert pem.startswith(f"-----BEGIN {kind}-----".encode())
    assert key_matches(chain_of(account.work / "k.crt")[0], parse_private_key(pem))


def test_names_and_term_are_the_ones_asked_for(account: Account, authority: RunningAuthority) -> None:
    names = ("--san", "a.example", "--san", "10.0.0.7", "--san", "me@example.com", "--san", "spiffe://x/y")
    account.good("ca", "certificate", "a.example", "a.crt", "a.key", *names, "--not-after", "2h", *authority.signing)
    leaf = chain_of(account.work / "a.crt")[0]
    found = alternative_names(leaf.extensions)
    assert (found.dns, found.ips) == (("a.example",), ("10.0.0.7",))
    assert (found.emails, found.uris) == (("me@example.com",), ("spiffe://x/y",))
    assert length_of(leaf) == timedelta(hours=2, minutes=1)


def test_environment_and_defaults_stand_in_for_flags(account: Account, authority: RunningAuthority) -> None:
    path = account.step / "config" / "defaults.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "password-file": "wrong", "not-after": "3h"}))
    flag = {"STEP_PROVISIONER_PASSWORD_FILE": authority.password_file}
    account.good("ca", "certificate", "d.example", "d.crt", "d.key", **flag)
    assert length_of(chain_of(account.work / "d.crt")[0]) == timedelta(hours=3, minutes=1)
    account.good("ca", "certificate", "d.example", "d.crt", "d.key", "-f", "--not-after", "1h", **flag)
    assert length_of(chain_of(account.work / "d.crt")[0]) == timedelta(hours=1, minutes=1)


@pytest.mark.parametrize("password", ["not it", ""])
def test_a_wrong_password_writes_nothing(account: Account, authority: RunningAuthority, password: str) -> None:
    (account.work / "pw").write_text(password)
    said = account.refused("ca", "certificate", "x", "x.crt", "x.key", "--password-file", "pw")
    assert "the password is wrong" in said and "--provisioner-password-file" in said
    assert files_of(account) == {"pw", "step"}


def test_without_password_and_terminal_the_flag_is_named(account: Account) -> None:
    said = account.refused("ca", "certificate", "x", "x.crt", "x.key")
    assert "cannot ask without a terminal" in said and "--provisioner-password-file FILE" in said


def test_an_unknown_provisioner_is_answered_with_the_known(account: Account, authority: RunningAuthority) -> None:
    flags = ("--provisioner", "nobody", "--password-file", authority.password_file)
    assert "no JWK provisioner with name 'nobody': the authority has admin" in account.refused(
        "ca", "token", "x", *flags
    )


def test_existing_files_are_kept_without_force(account: Account, authority: RunningAuthority) -> None:
    account.good("ca", "certificate", "x", "x.crt", "x.key", *authority.signing)
    before = [(account.work / name).read_bytes() for name in ("x.crt", "x.key")]
    assert "--force" in account.refused("ca", "certificate", "x", "x.crt", "x.key", *authority.signing)
    assert [(account.work / name).read_bytes() for name in ("x.crt", "x.key")] == before


@pytest.mark.parametrize("crt", ["no/such/x.crt", "step"])
def test_a_path_that_cannot_be_written_is_refused_before_a_token_is_spent(account: Account, crt: str) -> None:
    before = files_of(account)
    assert "cannot write" in account.refused("ca", "certificate", "x", crt, "x.key", "--force")
    assert files_of(account) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_permission(account: Account) -> None:
    (account.work / "shut").mkdir(mode=0o500)
    assert "is not writable" in account.refused("ca", "certificate", "x", "shut/x.crt", "shut/x.key")


def test_certificate_and_key_may_not_be_one_file(account: Account, authority: RunningAuthority) -> None:
    (account.work / "link").symlink_to("x.pem")
    for other in ("./x.pem", "link", f"step/../../{account.work.name}/x.pem"):
        said = account.refused("ca", "certificate", "x", "x.pem", other, *authority.signing)
        assert f"x.pem and {Path(other)} are the same file" in said
        assert "Provisioner:" not in said, "it is seen before anybody is asked"
    assert files_of(account) == {"step", "link"}


def test_a_term_beyond_the_limit_shows_the_authoritys_reason(account: Account, authority: RunningAuthority) -> None:
    flags = ("--not-after", "48h", *authority.signing)
    assert "more than the authorized maximum" in account.refused("ca", "certificate", "x", "x.crt", "x.key", *flags)
    assert "invalid time or duration" in account.refused("ca", "certificate", "x", "a", "b", "--not-after", "soon")
    assert files_of(account) == {"step"}


def test_sign_gives_a_certificate_for_the_request(account: Account, authority: RunningAuthority) -> None:
    key = generate_key()
    (account.work / "s.csr").write_text(request_to_pem(create_request(key, "s.example", ["s.example", "10.1.1.1"])))
    account.good("ca", "sign", "s.csr", "s.crt", *authority.signing)
    leaf = chain_of(account.work / "s.crt")[0]
    assert key_matches(leaf, key) and alternative_names(leaf.extensions).ips == ("10.1.1.1",)
    assert mode_of(account.work / "s.crt") == 0o600


def test_sign_refuses_what_is_no_request(account: Account) -> None:
    (account.work / "s.csr").write_bytes(private_key_to_pem(generate_key()))
    assert "contains no certificate request" in account.refused("ca", "sign", "s.csr", "s.crt")
    assert "no such file" in account.refused("ca", "sign", "absent.csr", "s.crt")


def test_roots_federation_and_provisioners(account: Account, authority: RunningAuthority) -> None:
    root = authority.root.read_text()
    assert account.good("ca", "roots").out == account.good("ca", "federation").out == account.good("ca", "root").out
    assert account.good("ca", "roots").out == root
    for command in ("root", "roots", "federation"):
        said = account.good("ca", command, f"{command}.pem").err
        assert said.split(" ")[:2] == account.official("ca", command, f"step-{command}.pem").err.split(" ")[:2]
    assert (account.work / "roots.pem").read_text() == root
    listed = json.loads(account.good("ca", "provisioner", "list").out)
    official = json.loads(account.official("ca", "provisioner", "list").out)
    assert listed == official


def test_a_password_typed_at_a_terminal(account: Account) -> None:
    code, shown = converse(account, ["ca", "certificate", "t", "t.crt", "t.key"], ("provisioner key: ", PASSWORD))
    assert code == 0 and "Private Key" in shown, shown
    assert PASSWORD not in shown and "\033[32m" in shown


def test_a_program_enrols_and_renews_without_files(authority: RunningAuthority) -> None:
    """What the agent does: password to certificate in one call, then mutual TLS from memory, then the key's word."""
    from troth.client.authority import Authority
    from troth.client.enroll import enroll, renew, renew_by_token
    from troth.client.provisioners import ProvisionerError
    from troth.host.clock import now
    from troth.x509.keys import key_matches

    client = Authority.at(authority.url, authority.root.read_text())
    key, first = enroll(client, PROVISIONER, PASSWORD.encode(), "agent.example", [], "1h", now=now())
    second = renew(client, first.pem.encode(), key, now=now())
    third = renew_by_token(client, second.pem.encode(), key, now=now())
    assert all(key_matches(chain.leaf, key) for chain in (first, second, third))
    assert len({chain.leaf.serial_number for chain in (first, second, third)}) == 3
    with pytest.raises(ProvisionerError, match="the password is wrong"):
        enroll(client, PROVISIONER, b"no", "agent.example", [], now=now())
