"""``troth nginx prove``: the rows as a table, as JSON, or signed; and checking a signed proof of another's."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from troth import __version__
from troth.agent.config import Config as Declared
from troth.agent.prove import ProofRow, ProveError, prove_clients, prove_live, prove_location
from troth.agent.prove.signed import check_proof, sign_proof
from troth.agent.prove.subject import read_subject
from troth.agent.reading import read_config
from troth.cli.nginx_options import Target
from troth.errors import TrothError
from troth.host import clock
from troth.host.files import read_file, write_file
from troth.host.terminal import announce
from troth.nginx.map import Guard, Place, guards, identity_map
from troth.nginx.selector import answers, listens
from troth.nginx.tree import Config
from troth.x509.names import common_name
from troth.x509.pem import parse_certificates


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for: a place (empty: the declared ones, or all), and the form of the answer."""

    server: str = ""
    location: str = ""
    stream: str = ""
    clients: bool = False
    live: bool = False
    sign: bool = False
    out: str = ""
    as_json: bool = False


@dataclass(frozen=True, slots=True)
class Proven:
    """One location with what came of it."""

    place: Place
    rows: Sequence[ProofRow]

    def to_json(self) -> dict[str, Any]:
        place = self.place
        rows = [asdict(row) for row in self.rows]
        return {
            "module": place.module,
            "servers": place.servers,
            "location": place.path or place.listens,
            "where": place.where,
            "upstream": place.target,
            "rows": rows,
        }


@dataclass(frozen=True, slots=True)
class Asking:
    """One server that asks for client certificates, with what came of it."""

    guard: Guard
    rows: Sequence[ProofRow]

    def to_json(self) -> dict[str, Any]:
        trust = self.guard.value("client_certificate") or self.guard.value("trusted_certificate")
        return {
            "module": "client-auth",
            "servers": self.guard.servers,
            "location": "",
            "where": self.guard.where,
            "upstream": f"clients of {trust}",
            "rows": [asdict(row) for row in self.rows],
        }


def prove(one: Target, wanted: Wanted) -> int:
    """Prove the declared locations and servers, or those selected, or all; exit 2 when a row fails.

    Raises:
        TrothError: the configuration cannot be read, or nothing is there to prove or to sign with.
    """
    config = read_config(one.nginx)
    proven = []
    asking = [Asking(g, prove_clients(config, g, one.nginx, one.config)) for g in _guards(config, one.config, wanted)]
    for place in _chosen(config, one.config, wanted, required=not asking):
        rows = prove_location(config, place, one.nginx, one.config)
        proven.append(Proven(place, [*rows, *(prove_live(config, place, one.nginx) if wanted.live else ())]))
    shown: list[Proven | Asking] = [*proven, *asking]
    good = all(row.ok for each in shown for row in each.rows)
    content: dict[str, Any] = {"ok": good, "locations": [each.to_json() for each in shown]}
    signed = _sign(content, config, proven, one, clock.now()) if wanted.sign or wanted.out else ""
    if wanted.as_json:
        click.echo(json.dumps({**content, **({"proof": signed} if signed else {})}, indent=2))
    elif wanted.sign and not wanted.out:
        click.echo(signed)
    else:
        click.echo(_text(content["locations"]))
    if wanted.out:
        write_file(Path(wanted.out), signed.encode() + b"\n", 0o644)
        announce("Signed", wanted.out)
    return 0 if good else 2


def check(file: str, root: str, *, as_json: bool) -> int:
    """Check a signed proof and show it; exit 2 when it does not hold or a row in it failed.

    Raises:
        SignatureProblem: it does not hold.
        TrothError: a file cannot be read.
    """
    roots = parse_certificates(read_file(Path(root)), root)
    signed = check_proof(read_file(Path(file)).decode("utf-8", "replace"), roots)
    name = common_name(signed.signer.subject) or signed.signer.subject.rfc4514_string()
    good = signed.content.get("ok") is True
    if as_json:
        signer = {"name": name, "serial": f"{signed.signer.serial_number:x}"}
        click.echo(json.dumps({"signer": signer, "when": signed.when.isoformat(), **signed.content}, indent=2))
        return 0 if good else 2
    click.echo(_text(signed.content["locations"]))
    click.echo(f"signed by {name}, serial {signed.signer.serial_number:x}, {signed.when:%Y-%m-%d %H:%M:%S} UTC")
    click.echo(f"the signature holds, and its certificate leads to {root}; {signed.content.get('nginx', 'nginx')}")
    return 0 if good else 2


def _sign(content: Mapping[str, Any], config: Config, proven: Sequence[Proven], one: Target, now: datetime) -> str:
    """Signed by the first identity that was proven; the configuration it was proven of is named by its digests."""
    subjects = (read_subject(config, each.place) for each in proven)
    identity = next((subject.identity for subject in subjects if subject.identity is not None), None)
    if identity is None:
        raise ProveError("no location that was proven shows a certificate: there is nothing to sign with")
    capabilities = one.nginx.capabilities()
    about = {
        "iss": f"troth {__version__}",
        "nginx": f"{capabilities.name} {capabilities.version_text}, {capabilities.library}".rstrip(", "),
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in config.files.items()},
    }
    return sign_proof({**about, **content}, identity.shown, now)


def _guards(config: Config, declared: Declared | None, wanted: Wanted) -> list[Guard]:
    """The servers that ask for certificates: the declared ones, those of the server named, or all."""
    found = guards(config)
    if wanted.clients:
        found = [one for one in found if not wanted.server or answers(one.node, wanted.server)]
        if not found:
            raise TrothError(
                f"no server {wanted.server!r} asks for client certificates", hint="see: troth nginx inspect"
            )
        return found
    if wanted.location or wanted.stream:
        return []
    if declared is not None:
        return [one for one in found if any(answers(one.node, guard.server) for guard in declared.guards)]
    return found


def _chosen(config: Config, declared: Declared | None, wanted: Wanted, *, required: bool) -> list[Place]:
    if wanted.clients:
        return []
    places = identity_map(config)
    asked = [(wanted.server, wanted.location, wanted.stream)] if wanted.location or wanted.stream else []
    if not asked and declared is not None:
        asked = [(one.server, one.path, one.listen) for one in declared.locations]
    if asked:
        places = [p for p in places if any(_fits(p, *one) for one in asked)]
    else:
        places = [p for p in places if p.value("ssl_certificate")]
    if not places and required:
        raise TrothError(
            "there is no such location that talks TLS to an upstream", hint="see what there is: troth nginx inspect"
        )
    return places


def _fits(place: Place, server: str, path: str, listen: str) -> bool:
    if listen or place.module == "stream":
        return bool(listen) and place.module == "stream" and listens(place.node, listen)
    return (not server or server in place.servers) and path in (place.path, place.path.rpartition(" ")[2])


def _text(locations: Sequence[Mapping[str, Any]]) -> str:
    """A table for each location: a tick or a cross, what was tried, what was seen, and why."""
    lines = []
    for one in locations:
        lines.append(f"{'/'.join(one['servers'])} {one['location']}  ->  {one['upstream']}".strip())
        width = max((len(row["title"]) for row in one["rows"]), default=0)
        for row in one["rows"]:
            lines.append(f"  {'✔' if row['ok'] else '✘'} {row['title']:<{width}}  {row['observed']}")
            if not row["ok"]:
                lines.append(f"    {'':<{width}}  expected: {row['expected']}")
            if row["detail"]:
                lines.append(f"    {'':<{width}}  {row['detail']}")
    return "\n".join(lines)
