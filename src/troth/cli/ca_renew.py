"""``troth ca renew``: the same names and key, a new term; once, when due, or for ever."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from troth.cli import flags, foreign

if TYPE_CHECKING:
    from troth.cli.owned import KeyPassword, OwnedPair
    from troth.client.authority import Authority, Chain
    from troth.host.permissions import Permissions

EXAMPLES = """
troth ca renew client.crt client.key
troth ca renew client.crt client.key --force --expires-in 8h
troth ca renew client.crt client.key --force --cert-mode 644 --group nginx
troth ca renew client.crt client.key --force --offline --ca-config /etc/step-ca/config/ca.json
troth ca renew client.crt client.key --daemon --exec "nginx -s reload"
troth ca renew client.crt client.key --daemon --renew-period 16h --pid-file /run/nginx.pid
"""


@flags.command("renew", EXAMPLES)
@click.argument("crt_file")
@click.argument("key_file")
@click.option("--expires-in", metavar="DURATION", default="", help="Renew only when less than this remains.")
@click.option("--daemon", is_flag=True, help="Stay and renew before each expiry (a third of the life is left).")
@click.option("--renew-period", metavar="DURATION", default="", help="With --daemon: renew this often.")
@click.option(
    *("--out", "--output-file", "out"),
    metavar="FILE",
    default="",
    help="Write the new certificate here, not over CRT_FILE.",
)
@click.option("--mtls/--no-mtls", default=True, help="Present the certificate in the handshake (default), or sign.")
@click.option("--password-file", metavar="FILE", default="", help="File with the password of KEY_FILE.")
@flags.HOOKS
@flags.CERT_PERMISSIONS
@flags.OFFLINE
@flags.CA
@flags.FORCE
@foreign.KEY_SYSTEM
def renew(crt_file: str, key_file: str, force: bool, **given: Any) -> None:
    """Renew the certificate in CRT_FILE with the key in KEY_FILE, which stays.

    An expired certificate is renewed with a token that its key signs, where its provisioner allows that.
    The file keeps its mode and owner. After success a process is signalled and then a command run, if given; a
    command's failure exits 1 although the new certificate is in place.
    """
    from troth.cli import trust
    from troth.cli.outputs import may_write, permissions_of
    from troth.cli.owned import KeyPassword, read_pair
    from troth.cli.renewing import once_or_for_ever

    wanted, _ = permissions_of(given)
    password = KeyPassword(given["password_file"])
    pair = read_pair(crt_file, key_file, password)
    out = given["out"] or crt_file

    def begin() -> Renewal:
        authority = trust.chosen_authority(given)
        may_write(out, force=force or given["daemon"], wanted=wanted)
        return Renewal(authority, crt_file, key_file, out, password, given["mtls"], wanted)

    once_or_for_ever(begin, pair, given, "renew")


@dataclass(frozen=True, slots=True)
class Renewal:
    """One certificate, where it is renewed, and where the result goes."""

    authority: "Authority"
    crt_file: str
    key_file: str
    out: str
    password: "KeyPassword"
    mtls: bool
    permissions: "Permissions"

    def run(self, pair: "OwnedPair") -> None:
        """Renew and write; the old file stays when anything fails.

        Raises:
            ClientError: the authority refused or could not be reached.
            FileError: the new certificate cannot be written.
        """
        from troth.client.transport import NotAnAuthorityError
        from troth.host.clock import now
        from troth.host.files import write_file
        from troth.host.terminal import note
        from troth.x509.keys import key_matches

        chain = renewed(self.authority, pair, now(), mtls=self.mtls)
        if not key_matches(chain.leaf, pair.key):
            raise NotAnAuthorityError(f"{self.authority.url} answered with a certificate for another key")
        write_file(Path(self.out), chain.pem.encode(), wanted=self.permissions)
        note(f"Your certificate has been saved in {self.out}.")

    def reread(self) -> "OwnedPair":
        """The pair as it is on disk now."""
        from troth.cli.owned import latest_pair

        return latest_pair((self.crt_file, self.key_file), (self.out, self.key_file), self.password)


def renewed(authority: "Authority", pair: "OwnedPair", now: datetime, *, mtls: bool = True) -> "Chain":
    """A successor with the same key: over mutual TLS while the certificate is valid, by token after that."""
    from troth.client.enroll import renew_by_token

    if mtls and now <= pair.leaf.not_valid_after_utc:
        return authority.renew(pair.presented)
    return renew_by_token(authority, pair.presented.chain, pair.key, now=now)
