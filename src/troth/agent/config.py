"""``troth.toml``: which identities exist, where they are kept, and which nginx locations show them."""

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from troth.agent import AgentError
from troth.durations import parse_time_or_duration
from troth.errors import TrothError
from troth.host.files import read_file
from troth.nginx.client_auth import LEAST_DEPTH, SOURCES
from troth.nginx.client_auth import MODES as CLIENT_MODES
from troth.nginx.client_headers import is_header_name
from troth.nginx.target import unusable_upstream

_AGENT = ("state", "log", "renew-at", "proof-timeout")
_NGINX = ("binary", "conf", "prefix", "include-dir", "reload")
_IDENTITY = ("name", "subject", "sans", "dir", "ca", "certificate", "key", "trust", "kty", "mode", "group")
_CA = ("url", "provisioner", "password-file", "token-file", "fingerprint", "root", "not-after")
_LOCATION = ("server", "path", "identity", "upstream", "name", "mode", "report")
_STREAM = ("listen", "identity", "upstream", "name", "mode", "report")
_CLIENT_AUTH = ("server", "trust", "mode", "depth", "headers")
_UPSTREAMS = ("https", "grpcs", "suwsgi")
MODES = ("static", "variable", "auto")


class ConfigError(AgentError):
    """``troth.toml`` cannot be used; the message names file and key."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where an identity's certificates come from."""

    url: str
    provisioner: str = ""
    password_file: Path | None = None
    token_file: Path | None = None
    fingerprint: str = ""
    root: Path | None = None
    not_after: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """One certificate to keep: ours to renew (`source` and `directory`), or the user's own files to watch."""

    name: str
    subject: str
    sans: tuple[str, ...] = ()
    directory: Path | None = None
    source: Source | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    trust_file: Path | None = None
    kty: str = "EC"
    key_mode: int = 0o600
    group: str = ""

    @property
    def renewed(self) -> bool:
        return self.source is not None

    @property
    def certificate(self) -> Path:
        return self.certificate_file or self._current / "client.crt"

    @property
    def key(self) -> Path:
        return self.key_file or self._current / "client.key"

    @property
    def trust(self) -> Path:
        return self.trust_file or self._current / "ca.crt"

    @property
    def _current(self) -> Path:
        assert self.directory is not None
        return self.directory / "current"


@dataclass(frozen=True, slots=True)
class Location:
    """One nginx location that shows an identity; or a server of stream, which has no path and is told by `listen`."""

    path: str
    identity: str
    server: str = ""
    upstream: str = ""
    name: str = ""
    mode: str = "static"
    report: str = ""
    listen: str = ""

    @property
    def label(self) -> str:
        """What it is called in messages."""
        return f"stream {self.listen}" if self.listen else f"{self.server} {self.path}".strip()


@dataclass(frozen=True, slots=True)
class ClientAuth:
    """One nginx server that asks its clients for certificates; `headers` None means the usual ones."""

    server: str
    trust: Path
    mode: str = "on"
    depth: int = LEAST_DEPTH
    headers: tuple[tuple[str, str], ...] | None = None


