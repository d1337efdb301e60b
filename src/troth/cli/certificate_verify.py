"""``troth certificate verify``."""

import click

from troth.cli import flags

EXAMPLES = """
troth certificate verify client.crt --roots root_ca.crt
troth certificate verify server.crt --roots root_ca.crt --host internal.example.com
troth certificate verify https://internal.example.com --roots root_ca.crt
troth certificate verify client.crt --roots root_ca.crt --verify-crl --crl-endpoint https://ca.internal:9000/crl
troth certificate verify client.crt --roots root_ca.crt --verify-ocsp
"""
REVOCATION = flags.all_of(
    click.option("--verify-crl", is_flag=True, help="Also check the certificate's revocation list."),
    click.option("--crl-endpoint", metavar="URL", default="", help="The list; else where the certificate says."),
    click.option("--verify-ocsp", is_flag=True, help="Also ask the certificate's OCSP responder."),
    click.option(
        "--ocsp-endpoint", metavar="URL", default="", help="The responder; else the one the certificate names."
    ),
    click.option("--issuing-ca", metavar="FILE", default="", help="The issuer's certificate, where no chain shows it."),
)


@flags.command("verify", EXAMPLES)
@click.argument("source", metavar="FILE|URL|-")
@click.option("--host", metavar="NAME", default="", help="Also check that the certificate is for this name.")
@click.option("--verbose", "-v", is_flag=True, help="Say so when it is valid.")
@REVOCATION
@flags.REMOTE
def verify(
    source: str,
    host: str,
    verbose: bool,
    verify_crl: bool,
    crl_endpoint: str,
    verify_ocsp: bool,
    ocsp_endpoint: str,
    issuing_ca: str,
    roots: str,
    servername: str,
    insecure: bool,
) -> None:
    """Check that a certificate is valid now and leads to a trusted root (--roots, or the system's store).

    Further certificates of the source are used as intermediates. With --verify-crl or --verify-ocsp it must not be
    revoked either, and who says so must be believable: signed by its issuer, and in force. Exits 0 when it holds, 1
    when it does not.
    """
    from troth.cli.sources import certificates_of, read_roots
    from troth.errors import TrothError
    from troth.host.clock import now
    from troth.host.presented import is_url, parse_server, system_roots
    from troth.x509 import X509Error
    from troth.x509.chains import matches_host, verify_path

    # A server is judged here, once and by one rule, not by the handshake that fetched its chain.
    leaf, *others = certificates_of(source, "", servername, insecure or is_url(source))
    trusted = read_roots(roots) if roots else None
    try:
        path = verify_path(leaf, others, trusted if trusted is not None else system_roots(), now())
    except X509Error as error:
        if trusted is None and "unknown authority" in error.message:
            error.hint = "name the root: --roots root_ca.crt; the authority's is printed by troth ca root"
        raise
    wanted = host or servername or (parse_server(source).host if is_url(source) and not insecure else "")
    if wanted and not matches_host(leaf, wanted):
        from troth.x509.names import alternative_names

        names = alternative_names(leaf.extensions)
        has = ", ".join([*names.dns, *names.ips]) or "no host name"
        raise TrothError(f"certificate is not valid for host {wanted!r}: it names {has}")
    sources = []
    # Who names a list or a responder means it to be asked.
    verify_crl, verify_ocsp = verify_crl or bool(crl_endpoint), verify_ocsp or bool(ocsp_endpoint)
    if verify_crl or verify_ocsp:
        from troth.cli.revocation_checks import by_list, by_responder, issuer_for

        issuer = issuer_for(leaf, issuing_ca, path.certificates, trusted)
        if verify_crl:
            sources.append(f"certificate is not on revocation list {by_list(leaf, issuer, crl_endpoint, trusted)}")
        if verify_ocsp:
            sources.append(f"certificate is good, says {by_responder(leaf, issuer, ocsp_endpoint, trusted)}")
    if verbose:
        print("\n".join([*sources, "certificate is valid"]))
