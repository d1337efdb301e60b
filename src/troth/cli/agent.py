"""``troth agent run`` and ``troth agent status``."""

import click

from troth.cli import flags

RUN_EXAMPLES = """
troth agent run --config /etc/nginx/troth.toml
troth agent run --config /etc/nginx/troth.toml --once
"""
STATUS_EXAMPLES = """
troth agent status --config /etc/nginx/troth.toml
troth agent status --config /etc/nginx/troth.toml --json
"""
CONFIG = click.option(
    "--config",
    metavar="FILE",
    default="troth.toml",
    show_default=True,
    help="The declaration of identities and locations.",
)


@flags.command("run", RUN_EXAMPLES)
@CONFIG
@click.option("--once", is_flag=True, help="Do everything that is due now, then end.")
def run(config: str, once: bool) -> int:
    """Renew, deploy and prove the certificates of a troth.toml, in the foreground, until SIGTERM.

    SIGHUP reads the file again. With --once the exit code is 0 when nothing is failing.
    """
    from pathlib import Path

    from troth.agent.daemon import run as start

    return start(Path(config), once=once)


@flags.command("status", STATUS_EXAMPLES)
@CONFIG
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(config: str, as_json: bool) -> int:
    """Show every identity: its certificate, when it is due, and how the last rotation was proven.

    Exit codes: 0 all well, 1 nothing known yet, 2 something is failing or expired.
    """
    from pathlib import Path

    from troth.agent.config import load
    from troth.agent.state import read_states
    from troth.cli import agent_table
    from troth.errors import UsageError
    from troth.host import clock

    loaded = load(Path(config))
    states = read_states(loaded.state)
    if not states:
        raise UsageError(
            f"nothing is known yet: no state in {loaded.state}", hint=f"troth agent run --config {config} --once"
        )
    click.echo(agent_table.as_json(states) if as_json else agent_table.as_table(states))
    return 2 if agent_table.troubled(states, clock.now()) else 0
