"""Where a location can be asked over plain HTTP: what its server listens on, its name and its path."""

from dataclasses import dataclass

from troth.nginx.map import server_names
from troth.nginx.target import host_of, is_address
from troth.nginx.tree import Directive

_ANY = ("", "*", "0.0.0.0", "::")  # noqa: S104 - compared, not bound
_NOT_PLAIN = {"ssl", "quic", "proxy_protocol", "http2"}


@dataclass(frozen=True, slots=True)
class Reached:
    """An address of this machine, and what to name there."""

    address: str
    port: int
    host: str
    path: str


def reached_by(location: Directive) -> Reached | None:
    """How a location is asked; None when its path is an expression or a name, or its server speaks no plain HTTP."""
    server = location.enclosing("server")
    modifier, path = (
        (location.arguments[0], location.arguments[-1]) if len(location.arguments) > 1 else ("", location.arguments[0])
    )
    if server is None or modifier.startswith("~") or not path.startswith("/"):
        return None
    address = _plain(server)
    if address is None:
        return None
    names = [name for name in server_names(server) if name and not name.startswith(("~", "*", ".")) and "*" not in name]
    return Reached(*address, names[0] if names else "localhost", path)


def _plain(server: Directive) -> tuple[str, int] | None:
    for listen in server.find("listen") or []:
        value = listen.arguments[0] if listen.arguments else ""
        if value.startswith("unix:") or _NOT_PLAIN & set(listen.arguments[1:]):
            continue
        if value.isdigit():
            return "127.0.0.1", int(value)
        host = host_of(value)
        port = value.rpartition("]")[2].partition(":")[2]
        if port and not port.isdigit():
            continue
        return ("127.0.0.1" if host in _ANY or not is_address(host) else host), int(port or 80)
    return ("127.0.0.1", 80) if not server.find("listen") else None