@dataclass(frozen=True, slots=True)
class NginxSettings:
    """Which nginx, and how to reload it; None and empty mean: find out."""

    binary: Path | None = None
    conf: Path | None = None
    prefix: Path | None = None
    include_dir: Path | None = None
    reload: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file."""

    path: Path
    state: Path
    identities: tuple[Identity, ...]
    locations: tuple[Location, ...]
    nginx: NginxSettings = field(default_factory=NginxSettings)
    guards: tuple[ClientAuth, ...] = ()
    log: str = "text"
    renew_at: float = 2 / 3
    proof_timeout: float = 10.0

    def identity(self, name: str) -> Identity:
        """Raises: ConfigError: there is no such identity."""
        found = next((one for one in self.identities if one.name == name), None)
        if found is None:
            known = ", ".join(one.name for one in self.identities) or "none"
            raise ConfigError(f"{self.path}: there is no identity {name!r}; there are: {known}")
        return found


def load(path: Path) -> Config:
    """Read a file.

    Raises:
        ConfigError: it is missing, not TOML, or something in it is not usable.
    """
    if not path.exists():
        raise ConfigError(f"{path} does not exist", hint="write one, or name it: --config /etc/nginx/troth.toml")
    return parse(read_file(path, limit=1_000_000).decode("utf-8", "replace"), path.absolute())


def parse(text: str, path: Path) -> Config:
    """Read a text; relative names are below the directory of `path`.

    Raises:
        ConfigError: something is not usable; nothing is guessed.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {str(error).lower()}") from error
    except RecursionError as error:
        raise ConfigError(f"{path} is nested too deeply to be read") from error
    reader = _Reader(path)
    reader.known(raw, ("agent", "nginx", "identity", "location", "stream", "client-auth"), "")
    agent, nginx = reader.table(raw, "agent"), reader.table(raw, "nginx")
    reader.known(agent, _AGENT, "[agent]")
    reader.known(nginx, _NGINX, "[nginx]")
    config = Config(
        path=path,
        state=reader.path(agent, "state", "[agent]") or path.parent / "troth-state",
        identities=tuple(reader.identity(one) for one in reader.tables(raw, "identity")),
        locations=(
            *(reader.location(one) for one in reader.tables(raw, "location")),
            *(reader.stream(one) for one in reader.tables(raw, "stream")),
        ),
        nginx=reader.nginx(nginx),
        guards=tuple(reader.client_auth(one) for one in reader.tables(raw, "client-auth")),
        log=reader.choice(agent, "log", ("text", "json"), "[agent]"),
        renew_at=reader.number(agent, "renew-at", 2 / 3, 0.1, 0.95, "[agent]"),
        proof_timeout=reader.number(agent, "proof-timeout", 10.0, 0.1, 300.0, "[agent]"),
    )
    _check_whole(config)
    return config


def _check_whole(config: Config) -> None:
    names = [identity.name for identity in config.identities]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{config.path}: two identities are named {name!r}")
    directories = [identity.directory.resolve() for identity in config.identities if identity.directory]
    for directory in directories:
        if directories.count(directory) > 1:
            raise ConfigError(f"{config.path}: two identities are kept in {directory}")
    for location in config.locations:
        config.identity(location.identity)
    servers = [guard.server for guard in config.guards]
    for server in servers:
        if servers.count(server) > 1:
            raise ConfigError(f"{config.path}: client-auth of server {server!r} is declared twice")
    places = [(location.server, location.path, location.listen) for location in config.locations]
    for place in places:
        if places.count(place) > 1:
            what = f"stream {place[2]!r}" if place[2] else f"location {place[1]!r} of server {place[0]!r}"
            raise ConfigError(f"{config.path}: {what} is declared twice")


