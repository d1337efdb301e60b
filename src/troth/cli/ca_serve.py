"""``troth ca serve``: serve an authority, ours or one made by step-ca."""

import click

from troth.cli import flags

EXAMPLES = """
troth ca serve
troth ca serve /etc/step-ca/config/ca.json --password-file /etc/step-ca/password.txt
troth ca serve --password-file password.txt --workers 2
"""


@flags.command("serve", EXAMPLES)
@click.argument("config", required=False, default="", metavar="[CA.JSON]")
@click.option("--password-file", metavar="FILE", default="", help="File with the password of the intermediate key.")
@click.option("--workers", metavar="N", type=click.IntRange(1, 64), default=1, help="Processes that share the port.")
@click.option("--pidfile", metavar="FILE", default="", help="Write the process id here while serving.")
@click.option("--quiet", is_flag=True, help="Log refusals and failures only.")
def serve(config: str, password_file: str, workers: int, pidfile: str, quiet: bool) -> int:
    """Serve a certificate authority over HTTPS until SIGTERM; SIGHUP reads its configuration again.

    CA.JSON defaults to config/ca.json below the step path. The database is troth.sqlite beside step's own data.
    """
    from troth.cli.serving import serve as start

    return start(config, password_file, workers, pidfile, quiet)
