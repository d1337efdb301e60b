"""What the ``troth nginx`` commands do, without argv."""

import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import replace

import click

from troth.agent.apply import apply_plan, read_config, read_unverified
from troth.agent.config import Config as Declared
from troth.agent.config import Identity as DeclaredIdentity
from troth.agent.config import Location
from troth.agent.material import closed_to_workers
from troth.agent.proxy import witness_directory
from troth.agent.shadow import check_in_shadow
from troth.cli.nginx_options import Target, required
from troth.errors import TrothError, UsageError
from troth.host.files import read_file
from troth.host.nginx import NginxTestError
from troth.host.ports import lasting_port
from troth.host.terminal import announce, confirm, note
from troth.nginx.client_auth import DEFAULT_HEADERS, ClientAuth
from troth.nginx.family import FAMILIES, LEVELS
from troth.nginx.material import is_root
from troth.nginx.modes import STATIC
from troth.nginx.plan import Declaration, Plan, make_plan
from troth.nginx.render import Identity, Witnesses, witness_ports
from troth.nginx.tree import Config
from troth.x509.keys import key_matches, parse_private_key
from troth.x509.pem import parse_certificates


def plan(one: Target) -> Plan:
    """The plan for everything declared.

    Raises:
        TrothError: nginx refuses the present configuration, or a declaration does not fit it.
    """
    declared = required(one)
    try:
        config = read_config(one.nginx)
    except NginxTestError as refusal:
        return _mend(one, declared, refusal)
    _check_files(declared)
    return plan_of(one, declared, config, declared.locations)


def _mend(one: Target, declared: Declared, refusal: NginxTestError) -> Plan:
    """The plan by our own reading, where lines or files of ours are what nginx misses and it takes the result.

    Raises:
        NginxTestError: the refusal, where our lines are not its cause.
    """
    try:
        found = plan_of(one, declared, read_unverified(one.nginx), declared.locations)
        check_in_shadow(one.nginx, {**found.before, **found.after()})
    except TrothError:
        raise refusal from None
    return replace(found, notes=(f"{refusal.message}; it takes it with these changes", *found.notes))


def plan_of(one: Target, declared: Declared, config: Config, locations: Sequence[Location]) -> Plan:
    """The plan for some of the declared locations on a configuration.

    Raises:
        NginxError: one of them does not fit it.
    """
    read_by_workers = {location.identity for location in locations if location.mode != STATIC}
    identities = {i.name: Identity(i.name, str(i.certificate), str(i.key), str(i.trust)) for i in declared.identities}
    for one_declared in declared.identities:
        if one_declared.name in read_by_workers:
            reason, mending = _closed(one, declared, config, one_declared)
            known = identities[one_declared.name]
            identities[known.name] = replace(known, unfit=reason, mending=mending)
    wanted = [
        Declaration(one.server, one.path, identities[one.identity], one.upstream, one.name, one.listen, one.mode)
        for one in locations
    ]
    used = [identities[name] for name in dict.fromkeys(location.identity for location in declared.locations)]
    witnesses = Witnesses(str(witness_directory(declared)), _witness_ports(one, [i.name for i in used]))
    guards = [
        ClientAuth(g.server, str(g.trust), g.mode, g.depth, DEFAULT_HEADERS if g.headers is None else g.headers)
        for g in declared.guards
    ]
    return make_plan(config, wanted, used, one.nginx.capabilities(), str(one.include_dir), witnesses, guards)


def _closed(one: Target, declared: Declared, config: Config, identity: DeclaredIdentity) -> tuple[str, str]:
    """Why the workers must not read an identity's files themselves, and what would let them."""
    if not identity.renewed and identity.certificate != identity.key:
        why = (
            "certificate and key are two files: between the one and the other replaced, requests would be answered 500"
        )
        return why, "put key and chain into one file and name it for both, or let the agent renew the identity"
    reason, group = closed_to_workers(config, one.nginx, identity.key)
    if not reason or "may not read" not in reason:
        return reason, reason and "let them pass it: chmod a+x DIRECTORY"
    group = group or "GROUP"
    if identity.renewed:
        run = f"troth agent run --config {shlex.quote(str(declared.path))} --once"
        return reason, f'give the identity mode = "0640" and group = "{group}" in {declared.path}, then: {run}'
    key = shlex.quote(str(identity.key))
    return reason, f"chgrp {group} {key} && chmod 640 {key}"


def _check_files(declared: Declared) -> None:
    """A plan that names files which do not exist would only fail at nginx -t."""
    for location in declared.locations:
        identity = declared.identity(location.identity)
        for path in (identity.certificate, identity.key, identity.trust):
            if not path.exists():
                hint = f"get it first: troth agent run --config {declared.path} --once" if identity.renewed else None
                raise UsageError(f"identity {identity.name} has no {path.name}: {path} does not exist", hint=hint)
        _check_pair(identity)
    for guard in declared.guards:
        # nginx accepts no partial chain: without a root it would refuse every client.
        if not any(is_root(one) for one in parse_certificates(read_file(guard.trust), str(guard.trust))):
            raise UsageError(f"trust of client-auth {guard.server} has no root certificate: {guard.trust}")


def _check_pair(identity: DeclaredIdentity) -> None:
    """What nginx would refuse, said before anything is planned; a key that only others may read is theirs to check.

    Raises:
        UsageError: certificate or trust cannot be read, or the key is another's.
    """
    hint = None if identity.renewed else f"see what is in it: troth certificate inspect {identity.certificate}"
    try:
        leaf = parse_certificates(read_file(identity.certificate), f"certificate {identity.certificate}")[0]
        parse_certificates(read_file(identity.trust), f"trust {identity.trust}")
        if not os.access(identity.key, os.R_OK):
            return
        if not key_matches(leaf, parse_private_key(read_file(identity.key), None, f"key {identity.key}")):
            raise UsageError(f"key {identity.key} does not belong to the certificate {identity.certificate}")
    except TrothError as error:
        raise UsageError(f"identity {identity.name} is not fit: {error.message}", hint=error.hint or hint) from error


def _witness_ports(one: Target, names: Sequence[str]) -> dict[str, int]:
    """The ports written before, and new ones for what has none; which module shows an identity, the plan finds out."""
    paths = [one.include_dir / f"{level}.conf" for level in LEVELS]
    texts = [read_file(path).decode("utf-8", "replace") for path in paths if path.exists()]
    ports = {name: port for text in texts for name, port in witness_ports(text).items()}
    for name in (family.witness(name) for name in names for family in FAMILIES):
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
        facts = {"identifier": outcome.identifier, "files": outcome.files, "workers": outcome.workers}
        click.echo(json.dumps({"changed": True, **facts}, indent=2))
        return 0
    announce("Applied", outcome.identifier)
    serving = f"new workers serve: {', '.join(map(str, outcome.workers))}" if outcome.workers else "nginx does not run"
    announce("nginx", serving)
    note(f"Take it back with: troth nginx undo {outcome.identifier}{one.words}")
    return 0
