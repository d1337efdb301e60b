"""A location against its real upstream: it lets us in, and it lets nobody else in.

The second nginx calls the user's own peers with the location's own directives; each trial has an upstream group to
itself, so that none rides on another's connection or session.
"""

from dataclasses import dataclass, replace

from troth.agent.prove.forged import forge, found_authority
from troth.agent.prove.rows import ProofRow, ProveError, answered
from troth.agent.prove.second import Route, Second, group_of
from troth.agent.prove.subject import Subject, groups_of, read_subject
from troth.host import clock
from troth.host.http import Reply
from troth.host.nginx import Nginx
from troth.nginx.map import Place
from troth.nginx.tree import Config

_REFUSALS = (
    b"No required SSL certificate was sent",
    b"The SSL certificate error",
    b"plain HTTP request was sent to HTTPS",
)
_BY_UPSTREAM = "refused by the upstream"
# nginx asks for the name that it then checks, and some upstreams (Caddy) refuse one that is not theirs.
_EITHER = "nginx or the upstream"
# What says no to the TLS client: nginx itself when the upstream did not get past it or ended the handshake, or the
# upstream by HTTP. A time-out is no refusal.
_REFUSED = (400, 401, 403, 421, 495, 496, 502)


@dataclass(frozen=True, slots=True)
class _Trial:
    """One request: its route, and who must refuse it (empty: nobody)."""

    route: Route
    title: str
    by: str = ""


def prove_live(config: Config, place: Place, nginx: Nginx) -> list[ProofRow]:
    """Prove one location, or server of stream, against its real upstream.

    Args:
        config: the whole configuration.
        place: the location with its settings, from the identity map.
        nginx: the nginx whose build runs the proof.

    Raises:
        ProveError: what it shows, or its upstream, depends on the request.
        TrothError: its files cannot be read, or the second nginx cannot be started.
    """
    subject = read_subject(config, place)
    if "$" in subject.target.authority:
        raise ProveError(f"{place.where}: the upstream {place.target} depends on the request and cannot be asked")
    trials = _trials(subject)
    groups = [group_of(trial.route.id, _peers(subject)) for trial in trials]
    with Second(nginx, [trial.route for trial in trials], groups) as second:
        if place.module == "stream":
            rows = [_held_row(trial, *second.hold(trial.route.id)) for trial in trials]
        else:
            rows = [_row(trial, *second.get(trial.route.id)) for trial in trials]
    if rows[0].ok:
        return rows
    # An upstream that refuses everybody has not told us from a stranger.
    fared = "the location's own certificate fares no better"
    return [
        replace(row, ok=False, detail=fared) if row.ok and row.observed.endswith(_BY_UPSTREAM) else row for row in rows
    ]


def _trials(subject: Subject) -> list[_Trial]:
    now = clock.now()
    foreign = found_authority("Foreign", now)
    client = subject.identity.shown if subject.identity else None
    stranger = forge(foreign, now, "client")
    uri = _uri(subject)

    def named(key: str) -> tuple[str, Subject, str]:
        return f"live-{key}", subject, f"live-{key}{uri}"

    return [
        _Trial(Route(*named("accepted"), client), "the real upstream, with the location's own certificate"),
        _Trial(Route(*named("client-none"), None), "the real upstream, without a certificate", "the upstream"),
        _Trial(
            Route(*named("client-foreign"), stranger),
            "the real upstream, with a certificate of a foreign CA",
            "the upstream",
        ),
        _Trial(
            Route(*named("upstream-foreign"), client, trust=[foreign.root]),
            "the real upstream, when only a foreign CA is believed",
            "nginx",
        ),
        _Trial(
            Route(*named("wrong-name"), client, name="other.invalid"),
            "the real upstream, when another name is expected",
            _EITHER,
        ),
    ]


def _peers(subject: Subject) -> list[str]:
    group = groups_of(subject).get(subject.place.group.lower())
    peers = [p.arguments[0] for p in group.find("server") if p.arguments] if group is not None else []
    return peers or [subject.target.peer]


def _uri(subject: Subject) -> str:
    """What the upstream is asked for: the location's beginning, as ``proxy_pass`` rewrites it."""
    if subject.place.module != "proxy":
        return ""
    words = subject.place.path.split(" ")
    uri = subject.target.uri
    if uri is None:
        uri = words[-1] if words[-1].startswith("/") and words[0] in (words[-1], "=", "^~") else "/"
    return uri if "$" not in uri else "/"


def _held_row(trial: _Trial, stands: bool, received: int, evidence: str) -> ProofRow:
    """In stream there is no answer to understand: who keeps the connection after the handshakes, or speaks, accepts."""
    by = "nginx" if "upstream SSL certificate" in evidence else "the upstream"
    # An end without a word in the log counts only where the own certificate fares better.
    observed = "the connection stands" if stands else f"connection closed, refused by {by}"
    if received and not stands:
        observed = f"the upstream sent {received} bytes, then closed"
    accepted = stands or received > 0
    if not trial.by:
        expected = "the connection stands, or the upstream speaks"
        return ProofRow(trial.route.id, trial.title, expected, observed, accepted, evidence)
    ok = not accepted and trial.by in (by, _EITHER)
    return ProofRow(trial.route.id, trial.title, f"refused by {trial.by}", observed, ok, evidence)


def _row(trial: _Trial, reply: Reply, evidence: str) -> ProofRow:
    said = next((text.decode() for text in _REFUSALS if text in reply.body), "")
    observed = answered(reply) + (f": {said}" if said else "")
    if trial.by:
        ok = reply.status in _REFUSED
        by = "nginx" if "upstream SSL certificate" in evidence else "the upstream"
        observed += f", refused by {by}" if ok else ""
        ok = ok and trial.by in (by, _EITHER)
        return ProofRow(trial.route.id, trial.title, f"refused by {trial.by}", observed, ok, evidence)
    ok = not said and reply.status not in (0, 421, 495, 496, 502, 504)
    return ProofRow(trial.route.id, trial.title, "an answer of the application", observed, ok, evidence)
