"""Rows on identities and what they trust: the files on disk against what the workers hold and show."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from troth.agent.checks import check, read_facts
from troth.agent.config import Identity
from troth.agent.drift.rows import NOTHING, Row, moment
from troth.agent.drift.wire import Sighting, anchors_of, short
from troth.agent.drift.world import World
from troth.agent.rotation import current_material, generations_of
from troth.errors import TrothError
from troth.host.files import read_file
from troth.host.generations import CERTIFICATE, TRUST, Material
from troth.nginx.findings.files import label
from troth.x509.pem import parse_certificates

NOT, IN_MEMORY, BY_WORKERS = "not", "in memory", "by workers"


@dataclass(frozen=True, slots=True)
class Kept:
    """An identity's files on disk (None: missing, or `problem` says why), and those of its other generations."""

    identity: Identity
    material: Material | None
    problem: str
    others: tuple[Path, ...]

    @property
    def anchors(self) -> list[x509.Certificate]:
        """Every certificate by which the witness may believe what nginx shows, old ones too."""
        chains = [self.material.certificate] if self.material is not None else []
        return anchors_of([*chains, *(data for path in self.others if (data := _bytes(path / CERTIFICATE)))])

    @property
    def serial(self) -> int | None:
        """Of the certificate on disk."""
        try:
            return read_facts(self.material.certificate).serial if self.material is not None else None
        except TrothError:
            return None


def keep(identity: Identity) -> Kept:
    """Read an identity's files."""
    others: tuple[Path, ...] = ()
    if identity.renewed:
        generations = generations_of(identity)
        others = tuple(generations.path(n) for n in generations.numbers() if n != generations.current())
    try:
        return Kept(identity, current_material(identity), "", others)
    except TrothError as error:
        return Kept(identity, None, error.message, others)


def _bytes(path: Path) -> bytes:
    try:
        return read_file(path)
    except TrothError:
        return b""


def identity_rows(
    kept: Kept, world: World, sighting: Sighting, now: datetime, steps: Mapping[str, str], held: str
) -> Iterator[Row]:
    """The row of an identity and that of its trust.

    Args:
        kept: its files.
        world: what is there.
        sighting: whom its witness saw.
        now: the moment, for its dates.
        steps: commands by name: ``renew``, ``reload``.
        held: how nginx has its pair: `NOT`, `IN_MEMORY`, or `BY_WORKERS` at each handshake.
    """
    identity, material = kept.identity, kept.material
    declared = identity.subject or str(identity.certificate)
    row = ("identity", identity.name, declared)
    step = steps["renew"] if identity.renewed else "put the right files there, then: " + steps["reload"]
    if material is None:
        what = kept.problem or f"{identity.certificate}, its key or its trust does not exist"
        yield Row(*row, "missing", NOTHING, sighting.text, "identity-missing", what, step)
        return
    try:
        facts = check(material, now, subject=identity.subject, own_authority=identity.renewed)
    except TrothError as error:
        yield Row(*row, _disk(material), NOTHING, sighting.text, "identity-unfit", error.message, step)
    else:
        yield _shown(row, facts.serial, _disk(material), kept, world, sighting, steps, held)
    if held != NOT:
        yield _trust(kept, material, world, sighting, steps["reload"])


def _disk(material: Material) -> str:
    try:
        facts = read_facts(material.certificate)
    except TrothError:
        return "unreadable"
    return f"{short(facts.serial)} until {facts.not_after:%Y-%m-%d %H:%M}"


def _shown(
    row: tuple[str, str, str],
    serial: int,
    disk: str,
    kept: Kept,
    world: World,
    sighting: Sighting,
    steps: Mapping[str, str],
    held: str,
) -> Row:
    """Whether nginx shows what is on disk: by what was seen on the wire, else by when the files changed."""
    if held == NOT or world.since is None:
        return Row(*row, disk, NOTHING, sighting.text if held != NOT else NOTHING)
    identity = kept.identity
    if held == BY_WORKERS:
        return _read_each_time(row, serial, disk, sighting)
    if sighting.serial == serial:
        return Row(*row, disk, "as on disk", sighting.text)
    newer = world.newer([str(identity.certificate), str(identity.key)])
    loaded = f"since {moment(world.since)}"
    if sighting.serial is not None:
        by = f" by {sighting.module}" if sighting.module else ""
        what = f"nginx shows serial {sighting.serial:x}{by}, on disk is {serial:x}"
        return Row(*row, disk, loaded, sighting.text, "not-on-wire", what, steps["reload"])
    if sighting.wrong:
        what = f"serial {serial:x} on disk is not what nginx shows: {sighting.why}"
        return Row(*row, disk, loaded, sighting.text, "not-on-wire", what, steps["reload"])
    if newer:
        what = f"{newer[0][0]} changed after nginx read it"
        return Row(*row, disk, f"{loaded}, older", sighting.text, "older-identity", what, steps["reload"])
    return Row(*row, disk, "as on disk", sighting.text)


def _read_each_time(row: tuple[str, str, str], serial: int, disk: str, sighting: Sighting) -> Row:
    """Nothing is loaded that could be older; what is not shown the workers could not read."""
    loaded = "at each handshake"
    if sighting.serial == serial or sighting.text == NOTHING:
        return Row(*row, disk, loaded, sighting.text)
    seen = f"serial {sighting.serial:x}" if sighting.serial is not None else sighting.text
    what = f"the workers read the pair at each handshake, and serial {serial:x} on disk is not shown: {seen}"
    return Row(*row, disk, loaded, sighting.text, "not-on-wire", what, "see why: troth nginx doctor")


def _trust(kept: Kept, material: Material, world: World, sighting: Sighting, reload: str) -> Row:
    """The roots that the upstream must lead to: what nginx loaded is what lay beside the certificate that it shows."""
    identity = kept.identity
    row = ("trust", identity.name, identity.trust.name, _roots(material.trust))
    if world.since is None:
        return Row(*row)
    loaded = _loaded_trust(kept, sighting)
    if loaded is None:
        # A new generation with the trust of those before has changed nothing that nginx should have read again.
        same = {_bytes(path / TRUST) for path in kept.others} == {material.trust}
        loaded = material.trust if same or not world.newer([str(identity.trust)]) else b""
    if loaded == material.trust:
        return Row(*row, "as on disk")
    what = f"{identity.trust} changed after nginx read it, and nginx goes on with the roots of before"
    return Row(*row, _roots(loaded) if loaded else "older", NOTHING, "older-trust", what, reload)


def _loaded_trust(kept: Kept, sighting: Sighting) -> bytes | None:
    """The trust of the generation whose certificate is on the wire; None where that is not known."""
    if not kept.identity.renewed or sighting.serial is None:
        return None
    for path in kept.others:
        try:
            if read_facts(_bytes(path / CERTIFICATE)).serial == sighting.serial:
                return _bytes(path / TRUST) or None
        except TrothError:
            continue
    return None


def _roots(data: bytes) -> str:
    """Names and ends of the roots, with a few digits of the first one's fingerprint."""
    try:
        roots = parse_certificates(data)
    except TrothError:
        return "unreadable"
    more = f" and {len(roots) - 1} more" if len(roots) > 1 else ""
    return f"{label(roots[0])} {roots[0].fingerprint(SHA256()).hex()[:8]}{more}"
