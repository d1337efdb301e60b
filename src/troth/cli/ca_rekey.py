"""``troth ca rekey``: the same names, a new key."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from troth.cli import flags

if TYPE_CHECKING:
    from troth.x509.keys import PrivateKey

EXAMPLES = """
troth ca rekey client.crt client.key
troth ca rekey client.crt client.key --out-cert new.crt --out-key new.key
troth ca rekey client.crt client.key --force --expires-in 8h --exec "nginx -s reload"
"""


@flags.command("rekey", EXAMPLES)
@click.argument("crt_file")
@click.argument("key_file")
@click.option("--out-cert", metavar="FILE", default="", help="Write the new certificate here, not over CRT_FILE.")
@click.option("--out-key", metavar="FILE", default="", help="Write the new key here, not over KEY_FILE.")
@click.option("--private-key", metavar="FILE", default="", help="Use the key in this file instead of a new one.")
@click.option("--expires-in", metavar="DURATION", default="", help="Rekey only when less than this remains.")
@click.option("--password-file", metavar="FILE", default="", help="File with the password of KEY_FILE.")
@flags.KEY_KIND
@flags.HOOKS
@flags.CA
@flags.FORCE
def rekey(crt_file: str, key_file: str, out_cert: str, out_key: str, force: bool, **given: Any) -> None:
    """Renew the certificate in CRT_FILE with a new key; certificate and key are replaced as a pair.

    The certificate must still be valid: it speaks for the new key in the handshake.
    """
    from troth.cli import trust
    from troth.cli.ca_renew import is_now_due, optional_duration
    from troth.cli.outputs import may_write
    from troth.cli.owned import read_pair
    from troth.client.schedule import check_times
    from troth.client.transport import NotAnAuthorityError
    from troth.errors import UsageError
    from troth.host.clock import now
    from troth.host.hooks import parse_hooks
    from troth.host.pairs import write_pair
    from troth.host.terminal import announce
    from troth.x509.keys import key_matches, private_key_to_pem
    from troth.x509.requests import create_request, request_to_pem

    hooks = parse_hooks(given["exec_command"], given["pid"], given["pid_file"], given["signal_number"])
    pair = read_pair(crt_file, key_file, given["password_file"])
    threshold = optional_duration(given["expires_in"])
    check_times(pair.leaf, threshold, None)
    if now() > pair.leaf.not_valid_after_utc:
        hint = f"get a new one: troth ca certificate SUBJECT {crt_file} {key_file}"
        raise UsageError(f"certificate {crt_file} has expired and cannot be rekeyed", hint=hint)
    if threshold is not None and not is_now_due(pair, threshold):
        return
    crt_out, key_out = out_cert or crt_file, out_key or key_file
    may_write(crt_out, key_out, force=force)
    authority = trust.authority(given["ca_url"], given["root"])
    key = _new_key(given)
    chain = authority.rekey(pair.presented, request_to_pem(create_request(key, "", ())))
    if not key_matches(chain.leaf, key):
        raise NotAnAuthorityError(f"{authority.url} answered with a certificate for another key")
    write_pair(Path(crt_out), chain.pem.encode(), Path(key_out), private_key_to_pem(key))
    announce("Certificate", crt_out)
    announce("Private Key", key_out)
    hooks.run()


def _new_key(given: dict[str, Any]) -> "PrivateKey":
    from troth.host.files import read_file
    from troth.x509.keys import generate_key, parse_private_key

    if given["private_key"]:
        return parse_private_key(read_file(Path(given["private_key"])), None, given["private_key"])
    return generate_key(given["kty"], given["curve"], given["size"])
