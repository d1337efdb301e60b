"""``troth nginx doctor``: one cause, its evidence, its fix."""

import contextlib
import json
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

import click

from troth.agent import doctor as work
from troth.agent import logs
from troth.cli.nginx_options import BOTH_MEANT, Target, target
from troth.errors import TrothError, UsageError
from troth.nginx.diagnosis import Diagnosis
from troth.nginx.diagnosis.records import records
from troth.nginx.diagnosis.rule import REFUSED_CONFIG
from troth.nginx.diagnosis.silence import WHYS
from troth.nginx.diagnosis.symptom import parse_symptom
from troth.nginx.map import Place, http_servers, locations
from troth.nginx.selector import find_stream_server

# Lines of the configuration that are named for one cause.
MOST_LINES = 3
_LEVEL = re.compile(r"\[(?:emerg|alert|crit|error|warn|notice|info|debug)\]")


class UnknownSymptomError(TrothError):
    """No rule knows the line."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says; `what` is a line, a URL, ``-`` for stdin, or empty."""

    what: str
    why: str
    server: str
    location: str
    stream: str
    log: str
    nginx: tuple[str, str, str, str]
    as_json: bool


def doctor(asked: Asked) -> int:
    """Print what is wrong.

    Raises:
        TrothError: nothing can be read, or no rule knows the line.
    """
    if asked.location and asked.stream:
        raise UsageError(BOTH_MEANT)
    if asked.why and asked.why not in WHYS and not re.fullmatch(r"[45][0-9]{2}", asked.why):
        raise UsageError(
            f"invalid --why {asked.why!r}: expected a status from 400 to 599, such as 502, or {', '.join(WHYS)}"
        )
    found, nothing = _found(asked)
    if asked.as_json:
        click.echo(json.dumps({"diagnoses": [asdict(one) for one in found]}, indent=2))
    else:
        click.echo("\n\n".join(_texts(found)) or nothing)
    return 2 if found else 0


def _found(asked: Asked) -> tuple[list[Diagnosis], str]:
    """What is wrong, and what to say where nothing is: what was looked at."""
    if asked.what.lower().startswith(("http://", "https://")):
        from troth.cli.nginx_doctor_live import of_url

        return of_url(asked.what, _known(asked, needed=False)), f"nothing found wrong at {asked.what}"
    if asked.what:
        return _of_lines(sys.stdin.read().splitlines() if asked.what == "-" else asked.what.splitlines(), asked), ""
    if asked.log:
        return _of_log(asked)
    known = _known(asked, needed=True)
    assert known is not None
    if known.refused:
        found = work.explain(parse_symptom(known.refused, REFUSED_CONFIG), known)
        return [found or _unexplained(known.refused)], ""
    places, main = _chosen(asked, known), known.subject.config.main
    count = len(places or known.subject.places)
    if not count:
        return _of_configuration(asked, known, places), f"no location talks TLS to an upstream in {main}"
    looked = f"nothing found wrong with {count} upstream{'s' if count > 1 else ''} of {main}"
    return _of_configuration(asked, known, places), looked


def _of_log(asked: Asked) -> tuple[list[Diagnosis], str]:
    known = _known(asked, needed=bool(asked.location or asked.server or asked.stream))
    every = of_nginx = 0

    def lines() -> Iterator[str]:
        nonlocal every, of_nginx
        for line in logs.newest_lines(Path(asked.log)):
            every += bool(line)
            of_nginx += _LEVEL.search(line) is not None
            yield line

    found = list(islice(logs.from_log(lines(), asked.why, known, _chosen(asked, known)), 1))
    if not found and every and not of_nginx:
        raise TrothError(
            f"{asked.log} is not an error log of nginx: of its {every} lines none has [error] or another level",
            hint="see where nginx writes it: nginx -T 2>/dev/null | grep error_log",
        )
    return found, f"nothing found wrong in {asked.log}: " + (f"{of_nginx} lines of nginx" if every else "it is empty")


def _of_configuration(asked: Asked, known: work.Known, places: list[Place]) -> list[Diagnosis]:
    silent = work.silent(asked.why)
    if silent is not None:
        causes = [work.explain(silent, known, place) for place in places or known.subject.places]
        return [one for one in causes if one is not None]
    found = list(work.examine_places(known, places or known.subject.places))
    found = [one for one in found if not asked.why or str(one.status) == asked.why]
    if not found and asked.why:
        for path in logs.log_files(known, places):
            if path.exists():
                found += islice(logs.from_log(logs.newest_lines(path), asked.why, known, places), 1)
    return found


