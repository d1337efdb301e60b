"""The identity map: which location shows which identity to whom, and trusts what, with inheritance resolved.

nginx inherits per directive: the nearest enclosing level that has it wins, and for lists such as ``proxy_set_header``
a level with one line drops every inherited line.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from troth.nginx.target import parse_target
from troth.nginx.tree import Config, Directive

GENERATED = b"# Written by troth from its declaration; edits here are lost. See: troth nginx plan\n"
FAMILIES = {"proxy": "https", "grpc": "grpcs", "uwsgi": "suwsgi"}


@dataclass(frozen=True, slots=True)
class Setting:
    """A directive in effect: its arguments, where it stands, and how many levels out (0: the place's own)."""

    arguments: tuple[str, ...]
    where: str
    level: int

    @property
    def value(self) -> str:
        return self.arguments[0] if self.arguments else ""


@dataclass(frozen=True, slots=True)
class Guard:
    """A server that asks for client certificates; `mode` is what ``ssl_verify_client`` says."""

    servers: tuple[str, ...]
    where: str
    mode: str
    listens: tuple[str, ...]
    settings: dict[str, Setting]
    node: Directive = field(compare=False, repr=False)

    def value(self, name: str, default: str = "") -> str:
        """A setting's first argument without ``ssl_``: ``client_certificate``, ``verify_depth`` ..."""
        setting = self.settings.get(name)
        return setting.value if setting is not None else default

    def where_of(self, name: str) -> str:
        """The line of a setting, or of the server when it is not set."""
        return self.settings[name].where if name in self.settings else self.where

    def to_json(self) -> dict[str, object]:
        """For machines."""
        settings = {n: {"value": " ".join(s.arguments), "where": s.where} for n, s in self.settings.items()}
        return {"servers": list(self.servers), "where": self.where, "mode": self.mode, "settings": settings}


@dataclass(frozen=True, slots=True)
class Place:
    """A location (or stream server) that talks TLS to an upstream."""

    module: str
    servers: tuple[str, ...]
    path: str
    where: str
    target: str
    group: str
    peers: tuple[str, ...]
    settings: dict[str, Setting]
    node: Directive = field(compare=False, repr=False)

    @property
    def family(self) -> str:
        """What its directives begin with: those of stream are called proxy_ too."""
        return "proxy" if self.module == "stream" else self.module

    @property
    def name(self) -> str:
        """The name that the upstream's certificate is checked for."""
        given = self.settings.get("ssl_name")
        target = parse_target(self.target)
        return given.value if given is not None else "localhost" if target.is_unix else target.host

    @property
    def key(self) -> tuple[str, str]:
        """What sessions and idle connections are kept by: places that have it in common share them."""
        return (self.module, self.group or target_host(self.target))

    @property
    def listens(self) -> str:
        """What a server of stream listens on, as written; empty for a location."""
        lines = self.node.find("listen") if self.module == "stream" else []
        return " ".join(d.arguments[0] for d in lines if d.arguments)

    def is_on(self, name: str, default: str = "off") -> bool:
        return self.value(name, default) == "on"

    def where_of(self, name: str) -> str:
        """The line of a setting, or of the place when it is not set."""
        return self.settings[name].where if name in self.settings else self.where

    def value(self, name: str, default: str = "") -> str:
        """A setting's first argument, the family's prefix left out: ``ssl_certificate``, ``ssl_verify`` ..."""
        setting = self.settings.get(name)
        return setting.value if setting is not None else default

    def to_json(self) -> dict[str, object]:
        """For machines."""
        settings = {n: {"value": " ".join(s.arguments), "where": s.where} for n, s in self.settings.items()}
        return {
            "module": self.module,
            "servers": list(self.servers),
            "location": self.path,
            "where": self.where,
            "upstream": self.target,
            "group": self.group,
            "peers": list(self.peers),
            "settings": settings,
        }


def http_servers(config: Config) -> list[Directive]:
    """Every ``server`` of ``http``, those from included files too, but not the hidden ones that `render` writes."""
    servers = config.http.find("server") if config.http is not None else []
    return [server for server in servers if not is_generated(config, server.file)]


def is_generated(config: Config, file: str) -> bool:
    """Whether a file was written by `render`."""
    return config.files.get(file, b"").startswith(GENERATED)


def server_names(server: Directive) -> tuple[str, ...]:
    """The names a server answers to; one without has the empty name."""
    names = tuple(name for directive in server.find("server_name") for name in directive.arguments)
    return names or ("",)


def listen_ports(server: Directive) -> set[str]:
    """The ports a server listens on; a Unix socket has none."""
    ports = set()
    for address in [d.arguments[0] for d in server.find("listen") if d.arguments] or ["80"]:
        tail = address.rpartition("]")[2]
        if not address.startswith("unix:"):
            ports.add(tail if tail.isdigit() else tail.partition(":")[2] or "80")
    return ports


def locations(server: Directive) -> Iterator[Directive]:
    """Every location below a server, nested ones too."""
    return (node for node in server.walk() if node.name == "location")


def location_path(location: Directive) -> str:
    """The location as written: ``/api``, ``= /``, ``~ \\.php$``."""
    return " ".join(location.arguments)


def effective(block: Directive, name: str) -> Directive | None:
    """The directive in effect in a block: its own, else the nearest enclosing level's."""
    node: Directive | None = block
    while node is not None:
        found = node.first(name)
        if found is not None:
            return found
        node = node.parent
    return None


def effective_list(block: Directive, name: str) -> list[Directive]:
    """A list directive in effect: all lines of the nearest level that has any."""
    node: Directive | None = block
    while node is not None:
        found = node.find(name)
        if found:
            return found
        node = node.parent
    return []


def upstream_groups(config: Config, level: str = "http") -> Mapping[str, Directive]:
    """``upstream`` blocks of http or stream by name, which nginx compares in lower case."""
    block = config.level(level)
    return _groups(block) if block is not None else {}


@lru_cache(maxsize=4)
def _groups(block: Directive) -> Mapping[str, Directive]:
    return {group.arguments[0].lower(): group for group in block.find("upstream") if group.arguments}


def identity_map(config: Config) -> list[Place]:
    """Every place that talks TLS to an upstream, in the order of the configuration."""
    places = [place for server in http_servers(config) for place in _http_places(config, server)]
    if config.stream is not None:
        groups = upstream_groups(config, "stream")
        for server in config.stream.find("server"):
            if is_generated(config, server.file):
                continue
            target, switch = server.first("proxy_pass"), effective(server, "proxy_ssl")
            if target is not None and switch is not None and switch.arguments == ("on",):
                places.append(_place("stream", server, server, target, "proxy", groups))
    return places


def guards(config: Config) -> list[Guard]:
    """Every http server that asks for client certificates, in the order of the configuration."""
    found = []
    for server in http_servers(config):
        settings = _settings(server, "ssl")
        mode = settings["verify_client"].value if "verify_client" in settings else "off"
        if mode != "off":
            where = settings["verify_client"].where
            found.append(Guard(server_names(server), where, mode, listen_addresses(server), settings, server))
    return found


def listen_addresses(server: Directive) -> tuple[str, ...]:
    """What a server listens on with TLS, as written."""
    return tuple(d.arguments[0] for d in server.find("listen") if "ssl" in d.arguments[1:] or "quic" in d.arguments[1:])


def _http_places(config: Config, server: Directive) -> Iterator[Place]:
    groups = upstream_groups(config)
    for node in server.walk():
        family = node.name.removesuffix("_pass")
        if family not in FAMILIES or node.name == family or not node.arguments:
            continue
        if not node.arguments[0].lower().startswith(f"{FAMILIES[family]}://"):
            continue
        around = node.enclosing("location") or server
        yield _place(family, server, around, node, family, groups)


def _place(
    module: str, server: Directive, around: Directive, target: Directive, family: str, groups: Mapping[str, Directive]
) -> Place:
    host = target_host(target.arguments[0] if target.arguments else "")
    group = groups.get(host.lower())
    peers = tuple(p.arguments[0] for p in group.find("server") if p.arguments) if group is not None else (host,)
    path = location_path(around) if around.name == "location" else ""
    settings = _settings(target.parent or around, family)
    return Place(
        module,
        server_names(server),
        path,
        target.where,
        " ".join(target.arguments),
        host if group else "",
        peers,
        settings,
        target.parent or around,
    )


def target_host(target: str) -> str:
    """``host[:port]`` of a ``proxy_pass`` value."""
    return parse_target(target).authority


def _settings(block: Directive, family: str) -> dict[str, Setting]:
    settings: dict[str, Setting] = {}
    node: Directive | None = block
    level = 0
    while node is not None:
        for name, children in node.named.items():
            child = next((one for one in children if not one.is_block), None) if name.startswith(f"{family}_") else None
            if child is not None:
                settings.setdefault(name.removeprefix(f"{family}_"), Setting(child.arguments, child.where, level))
        node, level = node.parent, level + 1
    return settings
