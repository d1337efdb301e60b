"""``troth ca root``, ``roots`` and ``federation``: the certificates that others need to trust us."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from troth.cli import flags

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

FILE = click.argument("file", required=False, default="")


@flags.command(
    "root",
    """
    troth ca root ca.crt
    troth ca root
    troth ca root ca.crt --ca-url https://ca.internal:9000 --fingerprint 84a033e8...864efc27d
    """,
)
@FILE
@flags.CA_URL
@click.option("--fingerprint", metavar="SHA256", default="", help="SHA-256 of the root certificate, 64 hex digits.")
@flags.FORCE
def root(file: str, ca_url: str, fingerprint: str, force: bool) -> None:
    """Download the root certificate and check its fingerprint; print it, or write it to FILE."""
    from troth.cli import trust
    from troth.client.authority import fetch_root
    from troth.errors import UsageError

    if not fingerprint:
        raise UsageError("missing --fingerprint: expected the SHA-256 of the root certificate", hint=trust.BOOTSTRAP)
    _deliver([fetch_root(trust.required_url(ca_url), fingerprint)], file, force, "root certificate")


@flags.command(
    "roots",
    """
    troth ca roots roots.pem
    troth ca roots --ca-url https://ca.internal:9000 --root root_ca.crt
    """,
)
@FILE
@flags.CA
@flags.FORCE
def roots(file: str, ca_url: str, root: str, force: bool) -> None:
    """Download all root certificates of the authority; print them, or write them to FILE."""
    from troth.cli.trust import authority

    _deliver(authority(ca_url, root).root_certificates(), file, force, "root certificate bundle")


@flags.command("federation", "troth ca federation federation.pem")
@FILE
@flags.CA
@flags.FORCE
def federation(file: str, ca_url: str, root: str, force: bool) -> None:
    """Download the roots of the authority and of those it federates with; print them, or write them to FILE."""
    from troth.cli.trust import authority

    _deliver(authority(ca_url, root).federation(), file, force, "federation certificate bundle")


def _deliver(certificates: "Sequence[Certificate]", file: str, force: bool, what: str) -> None:
    from troth.cli.outputs import may_write, put
    from troth.host.terminal import note
    from troth.x509.pem import bundle_to_pem

    if file:
        may_write(file, force=force)
    put(bundle_to_pem(list(certificates)), file)
    if file:
        note(f"The {what} has been saved in {file}.")
