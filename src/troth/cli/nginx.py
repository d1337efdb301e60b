"""``troth nginx``. Exit codes: 0 fine, 1 could not run, 2 findings, differences or failed rows."""

from typing import Any

import click

from troth.cli import flags
from troth.cli.nginx_options import COMMON, DECLARATION, STREAM, values

INSPECT_EXAMPLES = """
troth nginx inspect
troth nginx inspect -c /etc/nginx/nginx.conf --json
troth nginx inspect --sarif --fail-on error > findings.sarif
"""
PLAN_EXAMPLES = """
troth nginx plan --config /etc/nginx/troth.toml
troth nginx plan --server app.example --location /upstream --cert client.crt --key client.key --trust ca.crt
troth nginx plan --stream 5432 --cert client.crt --key client.key --trust ca.crt
troth nginx plan --server app.example --client-auth on --trust clients.crt
"""
APPLY_EXAMPLES = """
troth nginx apply --config /etc/nginx/troth.toml
troth nginx apply --config /etc/nginx/troth.toml --yes
"""
DRIFT_EXAMPLES = """
troth nginx drift --config /etc/nginx/troth.toml
troth nginx drift --config /etc/nginx/troth.toml --json
"""
ROTATE_EXAMPLES = """
troth nginx rotate myuser --config /etc/nginx/troth.toml
troth nginx rotate myuser --config /etc/nginx/troth.toml --measure
troth nginx rotate myuser --config /etc/nginx/troth.toml --measure --times 50 --url http://127.0.0.1:8080/upstream
"""
UNDO_EXAMPLES = """
troth nginx undo --config /etc/nginx/troth.toml
troth nginx undo 20260102-150405 --config /etc/nginx/troth.toml
"""
CHANGES_EXAMPLES = """
troth nginx changes --config /etc/nginx/troth.toml
troth nginx changes --config /etc/nginx/troth.toml --json
"""
DOCTOR_EXAMPLES = """
troth nginx doctor
troth nginx doctor --why 502 --location /upstream
troth nginx doctor --why old-identity --location /upstream
troth nginx doctor --stream 5432
troth nginx doctor --log /var/log/nginx/error.log
tail -n 5 /var/log/nginx/error.log | troth nginx doctor -
troth nginx doctor http://app.example/upstream
"""
PROVE_EXAMPLES = """
troth nginx prove --config /etc/nginx/troth.toml
troth nginx prove -c /etc/nginx/nginx.conf --location /upstream --live
troth nginx prove --server app.example --client-auth on
troth nginx prove --config /etc/nginx/troth.toml --out proof.jws
troth nginx prove --check proof.jws --root ca.crt
"""


@flags.command("inspect", INSPECT_EXAMPLES)
@COMMON
@click.option("--sarif", is_flag=True, help="Print the findings as SARIF, for code scanning.")
@click.option(
    "--fail-on",
    type=click.Choice(["info", "warning", "error", "never"]),
    default="info",
    help="Least severity of a finding for exit code 2 [info].",
)
def inspect(binary: str, conf: str, prefix: str, config: str, as_json: bool, sarif: bool, fail_on: str) -> int:
    """Show which location presents which certificate to whom and trusts what, and what is wrong with it."""
    from troth.cli import nginx_inspect
    from troth.cli.nginx_options import target as target_of
    from troth.errors import UsageError

    if sarif and as_json:
        raise UsageError("--json and --sarif both say what to print: expected one of them")
    form = "sarif" if sarif else "json" if as_json else "text"
    return nginx_inspect.inspect(target_of(binary, conf, prefix, config), form=form, fail_on=fail_on)


@flags.command("plan", PLAN_EXAMPLES)
@COMMON
@DECLARATION
def plan(binary: str, conf: str, prefix: str, config: str, as_json: bool, **declared: Any) -> int:
    """Print what apply would change, as a unified diff; exit 2 when there is something, 0 when all is as declared."""
    from troth.cli import nginx_work as work
    from troth.cli.nginx_options import target as target_of

    one = work.plan(target_of(binary, conf, prefix, config, values(**declared)))
    click.echo(work.plan_json(one) if as_json else work.plan_text(one), nl=False)
    return 0 if one.empty else 2


@flags.command("apply", APPLY_EXAMPLES)
@COMMON
@DECLARATION
@click.option("--yes", is_flag=True, help="Do not ask.")
def apply(binary: str, conf: str, prefix: str, config: str, as_json: bool, yes: bool, **declared: Any) -> int:
    """Make the planned changes: test them on a copy, swap them in, reload, verify; or leave everything as it was."""
    from troth.cli import nginx_work as work
    from troth.cli.nginx_options import target as target_of

    target = target_of(binary, conf, prefix, config, values(**declared))
    return work.apply(target, work.plan(target), yes=yes, as_json=as_json)


@flags.command("drift", DRIFT_EXAMPLES)
@COMMON
@DECLARATION
def drift(binary: str, conf: str, prefix: str, config: str, as_json: bool, **declared: Any) -> int:
    """Compare what is declared with what is on disk, loaded by nginx and on the wire; exit 2 when something departs.

    Nothing is changed. Each row that departs says what to do next. nginx does not tell what it has loaded: a file that
    changed after its workers began is not what they run with; certificates are asked for through the workers.
    """
    from troth.cli import nginx_drift
    from troth.cli.nginx_options import target as target_of

    return nginx_drift.drift(target_of(binary, conf, prefix, config, values(**declared)), as_json=as_json)


