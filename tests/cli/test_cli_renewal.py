"""Renewal keeps key, names and length; the old file stays until the new one is whole; hooks run after, never before."""

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography import x509

from tests.cli.accounts import Account, RunningAuthority
from troth.client.schedule import length_of
from troth.x509.keys import key_matches, parse_private_key
from troth.x509.pem import parse_certificates

MAIN = "from troth.cli.app import main; main()"


def leaf_of(account: Account, name: str = "x.crt") -> x509.Certificate:
    return parse_certificates((account.work / name).read_bytes())[0]


@pytest.fixture
def holder(account: Account, authority: RunningAuthority) -> Account:
    """An account with a certificate of two hours in x.crt and x.key."""
    account.good("ca", "certificate", "x.example", "x.crt", "x.key", "--not-after", "2h", *authority.signing)
    return account


def test_a_renewed_certificate_differs_in_serial_and_dates_only(holder: Account) -> None:
    old, mode = leaf_of(holder), 0o644
    (holder.work / "x.crt").chmod(mode)
    said = holder.good("ca", "renew", "x.crt", "x.key", "--force")
    new = leaf_of(holder)
    assert said.err == "Your certificate has been saved in x.crt.\n" and said.out == ""
    assert new.serial_number != old.serial_number and length_of(new) == length_of(old)
    assert (new.subject, new.public_key()) == (old.subject, old.public_key())
    assert (holder.work / "x.crt").stat().st_mode & 0o777 == mode


def test_out_leaves_the_old_file(holder: Account) -> None:
    before = (holder.work / "x.crt").read_bytes()
    holder.good("ca", "renew", "x.crt", "x.key", "--out", "new.crt")
    assert (holder.work / "x.crt").read_bytes() == before
    assert key_matches(leaf_of(holder, "new.crt"), parse_private_key((holder.work / "x.key").read_bytes()))


def test_a_signed_request_renews_without_a_handshake(holder: Account) -> None:
    old = leaf_of(holder)
    holder.good("ca", "renew", "x.crt", "x.key", "--force", "--no-mtls")
    assert leaf_of(holder).serial_number != old.serial_number
    holder.good("ca", "renew", "x.crt", "x.key", "--force", "--mtls=false")


def test_an_expired_certificate_renews_by_its_key(account: Account, authority: RunningAuthority) -> None:
    account.good("ca", "certificate", "e.example", "e.crt", "e.key", "--not-after", "1s", *authority.signing)
    old = leaf_of(account, "e.crt")
    while time.time() <= old.not_valid_after_utc.timestamp() + 1:
        time.sleep(0.05)
    account.good("ca", "renew", "e.crt", "e.key", "--force")
    assert leaf_of(account, "e.crt").serial_number != old.serial_number


def test_a_token_for_renewal_is_one_the_authority_takes(holder: Account, authority: RunningAuthority) -> None:
    from troth.client.authority import Authority

    done = holder.good("ca", "token", "x.example", "--renew", "--x5c-cert", "x.crt", "--x5c-key", "x.key")
    chain = Authority.at(authority.url, authority.root.read_text()).renew_with_token(done.out.strip())
    assert chain.leaf.serial_number != leaf_of(holder).serial_number


def test_not_due_is_success_and_changes_nothing(holder: Account) -> None:
    before = (holder.work / "x.crt").read_bytes()
    said = holder.good("ca", "renew", "x.crt", "x.key", "--expires-in", "1h")
    assert (
        said.err.startswith("certificate not renewed: expires in 1h5")
        and (holder.work / "x.crt").read_bytes() == before
    )
    holder.good("ca", "renew", "x.crt", "x.key", "--expires-in", "2h", "--force")
    assert (holder.work / "x.crt").read_bytes() != before


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--expires-in", "48h"), "longer than the certificate"),
        (("--renew-period", "1h"), "--renew-period needs --daemon"),
        (("--daemon", "--renew-period", "1h", "--expires-in", "1h"), "cannot be used together"),
        (("--expires-in", "soon"), "invalid duration 'soon'"),
        (("--exec", "echo 'open"), "cannot read --exec"),
        (("--pid", "1", "--pid-file", "x"), "--pid and --pid-file"),
        (("--signal", "99", "--pid", "1"), "--signal from 1 to 64"),
    ],
)
def test_flags_that_make_no_sense(holder: Account, flags: tuple[str, ...], reason: str) -> None:
    before = (holder.work / "x.crt").read_bytes()
    assert reason in holder.refused("ca", "renew", "x.crt", "x.key", "--force", *flags)
    assert (holder.work / "x.crt").read_bytes() == before


