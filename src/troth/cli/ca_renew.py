"""``troth ca renew``: the same names and key, a new term; once, when due, or for ever."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from troth.cli import flags

if TYPE_CHECKING:
    from troth.cli.owned import OwnedPair
    from troth.client.authority import Authority, Chain

EXAMPLES = """
troth ca renew client.crt client.key
troth ca renew client.crt client.key --force --expires-in 8h
troth ca renew client.crt client.key --daemon --exec "nginx -s reload"
troth ca renew client.crt client.key --daemon --renew-period 16h --pid-file /run/nginx.pid
"""


@flags.command("renew", EXAMPLES)
@click.argument("crt_file")
@click.argument("key_file")
@click.option("--expires-in", metavar="DURATION", default="", help="Renew only when less than this remains.")
@click.option("--daemon", is_flag=True, help="Stay and renew before each expiry (a third of the life is left).")
@click.option("--renew-period", metavar="DURATION", default="", help="With --daemon: renew this often.")
@click.option("--out", metavar="FILE", default="", help="Write the new certificate here, not over CRT_FILE.")
@click.option("--mtls/--no-mtls", default=True, help="Present the certificate in the handshake (default), or sign.")
@click.option("--password-file", metavar="FILE", default="", help="File with the password of KEY_FILE.")
@flags.HOOKS
@flags.CA
@flags.FORCE
def renew(
    crt_file: str,
    key_file: str,
    expires_in: str,
    daemon: bool,
    renew_period: str,
    out: str,
    mtls: bool,
    password_file: str,
    exec_command: str,
    pid: int,
    pid_file: str,
    signal_number: int,
    ca_url: str,
    root: str,
    force: bool,
) -> None:
    """Renew the certificate in CRT_FILE with the key in KEY_FILE, which stays.

    An expired certificate is renewed with a token that its key signs, where its provisioner allows that.
    After success a process is signalled and then a command run, if given; a command's failure exits 1 although the new
    certificate is in place.
    """
    from troth.cli import trust
    from troth.cli.outputs import may_write
    from troth.cli.owned import read_pair
    from troth.client.schedule import check_times
    from troth.errors import UsageError
    from troth.host.hooks import parse_hooks

    hooks = parse_hooks(exec_command, pid, pid_file, signal_number)
    if renew_period and not daemon:
        raise UsageError("--renew-period needs --daemon")
    pair = read_pair(crt_file, key_file, password_file)
    threshold, period = optional_duration(expires_in), optional_duration(renew_period)
    check_times(pair.leaf, threshold, period)
    authority = trust.authority(ca_url, root)
    renewal = Renewal(authority, crt_file, key_file, out or crt_file, password_file, mtls)
    if daemon:
        from troth.cli.renewing import stay

        may_write(renewal.out, force=True)
        stay(renewal, pair, hooks, threshold, period)
        return
    if threshold is not None and not is_now_due(pair, threshold):
        return
    may_write(renewal.out, force=force)
    renewal.run(pair)
    hooks.run()


@dataclass(frozen=True, slots=True)
class Renewal:
    """One certificate, where it is renewed, and where the result goes."""

    authority: "Authority"
    crt_file: str
    key_file: str
    out: str
    password_file: str
    mtls: bool

    def run(self, pair: "OwnedPair") -> "Chain":
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

        chain = self._ask(pair, now())
        if not key_matches(chain.leaf, pair.key):
            raise NotAnAuthorityError(f"{self.authority.url} answered with a certificate for another key")
        write_file(Path(self.out), chain.pem.encode())
        note(f"Your certificate has been saved in {self.out}.")
        return chain

    def reread(self) -> "OwnedPair":
        """The pair as it is on disk now."""
        from troth.cli.owned import read_pair

        return read_pair(self.out, self.key_file, self.password_file)

    def _ask(self, pair: "OwnedPair", now: datetime) -> "Chain":
        from troth.client.enroll import renew_by_token

        if self.mtls and now <= pair.leaf.not_valid_after_utc:
            return self.authority.renew(pair.presented)
        return renew_by_token(self.authority, pair.presented.chain, pair.key, now=now)


def optional_duration(text: str) -> timedelta | None:
    from troth.durations import parse_duration

    return parse_duration(text) if text else None


def is_now_due(pair: "OwnedPair", threshold: timedelta) -> bool:
    import secrets

    from troth.client.schedule import is_due
    from troth.durations import format_duration
    from troth.host.clock import now
    from troth.host.terminal import note

    moment = now()
    if is_due(pair.leaf, moment, threshold, secrets.randbelow(1000) / 1000):
        return True
    left = timedelta(seconds=int((pair.leaf.not_valid_after_utc - moment).total_seconds()))
    note(f"certificate not renewed: expires in {format_duration(left)}")
    return False
