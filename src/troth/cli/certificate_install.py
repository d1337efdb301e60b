"""``troth certificate install`` and ``uninstall``: a root certificate in the trust stores of this machine."""

from typing import Any

import click

from troth.cli import flags

INSTALL = """
troth certificate install root_ca.crt
troth certificate install root_ca.crt --all
troth certificate install root_ca.crt --firefox --no-system
"""
UNINSTALL = """
troth certificate uninstall root_ca.crt
troth certificate uninstall root_ca.crt --all
"""
WHERE = flags.all_of(
    click.option("--prefix", metavar="TEXT", default="", help="Begin its name there with this, not the common name."),
    click.option("--java", is_flag=True, help="Also Java's key store ($JAVA_HOME, or the Java on the path)."),
    click.option("--firefox", is_flag=True, help="Also the NSS databases of Firefox and Chromium (needs certutil)."),
    click.option("--no-system", is_flag=True, help="Not the system's trust store."),
    click.option("--all", "all_stores", is_flag=True, help="All of them, as far as they are here."),
)


@flags.command("install", INSTALL)
@click.argument("crt_file")
@WHERE
def install(crt_file: str, **given: Any) -> None:
    """Make this machine trust the root certificate in CRT_FILE. The system's store takes root's rights (sudo)."""
    from troth.cli.trusting import install_everywhere
    from troth.x509.text import short_text

    root = _root(crt_file)
    install_everywhere(root, given)
    print(f"Certificate {crt_file} has been installed.")
    print(short_text(root), end="")


@flags.command("uninstall", UNINSTALL)
@click.argument("crt_file")
@WHERE
def uninstall(crt_file: str, **given: Any) -> None:
    """Make this machine no longer trust the root certificate in CRT_FILE, whichever program installed it."""
    from troth.cli.trusting import uninstall_everywhere
    from troth.x509.text import short_text

    root = _root(crt_file)
    uninstall_everywhere(root, given)
    print(f"Certificate {crt_file} has been removed.")
    print(short_text(root), end="")


def _root(path: str) -> Any:
    from pathlib import Path

    from troth.host.files import read_file
    from troth.host.trust_store import check_root
    from troth.x509.pem import parse_certificates

    certificate = parse_certificates(read_file(Path(path)), path)[0]
    check_root(certificate, path)
    return certificate
