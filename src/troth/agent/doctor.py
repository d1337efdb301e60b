"""Finds the cause: reads the configuration, calls the upstream where that tells causes apart, asks the rules."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from troth.agent.material import look_into_files
from troth.agent.reading import read_config, read_unverified
from troth.errors import TrothError
from troth.host import clock
from troth.host.handshake import Call, shake, speaks_http, verify_live
from troth.host.nginx import Nginx, NginxTestError
from troth.nginx.diagnosis import Diagnosis, diagnose, needs_more
from troth.nginx.diagnosis.peers import names_of
from troth.nginx.diagnosis.rule import ANSWER, LOG, REFUSED_CONFIG, SILENCE
from troth.nginx.diagnosis.silence import WHYS
from troth.nginx.diagnosis.situation import SILENT, Handshake, Probed, Situation
from troth.nginx.diagnosis.symptom import Symptom
from troth.nginx.findings import examine
from troth.nginx.findings.rule import Subject, paths_of
from troth.nginx.map import Place, guards, identity_map, upstream_groups
from troth.nginx.selector import listens
from troth.nginx.target import is_address, parse_target
from troth.nginx.tree import parse_config

TRIES = 4
LOST_ALERT = "client-refused-by-reset"
_FILES = re.compile(r'"(/[^"]+)"')


@dataclass(frozen=True)
class Known:
    """The configuration with what is in its files; `refused` is nginx's word where it does not take it."""

    nginx: Nginx
    subject: Subject
    refused: str = ""

    def about(self, place: Place) -> dict[str, str]:
        """What is found at the lines that a place depends on, by rule; the same for places that share an upstream."""
        key = (place.key, place.group)
        if key not in self._told:
            lines = _related(place, self._by_key.get(place.key, []), self.subject)
            found = sorted(entry for line in lines for entry in self._by_line.get(line, ()))
            told: dict[str, str] = {}
            for _, rule, text in found:
                told.setdefault(rule, text)
            self._told[key] = told
        return self._told[key]

    @cached_property
    def _told(self) -> dict[tuple[tuple[str, str], str], dict[str, str]]:
        return {}

    @cached_property
    def _by_key(self) -> dict[tuple[str, str], list[Place]]:
        found: dict[tuple[str, str], list[Place]] = {}
        for place in self.subject.places:
            found.setdefault(place.key, []).append(place)
        return found

    @cached_property
    def _by_line(self) -> dict[str, list[tuple[int, str, str]]]:
        """Rank, rule and text of every finding, by its line."""
        subject = self.subject
        found: dict[str, list[tuple[int, str, str]]] = {}
        every = examine(subject.config, subject.places, subject.capabilities, subject.facts)
        for rank, one in enumerate(every):
            found.setdefault(one.where, []).append((rank, one.id, f"{one.where}: {one.what}"))
        return found


def read(nginx: Nginx) -> Known:
    """Read the configuration, by ourselves where nginx refuses it.

    Raises:
        TrothError: it cannot be read.
    """
    refused = ""
    try:
        config = read_config(nginx)
    except NginxTestError as error:
        refused = error.message.removeprefix("nginx refuses the configuration: ")
        try:
            config = read_unverified(nginx)
        except TrothError:
            config = parse_config({str(nginx.main): b""}, str(nginx.main))
    places, asking = identity_map(config), guards(config)
    facts = look_into_files(config, places, asking, nginx, clock.now())
    return Known(nginx, Subject(config, places, asking, nginx.capabilities(), facts), refused)


def explain(symptom: Symptom, known: Known | None, place: Place | None = None) -> Diagnosis | None:
    """The cause of one symptom; the upstream is called where the line alone does not tell.

    Args:
        symptom: the line or answer.
        known: the configuration, if there is one that it is about.
        place: the location that it is about; found by the line's own fields where None.
    """
    chosen = place or (place_of(symptom, known.subject) if known is not None else None)
    situation = look(symptom, known, chosen)
    if needs_more(symptom) and symptom.source not in (REFUSED_CONFIG, SILENCE):
        situation = replace(situation, probed=_probe_for(symptom, situation))
    found = diagnose(symptom, situation)
    alert = _alert_of(situation) if found is not None and found.id == LOST_ALERT else None
    if found is None or alert is None:
        return found
    # What got lost to the reset is what our own handshake was told.
    better = diagnose(Symptom(f"SSL alert number {alert}", LOG), situation)
    return replace(better, evidence=(*found.evidence, *better.evidence[1:])) if better is not None else found


def _alert_of(situation: Situation) -> int | None:
    return situation.mine.alert if situation.mine is not None else None


