"""The nginx that shows the identities, as the agent needs it: test, reload, prove which certificate is on the wire."""

import contextlib
import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from cryptography import x509

from troth.agent import AgentError
from troth.agent.checks import Facts
from troth.agent.config import Config
from troth.agent.material import closed_to_workers
from troth.host import HostError, clock
from troth.host.files import locked, read_file
from troth.host.http import get
from troth.host.nginx import Nginx, find_nginx
from troth.host.witness import Shown, Witness
from troth.nginx.family import FAMILIES, LEVELS
from troth.nginx.render import (
    CACHE_VALID_SECONDS,
    VARIABLE_IDLE_SECONDS,
    VARIABLE_KEEPALIVE_SECONDS,
    is_variable,
    witness_ports,
)
from troth.x509.keys import PrivateKey, generate_key

POLL_SECONDS = 0.02
UNREACHABLE_SECONDS = 2.0
# What nginx answers when a variable names a certificate or key that does not load.
UNLOADABLE = 500
SERIAL = re.compile(r"[0-9A-Fa-f]{8,40}|\d{8,49}")


class ProofError(AgentError):
    """nginx does not show the certificate it should."""


@dataclass(frozen=True, slots=True)
class Proof:
    """How the new certificate was seen: ``upstream``, ``witness``, ``generation``, or ``""`` (nginx does not run)."""

    kind: str
    detail: str = ""


class Proxy(Protocol):
    """What a rotation needs of nginx; tests use a simulated one."""

    def running(self) -> bool: ...

    def test(self) -> None:
        """Raises: TrothError: the configuration is refused."""
        ...

    def reload(self) -> str:
        """Reload and wait for new workers; says which. Raises: TrothError: the old ones go on."""
        ...

    def follows(self, name: str) -> bool:
        """Whether it reads an identity's certificate and key at each handshake, so that a rotation needs no reload."""
        ...

    def refusal(self, key: Path) -> str:
        """Why its workers may not read a key that they are to read; empty where they may."""
        ...

    def prove(self, name: str, facts: Facts, timeout: float) -> Proof:
        """Raises: ProofError: another certificate is shown than `facts`."""
        ...


class NoProxy:
    """Identities that no nginx shows: files are kept, nothing is reloaded."""

    def running(self) -> bool:
        return False

    def test(self) -> None:
        return None

    def reload(self) -> str:
        return ""

    def follows(self, name: str) -> bool:
        return False

    def refusal(self, key: Path) -> str:
        return ""

    def prove(self, name: str, facts: Facts, timeout: float) -> Proof:
        return Proof("", "no nginx is declared")


class NginxProxy:
    """A real nginx.

    Args:
        nginx: which one.
        reload_command: run instead of ``nginx -s reload``; empty for that.
        include_dir: where the generated files are, from which the witness ports are read.
        witness_dir: directory of the witness's sockets.
        reports: per identity, URLs whose answer contains the serial the upstream saw.
    """

    def __init__(
        self,
        nginx: Nginx,
        reload_command: Sequence[str],
        include_dir: Path,
        witness_dir: Path,
        reports: dict[str, tuple[str, ...]],
    ) -> None:
        self._nginx = nginx
        self._command = tuple(reload_command)
        self._include_dir = include_dir
        self._witness_dir = witness_dir
        self._reports = reports

    def running(self) -> bool:
        try:
            self._nginx.generation()
        except HostError:
            return False
        return True

    def test(self) -> None:
        self._nginx.test()

    def reload(self) -> str:
        generation = self._nginx.reload(self._command)
        return f"workers {', '.join(map(str, sorted(generation.workers)))} serve"

    def follows(self, name: str) -> bool:
        return follows(self._include_dir, name)

    def refusal(self, key: Path) -> str:
        return closed_to_workers(None, self._nginx, key)[0]

    def prove(self, name: str, facts: Facts, timeout: float) -> Proof:
        deadline = time.monotonic() + timeout
        for url in self._reports.get(name, ()):
            return _await_report(url, facts, deadline)
        ports = hidden_ports(self._include_dir, name)
        if not ports:
            return Proof("generation", "no location of this nginx shows the identity through troth's include yet")
        path = self._witness_dir / f"{name}.out"
        proofs = [_await_witness(path, module, port, facts, deadline) for module, port in ports.items()]
        proof = min(proofs, key=lambda proof: proof.kind == "witness")
        if not self.follows(name):
            return proof
        later = CACHE_VALID_SECONDS + VARIABLE_KEEPALIVE_SECONDS + VARIABLE_IDLE_SECONDS
        return replace(proof, detail=f"{proof.detail}; connections that are kept end within {later} s")


def follows(include_dir: Path, name: str) -> bool:
    """Whether the generated files let the workers read an identity at each handshake, in every module that shows it."""
    texts = []
    for family in FAMILIES:
        with contextlib.suppress(HostError):
            texts.append(read_file(include_dir / family.identity_file(name)).decode("utf-8", "replace"))
    return bool(texts) and all(is_variable(text) for text in texts)


