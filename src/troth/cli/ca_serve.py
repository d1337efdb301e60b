"""``troth ca serve``: serve an authority, ours or one made by step-ca."""

import click

from troth.cli import flags, foreign

EXAMPLES = """
troth ca serve
troth ca serve /etc/step-ca/config/ca.json --password-file /etc/step-ca/password.txt
troth ca serve --password-file password.txt --workers 2
troth ca serve --context staging --password-file password.txt --pidfile /run/troth.pid --quiet
"""


@flags.command("serve", EXAMPLES)
@click.argument("config", required=False, default="", metavar="[CA.JSON]")
@click.option("--password-file", metavar="FILE", default="", help="File with the password of the intermediate key.")
@click.option("--workers", metavar="N", type=click.IntRange(1, 64), default=1, help="Processes that share the port.")
@click.option("--pidfile", metavar="FILE", default="", help="Write the process id here while serving.")
@click.option("--quiet", is_flag=True, envvar="STEP_CA_QUIET", help="Log refusals and failures only.")
@click.option("--context", metavar="NAME", default="", envvar="STEP_CA_CONTEXT", help="Serve this context's authority.")
@click.option(
    "--issuer-password-file",
    metavar="FILE",
    default="",
    help="For registration authorities, which troth is not: unused.",
)
@click.option("--resolver", metavar="ADDRESS", default="", help="DNS resolver of ACME challenges, host or host:port.")
@click.option("--acme-http-port", metavar="PORT", type=int, default=0, hidden=True)
@click.option("--acme-tls-port", metavar="PORT", type=int, default=0, hidden=True)
@click.option("--acme-strict-fqdn", is_flag=True, hidden=True)
@click.option("--insecure", is_flag=True, hidden=True)
@click.option("--version", "-v", "show_version", is_flag=True, help="Print the version.")
@foreign.SERVE
def serve(
    config: str,
    password_file: str,
    workers: int,
    pidfile: str,
    quiet: bool,
    context: str,
    issuer_password_file: str,
    resolver: str,
    acme_http_port: int,
    acme_tls_port: int,
    acme_strict_fqdn: bool,
    insecure: bool,
    show_version: bool,
) -> int:
    """Serve a certificate authority over HTTPS until SIGTERM; SIGHUP reads its configuration again.

    CA.JSON defaults to config/ca.json below the step path. The database is troth.sqlite beside step's own data. A
    database of step-ca that is named there and holds records is imported first: troth ca migrate. Without
    --password-file a credential of systemd named ca-password is used. Units: troth agent install --systemd.
    """
    from troth.cli.about import version_line
    from troth.cli.serving import serve as start
    from troth.errors import UsageError
    from troth.host.terminal import note

    if show_version:
        print(version_line())
        return 0
    if (acme_http_port or acme_tls_port) and not insecure:
        raise UsageError("--acme-http-port and --acme-tls-port need --insecure")
    if issuer_password_file:
        note("--issuer-password-file is not used: troth issues by itself and is no registration authority")
    for flag, value in (
        ("--resolver", resolver),
        ("--acme-http-port", acme_http_port),
        ("--acme-tls-port", acme_tls_port),
        ("--acme-strict-fqdn", acme_strict_fqdn),
    ):
        if value:
            note(f"{flag} is not used: ACME challenges are not served yet")
    return start(config, context, password_file, workers, pidfile, quiet)
