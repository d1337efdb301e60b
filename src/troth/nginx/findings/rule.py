"""The shape of a rule and of what it finds."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath
from typing import NamedTuple

from cryptography import x509

from troth.nginx.capabilities import Capabilities
from troth.nginx.map import Guard, Place
from troth.nginx.material import Facts, FileFacts
from troth.nginx.tree import Config
from troth.nginx.variables import possible_values

INFO, WARNING, ERROR = "info", "warning", "error"
SEVERITIES = (INFO, WARNING, ERROR)


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding; `id` is stable, `where` is file:line."""

    id: str
    severity: str
    where: str
    what: str
    why: str
    fix: str


class Hit(NamedTuple):
    """Where a rule applies and what it saw there; `family` is what the directives of the fix begin with."""

    where: str
    what: str
    family: str = "proxy"


@dataclass(frozen=True)
class Subject:
    """What rules look at. `facts` is None where nobody looked into the files."""

    config: Config
    places: Sequence[Place]
    guards: Sequence[Guard]
    capabilities: Capabilities
    facts: Facts | None = None
    _files: dict[str, tuple[FileFacts, ...]] = field(default_factory=dict, compare=False, repr=False)

    def files(self, value: str) -> tuple[FileFacts, ...]:
        """The files that a setting names, a relative name counted from the main file; several for a variable."""
        if self.facts is None or not value:
            return ()
        if value not in self._files:
            known = (self.facts.files.get(path) for path in paths_of(self.config, value))
            self._files[value] = tuple(one for one in known if one is not None)
        return self._files[value]

    def trust(self, place: Place) -> list[x509.Certificate]:
        """The certificates that a place trusts."""
        return [one for file in self.files(place.value("ssl_trusted_certificate")) for one in file.certificates]

    @property
    def now(self) -> datetime:
        """The moment at which the files were looked into."""
        assert self.facts is not None
        return self.facts.now


@dataclass(frozen=True, slots=True)
class Rule:
    """What is looked for, how grave it is, why it matters, and what cures it; ``{family}`` is proxy, grpc or uwsgi.

    `unseen` says why no test shows what it warns of.
    """

    id: str
    severity: str
    title: str
    why: str
    fix: str
    check: Callable[[Subject], Iterator[Hit]]
    unseen: str = ""

    def findings(self, subject: Subject) -> Iterator[Finding]:
        """What it finds, each place once."""
        for hit in dict.fromkeys(self.check(subject)):
            fix = self.fix.replace("{family}", hit.family)
            yield Finding(self.id, self.severity, hit.where, hit.what, self.why, fix)


def of_places(check: Callable[[Place, Subject], Iterator[Hit]]) -> Callable[[Subject], Iterator[Hit]]:
    """A rule about each place on its own."""
    return lambda subject: (hit for place in subject.places for hit in check(place, subject))


def of_guards(check: Callable[[Guard, Subject], Iterator[Hit]]) -> Callable[[Subject], Iterator[Hit]]:
    """A rule about each server that asks for client certificates."""
    return lambda subject: (hit for guard in subject.guards for hit in check(guard, subject))


def at(place: Place, what: str, setting: str = "") -> Hit:
    """A hit on a place's setting, or on the place itself."""
    return Hit(place.where_of(setting), what, place.family)


def paths_of(config: Config, value: str) -> list[str]:
    """The files a value can name; nothing for values that name none."""
    base = PurePosixPath(config.main).parent
    texts = [text for text in possible_values(config, value) if text]
    return [str(base / text) for text in texts if not text.startswith(("data:", "engine:", "store:"))]
