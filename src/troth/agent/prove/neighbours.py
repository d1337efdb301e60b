"""What a location shows and believes after its neighbours' traffic.

nginx keeps sessions and idle connections by peer, not by certificate or trust, so locations that share an upstream can
take over what another negotiated. Here they share a witness exactly as they share their upstream.
"""

import contextlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from troth.agent.prove.forged import Authority, forge
from troth.agent.prove.rows import ProofRow, answered, refused
from troth.agent.prove.second import Route, Second
from troth.agent.prove.subject import Subject, groups_of, read_subject
from troth.errors import TrothError
from troth.host.nginx import Nginx
from troth.host.witness import Witness
from troth.nginx.map import Place, identity_map
from troth.nginx.render import quote

MOST = 8
ROUNDS = 2
_KEPT = ("keepalive", "keepalive_time", "keepalive_timeout", "keepalive_requests")
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Stage:
    """A set of witnesses that show certificates of one authority, one witness an upstream."""

    name: str
    authority: Authority
    ports: dict[Key, int]

    def target(self, place: Place) -> str:
        return f"{self.name}_{place.group.lower()}" if place.group else f"127.0.0.1:{self.ports[_key(place)]}"

    def groups(self, subject: Subject, keys: Sequence[Key]) -> list[str]:
        """The user's groups, with what they say of idle connections, and the witness as their only peer."""
        found = groups_of(subject)
        texts = []
        for key in keys:
            group = found.get(key[1])
            if group is not None:
                kept = [d for d in group.children if d.name in _KEPT]
                lines = "".join(f"{d.name} {' '.join(map(quote, d.arguments))};\n" for d in kept)
                server = f"server 127.0.0.1:{self.ports[key]} max_fails=0;\n"
                texts.append(f"upstream {self.name}_{key[1]} {{\n{server}{lines}}}\n")
        return texts


def prove_among_others(
    subject: Subject, nginx: Nginx, ours: Authority, foreign: Authority, now: datetime
) -> list[ProofRow]:
    """Rows for the identity seen, and the check made, after the traffic of other locations.

    Raises:
        HostError: the second nginx or a witness cannot be started.
    """
    others = _others(subject)
    checks = subject.place.is_on("ssl_verify")
    names = [name for name in dict.fromkeys([subject.name, *(other.name for other in others)]) if name]
    anchors = [c for one in (subject, *others) if one.identity for c in one.identity.facts.chain]
    keys = list(dict.fromkeys(_key(one.place) for one in (subject, *others)))
    with contextlib.ExitStack() as stack:
        stages = []
        for name, authority in (("good", ours), ("foreign", foreign))[: 2 if checks else 1]:
            shown = forge(authority, now, *(names or ["upstream"]))
            ports = {key: stack.enter_context(Witness(0, shown, anchors)).port for key in keys}
            stages.append(_Stage(name, authority, ports))
        routes = [route for stage in stages for route in _routes(stage, subject, others, ours, foreign)]
        groups = [text for stage in stages for text in stage.groups(subject, keys)]
        second = stack.enter_context(Second(nginx, routes, groups))
        rows = [_identity_row(subject, others, second)]
        if checks:
            rows.append(_check_row(subject, others, second))
    return rows


def _key(place: Place) -> Key:
    """Places with the same one share connections and sessions; nginx compares names of groups in lower case."""
    return (place.module, place.key[1].lower())


def _others(subject: Subject) -> list[Subject]:
    """Other places that can be asked, those that share the upstream first."""
    own = subject.place
    places = [p for p in identity_map(subject.config) if p.where != own.where and p.module == own.module]
    places = [p for p in places if "$" not in p.target]
    found: list[Subject] = []
    for place in sorted(places, key=lambda place: _key(place) != _key(own)):
        with contextlib.suppress(TrothError):
            found.append(read_subject(subject.config, place))
    return found[:MOST]


def _routes(
    stage: _Stage, subject: Subject, others: Sequence[Subject], ours: Authority, foreign: Authority
) -> list[Route]:
    trusted = subject.place.value("ssl_trusted_certificate")
    routes = []
    for number, one in enumerate((subject, *others)):
        # Who trusts another file than the location does, trusts the other authority here.
        same = one.place.value("ssl_trusted_certificate") == trusted
        client = one.identity.shown if one.identity else None
        root = (ours if same else foreign).root
        routes.append(Route(f"{stage.name}-{number}", one, stage.target(one.place), client, [root]))
    return routes


def _identity_row(subject: Subject, others: Sequence[Subject], second: Second) -> ProofRow:
    identity = subject.identity
    serial = str(identity.facts.serial) if identity else ""
    expected = f"accepted as serial {_hex(serial)}"
    title = "the identity seen after other locations' traffic"
    for other in _order(others):
        if other:
            second.get(f"good-{other}")
        reply, evidence = second.get("good-0")
        after = others[other - 1].place.where if other else "the start"
        if reply.status != 200:
            return ProofRow(
                "after-others", title, expected, f"{answered(reply)} after {after} was asked", False, evidence
            )
        seen = str(json.loads(reply.body)["serial"])
        if seen != serial:
            observed = f"200, but the upstream saw serial {_hex(seen)} after {after} was asked"
            return ProofRow("after-others", title, expected, observed, False, _shared(subject, others))
    return ProofRow("after-others", title, expected, f"200, serial {_hex(serial)} every time", True, _asked(others))


def _check_row(subject: Subject, others: Sequence[Subject], second: Second) -> ProofRow:
    title = "upstream of a foreign CA after other locations' traffic"
    for other in _order(others):
        if other:
            second.get(f"foreign-{other}")
        reply, evidence = second.get("foreign-0")
        if not refused(reply, evidence):
            after = others[other - 1].place.where if other else "the start"
            observed = f"{answered(reply)} after {after} was asked"
            return ProofRow("foreign-after-others", title, "refused", observed, False, _shared(subject, others))
    observed = f"{answered(reply)}, refused by nginx every time"
    return ProofRow("foreign-after-others", title, "refused", observed, True, evidence)


def _order(others: Sequence[Subject]) -> list[int]:
    """The numbers of the neighbours, each more than once; 0 (the location alone) when there are none."""
    return list(itertools.chain.from_iterable([range(1, len(others) + 1)] * ROUNDS)) or [0]


def _asked(others: Sequence[Subject]) -> str:
    if not others:
        return "no other location talks TLS to an upstream"
    return f"asked before: {', '.join(other.place.where for other in others)}"


def _shared(subject: Subject, others: Sequence[Subject]) -> str:
    sharing = [other.place.where for other in others if _key(other.place) == _key(subject.place)]
    return f"shares its upstream with {', '.join(sharing)}" if sharing else ""


def _hex(serial: str) -> str:
    return f"{int(serial):x}" if serial else "none"
