"""``troth ca migrate``: take step-ca's records over."""

import click

from troth.cli import flags

EXAMPLES = """
troth ca migrate --dry-run
troth ca migrate
troth ca migrate /etc/step-ca/config/ca.json
badger backup --dir /etc/step-ca/db -f step.bak && troth ca migrate /etc/step-ca/config/ca.json --from step.bak
"""


@flags.command("migrate", EXAMPLES)
@click.argument("config", required=False, default="", metavar="[CA.JSON]")
@click.option("--dry-run", is_flag=True, help="Read everything, say what would be imported, write nothing.")
@click.option("--from", "stream", metavar="FILE", default="", help="Read this stream of badger backup instead.")
@click.option("--skip-unreadable", is_flag=True, help="Import although some records cannot be read.")
def migrate(config: str, dry_run: bool, stream: str, skip_unreadable: bool) -> int:
    """Import certificates, revocations and used tokens from the step-ca database that CA.JSON names, into troth.sqlite.

    step-ca must be stopped; its database is only read, and may be read again: what is there already is left alone.
    badgerv2 and bbolt are read as they lie on disk, postgresql and mysql through the programs psql and mysql.
    """
    from troth.cli.migrating import migrate as work

    return work(config, stream, dry_run=dry_run, skip_unreadable=skip_unreadable)
