"""``troth nginx inspect``: the identity map and the findings as text, JSON or SARIF."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import click

from troth import __version__
from troth.agent.material import look_into_files
from troth.agent.reading import read_config, read_unverified
from troth.cli.nginx_options import Target
from troth.errors import TrothError
from troth.host import clock
from troth.host.nginx import NginxTestError
from troth.nginx.findings import SEVERITIES, Finding, examine
from troth.nginx.findings.files import label
from troth.nginx.findings.rotation import kept_seconds
from troth.nginx.findings.rule import Subject, paths_of
from troth.nginx.findings.sarif import to_sarif
from troth.nginx.map import Guard, Place, guards, identity_map
from troth.nginx.material import Facts
from troth.nginx.tree import Config

NEVER = "never"


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was read; `refused` is nginx's word where it does not take the configuration, else empty."""

    config: Config
    places: Sequence[Place]
    guards: Sequence[Guard]
    facts: Facts
    findings: Sequence[Finding]
    refused: str
    subject: Subject


def inspect(one: Target, *, form: str, fail_on: str) -> int:
    """Print what there is.

    Args:
        one: the nginx meant.
        form: ``text``, ``json`` or ``sarif``.
        fail_on: the least severity that makes the exit code 2, or ``never``; a refused configuration always does.

    Raises:
        TrothError: the configuration cannot be read.
    """
    seen = look(one)
    if form == "sarif":
        click.echo(json.dumps(to_sarif(seen.findings, __version__, seen.refused), indent=2))
    elif form == "json":
        click.echo(json.dumps(_json(seen), indent=2))
    else:
        click.echo(_text(seen))
    grave = fail_on != NEVER and any(
        SEVERITIES.index(finding.severity) >= SEVERITIES.index(fail_on) for finding in seen.findings
    )
    return 2 if grave or seen.refused else 0


def look(one: Target) -> Inspection:
    """Read and judge the configuration.

    Raises:
        TrothError: it cannot be read.
    """
    refused = ""
    try:
        config = read_config(one.nginx)
    except NginxTestError as error:
        refused = error.message
        try:
            config = read_unverified(one.nginx)
        except TrothError as ours:
            raise NginxTestError(refused, hint=f"nor can it be read without nginx: {ours.message}") from error
    places, asking = identity_map(config), guards(config)
    facts = look_into_files(config, places, asking, one.nginx, clock.now())
    capabilities = one.nginx.capabilities()
    findings = examine(config, places, capabilities, facts)
    subject = Subject(config, places, asking, capabilities, facts)
    return Inspection(config, places, asking, facts, findings, refused, subject)


def _json(seen: Inspection) -> dict[str, object]:
    return {
        "verified": not seen.refused,
        "refused": seen.refused,
        "places": [
            {**place.to_json(), "name": place.name, "keptSeconds": kept_seconds(place, seen.subject)}
            for place in seen.places
        ],
        "servers": [guard.to_json() for guard in seen.guards],
        "files": [_file_json(seen.facts, path) for path in sorted(seen.facts.files)],
        "findings": [asdict(finding) for finding in seen.findings],
    }


def _file_json(facts: Facts, path: str) -> dict[str, object]:
    file = facts.files[path]
    certificates = [
        {
            "subject": one.subject.rfc4514_string(),
            "issuer": one.issuer.rfc4514_string(),
            "serial": str(one.serial_number),
            "notBefore": one.not_valid_before_utc.isoformat(),
            "notAfter": one.not_valid_after_utc.isoformat(),
        }
        for one in file.certificates[:10]
    ]
    return {"path": path, "problem": file.problem, "mode": f"{file.mode:04o}", "certificates": certificates}


def _text(seen: Inspection) -> str:
    lines = [f"{seen.refused}\nThe map below is read without nginx's word for it.", ""] if seen.refused else []
    for place in seen.places:
        lines.append(
            f"{'/'.join(place.servers)} {place.path or place.listens}".strip()
            + f"  ->  {place.target}   ({place.where})"
        )
        shown = place.value("ssl_certificate")
        lines.append(f"    shows    {_named(seen, shown) if shown else 'no client certificate'}")
        trust = place.value("ssl_trusted_certificate") if place.is_on("ssl_verify") else ""
        name = f", the name {place.name}, depth {place.value('ssl_verify_depth', '1')}" if trust else ""
        lines.append(f"    trusts   {_named(seen, trust) + name if trust else 'anyone'}")
        sni = f"name {place.name}" if place.is_on("ssl_server_name") else "no name"
        resumed = "sessions resumed" if place.is_on("ssl_session_reuse", "on") else "no session resumed"
        lines.append(f"    sends    {sni}, {resumed}, {_kept(seen, place)}")
    if not seen.places:
        lines.append(f"no location talks TLS to an upstream in {seen.config.main}")
    for guard in seen.guards:
        lines.append(
            f"{'/'.join(guard.servers)}  asks for client certificates: {guard.mode}   ({guard.where})".lstrip()
        )
        trust = guard.value("client_certificate") or guard.value("trusted_certificate")
        lines.append(f"    trusts   {_named(seen, trust) if trust else 'nobody'}")
    for finding in seen.findings:
        lines += ["", f"{finding.severity:<7} {finding.id}  {finding.where}", f"    {finding.what}"]
        lines += [f"    why: {finding.why}", f"    fix: {finding.fix}"]
    return "\n".join(lines)


def _kept(seen: Inspection, place: Place) -> str:
    """Whether connections are kept, and for how long under the identity they were opened with."""
    lasts = kept_seconds(place, seen.subject)
    kept = f"connections kept up to {lasts} s" if lasts else "connections not kept"
    return f"{kept}, upstream {place.group}" if place.group else kept


def _named(seen: Inspection, value: str) -> str:
    """A setting's value with whose certificate it holds, and until when."""
    files = [seen.facts.files.get(path) for path in paths_of(seen.config, value)]
    leaf = next((file.certificates[0] for file in files if file is not None and file.certificates), None)
    if leaf is None:
        return value
    return f"{label(leaf)} until {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC ({value})"
