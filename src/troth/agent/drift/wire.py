"""Who nginx says it is, right now: the witness of an identity called once through the running workers."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography import x509

from troth.agent.drift.rows import NOTHING
from troth.agent.proxy import hidden_ports, serial_of_answer, witnessing
from troth.errors import TrothError
from troth.host.files import reason
from troth.host.http import get
from troth.x509.pem import parse_certificates

TIMEOUT_SECONDS = 2.0
NOTED_SECONDS = 1.0
FOREIGN, BROKEN_OFF, NONE = "another authority's certificate", "handshake broken off", "no certificate"


@dataclass(frozen=True, slots=True)
class Sighting:
    """The serial that the workers showed, or why none was seen; by one `module` where they differ."""

    serial: int | None = None
    why: str = ""
    module: str = ""

    @property
    def wrong(self) -> bool:
        """Whether the workers were reached and showed nothing that could be the certificate on disk."""
        return self.why.startswith((FOREIGN, BROKEN_OFF, NONE))

    @property
    def text(self) -> str:
        seen = (
            short(self.serial)
            if self.serial is not None
            else self.why
            if self.wrong
            else f"not seen: {self.why}"
            if self.why
            else NOTHING
        )
        return f"{self.module}: {seen}" if self.module else seen


def short(serial: int) -> str:
    text = f"{serial:x}"
    return text if len(text) <= 16 else f"{text[:12]}…"


def see(
    name: str, include_dir: Path, witness_dir: Path, anchors: Sequence[x509.Certificate], expected: int | None
) -> Sighting:
    """Call the witness of an identity through nginx.

    Args:
        name: the identity's.
        include_dir: where the generated files are, which tell the witness's port.
        witness_dir: directory of the witness's socket.
        anchors: certificates by which the witness believes what is shown.
        expected: the serial on disk; a module that shows another is the one to tell of.
    """
    ports = hidden_ports(include_dir, name)
    if not ports:
        return Sighting(why="no witness is declared in nginx")
    if not witness_dir.is_dir():
        return Sighting(why=f"no agent has run: {witness_dir} does not exist")
    seen = {module: _ask(name, port, witness_dir, anchors) for module, port in ports.items()}
    return telling(seen, expected)


def telling(seen: Mapping[str, Sighting], expected: int | None) -> Sighting:
    """Of what several modules showed the one to tell of: another certificate, else none, else what all showed."""
    others = [module for module, one in seen.items() if one.serial not in (None, expected)]
    silent = [module for module, one in seen.items() if one.serial is None]
    if not others and not silent:
        return next(iter(seen.values()))
    module = (others or silent)[0]
    return replace(seen[module], module=module if len(seen) > 1 else "")


def _ask(name: str, port: int, witness_dir: Path, anchors: Sequence[x509.Certificate]) -> Sighting:
    try:
        with witnessing(witness_dir / f"{name}.out", anchors, TIMEOUT_SECONDS) as witness:
            reply = get(port, "/", "witness", timeout=TIMEOUT_SECONDS)
            text = serial_of_answer(reply.body) if reply.status == 200 else ""
            if not text:
                # A refusal is on the wire, and back through nginx, before the witness has noted it.
                witness.wait_for(1, NOTED_SECONDS)
            refused = next((one.refused for one in witness.seen if one.refused), "")
    except TrothError as error:
        return Sighting(why=error.message)
    except OSError as error:
        return Sighting(why=f"cannot use {error.filename}: {reason(error)}")
    if text:
        return Sighting(int(text))
    if refused:
        # What a certificate was refused for has a number (`troth.host.witness`).
        other = refused.endswith(")")
        return Sighting(why=f"{FOREIGN if other else BROKEN_OFF}: {refused}")
    answer = reply.status or "nothing"
    return Sighting(why=NONE if reply.status == 200 else f"nginx answered {answer}")


def anchors_of(chains: Sequence[bytes]) -> list[x509.Certificate]:
    """Every certificate of these chains, as far as they can be read."""
    found: list[x509.Certificate] = []
    for chain in chains:
        with contextlib.suppress(TrothError):
            found += parse_certificates(chain)
    return found