@flags.command("rotate", ROTATE_EXAMPLES)
@COMMON
@click.argument("identity", required=False, default="", metavar="[IDENTITY]")
@click.option("--times", metavar="N", type=click.IntRange(1, 100_000), default=1, help="How often, one after another.")
@click.option("--measure", "measured", is_flag=True, help="Ask through nginx all the while, and say what that cost.")
@click.option("--url", metavar="URL", default="", help="What to ask, http://host[:port]/path [the declared location].")
@click.option(
    "--connections",
    metavar="N",
    type=click.IntRange(1, 1_000),
    default=16,
    help="How many kept connections ask, with --measure [16].",
)
def rotate(binary: str, conf: str, prefix: str, config: str, as_json: bool, **given: Any) -> int:
    """Give an identity a new certificate now: obtained, checked, deployed and proven as the agent does, or put back.

    With --measure clients of our own ask beside those of others, and it is said how many requests were lost, how long
    after its rotation began an old certificate was last seen, and what bounded that. Exit 2 when a rotation failed, a
    request was lost, or an old certificate was seen for too long.
    """
    from troth.cli import nginx_rotate as work
    from troth.cli.nginx_options import target as target_of

    return work.rotate(target_of(binary, conf, prefix, config), work.Wanted(as_json=as_json, **given))


@flags.command("undo", UNDO_EXAMPLES)
@COMMON
@click.argument("identifier", required=False, default="", metavar="[ID]")
def undo(binary: str, conf: str, prefix: str, config: str, as_json: bool, identifier: str) -> int:
    """Take back the last change that apply made, or the one named; what others edited since stays.

    Where someone else, or a later change, is in the same lines nothing is changed, and the message says where.
    """
    from troth.cli import nginx_changes
    from troth.cli.nginx_options import target as target_of

    return nginx_changes.undo(target_of(binary, conf, prefix, config), identifier, as_json=as_json)


@flags.command("changes", CHANGES_EXAMPLES)
@COMMON
def changes(binary: str, conf: str, prefix: str, config: str, as_json: bool) -> int:
    """List the changes that apply and undo made, newest first: id, when, state, files."""
    from troth.cli import nginx_changes
    from troth.cli.nginx_options import target as target_of

    return nginx_changes.changes(target_of(binary, conf, prefix, config), as_json=as_json)


@flags.command("prove", PROVE_EXAMPLES)
@COMMON
@DECLARATION
@click.option("--live", is_flag=True, help="Ask the real upstream too, with good and bad certificates.")
@click.option(
    "--sign", is_flag=True, help="Print a signed proof, by the identity that was proven, for others to check."
)
@click.option("--out", metavar="FILE", default="", help="Write the signed proof to a file.")
@click.option("--check", metavar="FILE", default="", help="Check and show a signed proof instead of making one.")
@click.option(
    "--root", metavar="FILE", default="", help="Root certificates that the signer must lead to, with --check."
)
def prove(
    binary: str,
    conf: str,
    prefix: str,
    config: str,
    as_json: bool,
    live: bool,
    sign: bool,
    out: str,
    check: str,
    root: str,
    **declared: Any,
) -> int:
    """Show on the wire what each location accepts and refuses, end to end through an nginx of the same build.

    Without a declaration every location that shows a client certificate, and every server that asks for them, is proven
    as it stands. With one, the
    authority of a renewed identity is asked for a certificate of five minutes in the upstream's name, so that the
    location's own trust is proven too; without, or when it says no, trust is substituted and the row says so.
    """
    from troth.cli import nginx_prove as work
    from troth.cli.nginx_options import target as target_of
    from troth.errors import UsageError

    if bool(check) != bool(root):
        raise UsageError("--check FILE and --root FILE belong together", hint=PROVE_EXAMPLES.strip().splitlines()[-1])
    if check:
        return work.check(check, root, as_json=as_json)
    wanted = work.Wanted(
        declared["server"],
        declared["location"],
        declared["stream"],
        bool(declared["client_auth"]),
        live,
        sign,
        out,
        as_json,
    )
    return work.prove(target_of(binary, conf, prefix, config), wanted)


@flags.command("doctor", DOCTOR_EXAMPLES)
@COMMON
@click.option(
    "--why",
    metavar="WHAT",
    default="",
    help="What is wrong: a status such as 502, old-identity, other-identity or unchecked.",
)
@click.option("--server", metavar="NAME", default="", help="Server whose location is meant, by its server_name.")
@click.option("--location", metavar="PATH", default="", help="Location that is meant, as written in the file.")
@STREAM
@click.option("--log", metavar="FILE", default="", help="Error log to explain [what a handshake of ours shows].")
@click.argument("what", required=False, default="", metavar="[LINE|URL|-]")
def doctor(
    binary: str,
    conf: str,
    prefix: str,
    config: str,
    as_json: bool,
    why: str,
    server: str,
    location: str,
    stream: str,
    log: str,
    what: str,
) -> int:
    """Say why a location, or a server of stream, fails: one cause, its evidence, its fix.

    Without an argument the configuration and its upstreams are looked at; a line of an error log, a URL to ask, or -
    for lines on stdin are explained. Where a line has several causes the upstream is called to tell them apart.
    """
    from troth.cli import nginx_doctor as work

    nginx = (binary, conf, prefix, config)
    return work.doctor(work.Asked(what, why, server, location, stream, log, nginx, as_json))
