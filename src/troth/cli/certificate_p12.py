"""``troth certificate p12``: certificates and keys as PKCS #12 (RFC 7292)."""

from typing import TYPE_CHECKING, Any

import click

from troth.cli import flags
from troth.cli.key_secrets import NO_PASSWORD, PASSWORD_FILE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.serialization import KeySerializationEncryption

EXAMPLES = """
troth certificate p12 client.p12 client.crt client.key --password-file pw
troth certificate p12 client.p12 client.crt client.key --ca intermediate_ca.crt
troth certificate p12 trust.p12 --ca root_ca.crt
troth certificate p12 client.p12 client.crt client.key --no-password --insecure
"""
ITERATIONS = 2048


@flags.command("p12", EXAMPLES)
@click.argument("p12_path")
@click.argument("crt_path", default="")
@click.argument("key_path", default="")
@click.option("--ca", "authorities", metavar="FILE", multiple=True, help="Certificates to add; repeatable.")
@PASSWORD_FILE
@NO_PASSWORD
@click.option("--legacy", is_flag=True, help="The algorithms of old: SHA-1 and 3DES.")
@flags.FILE_PERMISSIONS
@flags.FORCE
def p12(
    p12_path: str,
    crt_path: str,
    key_path: str,
    authorities: tuple[str, ...],
    password_file: str,
    no_password: bool,
    insecure: bool,
    legacy: bool,
    force: bool,
    **given: str,
) -> None:
    """Package a certificate, its key and issuers into P12_PATH; without CRT_PATH a trust store of --ca for Java.

    The key is read without a password, or with one that is asked for.
    """
    from pathlib import Path

    from troth.cli.key_secrets import new_password
    from troth.cli.outputs import file_permissions, may_write
    from troth.errors import UsageError
    from troth.host.files import read_file, write_file
    from troth.host.terminal import note
    from troth.x509.pem import parse_certificates

    if legacy and no_password:
        hint = "take a password that everybody may know: --password-file FILE"
        raise UsageError(
            "--legacy cannot be used with --no-password: what is not encrypted has no algorithm", hint=hint
        )
    if crt_path and not key_path:
        raise UsageError("KEY_PATH is missing: a certificate is packaged with its key")
    if not crt_path and not authorities:
        raise UsageError("nothing to package: expected CRT_PATH and KEY_PATH, or --ca")
    issuers = [one for path in authorities for one in parse_certificates(read_file(Path(path)), path)]
    pair = _pair(crt_path, key_path) if crt_path else None
    wanted = file_permissions(given, secret=pair is not None)
    may_write(p12_path, force=force, wanted=wanted)
    password = new_password(password_file, no_password, insecure, p12_path)
    write_file(Path(p12_path), _packaged(pair, issuers, password or b"", legacy), wanted=wanted)
    note(f"Your .p12 bundle has been saved as {p12_path}.")


def _pair(crt_path: str, key_path: str) -> tuple[list[Any], Any]:
    from troth.cli.key_secrets import read_private_key
    from troth.cli.sources import named, read_input
    from troth.errors import UsageError
    from troth.x509.keys import key_matches
    from troth.x509.pem import parse_certificates

    chain = parse_certificates(read_input(crt_path), named(crt_path))
    key = read_private_key(key_path, "")
    if not key_matches(chain[0], key):
        raise UsageError(f"key {key_path} does not belong to certificate {named(crt_path)}")
    return chain, key


def _packaged(pair: tuple[list[Any], Any] | None, issuers: list[Any], password: bytes, legacy: bool) -> bytes:
    from cryptography.hazmat.primitives.serialization import pkcs12

    from troth.x509.names import common_name

    encryption = _encryption(password, legacy)
    if pair is None:
        named = [pkcs12.PKCS12Certificate(one, common_name(one.subject).encode() or None) for one in issuers]
        return pkcs12.serialize_java_truststore(named, encryption)
    (leaf, *rest), key = pair
    name = common_name(leaf.subject).encode() or None
    return pkcs12.serialize_key_and_certificates(name, key, leaf, [*rest, *issuers] or None, encryption)


def _encryption(password: bytes, legacy: bool) -> "KeySerializationEncryption":
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import NoEncryption, PrivateFormat, pkcs12

    if not password:
        return NoEncryption()
    form = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(ITERATIONS)
    if legacy:
        form = form.key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC).hmac_hash(hashes.SHA1())  # noqa: S303
    else:
        form = form.key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC).hmac_hash(hashes.SHA256())
    return form.build(password)
