"""``troth nginx rotate``: give an identity a new certificate now, and measure what that costs those who ask."""

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

import click

from troth.agent.agent import Agent
from troth.agent.checks import read_facts
from troth.agent.config import Config, Identity
from troth.agent.control import ask_to_rotate
from troth.agent.issuer import AuthorityIssuer
from troth.agent.log import Log
from troth.agent.measured import LOAD_TIMEOUT, Measured, bound_of, measure, serial_finder
from troth.agent.proxy import follows, proxy_for
from troth.agent.reading import read_config
from troth.agent.rotation import Result, current_facts, generations_of
from troth.agent.state import AgentBusyError, only_agent
from troth.cli.nginx_options import Target, required
from troth.errors import TrothError, UsageError
from troth.host.files import read_file
from troth.host.generations import CERTIFICATE
from troth.host.http import get
from troth.host.load import Target as LoadTarget
from troth.host.nginx import outgoing
from troth.host.terminal import note
from troth.nginx.modes import STATIC, VARIABLE
from troth.nginx.reached import reached_by
from troth.nginx.selector import find_location

Rotation = Callable[[Identity], Awaitable[Result]]
PROGRESS_SECONDS = 5.0
WORKERS_END_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for: which identity, how often, and with what load."""

    identity: str
    times: int = 1
    measured: bool = False
    url: str = ""
    connections: int = 16
    as_json: bool = False


class RotationFailedError(TrothError):
    """A rotation under measurement did not succeed; those before it count."""

    exit_code = 2


def rotate(one: Target, wanted: Wanted) -> int:
    """Rotate, and measure where that is asked for; exit 2 when a rotation failed, a request was lost or was late.

    Raises:
        TrothError: there is nothing that could be rotated, or an agent is at work that cannot be asked.
    """
    declared = required(one)
    identity = _identity(declared, wanted)
    with contextlib.ExitStack() as held:
        turns = _Turns(_rotation(declared, held), identity, wanted.times)
        mode = VARIABLE if follows(one.include_dir, identity.name) else STATIC
        found: Measured | None = None
        extra: dict[str, Any] = {}
        if wanted.measured:
            found, extra = asyncio.run(_measured(one, declared, wanted, turns, mode))
        else:
            with contextlib.suppress(RotationFailedError):
                asyncio.run(turns.all())
    good = all(result.ok for result in turns.results)
    if found is not None:
        good = good and not found.tally.lost and found.latest_old <= found.bound
    report = _report(identity, mode, turns.results, found, extra)
    click.echo(
        json.dumps({"ok": good, **report}, indent=2) if wanted.as_json else _text(report, turns.results), nl=True
    )
    return 0 if good else 2


def _rotation(declared: Config, held: contextlib.ExitStack) -> Rotation:
    """How an identity is rotated: by the agent that runs, else by one of our own while the state is `held`."""
    try:
        held.enter_context(only_agent(declared.state))
    except AgentBusyError as busy:
        note(f"{busy.message}: it is asked to rotate")
        return lambda identity: ask_to_rotate(declared.state, identity.name, lambda: current_facts(identity))
    agent = Agent(declared, AuthorityIssuer(), proxy_for(declared), Log(quiet=True))
    asyncio.run(agent.start())

    async def ours(identity: Identity) -> Result:
        return (await agent.rotate_now(identity))[0]

    return ours


def _identity(declared: Config, wanted: Wanted) -> Identity:
    renewed = [one.name for one in declared.identities if one.renewed]
    if not wanted.identity and len(renewed) != 1:
        raise UsageError(
            f"which identity shall be rotated: expected one of {', '.join(renewed) or 'none'}",
            hint=f"troth nginx rotate {renewed[0] if renewed else 'NAME'} --config {declared.path}",
        )
    identity = declared.identity(wanted.identity or renewed[0])
    if not identity.renewed:
        raise UsageError(
            f"identity {identity.name} is kept by its owner: troth has no authority to ask for its next certificate",
            hint="replace its files, and a running agent makes nginx use them; or give it ca and dir in troth.toml",
        )
    return identity


class _Turns:
    """The rotations, one after the other, with what came of each."""

    def __init__(self, rotation: Rotation, identity: Identity, times: int) -> None:
        self._rotation = rotation
        self._identity = identity
        self._times = times
        self.results: list[Result] = []
        self.serials = _serials(identity)
        self._told = time.monotonic()

    async def all(self) -> None:
        """Every rotation; the first failure ends them."""
        while len(self.results) < self._times and all(result.ok for result in self.results):
            await self.one()

    async def one(self) -> str:
        """One rotation; the new serial."""
        result = await self._rotation(self._identity)
        self.results.append(result)
        if time.monotonic() - self._told > PROGRESS_SECONDS:
            self._told = time.monotonic()
            note(f"{len(self.results)} of {self._times} rotations")
        if not result.ok or result.facts is None:
            raise RotationFailedError(f"rotation {len(self.results)} failed, the old state stays: {result.error}")
        self.serials.add(result.facts.serial)
        return str(result.facts.serial)


def _serials(identity: Identity) -> set[int]:
    """Those of the certificates that the identity has or had."""
    found = set()
    for certificate in (generations_of(identity).directory / "generations").glob(f"*/{CERTIFICATE}"):
        with contextlib.suppress(TrothError):
            found.add(read_facts(read_file(certificate)).serial)
    return found


async def _measured(
    one: Target, declared: Config, wanted: Wanted, turns: _Turns, mode: str
) -> tuple[Measured | None, dict[str, Any]]:
    config = read_config(one.nginx)
    target = _load_target(one, declared, wanted)
    bound = bound_of(config, one.nginx.capabilities(), variable=mode == VARIABLE)
    reply = get(target.port, target.path, target.host, target.address, timeout=10)
    if reply.status != 200:
        raise UsageError(
            f"http://{target.host}{target.path} answers {reply.status or reply.body.decode('utf-8', 'replace')}: "
            "expected 200 before anything is rotated",
            hint=f"see why: troth nginx doctor http://{target.address}:{target.port}{target.path}{one.words}",
        )
    serials = serial_finder(turns.serials)
    reports = bool(serials(reply.body))
    if not reports:
        note("the answers report no serial of this identity: how long an old one is seen cannot be told from them")
    linger = bound.seconds(0.0) if reports else 1.0
    if linger > PROGRESS_SECONDS:
        note(f"the load goes on for {linger:.0f} s after the last rotation, as long as an old identity may be seen")
    try:
        found = await measure(
            turns.one,
            target,
            serials,
            rotations=wanted.times,
            connections=wanted.connections,
            linger=linger,
            limit=bound,
        )
    except RotationFailedError as error:
        note(error.message)
        return None, {}
    extra: dict[str, Any] = {"url": f"http://{target.address}:{target.port}{target.path}", "serials_reported": reports}
    if mode == STATIC:
        extra["old_workers_ended"] = await _workers_ended(one)
    return found, extra


def _load_target(one: Target, declared: Config, wanted: Wanted) -> LoadTarget:
    if wanted.url:
        parts = urlsplit(wanted.url)
        if parts.scheme != "http" or not parts.hostname:
            raise UsageError(f"--url {wanted.url!r} is not usable: expected http://host[:port]/path")
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        return LoadTarget(parts.port or 80, path or "/", parts.netloc, parts.hostname)
    name = wanted.identity or next(i.name for i in declared.identities if i.renewed)
    config = read_config(one.nginx)
    for location in declared.locations:
        if location.identity == name and not location.listen:
            found = reached_by(find_location(config, location.server, location.path))
            if found is not None:
                return LoadTarget(found.port, found.path, found.host, found.address)
    raise UsageError(
        f"no location of identity {name} can be asked over plain HTTP as it is declared",
        hint=f"name a URL that it serves: troth nginx rotate {name} --measure --url http://HOST:PORT/PATH{one.words}",
    )


async def _workers_ended(one: Target) -> bool:
    """Whether the workers of before have ended, after a while at the most."""
    until = time.monotonic() + min(LOAD_TIMEOUT, WORKERS_END_SECONDS)
    while time.monotonic() < until:
        if not outgoing(one.nginx.generation().master):
            return True
        await asyncio.sleep(0.1)
    return False


def _report(
    identity: Identity, mode: str, results: list[Result], found: Measured | None, extra: dict[str, Any]
) -> dict[str, Any]:
    turns = [
        {
            "ok": result.ok,
            "serial": f"{result.facts.serial:x}" if result.facts else "",
            "seconds": round(result.seconds, 3),
            "proof": result.proof.kind,
            "detail": result.proof.detail,
            "error": result.error,
        }
        for result in results
    ]
    report: dict[str, Any] = {"identity": identity.name, "mode": mode, "rotations": turns}
    if found is not None:
        tally = found.tally
        report["measured"] = {
            **extra,
            "seconds": round(found.seconds, 3),
            "requests": tally.requests,
            "answered": tally.answered,
            "lost": tally.lost,
            "failures": dict(tally.failures),
            "races": tally.races,
            "connections": tally.connections,
            "longest_request": round(tally.longest, 3),
            "last_old": round(found.latest_old, 3),
            "bound": round(found.bound, 3),
            "bounded_by": found.bounded_by,
            "limits": asdict(found.limit),
        }
    return report


def _text(report: dict[str, Any], results: list[Result]) -> str:
    done = [result for result in results if result.ok]
    lines = [f"identity {report['identity']}, mode {report['mode']}"]
    if len(results) == 1:
        only = results[0]
        serial = f"{only.facts.serial:x}" if only.facts else "none"
        lines.append(_row(only.ok, "rotation", f"serial {serial} in {only.seconds:.1f} s" if only.ok else only.error))
        if only.ok:
            lines.append(_row(True, "proof", f"{only.proof.kind or 'none'}: {only.proof.detail}"))
    elif results:
        longest = max(result.seconds for result in results)
        failed = [result.error for result in results if not result.ok]
        proven = sum(result.proof.kind in ("witness", "upstream") for result in done)
        said = f"{len(done)}, the longest took {longest:.1f} s" + (f"; then: {failed[0]}" if failed else "")
        lines.append(_row(not failed, "rotations", said))
        lines.append(_row(proven == len(done), "proven on the wire", f"{proven} of {len(done)}"))
    measured = report.get("measured")
    return "\n".join([*lines, *(_measured_rows(measured) if measured else ())])


def _measured_rows(found: dict[str, Any]) -> list[str]:
    failures = "".join(f", {count} x {why}" for why, count in found["failures"].items())
    races = f", {found['races']} on connections that nginx was closing" if found["races"] else ""
    lost = f"{found['lost']} of {found['requests']} at {found['url']}{failures}{races}"
    rows = [_row(not found["lost"], "requests lost", lost)]
    if found["races"]:
        rows.append("    nginx before 1.27.4 closes kept connections at a reload without warning; later ones lose none")
    if found["serials_reported"]:
        late = f"{found['last_old']:.1f} s after its rotation began (at most {found['bound']:.1f} s)"
        rows.append(_row(found["last_old"] <= found["bound"], "last old serial", late))
        rows.append(f"    bounded by {found['bounded_by']}")
    else:
        rows.append(f"    an old identity is seen for {found['bound']:.1f} s at most, by what nginx is told")
    if "old_workers_ended" in found and not found["old_workers_ended"]:
        rows.append("    old workers still serve: a request, or a connection that was upgraded, goes on")
    return rows


def _row(good: bool, title: str, text: str) -> str:
    return f"  {'✔' if good else '✘'} {title:<19} {text}"
