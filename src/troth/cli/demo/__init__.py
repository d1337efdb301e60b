"""``troth demo``: the whole system on this machine, without root, and a table of what was seen on the wire."""

import click

from troth.cli import flags

EXAMPLES = """
troth demo
troth demo --nginx /usr/sbin/nginx
troth demo --keep
troth demo --json
"""


@flags.command("demo", EXAMPLES)
@click.option("--nginx", "binary", metavar="PATH", default="", help="The nginx to use [the bundled one, then PATH's].")
@click.option("--rotations", metavar="N", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many.")
@click.option("--requests", metavar="N", type=click.IntRange(1), default=10_000, show_default=True, help="At least.")
@click.option(
    "--connections", metavar="N", type=click.IntRange(1, 256), default=16, show_default=True, help="Kept alive."
)
@click.option("--keep", is_flag=True, help="Leave it running until interrupted, and print the URLs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def demo(binary: str, rotations: int, requests: int, connections: int, keep: bool, as_json: bool) -> int:
    """Start a certificate authority, an upstream that requires client certificates and a proxy; do the guide's six
    steps; show what is accepted and what is refused; then renew again and again under load.

    Exit code 0 only if every row holds.
    """
    from troth.cli.demo.play import Wish, play

    return play(Wish(binary, rotations, requests, connections, keep, as_json))
