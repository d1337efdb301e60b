"""What the ``troth nginx`` commands do, without argv."""

import json
from collections.abc import Sequence
from dataclasses import asdict

import click

from troth.agent.apply import apply_plan, read_config
from troth.agent.config import Config as Declared
from troth.agent.prove import ProofRow, prove_location
from troth.agent.proxy import witness_directory
from troth.cli.nginx_options import Target, required
from troth.errors import TrothError, UsageError
from troth.host.files import read_file
from troth.host.ports import lasting_port
from troth.host.terminal import announce, confirm, note
from troth.nginx.map import Place, identity_map
from troth.nginx.plan import Declaration, Plan, make_plan
from troth.nginx.render import Identity, Witnesses, witness_ports
from troth.nginx.tree import Config


def plan(one: Target) -> Plan:
    """The plan for everything declared.

    Raises:
        TrothError: nginx refuses the present configuration, or a declaration does not fit it.
    """
    declared = required(one)
    config = read_config(one.nginx)
    identities = {i.name: Identity(i.name, str(i.certificate), str(i.key), str(i.trust)) for i in declared.identities}
    _check_files(declared)
    wanted = [
        Declaration(location.server, location.path, identities[location.identity], location.upstream, location.name)
        for location in declared.locations
    ]
    used = [identities[name] for name in dict.fromkeys(location.identity for location in declared.locations)]
    witnesses = Witnesses(str(witness_directory(declared)), _witness_ports(one, [i.name for i in used]))
    return make_plan(config, wanted, used, one.nginx.capabilities(), str(one.include_dir), witnesses)


def _check_files(declared: Declared) -> None:
    """A plan that names files which do not exist would only fail at nginx -t."""
    for location in declared.locations:
        identity = declared.identity(location.identity)
        for path in (identity.certificate, identity.key, identity.trust):
            if not path.exists():
                hint = f"get it first: troth agent run --config {declared.path} --once" if identity.renewed else None
                raise UsageError(f"identity {identity.name} has no {path.name}: {path} does not exist", hint=hint)


def _witness_ports(one: Target, names: Sequence[str]) -> dict[str, int]:
    """The ports written before, and new ones for identities that have none."""
    path = one.include_dir / "http.conf"
    known = witness_ports(read_file(path).decode("utf-8", "replace")) if path.exists() else {}
    ports = {name: known[name] for name in names if name in known}
    for name in names:
        if name not in ports:
            ports[name] = lasting_port(set(ports.values()))
    return ports


def plan_text(one: Plan) -> str:
    """The diff with its notes as comments; a sentence when there is nothing to do."""
    if one.empty:
        return "nothing to do: the configuration is as declared\n"
    notes = "".join(f"# note: {text}\n" for text in one.notes)
    return notes + one.diff()


def plan_json(one: Plan) -> str:
    files = sorted(one.after())
    return json.dumps({"empty": one.empty, "files": files, "notes": one.notes, "diff": one.diff()}, indent=2) + "\n"


def apply(one: Target, wanted: Plan, *, yes: bool, as_json: bool) -> int:
    """Show, ask, make the changes.

    Raises:
        TrothError: they were not made, or were put back.
    """
    if wanted.empty:
        click.echo('{"changed": false}' if as_json else plan_text(wanted), nl=as_json)
        return 0
    if not as_json:
        click.echo(plan_text(wanted), nl=False)
    if not yes and not confirm("Make these changes", otherwise="give --yes"):
        note("nothing was changed")
        return 1
    outcome = apply_plan(wanted, one.nginx, one.state, one.reload)
    if as_json:
        click.echo(json.dumps({"changed": True, **asdict(outcome)}, indent=2))
        return 0
    announce("Applied", outcome.identifier)
    serving = f"new workers serve: {', '.join(map(str, outcome.workers))}" if outcome.workers else "nginx does not run"
    announce("nginx", serving)
    note(f"Take it back with: troth nginx undo {outcome.identifier}")
    return 0


def prove(one: Target, server: str, location: str, *, as_json: bool) -> int:
    """Prove the declared locations, or those selected, or all; exit 2 when a row fails.

    Raises:
        TrothError: the configuration cannot be read, or nothing is there to prove.
    """
    config = read_config(one.nginx)
    chosen = _chosen(config, one.config, server, location)
    results = [(place, prove_location(place, one.nginx, one.nginx.main.parent)) for place in chosen]
    good = all(row.ok for _, rows in results for row in rows)
    if as_json:
        value = [
            {"servers": place.servers, "location": place.path, "where": place.where, "rows": [asdict(r) for r in rows]}
            for place, rows in results
        ]
        click.echo(json.dumps({"ok": good, "locations": value}, indent=2))
    else:
        for place, rows in results:
            click.echo(f"{'/'.join(place.servers)} {place.path}  ->  {place.target}".strip())
            click.echo(rows_text(rows))
    return 0 if good else 2


def _chosen(config: Config, declared: Declared | None, server: str, location: str) -> list[Place]:
    places = [place for place in identity_map(config) if place.module == "proxy"]
    wanted = [(server, location)] if location else []
    if not wanted and declared is not None:
        wanted = [(one.server, one.path) for one in declared.locations]
    if wanted:
        places = [p for p in places if any(_fits(p, name, path) for name, path in wanted)]
    else:
        places = [p for p in places if p.value("ssl_certificate")]
    if not places:
        raise TrothError(
            "there is no such location that talks TLS to an upstream", hint="see what there is: troth nginx inspect"
        )
    return places


def _fits(place: Place, server: str, path: str) -> bool:
    return (not server or server in place.servers) and path in (place.path, place.path.rpartition(" ")[2])


def rows_text(rows: Sequence[ProofRow]) -> str:
    """The rows as a table: a tick or a cross, what was tried, what was seen, and why."""
    width = max(len(row.title) for row in rows)
    lines = []
    for row in rows:
        lines.append(f"  {'✔' if row.ok else '✘'} {row.title:<{width}}  {row.observed}")
        if not row.ok:
            lines.append(f"    {'':<{width}}  expected: {row.expected}")
        if row.detail:
            lines.append(f"    {'':<{width}}  {row.detail}")
    return "\n".join(lines)
