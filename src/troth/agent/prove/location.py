"""A location against witnesses: what it must accept, what it must refuse, and what its neighbours do to it."""

import contextlib
import json
from dataclasses import dataclass
from datetime import datetime

from cryptography.x509.oid import ExtendedKeyUsageOID

from troth.agent.config import Config as Declared
from troth.agent.prove.forged import Authority, forge, found_authority
from troth.agent.prove.neighbours import prove_among_others
from troth.agent.prove.rows import ProofRow, answered, refused
from troth.agent.prove.second import Route, Second, group_of
from troth.agent.prove.subject import Identity, Subject, read_subject
from troth.agent.prove.vouched import vouch
from troth.host import clock
from troth.host.http import Reply
from troth.host.nginx import Nginx
from troth.host.witness import Seen, Shown, Witness
from troth.nginx.map import Place
from troth.nginx.tree import Config

_CLIENT = "client"


@dataclass(frozen=True, slots=True)
class _Trial:
    """One location of the second nginx: the client certificate it shows (None: none) and the witness it calls."""

    id: str
    title: str
    client: Shown | None
    witness: Witness
    accepted: bool = False


def prove_location(config: Config, place: Place, nginx: Nginx, declared: Declared | None = None) -> list[ProofRow]:
    """Prove one location.

    Args:
        config: the whole configuration; other locations may take part.
        place: the location with its settings, from the identity map.
        nginx: the nginx whose build runs the proof.
        declared: the identities we renew; the authority of the location's is asked for the witness's certificate.

    Raises:
        ProveError: what it shows depends on the request.
        TrothError: its files cannot be read, or the second nginx or a witness cannot be started.
    """
    subject = read_subject(config, place)
    now = clock.now()
    ours, foreign = found_authority("Proof", now), found_authority("Foreign", now)
    vouched, note = vouch(subject, declared, now)
    anchors = [*(subject.identity.facts.chain if subject.identity else ()), ours.root]
    with contextlib.ExitStack() as stack:
        witnesses = {
            key: stack.enter_context(Witness(0, shown, anchors, required=True))
            for key, shown in _upstreams(ours, foreign, subject.name, vouched, now).items()
        }
        trials = _trials(subject.identity, witnesses, ours, foreign, now)
        roots = [None if vouched and trial.accepted else [ours.root] for trial in trials]
        routes = [Route(t.id, subject, t.id, t.client, trust) for t, trust in zip(trials, roots, strict=True)]
        groups = [group_of(trial.id, [f"127.0.0.1:{trial.witness.port}"]) for trial in trials]
        second = stack.enter_context(Second(nginx, routes, groups))
        rows = [_row(trial, second, subject, note) for trial in trials]
    return rows + prove_among_others(subject, nginx, ours, foreign, now)


def _upstreams(
    ours: Authority, foreign: Authority, name: str, vouched: Shown | None, now: datetime
) -> dict[str, Shown]:
    return {
        "own": vouched or forge(ours, now, name),
        "good": forge(ours, now, name),
        "foreign": forge(foreign, now, name),
        "wrong-name": forge(ours, now, "other.invalid"),
        "expired": forge(ours, now, name, ended=True),
        "client-only": forge(ours, now, name, purposes=(ExtendedKeyUsageOID.CLIENT_AUTH,)),
    }


def _trials(
    identity: Identity | None, witnesses: dict[str, Witness], ours: Authority, foreign: Authority, now: datetime
) -> list[_Trial]:
    good, client = witnesses["good"], identity.shown if identity else None
    bad_clients = {
        "none": ("client shows no certificate", None),
        "expired": ("client shows an expired certificate", forge(ours, now, _CLIENT, ended=True)),
        "foreign": ("client shows a certificate of a foreign CA", forge(foreign, now, _CLIENT)),
        "server-only": (
            "client shows a certificate for servers only",
            forge(ours, now, _CLIENT, purposes=(ExtendedKeyUsageOID.SERVER_AUTH,)),
        ),
    }
    bad_upstreams = {
        "foreign": "upstream shows a certificate of a foreign CA",
        "wrong-name": "upstream shows a certificate for another name",
        "expired": "upstream shows an expired certificate",
        "client-only": "upstream shows a certificate for clients only",
    }
    return [
        _Trial("accepted", "client shows its own certificate", client, witnesses["own"], True),
        *(_Trial(f"client-{key}", title, shown, good) for key, (title, shown) in bad_clients.items()),
        *(_Trial(f"upstream-{key}", title, client, witnesses[key]) for key, title in bad_upstreams.items()),
    ]


def _row(trial: _Trial, second: Second, subject: Subject, note: str) -> ProofRow:
    before = len(trial.witness.seen)
    reply, evidence = second.get(trial.id)
    if trial.accepted:
        return _accepted(trial, reply, subject.identity, evidence or note)
    trial.witness.wait_for(before + 1, 2)
    told = next((one.refused for one in trial.witness.seen[before:] if one.refused), "")
    by = f"the upstream: {told}" if trial.id.startswith("client-") and told else "nginx"
    good = refused(reply, evidence or told)
    observed = answered(reply) + (f", refused by {by}" if good else "")
    return ProofRow(trial.id, trial.title, "refused", observed, good, evidence)


def _accepted(trial: _Trial, reply: Reply, identity: Identity | None, evidence: str) -> ProofRow:
    expected = f"accepted, the upstream sees serial {identity.facts.serial:x}" if identity else "accepted"
    if reply.status != 200:
        return ProofRow(trial.id, trial.title, expected, answered(reply), False, evidence)
    seen = Seen(**json.loads(reply.body))
    shown = f"{int(seen.serial):x}" if seen.serial else "none"
    resumed = ", resumed" if seen.resumed else ""
    observed = f"200, the upstream saw serial {shown}, {seen.subject}, {seen.protocol} {seen.cipher}{resumed}"
    ok = identity is not None and seen.serial == str(identity.facts.serial)
    return ProofRow(trial.id, trial.title, expected, observed, ok, evidence)
