"""Which location, or server of stream, a declaration means: exactly one, or a refusal that lists the candidates."""

from collections.abc import Iterator

from troth.nginx.declaration import Declaration, PlanError
from troth.nginx.map import (
    http_servers,
    is_generated,
    listen_ports,
    location_path,
    locations,
    server_names,
)
from troth.nginx.tree import Config, Directive


def find_place(config: Config, wanted: Declaration) -> Directive:
    """The block that a declaration means.

    Raises:
        PlanError: there is none, or several.
    """
    if wanted.listen:
        return find_stream_server(config, wanted.listen)
    if config.http is None:
        raise PlanError(
            f"{config.main} has no http block", hint='a server of stream is told by: [[stream]] listen = "5432"'
        )
    return find_location(config, wanted.server, wanted.path)


def find_location(config: Config, server: str, path: str) -> Directive:
    """The one location a selector means.

    Args:
        server: a name the server answers to, ``name:port`` or ``:port``; empty means any.
        path: as written, with its modifier where another location has the same path.

    Raises:
        PlanError: there is none, or several.
    """
    wanted = path.strip()
    candidates = [
        (one, location)
        for one in http_servers(config)
        if not server or answers(one, server)
        for location in locations(one)
    ]
    exact = [location for _, location in candidates if wanted == location_path(location)]
    exact = exact or [location for _, location in candidates if wanted == location.arguments[-1]]
    if len(exact) == 1:
        return exact[0]
    label = f"location {wanted!r}" + (f" of server {server!r}" if server else "")
    if exact:
        found = "; ".join(f"{location_path(location)} at {location.where}" for location in exact)
        raise PlanError(
            f"{label} is not the only one: {found}",
            hint="name the server, with its port as in app.example:443, or the location with its modifier",
        )
    known = [f"{'/'.join(server_names(one))} {location_path(location)}" for one, location in candidates]
    if not known:
        known = [" ".join(server_names(one)) or "(no name)" for one in http_servers(config)]
    raise PlanError(f"there is no {label}; there are: {'; '.join(known) or 'no servers'}")


def answers(server: Directive, wanted: str) -> bool:
    """Whether a server of http is meant by a name, ``name:port`` or ``:port``."""
    names = server_names(server)
    if wanted in names:
        return True
    name, colon, port = wanted.rpartition(":")
    return bool(colon) and (not name or name in names) and port in listen_ports(server)


def stream_servers(config: Config) -> list[Directive]:
    """Every ``server`` of ``stream``, but not the hidden ones that `render` writes."""
    found = config.stream.find("server") if config.stream is not None else []
    return [server for server in found if not is_generated(config, server.file)]


def find_stream_server(config: Config, listen: str) -> Directive:
    """The one server of stream a selector means.

    Args:
        listen: what it listens on: ``5432``, ``:5432``, ``10.0.0.1:5432``, ``unix:/path``, or ``name:5432`` where
            servers of one port are told apart by ``server_name`` (nginx 1.25.5).

    Raises:
        PlanError: there is none, or several.
    """
    wanted = listen.strip()
    candidates = stream_servers(config)
    found = [one for one in candidates if wanted in _addresses(one)]
    found = found or [one for one in candidates if wanted.removeprefix(":") in _ports(one)]
    found = found or [one for one in candidates if _named(one, wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        places = "; ".join(_label(one) for one in found)
        raise PlanError(
            f"stream server {wanted!r} is not the only one: {places}",
            hint="give the address as written in listen, or name:port where server_name tells them apart",
        )
    known = "; ".join(_label(one) for one in candidates) or "no servers of stream"
    raise PlanError(f"there is no stream server {wanted!r}; there are: {known}")


def listens(server: Directive, wanted: str) -> bool:
    """Whether a server of stream may be meant by what it listens on."""
    return wanted in _addresses(server) or wanted.removeprefix(":") in _ports(server) or _named(server, wanted)


def _addresses(server: Directive) -> list[str]:
    return [d.arguments[0] for d in server.find("listen") if d.arguments]


def _ports(server: Directive) -> Iterator[str]:
    for address in _addresses(server):
        if not address.startswith("unix:"):
            tail = address.rpartition("]")[2]
            yield tail.rpartition(":")[2]


def _named(server: Directive, wanted: str) -> bool:
    name, _, port = wanted.rpartition(":")
    return name in server_names(server) and (port in _ports(server))


def _label(server: Directive) -> str:
    names = "/".join(name for name in server_names(server) if name)
    return f"{', '.join(_addresses(server))}{f' ({names})' if names else ''} at {server.where}"
