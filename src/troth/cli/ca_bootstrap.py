"""``troth ca bootstrap``: trust an authority by its fingerprint and make it the default."""

from typing import Any

import click

from troth.cli import flags

EXAMPLES = """
troth ca bootstrap --ca-url https://ca.internal:9000 --fingerprint 84a033e84196f73bd593fad7a63e509e57fd982f02084359c4e8c5c864efc27d
troth ca bootstrap --ca-url https://ca.internal:9000 --fingerprint 84a033e8...864efc27d --force
troth ca bootstrap --ca-url https://staging.internal --fingerprint 84a033e8...864efc27d --context staging
troth ca bootstrap --team web --team-url https://config.internal/teams/<>
"""  # noqa: E501 - a fingerprint is as long as it is
TEAM = flags.all_of(
    click.option("--team", metavar="NAME", default="", help="Take URL and fingerprint from --team-url for this team."),
    click.option("--team-url", metavar="URL", default="", help="Where teams are described; <> stands for the name."),
    click.option("--team-authority", metavar="NAME", default="", help="Which authority of the team; names a context."),
    click.option("--redirect-url", metavar="URL", default="", help="Kept in defaults.json for step."),
)


@flags.command("bootstrap", EXAMPLES)
@flags.CA_URL
@click.option("--fingerprint", metavar="SHA256", default="", help="SHA-256 of the root certificate, 64 hex digits.")
@click.option("--install", is_flag=True, help="Also add the root to the system's trust store.")
@flags.CONTEXT_NAMES
@TEAM
@flags.FORCE
def bootstrap(**given: Any) -> None:
    """Download the root certificate of an authority, accept it only if it has the given fingerprint, and configure this
    account to use it.

    Writes certs/root_ca.crt and config/defaults.json below the step path ($STEPPATH, or ~/.step). With --context, or
    where contexts are used already, below the context's directory, and makes the context the current one.
    """
    from troth.cli.bootstrapping import Wanted, bootstrap_authority, wanted_by_team
    from troth.errors import UsageError

    if given["team"]:
        wanted = wanted_by_team(given)
    elif given["team_authority"] or given["team_url"]:
        raise UsageError("--team-authority and --team-url need --team")
    else:
        wanted = Wanted(given["ca_url"], given["fingerprint"].strip(), redirect_url=given["redirect_url"])
    bootstrap_authority(wanted, given)
