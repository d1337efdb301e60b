"""``troth ca rekey``: the same names, a new key; once, when due, or for ever."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from troth.cli import flags, foreign

if TYPE_CHECKING:
    from troth.cli.owned import KeyPassword, OwnedPair
    from troth.client.authority import Authority, Chain
    from troth.host.permissions import Permissions
    from troth.x509.keys import PrivateKey

EXAMPLES = """
troth ca rekey client.crt client.key
troth ca rekey client.crt client.key --out-cert new.crt --out-key new.key
troth ca rekey client.crt client.key --force --expires-in 8h --exec "nginx -s reload"
troth ca rekey client.crt client.key --daemon --rekey-period 16h --pid-file /run/nginx.pid
troth ca rekey client.crt client.key --force --key-mode 640 --group nginx
"""


@flags.command("rekey", EXAMPLES)
@click.argument("crt_file")
@click.argument("key_file")
@click.option("--out-cert", metavar="FILE", default="", help="Write the new certificate here, not over CRT_FILE.")
@click.option("--out-key", metavar="FILE", default="", help="Write the new key here, not over KEY_FILE.")
@click.option("--private-key", metavar="FILE", default="", help="Use the key in this file instead of a new one.")
@click.option("--expires-in", metavar="DURATION", default="", help="Rekey only when less than this remains.")
@click.option("--daemon", is_flag=True, help="Stay and rekey before each expiry (a third of the life is left).")
@click.option("--rekey-period", metavar="DURATION", default="", help="With --daemon: rekey this often.")
@click.option("--password-file", metavar="FILE", default="", help="File with the password of KEY_FILE.")
@flags.KEY_KIND
@flags.HOOKS
@flags.PAIR_PERMISSIONS
@flags.OFFLINE
@flags.CA
@flags.FORCE
@foreign.KEY_SYSTEM
def rekey(crt_file: str, key_file: str, force: bool, **given: Any) -> None:
    """Renew the certificate in CRT_FILE with a new key; certificate and key are replaced as a pair.

    The certificate must still be valid: it speaks for the new key in the handshake. With --daemon an expired one is
    renewed first, where its provisioner allows that. Files keep their mode and owner, an encrypted key its password.
    """
    from troth.cli import trust
    from troth.cli.outputs import may_write, permissions_of
    from troth.cli.owned import KeyPassword, read_pair
    from troth.cli.renewing import once_or_for_ever
    from troth.errors import UsageError
    from troth.host.clock import now

    if given["private_key"] and given["daemon"]:
        raise UsageError("--private-key cannot be used with --daemon, which makes a new key each time")
    permissions = permissions_of(given)
    password = KeyPassword(given["password_file"])
    pair = read_pair(crt_file, key_file, password)
    if now() > pair.leaf.not_valid_after_utc and not given["daemon"]:
        hint = f"get a new one: troth ca certificate SUBJECT {crt_file} {key_file}"
        raise UsageError(f"certificate {crt_file} has expired and cannot be rekeyed", hint=hint)
    outs = given["out_cert"] or crt_file, given["out_key"] or key_file
    if outs[1] == key_file:  # a service may read the key by the rights that it has now
        permissions = permissions[0], replace(permissions[1], secret=False)

    def begin() -> Rekeying:
        authority = trust.chosen_authority(given)
        secret = outs[1] if permissions[1].secret else ""
        may_write(*outs, force=force or given["daemon"], wanted=permissions[0], secret=secret)
        return Rekeying(authority, (crt_file, key_file), outs, password, permissions, given)

    once_or_for_ever(begin, pair, given, "rekey")


@dataclass(frozen=True, slots=True)
class Rekeying:
    """One pair, where it is rekeyed, and where the result goes."""

    authority: "Authority"
    files: tuple[str, str]
    outs: tuple[str, str]
    password: "KeyPassword"
    permissions: "tuple[Permissions, Permissions]"
    given: Mapping[str, Any]

    def run(self, pair: "OwnedPair") -> None:
        """Rekey and write; the old pair stays when anything fails.

        Raises:
            ClientError: the authority refused or could not be reached.
            FileError: the new pair cannot be written.
        """
        from troth.client.transport import NotAnAuthorityError
        from troth.host.pairs import write_pair
        from troth.host.terminal import announce
        from troth.x509.keys import key_matches, private_key_to_pem

        secret, pkcs8 = self.password.used, self.password.pkcs8
        key = self._new_key()
        chain = self._ask(pair, key)
        if not key_matches(chain.leaf, key):
            raise NotAnAuthorityError(f"{self.authority.url} answered with a certificate for another key")
        crt_out, key_out = self.outs
        text = private_key_to_pem(key, secret, pkcs8=pkcs8)
        write_pair(Path(crt_out), chain.pem.encode(), Path(key_out), text, permissions=self.permissions)
        announce("Certificate", crt_out)
        announce("Private Key", key_out)

    def reread(self) -> "OwnedPair":
        """The pair as it is on disk now."""
        from troth.cli.owned import latest_pair

        return latest_pair(self.files, self.outs, self.password)

    def _ask(self, pair: "OwnedPair", key: "PrivateKey") -> "Chain":
        """An expired certificate cannot speak for another key; its own may still renew it, and then it can."""
        from troth.cli.ca_renew import renewed
        from troth.cli.owned import OwnedPair
        from troth.host.clock import now
        from troth.x509.requests import create_request, request_to_pem

        if now() > pair.leaf.not_valid_after_utc:
            pair = OwnedPair(renewed(self.authority, pair, now()).certificates, pair.key)
        return self.authority.rekey(pair.presented, request_to_pem(create_request(key, "", ())))

    def _new_key(self) -> "PrivateKey":
        from troth.cli.owned import KeyPassword
        from troth.x509.keys import generate_key

        if self.given["private_key"]:
            return KeyPassword(self.given["password_file"]).open(self.given["private_key"])
        return generate_key(self.given["kty"], self.given["curve"], self.given["size"])