def test_somebody_elses_key_is_noticed_before_the_network(holder: Account, authority: RunningAuthority) -> None:
    holder.good("ca", "certificate", "y.example", "y.crt", "y.key", *authority.signing)
    said = holder.refused("ca", "renew", "x.crt", "y.key", "--force", "--ca-url", "https://localhost:1")
    assert "key y.key does not belong to certificate x.crt" in said


@pytest.mark.parametrize("name", ["x.crt", "x.key"])
@pytest.mark.parametrize(
    "content", [None, b"", b"garbage", b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----"]
)
def test_unreadable_files_are_named(holder: Account, name: str, content: bytes | None) -> None:
    path = holder.work / name
    path.unlink() if content is None else path.write_bytes(content)
    said = holder.refused("ca", "renew", "x.crt", "x.key", "--force")
    assert name in said or "PEM block" in said


def test_a_down_authority_leaves_the_certificate(holder: Account) -> None:
    before = (holder.work / "x.crt").read_bytes()
    said = holder.refused("ca", "renew", "x.crt", "x.key", "--force", "--ca-url", "https://localhost:1")
    assert "connection refused" in said and (holder.work / "x.crt").read_bytes() == before


def test_a_command_runs_after_success_without_a_shell(holder: Account) -> None:
    done = holder.good("ca", "renew", "x.crt", "x.key", "-f", "--exec", "printf '%s|' 'two words' $HOME ; true")
    assert done.out == "two words|$HOME|;|true|"


def test_a_failing_command_exits_1_with_the_new_certificate_in_place(holder: Account) -> None:
    old = leaf_of(holder)
    done = holder.troth("ca", "renew", "x.crt", "x.key", "--force", "--exec", "false")
    assert done.code == 1 and "error: command 'false' failed: expected exit code 0, got 1" in done.err
    assert leaf_of(holder).serial_number != old.serial_number
    assert (
        "cannot run 'no-such-program'"
        in holder.troth("ca", "renew", "x.crt", "x.key", "-f", "--exec", "no-such-program").err
    )


def test_a_process_is_signalled(holder: Account) -> None:
    script = "import signal; print('up', flush=True); print(signal.sigwait({signal.SIGUSR1}).name, flush=True)"
    blocked = f"import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGUSR1}}); {script}"
    with subprocess.Popen([sys.executable, "-c", blocked], stdout=subprocess.PIPE, text=True) as waiting:
        assert waiting.stdout is not None and waiting.stdout.readline() == "up\n"
        (holder.work / "pid").write_text(f"{waiting.pid}\n")
        flags = ("--pid-file", "pid", "--signal", str(int(signal.SIGUSR1)))
        holder.good("ca", "renew", "x.crt", "x.key", "--force", *flags)
        assert waiting.stdout.readline() == "SIGUSR1\n"
    (holder.work / "pid").write_text("nobody")
    done = holder.troth("ca", "renew", "x.crt", "x.key", "--force", "--pid-file", "pid")
    assert done.code == 1 and "error: pid does not hold a process id" in done.err


class Daemon:
    """``ca renew --daemon`` in the background, its lines awaited, never slept for."""

    def __init__(self, holder: Account, *flags: str, verb: str = "renew") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", MAIN, "ca", verb, "x.crt", "x.key", "--daemon", *flags],
            cwd=holder.work,
            env={**os.environ, "STEPPATH": str(holder.step)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.text = ""

    def wait_for(self, part: str, seconds: float = 30) -> None:
        assert self.process.stdout is not None
        deadline = time.monotonic() + seconds
        while part not in self.text:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"expected {part!r} within {seconds} s, got {self.text!r}"
            more = os.read(self.process.stdout.fileno(), 4096).decode()
            assert more, f"expected {part!r}, the process ended after {self.text!r}"
            self.text += more

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_daemon_waits_renews_on_hangup_and_ends_well(holder: Account, number: int) -> None:
    daemon = Daemon(holder, "--exec", "echo hooked")
    try:
        daemon.wait_for("first renewal in 1h1")
        old = leaf_of(holder)
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("x.example certificate renewed, next in 1h1")
        assert leaf_of(holder).serial_number != old.serial_number
        assert "hooked" in daemon.text
        assert daemon.end(number) == 0
    finally:
        daemon.process.kill()


def test_the_daemon_renews_by_itself_and_not_in_a_tight_loop(account: Account, authority: RunningAuthority) -> None:
    account.good("ca", "certificate", "x.example", "x.crt", "x.key", "--not-after", "4s", *authority.signing)
    daemon = Daemon(account)
    try:
        daemon.wait_for("first renewal in 0s")
        began = time.monotonic()
        for _ in range(3):
            daemon.text = daemon.text.partition("certificate renewed")[2]
            daemon.wait_for("certificate renewed")
        assert time.monotonic() - began >= 2, "three renewals need at least two waits of a second"
    finally:
        daemon.process.kill()


def test_the_daemon_survives_errors(holder: Account) -> None:
    daemon = Daemon(holder, "--exec", "false")
    try:
        daemon.wait_for("first renewal in")
        aside = (holder.work / "x.key").rename(holder.work / "aside")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("cannot read x.key: no such file or directory; next try in")
        aside.rename(holder.work / "x.key")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("command 'false' failed")
        daemon.wait_for("certificate renewed, next in")
        assert daemon.end(signal.SIGTERM) == 0
    finally:
        daemon.process.kill()


def test_the_rekeying_daemon_makes_a_new_key_each_time_and_recovers(holder: Account) -> None:
    """step's only renews. The pid file is read each time: a service that restarts has another id."""
    keys = {(holder.work / "x.key").read_bytes()}
    (holder.work / "pid").write_text("nobody")
    daemon = Daemon(holder, "--rekey-period", "1h", "--pid-file", "pid", verb="rekey")
    try:
        daemon.wait_for("first rekey in 1h")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("pid does not hold a process id")
        daemon.wait_for("x.example certificate rekeyed, next in 1h")
        keys.add((holder.work / "x.key").read_bytes())
        (holder.work / "pid").write_text(str(os.getpid()))
        heard: list[int] = []
        before = signal.signal(signal.SIGHUP, lambda number, _: heard.append(number))
        aside = (holder.work / "x.crt").rename(holder.work / "aside")
        daemon.text = ""
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("cannot read x.crt: no such file or directory; next try in")
        aside.rename(holder.work / "x.crt")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("certificate rekeyed")
        signal.signal(signal.SIGHUP, before)
        keys.add((holder.work / "x.key").read_bytes())
        assert len(keys) == 3 and heard == [signal.SIGHUP]
        assert key_matches(leaf_of(holder), parse_private_key((holder.work / "x.key").read_bytes()))
        assert daemon.end(signal.SIGTERM) == 0
    finally:
        daemon.process.kill()


@pytest.mark.parametrize("verb", ["renew", "rekey"])
def test_a_daemon_goes_on_after_the_certificate_has_expired(
    account: Account, authority: RunningAuthority, verb: str
) -> None:
    """As after a laptop's sleep: the handshake is closed to it, a token by its key is not (allowRenewalAfterExpiry)."""
    account.good("ca", "certificate", "x.example", "x.crt", "x.key", "--not-after", "1s", *authority.signing)
    old, old_key = leaf_of(account), (account.work / "x.key").read_bytes()
    while time.time() <= old.not_valid_after_utc.timestamp() + 1:
        time.sleep(0.05)
    daemon = Daemon(account, verb=verb)
    try:
        daemon.wait_for(f"x.example certificate {verb}ed, next in")
        key = (account.work / "x.key").read_bytes()
        assert leaf_of(account).serial_number != old.serial_number
        assert (key == old_key) == (verb == "renew") and key_matches(leaf_of(account), parse_private_key(key))
    finally:
        daemon.process.kill()


@pytest.mark.parametrize(("verb", "flag"), [("renew", ("--out",)), ("rekey", ("--out-key", "n.key", "--out-cert"))])
def test_a_daemon_that_writes_elsewhere_goes_on_from_what_it_wrote(
    holder: Account, verb: str, flag: tuple[str, ...]
) -> None:
    before = (holder.work / "x.crt").read_bytes()
    daemon = Daemon(holder, *flag, "n.crt", verb=verb)
    try:
        daemon.wait_for("in 1h")
        serials = set()
        for _ in range(2):
            daemon.text = ""
            daemon.process.send_signal(signal.SIGHUP)
            daemon.wait_for(f"certificate {verb}ed, next in")
            serials.add(leaf_of(holder, "n.crt").serial_number)
        assert len(serials) == 2 and (holder.work / "x.crt").read_bytes() == before
    finally:
        daemon.process.kill()


def test_an_encrypted_key_is_read_again_and_stays_encrypted(holder: Account) -> None:
    (holder.work / "pw").write_text("open sesame\n")
    flags = ("--no-password", "--insecure")
    holder.good("crypto", "change-pass", "x.key", "--new-password-file", "pw", "--force")
    assert "cannot ask without a terminal" in holder.refused("ca", "renew", "x.crt", "x.key", "--force")
    holder.good("ca", "renew", "x.crt", "x.key", "--force", "--password-file", "pw")
    holder.good("ca", "rekey", "x.crt", "x.key", "--force", "--password-file", "pw")
    assert b"ENCRYPTED" in (holder.work / "x.key").read_bytes()
    holder.good("crypto", "change-pass", "x.key", "--password-file", "pw", *flags, "--force")
    holder.good("ca", "renew", "x.crt", "x.key", "--force")


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--rekey-period", "1h"), "--rekey-period needs --daemon"),
        (("--daemon", "--rekey-period", "9h"), "--rekey-period is longer than the certificate"),
        (("--daemon", "--rekey-period", "1h", "--expires-in", "1h"), "--expires-in and --rekey-period"),
        (("--daemon", "--private-key", "x.key"), "--private-key cannot be used with --daemon"),
        (("--key-mode", "644"), "file mode 644 opens a private key to everybody"),
        (("--cert-mode", "rw"), "invalid file mode 'rw': expected three octal digits such as 640"),
        (("--owner", "nobody-of-this-name"), "there is no user 'nobody-of-this-name'"),
    ],
)
def test_flags_that_make_no_sense_to_rekey(holder: Account, flags: tuple[str, ...], reason: str) -> None:
    before = (holder.work / "x.crt").read_bytes()
    assert reason in holder.refused("ca", "rekey", "x.crt", "x.key", "--force", *flags)
    assert (holder.work / "x.crt").read_bytes() == before


