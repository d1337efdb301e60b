"""An authority and an nginx that exist in memory only, and do what real ones do: also fail, at a chosen moment."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from tests.rig.pki import Pair, Pki
from troth.agent.agent import Agent
from troth.agent.checks import Facts
from troth.agent.config import Config, Identity, Source
from troth.agent.log import Log
from troth.agent.proxy import Proof, ProofError
from troth.agent.rotation import Checkpoint
from troth.agent.state import JOURNAL, IdentityState, read_states
from troth.client import ClientError
from troth.errors import TrothError
from troth.host import clock
from troth.host.generations import Generations, Material
from troth.host.nginx import NginxTestError, ReloadError
from troth.x509.keys import key_matches, parse_private_key
from troth.x509.pem import parse_certificates

NO_TIME = timedelta(0)
Faulty = Callable[[Identity], Material]


def material(pair: Pair, trust: Path) -> Material:
    """The three files of a generation."""
    return Material(pair.certificate.read_bytes(), pair.key.read_bytes(), trust.read_bytes())


class SimulatedIssuer:
    """Signs at once for anybody.

    `refusals` are the reasons to refuse, by identity; `faulty` replaces what is handed out; `shift` moves the life of
    new certificates, which is 25 hours of which one is over.
    """

    def __init__(self, pki: Pki) -> None:
        self.pki = pki
        self.asked: list[str] = []
        self.refusals: dict[str, str] = {}
        self.faulty: Faulty | None = None
        self.shift = NO_TIME

    def obtain(self, identity: Identity, previous: Material | None, now: datetime) -> Material:
        self.asked.append(identity.name)
        if identity.name in self.refusals:
            raise ClientError(self.refusals[identity.name])
        if self.faulty is not None:
            return self.faulty(identity)
        file = f"{identity.name}-{len(self.asked)}"
        return material(self.pki.leaf(identity.subject, file=file, shift=self.shift), self.pki.trust)


class SimulatedProxy:
    """Shows what the files held when it last (re)loaded, as nginx does.

    `fail` makes calls of a kind fail: ``test``, ``reload``, ``prove``. `up` says whether it runs. `before` is told the
    kind of each call.
    """

    def __init__(self, identities: tuple[Identity, ...]) -> None:
        self._identities = identities
        self._failures: dict[str, list[str]] = {}
        self.shown: dict[str, int] = {}
        self.calls: list[str] = []
        self.before: Checkpoint = lambda _: None
        self.up = True
        self.following: set[str] = set()
        self.closed = ""

    def fail(self, kind: str, *reasons: str) -> None:
        """The next calls of this kind fail for these reasons; an empty one succeeds."""
        self._failures[kind] = list(reasons)

    def load(self) -> None:
        """Read the files as they are now, a missing one not at all."""
        present = [one for one in self._identities if one.certificate.exists()]
        self.shown = {one.name: serial_of(one.certificate) for one in present}

    def running(self) -> bool:
        return self.up

    def test(self) -> None:
        self._call("test", NginxTestError)

    def reload(self) -> str:
        self._call("reload", ReloadError)
        self.load()
        return "workers serve"

    def follows(self, name: str) -> bool:
        return name in self.following

    def refusal(self, key: Path) -> str:
        return self.closed

    def prove(self, name: str, facts: Facts, timeout: float) -> Proof:
        self._call("prove", ProofError)
        if name in self.following:
            self.load()
        if self.shown.get(name) != facts.serial:
            raise ProofError(f"nginx shows serial {self.shown.get(name)}, expected serial {facts.serial}")
        return Proof("witness", f"nginx showed serial {facts.serial}")

    def _call(self, kind: str, error: type[TrothError]) -> None:
        self.before(kind)
        self.calls.append(kind)
        reasons = self._failures.get(kind, [])
        reason = reasons.pop(0) if reasons else ""
        if reason:
            raise error(reason)


def serial_of(certificate: Path) -> int:
    return parse_certificates(certificate.read_bytes())[0].serial_number


class Bench:
    """One agent with simulated surroundings; the identities are ``app`` and ``db`` unless others are given."""

    def __init__(self, directory: Path, identities: tuple[Identity, ...] = ()) -> None:
        self.directory = directory
        self.pki = Pki(directory / "pki")
        self.issuer = SimulatedIssuer(self.pki)
        chosen = identities or (kept(directory, "app"), kept(directory, "db"))
        self.config = Config(directory / "troth.toml", directory / "state", chosen, ())
        self.proxy = SimulatedProxy(chosen)
        self.app = chosen[0]
        self.passed = NO_TIME

    def now(self) -> datetime:
        return clock.now() + self.passed

    def wait(self, duration: timedelta) -> None:
        """Let time pass, for the agent and the authority."""
        self.passed += duration
        self.issuer.shift += duration

    def agent(self, checkpoint: Checkpoint = lambda _: None) -> Agent:
        """A new agent on the same files, as after a restart."""
        return Agent(self.config, self.issuer, self.proxy, Log(quiet=True), lambda: 0.5, checkpoint, self.now)

    async def started(self) -> Agent:
        """An agent whose identities have their first certificates, proven; what was called so far is forgotten."""
        agent = self.agent()
        await agent.start()
        assert all(result.ok for result in await agent.act())
        self.proxy.calls.clear()
        self.issuer.asked.clear()
        return agent

    def state(self, name: str = "app") -> IdentityState:
        """What the state file says."""
        return read_states(self.config.state)[name]

    def serial(self, name: str = "app") -> int:
        """The serial at the identity's path; the key beside it must belong to it."""
        identity = self.config.identity(name)
        certificate = parse_certificates(identity.certificate.read_bytes())[0]
        assert key_matches(certificate, parse_private_key(identity.key.read_bytes())), "key of another certificate"
        return certificate.serial_number

    def generations(self, name: str = "app") -> Generations:
        directory = self.config.identity(name).directory
        assert directory is not None
        return Generations(directory)

    def records(self) -> list[str]:
        """The rotations on record as under way."""
        return sorted(path.name for path in (self.config.state / JOURNAL).glob("*"))


def kept(directory: Path, name: str) -> Identity:
    """An identity that the agent renews."""
    return Identity(name, f"{name}.test", (), directory / name, Source("https://ca.test"))


def owned(pair: Pair, trust: Path, name: str = "own") -> Identity:
    """An identity whose files belong to somebody else."""
    return Identity(name, "", (), None, None, pair.certificate, pair.key, trust)