class _Reader:
    """Takes values out of tables, each checked, and names the place of what is wrong."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def fail(self, message: str, hint: str | None = None) -> ConfigError:
        return ConfigError(f"{self._path}: {message}", hint=hint)

    def known(self, table: Mapping[str, Any], names: tuple[str, ...], where: str) -> None:
        for key in table:
            if key not in names:
                close = difflib.get_close_matches(key, names, 1)
                hint = f"did you mean {close[0]!r}" if close else f"known keys: {', '.join(names)}"
                raise self.fail(f"unknown key {key!r} {where}".rstrip(), hint)

    def table(self, raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        value = raw.get(name, {})
        if not isinstance(value, dict):
            raise self.fail(f"{name} must be a table: [{name}]")
        return value

    def tables(self, raw: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
        value = raw.get(name, [])
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise self.fail(f"{name} must be a list of tables: [[{name}]]")
        return value

    def text(self, table: Mapping[str, Any], key: str, where: str, *, required: bool = False) -> str:
        value = table.get(key, "")
        if not isinstance(value, str) or (required and not value) or any(ord(c) < 32 for c in value):
            raise self.fail(f"{key} {where} must be a text" + (", it is missing" if key not in table else ""))
        return value

    def texts(self, table: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
        value = table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
            raise self.fail(f"{key} {where} must be a list of texts")
        return tuple(value)

    def path(self, table: Mapping[str, Any], key: str, where: str) -> Path | None:
        value = self.text(table, key, where)
        try:
            return self._path.parent / Path(value).expanduser() if value else None
        except RuntimeError:
            raise self.fail(f"{key} {where} is {value!r}, there is no such user") from None

    def url(self, table: Mapping[str, Any], key: str, where: str, scheme: str, *, required: bool = False) -> str:
        value = self.text(table, key, where, required=required)
        try:
            parts = urlsplit(value)
            usable = parts.scheme == scheme and parts.hostname and (parts.port is None or parts.port > 0)
        except ValueError:
            usable = False
        if value and not usable:
            raise self.fail(f"{key} {where} is {value!r}, expected {scheme}://host[:port]")
        return value

    def value(self, table: Mapping[str, Any], key: str, where: str, parser: Callable[[str], object]) -> str:
        """A text that must be readable by `parser`, whose reason is quoted."""
        value = self.text(table, key, where)
        try:
            if value:
                parser(value)
        except TrothError as error:
            raise self.fail(f"{key} {where} is not usable: {error.message}", error.hint) from error
        return value

    def choice(self, table: Mapping[str, Any], key: str, choices: tuple[str, ...], where: str) -> str:
        value = self.text(table, key, where) or choices[0]
        if value not in choices:
            raise self.fail(f"{key} {where} is {value!r}, expected {' or '.join(choices)}")
        return value

    def number(self, table: Mapping[str, Any], key: str, default: float, low: float, high: float, where: str) -> float:
        value = table.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.fail(f"{key} {where} is {value!r}, expected a number from {low} to {high}")
        return float(value)

    def nginx(self, table: Mapping[str, Any]) -> NginxSettings:
        where = "[nginx]"
        return NginxSettings(
            self.path(table, "binary", where),
            self.path(table, "conf", where),
            self.path(table, "prefix", where),
            self.path(table, "include-dir", where),
            self.texts(table, "reload", where),
        )

    def identity(self, table: Mapping[str, Any]) -> Identity:
        self.known(table, _IDENTITY, _of("identity", table.get("name")))
        name = self.text(table, "name", "of an [[identity]]", required=True)
        where = _of("identity", name)
        wrong = unusable_identity(name)
        if wrong:
            raise self.fail(wrong)
        own = [key for key in ("certificate", "key", "trust") if key in table]
        if "ca" in table and own:
            raise self.fail(f"identity {name!r} has both ca and {own[0]}: expected one of them")
        if "ca" not in table:
            return self._own_files(table, name, where)
        directory = self.path(table, "dir", where)
        if directory is None:
            raise self.fail(f"dir {where} is missing: expected the directory its files are kept in")
        return Identity(
            name,
            self.text(table, "subject", where) or name,
            self.texts(table, "sans", where),
            directory,
            self._source(table["ca"], where),
            kty=self.choice(table, "kty", ("EC", "RSA", "OKP"), where),
            key_mode=self._mode(table, where),
            group=self.text(table, "group", where),
        )

    def _own_files(self, table: Mapping[str, Any], name: str, where: str) -> Identity:
        paths = [self.path(table, key, where) for key in ("certificate", "key", "trust")]
        for key, path in zip(("certificate", "key", "trust"), paths, strict=True):
            if path is None:
                raise self.fail(f"{key} {where} is missing: expected ca and dir, or certificate, key and trust")
        for key in ("dir", "sans", "kty", "mode", "group"):
            if key in table:
                raise self.fail(f"{key} {where} belongs to an identity with ca: these files are kept by their owner")
        subject = self.text(table, "subject", where)
        return Identity(name, subject, (), None, None, paths[0], paths[1], paths[2])

    def _mode(self, table: Mapping[str, Any], where: str) -> int:
        text = self.text(table, "mode", where) or ("0640" if table.get("group") else "0600")
        if not text.isdigit() or any(digit not in "01234567" for digit in text) or int(text, 8) & ~0o660:
            raise self.fail(f"mode {where} is {text!r}, expected an octal such as 0600 or 0640")
        return int(text, 8)

    def _source(self, raw: object, where: str) -> Source:
        table = {"url": raw} if isinstance(raw, str) else raw
        if not isinstance(table, dict):
            raise self.fail(f"ca {where} must be a URL or a table")
        self.known(table, _CA, f"of ca {where}")
        where = f"of ca {where}"
        return Source(
            self.url(table, "url", where, "https", required=True),
            self.text(table, "provisioner", where),
            self.path(table, "password-file", where),
            self.path(table, "token-file", where),
            self.value(table, "fingerprint", where, _check_fingerprint),
            self.path(table, "root", where),
            self.value(table, "not-after", where, parse_time_or_duration),
        )

    def location(self, table: Mapping[str, Any]) -> Location:
        self.known(table, _LOCATION, _of("location", table.get("path")))
        path = self.text(table, "path", "of a [[location]]", required=True)
        where = _of("location", path)
        return Location(
            path,
            self.text(table, "identity", where, required=True),
            self.text(table, "server", where),
            self.upstream(table, where),
            self.server_name(table, where),
            self.choice(table, "mode", MODES, where),
            self.url(table, "report", where, "http"),
        )

    def upstream(self, table: Mapping[str, Any], where: str) -> str:
        """The upstream of a location, whose scheme says which module talks to it."""
        text = self.text(table, "upstream", where)
        self._usable_upstream(text, where)
        scheme = text.partition("://")[0].lower()
        return self.url(table, "upstream", where, scheme if scheme in _UPSTREAMS[1:] else _UPSTREAMS[0])

    def _usable_upstream(self, text: str, where: str) -> None:
        # What has variables is refused when planning, with the line that it would replace.
        wrong = unusable_upstream(text) if text and "$" not in text else ""
        if wrong:
            raise self.fail(f"{wrong}, {where}")

    def server_name(self, table: Mapping[str, Any], where: str) -> str:
        name = self.text(table, "name", where)
        wrong = unusable_server_name(name)
        if wrong:
            raise self.fail(f"{wrong}, {where}")
        return name

    def client_auth(self, table: Mapping[str, Any]) -> ClientAuth:
        self.known(table, _CLIENT_AUTH, _of("client-auth", table.get("server")))
        server = self.text(table, "server", "of a [[client-auth]]", required=True)
        where = _of("client-auth", server)
        trust = self.path(table, "trust", where)
        if trust is None:
            raise self.fail(f"trust {where} is missing: expected the file of its clients' root certificates")
        depth = self.number(table, "depth", LEAST_DEPTH, 0, 10, where)
        if depth != int(depth):
            raise self.fail(f"depth {where} is {depth}, expected a whole number")
        mode = self.choice(table, "mode", CLIENT_MODES, where)
        return ClientAuth(server, trust, mode, int(depth), self._headers(table, where))

    def _headers(self, table: Mapping[str, Any], where: str) -> tuple[tuple[str, str], ...] | None:
        value = table.get("headers")
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.fail(f'headers {where} must be a table: headers = {{ X-SSL-Client-Verify = "verify" }}')
        for name, source in value.items():
            if not is_header_name(name):
                raise self.fail(f"header {name!r} {where} is not usable: expected letters, digits and dashes")
            if not isinstance(source, str) or source not in SOURCES:
                raise self.fail(f"header {name} {where} is {source!r}, expected one of {', '.join(SOURCES)}")
        if len({name.lower() for name in value}) < len(value):
            raise self.fail(f"headers {where} name one header twice")
        return tuple(value.items())

    def stream(self, table: Mapping[str, Any]) -> Location:
        self.known(table, _STREAM, _of("stream", table.get("listen")))
        listen = self.text(table, "listen", "of a [[stream]]", required=True)
        where = _of("stream", listen)
        upstream = self.text(table, "upstream", where)
        if "://" in upstream:
            raise self.fail(f"upstream {where} is {upstream!r}, expected host:port, without a scheme")
        self._usable_upstream(upstream, where)
        return Location(
            "",
            self.text(table, "identity", where, required=True),
            upstream=upstream,
            name=self.server_name(table, where),
            mode=self.choice(table, "mode", MODES, where),
            report=self.url(table, "report", where, "http"),
            listen=listen,
        )


def unusable_identity(name: str) -> str:
    """Why an identity cannot have this name, which files are named after; empty where it can."""
    if name.replace("-", "").replace("_", "").replace(".", "").isalnum() and not name.startswith("."):
        return ""
    return f"identity name {name!r} is not usable: expected letters, digits, dots, dashes, underscores"


def unusable_server_name(name: str) -> str:
    """Why an upstream's certificate cannot be held to this name; a variable of nginx may be what a client sends."""
    if not name or re.fullmatch(r"[A-Za-z0-9._:\[\]-]+", name):
        return ""
    return f"name {name[:80]!r} is not usable: expected the DNS name in the upstream's certificate"


def _of(kind: str, name: object) -> str:
    return f"of {kind} {name!r}" if name else f"of an {kind}" if kind == "identity" else f"of a {kind}"


def _check_fingerprint(text: str) -> None:
    from troth.client.authority import normalise_fingerprint

    normalise_fingerprint(text)