def examine_places(known: Known, places: Sequence[Place]) -> Iterator[Diagnosis]:
    """Call the upstream of each place and say what is wrong there, one cause a place; the same call is made once."""
    made: dict[object, Probed | None] = {}
    for place in places:
        situation = look(Symptom(""), known, place)
        call = _called_for(place, known.subject)
        if call not in made:
            made[call] = probe(situation)
        probed = made[call]
        if probed is None:
            continue
        situation = replace(situation, probed=probed)
        for symptom in symptoms(situation):
            found = diagnose(symptom, situation)
            if found is not None:
                yield found
                break


def _called_for(place: Place, subject: Subject) -> object:
    """What a place's handshakes depend on."""
    trust = place.value("ssl_trusted_certificate") if place.is_on("ssl_verify") else None
    name = place.name if place.is_on("ssl_server_name") else ""
    return (peer_of(place, Symptom("")), name, trust, _pair(place, subject), place.module == "stream")


def look(symptom: Symptom, known: Known | None, place: Place | None) -> Situation:
    """What is known without calling anybody."""
    heads = {}
    for path in _FILES.findall(symptom.text):
        with contextlib.suppress(OSError), Path(path).open("rb") as stream:
            heads[path] = stream.read(64)
    if known is None:
        return Situation(clock.now(), heads=heads)
    subject = known.subject
    if place is None and symptom.source == REFUSED_CONFIG:
        place = _by_file(symptom, subject)
    found = known.about(place) if place is not None and not known.refused else {}
    return Situation(clock.now(), place, subject, None, heads, found)


def _by_file(symptom: Symptom, subject: Subject) -> Place | None:
    """The place that names a file of the line."""
    named = set(_FILES.findall(symptom.text))
    for place in subject.places:
        values = (place.value("ssl_certificate"), place.value("ssl_certificate_key"))
        if named & {path for value in values for path in paths_of(subject.config, value)}:
            return place
    return None


def _related(place: Place, same: Sequence[Place], subject: Subject) -> set[str]:
    """The lines that a place depends on: its own, its settings', and those of places that share its upstream."""
    lines = {setting.where for one in same for setting in one.settings.values()} | {one.where for one in same}
    block = upstream_groups(subject.config).get(place.group.lower()) if place.group else None
    return lines | ({node.where for node in (block, *block.walk())} if block is not None else set())


def place_of(symptom: Symptom, subject: Subject) -> Place | None:
    """The place that a line is about: its server, its location, its upstream must fit."""
    best: tuple[int, Place | None] = (0, None)
    for place in subject.places:
        points = 0
        if symptom.upstream is not None:
            peers = {parse_target(f"https://{peer}").peer for peer in place.peers} | {*place.peers, place.group}
            fits = symptom.upstream.authority in peers or symptom.upstream.peer in peers
            resolved = any(not is_address(parse_target(f"https://{peer}").host) for peer in place.peers)
            if not fits and not resolved:
                continue
            points += 4 if fits else 1
        if symptom.server and symptom.server in place.servers:
            points += 2
        # A line of stream names the address that the client came to.
        if place.module == "stream" and ":" in symptom.server and _came_to(place, symptom.server):
            points += 8
        words = place.path.split(" ")
        if symptom.path and symptom.path.startswith(words[-1]):
            points += 8 + len(words[-1])
        if points > best[0]:
            best = (points, place)
    return best[1]


def _came_to(place: Place, address: str) -> bool:
    return listens(place.node, address) or listens(place.node, f":{address.rpartition(':')[2]}")


def peer_of(place: Place | None, symptom: Symptom) -> tuple[str, int] | str | None:
    """Whom to call: the line's own upstream, else the place's first peer; None where it is not written down."""
    authority = ""
    # "no live upstreams" names the group.
    if symptom.upstream is not None and not (place is not None and symptom.upstream.authority == place.group):
        authority = symptom.upstream.authority
    elif place is not None and place.peers:
        authority = place.peers[0]
    if not authority or "$" in authority:
        return None
    if authority.startswith("unix:"):
        return authority.removeprefix("unix:").rstrip(":/")
    scheme = place.target.partition("://")[0] if place is not None and "://" in place.target else "https"
    target = parse_target(f"{scheme}://{authority}")
    port = target.port or "443"
    return (target.host, int(port)) if port.isdigit() else None


def _probe_for(symptom: Symptom, situation: Situation) -> Probed | None:
    for _ in range(TRIES):
        probed = probe(situation, symptom)
        # An alert of TLS 1.3 may be lost to the reset that follows it.
        tries = (probed.own, probed.named) if probed is not None else ()
        if not any(one is not None and one.problem in ("reset", "closed") and one.tls for one in tries):
            break
    return probed