def _of_lines(lines: Sequence[str], asked: Asked) -> list[Diagnosis]:
    known = _known(asked, needed=False)
    found: list[Diagnosis] = []
    for readings in records(lines):
        causes = (work.explain(parse_symptom(one), known) for one in readings)
        one = next((cause for cause in causes if cause is not None), None)
        if one is not None and one.id not in {other.id for other in found}:
            found.append(one)
    if not found:
        raise UnknownSymptomError(
            f"no rule knows this: {' '.join(lines)[:200]!r}", hint=_meant(" ".join(lines).strip())
        )
    return found


def _meant(text: str) -> str:
    """What to type instead of something that is no line."""
    with contextlib.suppress(OSError):
        if Path(text).is_file():
            return f"explain the log: troth nginx doctor --log {shlex.quote(text)}"
    if re.fullmatch(r"[45]\d\d", text):
        return f"say it is a status: troth nginx doctor --why {text}"
    if re.fullmatch(r"/\S*", text):
        return f"say it is a location: troth nginx doctor --location {shlex.quote(text)}"
    if re.fullmatch(r"[\w.-]+(:\d+)?(/\S*)?", text) and ("." in text or ":" in text):
        return f"say it is a URL: troth nginx doctor {shlex.quote(f'http://{text}')}"
    return "paste the whole line of the error log"


def _known(asked: Asked, *, needed: bool) -> work.Known | None:
    """The configuration; where it is not needed, none is no error, unless one was named."""
    try:
        one: Target = target(*asked.nginx, announced=needed)
        return work.read(one.nginx)
    except TrothError:
        if needed or any(asked.nginx):
            raise
        return None


def _chosen(asked: Asked, known: work.Known | None) -> list[Place]:
    """The places that --server and --location, or --stream, mean; empty when nothing was said.

    Raises:
        TrothError: there is no such place.
    """
    if known is not None and asked.stream:
        return _streams(asked.stream, known)
    if known is None or not (asked.server or asked.location):
        return []
    places = [
        place
        for place in known.subject.places
        if (not asked.server or asked.server in place.servers)
        and (not asked.location or asked.location in (place.path, place.path.split(" ")[-1]))
    ]
    if not places:
        have = ", ".join(sorted({one.path or "/".join(one.servers) for one in known.subject.places}))
        raise UsageError(
            f"no location {asked.location or 'of ' + asked.server} talks TLS to an upstream: "
            f"there are {have or 'none'}",
            hint=_plain_one(asked, known),
        )
    return places


def _streams(listen: str, known: work.Known) -> list[Place]:
    server = find_stream_server(known.subject.config, listen)
    places = [place for place in known.subject.places if place.node is server]
    if not places:
        raise UsageError(
            f"stream server {listen!r} at {server.where} does not talk TLS to its upstream",
            hint=f"make it: troth nginx plan --stream {shlex.quote(listen)} --cert client.crt --key client.key "
            "--trust ca.crt",
        )
    return places


def _plain_one(asked: Asked, known: work.Known) -> str:
    """Where the location is there, and speaks no TLS."""
    for server in http_servers(known.subject.config):
        for location in locations(server):
            target = location.first("proxy_pass")
            if target is not None and asked.location and asked.location == location.arguments[-1]:
                return f"{target.where}: proxy_pass {' '.join(target.arguments)} is plain; expected https://"
    return ""


def _unexplained(text: str) -> Diagnosis:
    return Diagnosis("refused", "nginx refuses the configuration", (text,), "correct the line that it names", 0, True)


def _texts(found: Sequence[Diagnosis]) -> Iterator[str]:
    """One for each cause with the same evidence and fix, however many places have it."""
    same: dict[Diagnosis, list[str]] = {}
    for one in found:
        same.setdefault(replace(one, where=""), []).append(one.where)
    for one, lines in same.items():
        where = ", ".join(line for line in lines[:MOST_LINES] if line)
        more = f" and {len(lines) - MOST_LINES} more" if len(lines) > MOST_LINES else ""
        yield _text(one, where + more)


def _text(one: Diagnosis, where: str) -> str:
    lines = [f"{one.id}{f'  ({where})' if where else ''}", f"    cause     {one.cause}"]
    lines += [f"    evidence  {text}" for text in one.evidence]
    lines.append(f"    fix       {one.fix}")
    if one.others:
        lines.append(f"    not ruled out: {', '.join(one.others)}")
    return "\n".join(lines)
