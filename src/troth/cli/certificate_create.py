"""``troth certificate create``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from troth.cli import flags
from troth.cli.key_secrets import NO_PASSWORD, PASSWORD_FILE

if TYPE_CHECKING:
    from datetime import datetime

    from troth.x509.keys import PrivateKey, PublicKey

EXAMPLES = """
troth certificate create "Example Root CA" root_ca.crt root_ca.key --profile root-ca
troth certificate create "Example CA" ca.crt ca.key --profile intermediate-ca --ca root_ca.crt --ca-key root_ca.key
troth certificate create web.example web.crt web.key --ca ca.crt --ca-key ca.key --not-after 2160h --bundle
troth certificate create web.example web.csr web.key --csr --san web.example --san 10.0.0.7
troth certificate create web.example web.crt web.key --profile self-signed --subtle --no-password --insecure
"""
LEAF, SELF_SIGNED, INTERMEDIATE, ROOT = "leaf", "self-signed", "intermediate-ca", "root-ca"
PROFILES = (LEAF, SELF_SIGNED, INTERMEDIATE, ROOT)
NOT_WITH_CSR = ("bundle", "ca", "ca_key", "ca_password_file", "not_before", "not_after", "skip_csr_signature")
ISSUER = flags.all_of(
    click.option("--ca", metavar="FILE", default="", help="Certificate of the issuer."),
    click.option("--ca-key", metavar="FILE", default="", help="Key of the issuer."),
    click.option("--ca-password-file", metavar="FILE", default="", help="File with the password of --ca-key."),
)


@flags.command("create", EXAMPLES)
@click.argument("subject")
@click.argument("crt_file")
@click.argument("key_file", default="")
@click.option("--csr", is_flag=True, help="Make a certificate request instead of a certificate.")
@click.option("--profile", metavar="NAME", default="", help="leaf (default), self-signed, intermediate-ca or root-ca.")
@click.option("--template", metavar="FILE", default="", help="Certificate template instead of a profile.")
@flags.SET
@flags.SANS
@flags.VALIDITY_FROM_NOW
@click.option("--path-len", metavar="N", type=int, default=None, help="Authorities below an authority; -1: no limit.")
@ISSUER
@click.option("--bundle", is_flag=True, help="Write the issuer's certificate after the leaf's.")
@click.option("--key", metavar="FILE", default="", help="Certify this key instead of a new one.")
@click.option("--skip-csr-signature", is_flag=True, help="Allow a public key as --key.")
@flags.KEY_KIND
@PASSWORD_FILE
@NO_PASSWORD
@click.option("--subtle", is_flag=True, help="Allow what is rarely meant: self-signed leaves.")
@flags.FORCE
def create(subject: str, crt_file: str, key_file: str, **given: Any) -> None:
    """Make a certificate or a certificate request, and its key in KEY_FILE, encrypted, both 0600.

    Leaves live 24 hours, authorities ten years; durations count from now. Without --san the SUBJECT is the one name
    of a leaf. KEY_FILE may be left out with --key.
    """
    from pathlib import Path

    from troth.cli.key_secrets import new_password
    from troth.cli.outputs import may_write
    from troth.host import clock
    from troth.host.files import write_file
    from troth.host.pairs import write_pair
    from troth.host.terminal import note
    from troth.x509.keys import PrivateKey, private_key_to_pem

    _check(given, crt_file, key_file)
    key, now = _key(given), clock.now()
    if given["csr"]:
        assert isinstance(key, PrivateKey)
        text = _request(subject, given, key, now).encode()
    else:
        text = _certificate(subject, given, key, now).encode()
    private = key if isinstance(key, PrivateKey) and key_file else None
    may_write(crt_file, *([key_file] if private else []), force=given["force"], secret=key_file)
    if private is not None:
        password = new_password(given["password_file"], given["no_password"], given["insecure"], key_file)
        write_pair(Path(crt_file), text, Path(key_file), private_key_to_pem(private, password))
    else:
        write_file(Path(crt_file), text)
    note(f"Your certificate {'signing request ' if given['csr'] else ''}has been saved in {crt_file}.")
    if private is not None:
        note(f"Your private key has been saved in {key_file}.")


def _check(given: Mapping[str, Any], crt_file: str, key_file: str) -> None:
    """Refuse flags that contradict each other, before anything is read or made."""
    from troth.cli.key_secrets import check_no_password
    from troth.errors import UsageError

    check_no_password(given["no_password"], given["insecure"])
    if not key_file and not given["key"]:
        raise UsageError("KEY_FILE is missing: expected where to write the new key, or --key")
    profile = given["profile"]
    if profile and given["template"]:
        raise UsageError("--profile and --template cannot be used together")
    if profile not in ("", *PROFILES):
        raise UsageError(f"unknown --profile {profile!r}: expected one of {', '.join(PROFILES)}")
    if given["csr"]:
        wrong = [name for name in NOT_WITH_CSR if given[name]] + ["profile"] * (profile not in ("", LEAF))
        if wrong:
            raise UsageError(f"--{wrong[0].replace('_', '-')} cannot be used with --csr")
        return
    if given["bundle"] and (profile or LEAF) != LEAF:
        raise UsageError(f"--bundle cannot be used with --profile {profile}: an authority stands for itself")
    if profile == SELF_SIGNED and not given["subtle"]:
        raise UsageError("--profile self-signed needs --subtle: whoever trusts such a leaf trusts its key for ever")
    _check_issuer(given, profile or ("" if given["template"] else LEAF))


def _check_issuer(given: Mapping[str, Any], profile: str) -> None:
    from troth.errors import UsageError

    signs_itself = profile in (SELF_SIGNED, ROOT)
    for flag in ("ca", "ca_key"):
        name = flag.replace("_", "-")
        if signs_itself and given[flag]:
            raise UsageError(f"--{name} cannot be used with --profile {profile}, which signs itself")
        if profile in (LEAF, INTERMEDIATE) and not given[flag]:
            hint = "make a root first: troth certificate create NAME root_ca.crt root_ca.key --profile root-ca"
            raise UsageError(f"missing --{name}: --profile {profile} is signed by another certificate", hint=hint)
    if bool(given["ca"]) != bool(given["ca_key"]):
        raise UsageError("--ca and --ca-key belong together: expected both or neither")
    if given["bundle"] and not given["ca"]:
        raise UsageError("--bundle needs --ca")


def _key(given: Mapping[str, Any]) -> "PrivateKey | PublicKey":
    """The key to certify: new, or that of ``--key``, which may be public where nothing is signed with it."""
    from pathlib import Path

    from troth.cli.key_secrets import read_private_key
    from troth.errors import UsageError
    from troth.host.files import read_file
    from troth.x509.keys import generate_key, parse_public_key

    path = given["key"]
    if not path:
        return generate_key(given["kty"], given["curve"], given["size"])
    if given["curve"] or given["size"]:
        raise UsageError("--curve and --size cannot be used with --key: the key is there already")
    data = read_file(Path(path))
    if b"PUBLIC KEY" not in data:
        return read_private_key(path, given["password_file"])
    if not given["skip_csr_signature"] or not given["ca"]:
        raise UsageError(f"{path} is a public key: expected a private one, or --skip-csr-signature with --ca")
    return parse_public_key(data, path)


def _request(subject: str, given: Mapping[str, Any], key: "PrivateKey", now: "datetime") -> str:
    from troth.ca.handmade import REQUEST, certificate_request, fresh_data
    from troth.cli.handmaking import described
    from troth.x509.requests import request_to_pem

    data = fresh_data(subject, given["sans"] or (subject,), key.public_key())
    value = described(REQUEST, data, {**given, "path_len": 0}, now)
    return request_to_pem(certificate_request(value, key))


def _certificate(subject: str, given: Mapping[str, Any], key: "PrivateKey | PublicKey", now: "datetime") -> str:
    from troth.ca.handmade import AUTHORITY, DAY, TEN_YEARS, certify, fresh_data, myself
    from troth.ca.handmade import LEAF as LEAF_TEMPLATE
    from troth.cli.founding import new_serial
    from troth.cli.handmaking import described, read_issuer, validity
    from troth.x509.keys import PrivateKey
    from troth.x509.pem import bundle_to_pem

    files = (
        read_issuer(given["ca"], given["ca_key"], given["ca_password_file"], "--ca-password-file", now)
        if (given["ca"])
        else None
    )
    public = key.public_key() if isinstance(key, PrivateKey) else key
    authority = given["profile"] in (INTERMEDIATE, ROOT)
    length = given["path_len"] if given["path_len"] is not None else int(given["profile"] == ROOT)
    sans = given["sans"] or (() if authority else (subject,))
    data = fresh_data(subject, sans, public)
    template = AUTHORITY if authority else LEAF_TEMPLATE
    value = described(template, data, {**given, "path_len": length}, now)
    window = validity(given, TEN_YEARS if authority else DAY, now, files.chain[0] if files else None)
    if files is not None:
        issuer = files.issuer
        made = certify(value, public, issuer, new_serial(), window)
        return bundle_to_pem([made, *(files.chain[:1] if given["bundle"] else ())])
    assert isinstance(key, PrivateKey)
    return bundle_to_pem([certify(value, public, myself(value, key), new_serial(), window)])
