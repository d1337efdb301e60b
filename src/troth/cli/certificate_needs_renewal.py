"""``troth certificate needs-renewal``, whose exit code is the answer."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from troth.cli import flags

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

EXAMPLES = """
troth certificate needs-renewal client.crt && troth ca renew --force client.crt client.key
troth certificate needs-renewal client.crt --expires-in 75%
troth certificate needs-renewal client.crt --expires-in 8h --verbose
"""
DUE, NOT_DUE, MISSING, FAILED = 0, 1, 2, 255


@flags.command("needs-renewal", EXAMPLES, usage_exit_code=255)
@click.argument("source", metavar="FILE|URL", default="")
@click.option("--expires-in", metavar="PERCENT|DURATION", default="66%", help="Due after this share of its life (66%).")
@click.option("--bundle", is_flag=True, help="Any certificate of the source, not only the first.")
@click.option("--verbose", "-v", is_flag=True, help="Say it in words too.")
@flags.REMOTE
def needs_renewal(
    source: str, expires_in: str, bundle: bool, verbose: bool, roots: str, servername: str, insecure: bool
) -> int:
    """Exit 0 when the certificate should be renewed, 1 when not, 2 when the file is missing, 255 on any other error.

    With a duration it is due when no more than that remains.
    """
    from pathlib import Path

    from troth.cli.sources import certificates_of
    from troth.errors import TrothError, UsageError
    from troth.host.clock import now
    from troth.host.presented import is_url
    from troth.host.terminal import note

    try:
        if not source:
            raise UsageError("missing argument: expected FILE or URL")
        if source != "-" and not is_url(source) and not Path(source).exists():
            error = UsageError(f"file {source} does not exist")
            error.exit_code = MISSING
            raise error
        certificates = certificates_of(source, roots, servername, insecure)
        due = any_due(certificates if bundle else certificates[:1], expires_in, now())
    except TrothError as error:
        error.exit_code = MISSING if error.exit_code == MISSING else FAILED
        raise
    if verbose and due:
        print("certificate needs renewal")
    elif verbose:
        note("certificate does not need renewal")
    return DUE if due else NOT_DUE


def any_due(certificates: "Sequence[Certificate]", threshold: str, now: datetime) -> bool:
    """Whether one of the certificates has reached a share of its life, or has no more than a duration left.

    Raises:
        UsageError: the threshold is neither a percentage from 0% to 100% nor a duration.
    """
    from troth.client.schedule import length_of
    from troth.durations import parse_duration

    share = _percentage(threshold) if threshold.endswith("%") else None
    left = parse_duration(threshold) if share is None else timedelta(0)
    for certificate in certificates:
        remaining = certificate.not_valid_after_utc - now
        if remaining <= timedelta(0):
            return True
        if share is None and left >= remaining:
            return True
        if share is not None and int((1 - remaining / length_of(certificate)) * 100) >= share:
            return True
    return False


def _percentage(text: str) -> int:
    from troth.errors import UsageError

    digits = text.removesuffix("%")
    if not digits.isascii() or not digits.isdecimal() or int(digits) > 100:
        raise UsageError(f"invalid --expires-in {text!r}: expected 0% to 100%, or a duration such as 8h")
    return int(digits)
