"""What a location says about itself, made concrete: its identity's files read, its names without variables."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from troth.agent.checks import Facts, read_facts
from troth.agent.prove.rows import ProveError
from troth.host.files import read_file
from troth.host.witness import Shown
from troth.nginx.map import Place, upstream_groups
from troth.nginx.target import Target, parse_target
from troth.nginx.tree import Config, Directive
from troth.nginx.variables import possible_values, variables
from troth.x509.keys import KeyPasswordError, PrivateKey, parse_private_key
from troth.x509.pem import parse_blocks

DATA = "data:"


@dataclass(frozen=True, slots=True)
class Identity:
    """The certificate a location shows, and its key."""

    facts: Facts
    shown: Shown


@dataclass(frozen=True, slots=True)
class Subject:
    """A location to be proven. `identity` is None where it shows none; `base` is what relative names count from."""

    config: Config
    place: Place
    base: Path
    identity: Identity | None
    name: str

    @property
    def host(self) -> str:
        """A name its server answers to, which a request may carry."""
        return next((name for name in self.place.servers if name and name[0] not in "~*."), "localhost")

    @property
    def target(self) -> Target:
        return parse_target(self.place.target)

    def path_of(self, value: str) -> Path:
        return self.base / value

    def single(self, value: str, what: str) -> str:
        """A value without variables, where the configuration leaves one possibility.

        Raises:
            ProveError: it leaves none or several.
        """
        if not variables(value):
            return value
        found = possible_values(self.config, value)
        if len(found) != 1:
            count = f"{len(found)} values" if found else "values from outside the configuration"
            raise ProveError(f"{self.place.where}: {what} {value} has {count} and cannot be proven")
        return found[0]


def read_subject(config: Config, place: Place) -> Subject:
    """Read what a location shows.

    Raises:
        ProveError: what it shows depends on the request.
        TrothError: its files cannot be read.
    """
    bare = Subject(config, place, Path(config.main).parent, None, "")
    return Subject(config, place, bare.base, _identity(bare), _name(bare))


def groups_of(subject: Subject) -> Mapping[str, Directive]:
    """The upstream groups that its ``proxy_pass`` or the like may name, by name in lower case."""
    return upstream_groups(subject.config, "stream" if subject.place.module == "stream" else "http")


def _identity(subject: Subject) -> Identity | None:
    place = subject.place
    certificate = subject.single(place.value("ssl_certificate"), "certificate")
    key = subject.single(place.value("ssl_certificate_key"), "key")
    if not certificate or not key:
        return None
    facts = read_facts(_content(subject, certificate), certificate)
    return Identity(facts, Shown(facts.chain, _key(subject, key)))


def _content(subject: Subject, value: str) -> bytes:
    return value.removeprefix(DATA).encode() if value.startswith(DATA) else read_file(subject.path_of(value))


def _key(subject: Subject, value: str) -> PrivateKey:
    text = _content(subject, value)
    found = next((block.text for block in parse_blocks(text) if block.label.endswith("PRIVATE KEY")), text)
    passwords: list[bytes | None] = [None]
    listed = subject.place.value("ssl_password_file")
    if listed:
        passwords += read_file(subject.path_of(listed)).splitlines()
    for password in passwords[:-1]:
        try:
            return parse_private_key(found, password, value)
        except KeyPasswordError:
            continue
    return parse_private_key(found, passwords[-1], value)


def _name(subject: Subject) -> str:
    """The name that is checked, where it does not depend on who asks."""
    name = subject.place.name
    for variable, value in (
        ("$proxy_host", subject.target.host),
        ("$http_host", subject.host),
        ("$host", subject.host),
        ("$server_name", subject.place.servers[0]),
    ):
        name = name.replace(variable, value)
    return subject.single(name, "proxy_ssl_name")
