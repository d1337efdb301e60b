"""``troth certificate verify``."""

import click

from troth.cli import flags

EXAMPLES = """
troth certificate verify client.crt --roots root_ca.crt
troth certificate verify server.crt --roots root_ca.crt --host internal.example.com
troth certificate verify https://internal.example.com --roots root_ca.crt
"""


@flags.command("verify", EXAMPLES)
@click.argument("source", metavar="FILE|URL|-")
@click.option("--host", metavar="NAME", default="", help="Also check that the certificate is for this name.")
@click.option("--verbose", "-v", is_flag=True, help="Say so when it is valid.")
@flags.REMOTE
def verify(source: str, host: str, verbose: bool, roots: str, servername: str, insecure: bool) -> None:
    """Check that a certificate is valid now and leads to a trusted root (--roots, or the system's store).

    Further certificates of the source are used as intermediates. Exits 0 when it holds, 1 when it does not.
    """
    from troth.cli.sources import certificates_of, read_roots
    from troth.errors import TrothError
    from troth.host.clock import now
    from troth.host.presented import is_url, parse_server, system_roots
    from troth.x509.chains import matches_host, verify_path

    # A server is judged here, once and by one rule, not by the handshake that fetched its chain.
    leaf, *others = certificates_of(source, "", servername, insecure or is_url(source))
    verify_path(leaf, others, read_roots(roots) if roots else system_roots(), now())
    wanted = host or servername or (parse_server(source).host if is_url(source) and not insecure else "")
    if wanted and not matches_host(leaf, wanted):
        from troth.x509.names import alternative_names

        names = alternative_names(leaf.extensions)
        has = ", ".join([*names.dns, *names.ips]) or "no host name"
        raise TrothError(f"certificate is not valid for host {wanted!r}: it names {has}")
    if verbose:
        print("certificate is valid")
