"""Who nginx says it is, right now: the witness of an identity called once through the running workers."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from troth.agent.drift.rows import NOTHING
from troth.agent.proxy import hidden_ports, serial_of_answer, witnessing
from troth.errors import TrothError
from troth.host.http import get
from troth.x509.pem import parse_certificates

TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Sighting:
    """The serial that the workers showed, or why none was seen."""

    serial: int | None = None
    why: str = ""

    @property
    def text(self) -> str:
        return short(self.serial) if self.serial is not None else f"not seen: {self.why}" if self.why else NOTHING


def short(serial: int) -> str:
    text = f"{serial:x}"
    return text if len(text) <= 16 else f"{text[:12]}…"


def see(name: str, include_dir: Path, witness_dir: Path, anchors: Sequence[x509.Certificate]) -> Sighting:
    """Call the witness of an identity through nginx.

    Args:
        name: the identity's.
        include_dir: where the generated files are, which tell the witness's port.
        witness_dir: directory of the witness's socket.
        anchors: certificates by which the witness believes what is shown.
    """
    ports = hidden_ports(include_dir, name)
    if not ports:
        return Sighting(why="no witness is declared in nginx")
    if not witness_dir.is_dir():
        return Sighting(why=f"{witness_dir} does not exist, which the agent makes")
    seen = {module: _ask(name, port, witness_dir, anchors) for module, port in ports.items()}
    first = next(iter(seen.values()))
    other = next(((module, one) for module, one in seen.items() if one.serial != first.serial), None)
    if other is None:
        return first
    return Sighting(why=f"{next(iter(seen))} shows {first.text}, {other[0]} shows {other[1].text}")


def _ask(name: str, port: int, witness_dir: Path, anchors: Sequence[x509.Certificate]) -> Sighting:
    try:
        with witnessing(witness_dir / f"{name}.out", anchors, TIMEOUT_SECONDS) as witness:
            reply = get(port, "/", "witness", timeout=TIMEOUT_SECONDS)
            text = serial_of_answer(reply.body) if reply.status == 200 else ""
            refused = next((one.refused for one in witness.seen if one.refused), "")
    except TrothError as error:
        return Sighting(why=error.message)
    if text:
        return Sighting(int(text))
    if refused:
        return Sighting(why=f"shows a certificate of another authority ({refused})")
    answer = reply.status or "nothing"
    return Sighting(why="shows no certificate" if reply.status == 200 else f"nginx answered {answer}")


def anchors_of(chains: Sequence[bytes]) -> list[x509.Certificate]:
    """Every certificate of these chains, as far as they can be read."""
    found: list[x509.Certificate] = []
    for chain in chains:
        with contextlib.suppress(TrothError):
            found += parse_certificates(chain)
    return found