def test_modes_are_set_at_birth_and_kept_at_renewal(account: Account, authority: RunningAuthority) -> None:
    def modes() -> tuple[int, int]:
        crt, key = ((account.work / name).stat().st_mode & 0o7777 for name in ("x.crt", "x.key"))
        return crt, key

    asked = ("--cert-mode", "644", "--key-mode", "0640", "--group", str(os.getgid()))
    account.good("ca", "certificate", "x.example", "x.crt", "x.key", *asked, *authority.signing)
    assert modes() == (0o644, 0o640)
    account.good("ca", "renew", "x.crt", "x.key", "--force")
    account.good("ca", "rekey", "x.crt", "x.key", "--force")
    assert modes() == (0o644, 0o640)
    account.good("ca", "renew", "x.crt", "x.key", "--force", "--cert-mode", "604")
    account.good("ca", "rekey", "x.crt", "x.key", "--force", "--key-mode", "600")
    assert modes() == (0o604, 0o600)


def test_rekey_replaces_certificate_and_key_as_a_pair(holder: Account) -> None:
    old, old_key = leaf_of(holder), (holder.work / "x.key").read_bytes()
    holder.good("ca", "rekey", "x.crt", "x.key", "--force")
    new_key = (holder.work / "x.key").read_bytes()
    assert new_key != old_key and key_matches(leaf_of(holder), parse_private_key(new_key))
    assert leaf_of(holder).subject == old.subject
    holder.good("ca", "rekey", "x.crt", "x.key", "--out-cert", "n.crt", "--out-key", "n.key", "--kty", "OKP")
    assert (holder.work / "x.key").read_bytes() == new_key
    assert key_matches(leaf_of(holder, "n.crt"), parse_private_key((holder.work / "n.key").read_bytes()))
    assert sorted(Path(entry).name for entry in holder.work.iterdir()) == ["n.crt", "n.key", "step", "x.crt", "x.key"]