def hidden_ports(include_dir: Path, name: str) -> dict[str, int]:
    """Where nginx can be asked for an identity, by module: each has TLS contexts of its own, which may differ."""
    ports: dict[str, int] = {}
    for level in LEVELS:
        with contextlib.suppress(HostError):
            ports |= witness_ports(read_file(include_dir / f"{level}.conf").decode("utf-8", "replace"))
    return {family.name: ports[family.witness(name)] for family in FAMILIES if family.witness(name) in ports}


def _await_report(url: str, facts: Facts, deadline: float) -> Proof:
    """Ask the upstream, through nginx, until it reports the new serial: one request may still reach an old worker."""
    parts = urlsplit(url)
    seen = "nothing"
    while time.monotonic() < deadline:
        reply = get(parts.port or 80, parts.path or "/", parts.netloc, parts.hostname or "127.0.0.1", 5)
        text = reply.body.decode("utf-8", "replace")
        numbers = set(SERIAL.findall(text))
        if any(_is_serial(number, facts.serial) for number in numbers):
            return Proof("upstream", f"{url} reports serial {facts.serial:x}")
        seen = f"status {reply.status}: {text[:120]!r}"
        time.sleep(POLL_SECONDS)
    raise ProofError(f"upstream does not report serial {facts.serial}: {url} answered {seen}")


def _is_serial(text: str, serial: int) -> bool:
    return int(text, 16) == serial or (text.isdigit() and int(text) == serial)


def _await_witness(path: Path, module: str, port: int, facts: Facts, deadline: float) -> Proof:
    unreachable = time.monotonic() + UNREACHABLE_SECONDS
    with witnessing(path, facts.chain, max(deadline - time.monotonic(), 0)) as witness:
        while True:
            reply = get(port, "/", "witness", timeout=5)
            seen = serial_of_answer(reply.body) if reply.status == 200 else ""
            if seen == str(facts.serial):
                return Proof("witness", f"nginx showed serial {facts.serial:x} to the witness by {module}")
            now = time.monotonic()
            if now >= deadline or (not witness.seen and now >= unreachable):
                break
            time.sleep(POLL_SECONDS)
        if not witness.seen:
            if reply.status == UNLOADABLE:
                raise ProofError(f"nginx answers {UNLOADABLE} by {module}: its workers cannot load the pair")
            answer = reply.status or reply.body.decode("utf-8", "replace")
            why = f"nginx answered {answer} and did not reach the witness: may its workers pass {path.parent}?"
            return Proof("generation", why)
    reason = next((one.refused for one in reversed(witness.seen) if one.refused), "")
    shows = f"serial {int(seen):x}" if seen else f"nothing acceptable ({reason})" if reason else "no certificate"
    raise ProofError(f"nginx shows {shows} by {module}, expected serial {facts.serial:x}")


@contextlib.contextmanager
def witnessing(path: Path, anchors: Sequence[x509.Certificate], timeout: float) -> Iterator[Witness]:
    """Listen as the witness at a socket, which one process may do at a time: an agent that proves, or who looks.

    Raises:
        HostError: another process listens and did not end in time, or the socket cannot be made.
    """
    with locked(path, timeout=timeout), Witness(path, _shown(), list(anchors)) as witness:
        yield witness


def serial_of_answer(body: bytes) -> str:
    """The serial in decimal that a witness reports; empty when it saw none."""
    try:
        return str(json.loads(body).get("serial", ""))
    except (ValueError, AttributeError):
        return ""


@cache
def _shown() -> Shown:
    """The witness's own certificate: nginx is told not to check it, it only carries the handshake."""
    key = generate_key()
    return Shown((self_signed("witness", key),), key)


def self_signed(name: str, key: PrivateKey) -> x509.Certificate:
    """A certificate for a day that nobody trusts."""
    from datetime import timedelta

    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    now = clock.now()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(
        issuer_name=subject,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - timedelta(hours=1),
        not_valid_after=now + timedelta(days=3650),
    )
    return builder.sign(key, hashes.SHA256())


def proxy_for(config: Config) -> Proxy:
    """The nginx a declaration means; none when it names no location and no nginx."""
    settings = config.nginx
    if not config.locations and settings == type(settings)():
        return NoProxy()
    nginx = find_nginx(settings.binary, settings.conf, settings.prefix)
    reports: dict[str, tuple[str, ...]] = {}
    for location in config.locations:
        if location.report:
            reports[location.identity] = (*reports.get(location.identity, ()), location.report)
    return NginxProxy(nginx, settings.reload, include_directory(config, nginx), witness_directory(config), reports)


def include_directory(config: Config, nginx: Nginx) -> Path:
    """Where the generated files are: as declared, else ``troth`` beside the main configuration file."""
    return config.nginx.include_dir or nginx.main.parent / "troth"


def witness_directory(config: Config) -> Path:
    return config.state / "witness"
