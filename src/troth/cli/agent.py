"""``troth agent run``, ``status`` and ``install``."""

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
INSTALL_EXAMPLES = """
troth agent install --systemd --config /etc/nginx/troth.toml
troth agent install --systemd --only agent --config /etc/nginx/troth.toml --write
troth agent install --systemd --only ca --ca-path /etc/step-ca --password-file /etc/troth/ca-password --write
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

    Exit codes: 0 all well, 1 nothing known yet, 2 something is failing, overdue or expired.
    """
    from pathlib import Path

    from troth.agent.config import load
    from troth.agent.state import read_states, running_agent
    from troth.cli import agent_table
    from troth.errors import UsageError
    from troth.host import clock

    loaded = load(Path(config))
    states = read_states(loaded.state)
    if not states:
        raise UsageError(
            f"nothing is known yet: no state in {loaded.state}", hint=f"troth agent run --config {config} --once"
        )
    seen = agent_table.Seen(states, running_agent(loaded.state), clock.now())
    click.echo(agent_table.as_json(seen) if as_json else agent_table.as_table(seen))
    return 2 if seen.troubled else 0


@flags.command("install", INSTALL_EXAMPLES)
@click.option("--systemd", is_flag=True, help="Units for systemd 250 and later; what there is.")
@click.option("--only", type=click.Choice(["ca", "agent"]), default=None, help="One of the two units [both].")
@click.option(
    "--config",
    metavar="FILE",
    default="/etc/nginx/troth.toml",
    show_default=True,
    help="The declaration the agent works by; the unit may write only what it names.",
)
@click.option(
    "--ca-path",
    metavar="DIR",
    default="/etc/step-ca",
    show_default=True,
    help="The authority's step path.",
)
@click.option("--user", metavar="NAME", default="step", show_default=True, help="Account of the authority.")
@click.option("--group", metavar="NAME", default="", help="Its group [as the account].")
@click.option(
    "--password-file",
    metavar="FILE",
    default="/etc/troth/ca-password",
    show_default=True,
    help="Password of the intermediate key, which systemd hands over (LoadCredential).",
)
@click.option("--workers", metavar="N", type=click.IntRange(1, 64), default=1, help="Processes of the authority.")
@click.option("--program", metavar="FILE", default="", help="The troth to start [this one].")
@click.option(
    "--write",
    metavar="[DIR]",
    is_flag=False,
    flag_value="/etc/systemd/system",
    default="",
    help="Write the units there [/etc/systemd/system] instead of printing them.",
)
@flags.FORCE
def install(
    systemd: bool,
    only: str | None,
    config: str,
    ca_path: str,
    user: str,
    group: str,
    password_file: str,
    workers: int,
    program: str,
    write: str,
    force: bool,
) -> int:
    """Print or write the systemd units of `troth ca serve` and `troth agent run`, hardened.

    The authority runs as its own account, the agent as root with what root may do cut down: it signals nginx and tests
    with its keys. To reload through systemd instead, say reload = ["systemctl", "reload", "nginx"] in [nginx].
    """
    from pathlib import Path

    from troth.cli import agent_install
    from troth.errors import UsageError

    if not systemd:
        raise UsageError(
            "expected --systemd: units for systemd are what there is", hint=INSTALL_EXAMPLES.split("\n")[1]
        )
    wanted = agent_install.Wanted(
        (only,) if only else ("ca", "agent"),
        Path(config),
        Path(ca_path),
        user,
        group or user,
        Path(password_file),
        Path(program) if program else None,
        workers,
    )
    return agent_install.install(wanted, Path(write) if write else None, force=force)