def test_a_revoked_certificate_is_not_renewed(holder: Account) -> None:
    number = leaf_of(holder).serial_number
    said = holder.good(
        "ca", "revoke", "--cert", "x.crt", "--key", "x.key", "--reason", "lost", "--reasonCode", "key compromise"
    )
    assert said.err == f"Certificate with Serial Number {number} has been revoked.\n"
    before = (holder.work / "x.crt").read_bytes()
    holder.refused("ca", "renew", "x.crt", "x.key", "--force")
    assert (holder.work / "x.crt").read_bytes() == before
    assert "already revoked" in holder.refused("ca", "revoke", "--cert", "x.crt", "--key", "x.key")


def test_revoke_by_serial_with_and_without_a_token(holder: Account, authority: RunningAuthority) -> None:
    number = leaf_of(holder).serial_number
    token = holder.good("ca", "token", str(number), "--revoke", *authority.signing).out.strip()
    assert "expected 7" in holder.refused("ca", "revoke", "7", "--token", token)
    holder.good("ca", "revoke", hex(number), "--token", token)
    said = holder.good("ca", "revoke", "0x2a", *authority.signing)
    assert "Certificate with Serial Number 42 has been revoked." in said.err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "expected either a serial number, or --cert and --key"),
        (("12", "--cert", "x.crt"), "expected either"),
        (("--cert", "x.crt"), "belong together"),
        (("12x",), "invalid serial number '12x'"),
        (("12", "--reasonCode", "7"), "unknown revocation reason '7'"),
    ],
)
def test_revoke_without_sense(stranger: Account, arguments: tuple[str, ...], reason: str) -> None:
    assert reason in stranger.refused("ca", "revoke", *arguments)