def probe(situation: Situation, symptom: Symptom | None = None) -> Probed | None:
    """The handshakes that tell causes apart, as this place would make them."""
    place = situation.place
    peer = peer_of(place, symptom or Symptom(""))
    if peer is None:
        return None
    name, pair, roots = "", None, []
    if place is not None and situation.subject is not None:
        name = place.name if place.is_on("ssl_server_name") and not is_address(place.name) else ""
        roots = situation.subject.trust(place) if place.is_on("ssl_verify") else []
        pair = _pair(place, situation.subject)
    elif isinstance(peer, tuple) and not is_address(peer[0]):
        name = peer[0]
    host = name or (peer[0] if isinstance(peer, tuple) else "localhost")
    call = Call(peer, name, None, roots, host, asks=place is None or place.module != "stream")
    named = shake(call)
    answers = named.connected and (named.tls or named.problem != SILENT)
    if answers:
        named = replace(named, verified=verify_live(call))
    address = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else peer
    own = shake(replace(call, pair=pair)) if pair is not None and answers else None
    plain = speaks_http(peer, call.host) if named.connected and not named.tls and named.alert is None else None
    return Probed(address, named, own, None, plain)


def _pair(place: Place, subject: Subject) -> tuple[Path, Path] | None:
    files = [paths_of(subject.config, place.value(name)) for name in ("ssl_certificate", "ssl_certificate_key")]
    return (Path(files[0][0]), Path(files[1][0])) if all(files) else None


def symptoms(situation: Situation) -> Iterator[Symptom]:
    """What nginx would write, or the upstream answer, after a handshake that went like ours."""
    place, probed = situation.place, situation.probed
    if place is None or probed is None or probed.named is None:
        return
    mine = probed.own or probed.named
    for text in _lines(place, probed, mine, situation):
        yield Symptom(f'{text}, upstream: "{place.target}"', LOG)
    if mine.status in (400, 421) and mine.body:
        yield Symptom(gist(mine.body), ANSWER)


def gist(body: str) -> str:
    """nginx's own words out of an answer."""
    found = re.search(r"<title>([^<]*)</title>", body)
    heading = re.findall(r"<center>(?:<h1>)?([^<]*)", body)
    return " / ".join(dict.fromkeys([found[1] if found else body.partition("\r\n")[0], *heading]))


def _lines(place: Place, probed: Probed, mine: Handshake, situation: Situation) -> Iterator[str]:
    words = {
        "refused": "connect() failed (111: Connection refused) while connecting to upstream",
        "unresolved": f"{place.name} could not be resolved (3: Host not found)",
        "no TLS": "SSL_do_handshake() failed (SSL: wrong version number) while SSL handshaking to upstream",
    }
    if mine.problem == "unreachable":
        yield f"connect() to {probed.address} failed (113: No route to host)"
    # Whoever has shaken hands and takes its time for a page is no matter of TLS.
    if mine.problem == "silent" and not mine.tls:
        phase = "SSL handshaking" if mine.connected else "connecting"
        yield f"upstream timed out (110: Connection timed out) while {phase} to upstream"
    if mine.problem in words:
        yield words[mine.problem]
    if mine.alert is not None:
        yield f"SSL_do_handshake() failed (SSL: alert:SSL alert number {mine.alert}) while SSL handshaking to upstream"
    if probed.named is not None and probed.named.verified:
        code = probed.named.verified
        yield f"upstream SSL certificate verify error: ({code}:) while SSL handshaking to upstream"
    depth = place.value("ssl_verify_depth", "1")
    if situation.verified == 0 and depth.isdigit() and situation.intermediates > int(depth):
        yield "upstream SSL certificate verify error: (20:unable to get local issuer certificate)"
    if place.is_on("ssl_verify") and situation.presented and not _matches(place.name, names_of(situation.presented[0])):
        yield f'upstream SSL certificate does not match "{place.name}" while SSL handshaking to upstream'
    if mine.problem == "reset":
        yield "connect() failed (104: Connection reset by peer) while connecting to upstream"
    if mine.problem == "closed" and not mine.tls:
        yield "peer closed connection in SSL handshake while SSL handshaking to upstream"


def _matches(name: str, names: Sequence[str]) -> bool:
    wanted = name.lower()
    tail = "*." + wanted.partition(".")[2]
    return "$" in name or any(one.lower() in (wanted, tail) for one in names)


def silent(why: str) -> Symptom | None:
    """The symptom of a word for something that nobody logs."""
    return Symptom(why, SILENCE) if why in WHYS else None
