"""What ``proxy_pass`` and its like point at, taken apart as nginx does."""

import re
from dataclasses import dataclass

_TARGET = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(unix:[^:]*:?|[^/?]*)(.*)", re.DOTALL)
_ADDRESS = re.compile(r"[\d.]+|\[.*\]|.*:.*")
# Host names, and names of groups; an IPv6 address in its brackets.
_HOST = re.compile(r"[A-Za-z0-9_.~-]+|\[[0-9A-Fa-f:.]+\]")
_HOST_AND_PORT = re.compile(r"(\[[^]]*\]|[^:]*)(?::(.*))?")
_SOCKET = re.compile(r"unix:/[A-Za-z0-9_./~@+,-]+")
_MOST_CHARACTERS = 2_048
DEFAULT_PORTS = {"http": "80", "https": "443", "grpc": "80", "grpcs": "443"}


@dataclass(frozen=True, slots=True)
class Target:
    """``scheme://authority`` and `uri`, which is None when nothing follows; `text` is all of it as written."""

    text: str
    scheme: str
    authority: str
    uri: str | None

    @property
    def is_unix(self) -> bool:
        return self.authority.startswith("unix:")

    @property
    def host(self) -> str:
        """The name or address without a port and brackets; empty for a Unix socket."""
        return "" if self.is_unix else host_of(self.authority)

    @property
    def port(self) -> str:
        """As in ``$proxy_port``: the scheme's own when none is written."""
        written = self.authority.rpartition("]")[2].partition(":")[2]
        return "" if self.is_unix else written or DEFAULT_PORTS.get(self.scheme, "")

    @property
    def proxy_host(self) -> str:
        """As in ``$proxy_host``: what the upstream receives as Host when nothing else is said."""
        if self.is_unix:
            return "localhost"
        default = DEFAULT_PORTS.get(self.scheme, "")
        return self.authority.removesuffix(f":{default}") if default else self.authority

    @property
    def peer(self) -> str:
        """As in a ``server`` line of a group."""
        return self.authority if self.is_unix or not self.port else f"{self._bare}:{self.port}"

    @property
    def _bare(self) -> str:
        head, bracket, tail = self.authority.rpartition("]")
        return head + bracket + tail.partition(":")[0]


def parse_target(text: str) -> Target:
    """A ``proxy_pass`` value; without ``://`` the whole is the authority, as in ``uwsgi_pass`` and stream."""
    found = _TARGET.fullmatch(text)
    if found is None:
        return Target(text, "", text, None)
    authority = found[2].removesuffix(":") if found[2].startswith("unix:/") else found[2]
    return Target(text, found[1].lower(), authority, found[3] or None)


def unusable_upstream(text: str) -> str:
    """Why a declared upstream cannot be one, in a few words; empty where it can.

    Stricter than nginx, which takes ``a;b`` for a host: nothing that could end the line it is written on gets through.
    """
    target = parse_target(text)
    shown = text[:80]
    if len(text) > _MOST_CHARACTERS:
        return f"upstream {shown!r}... is longer than {_MOST_CHARACTERS} characters"
    if any(char.isspace() or not char.isprintable() for char in text):
        return f"upstream {shown!r} is not usable: expected no space and no control character in it"
    if target.is_unix:
        return "" if _SOCKET.fullmatch(target.authority) else f"upstream {shown!r} is not usable: expected unix:/path"
    found = _HOST_AND_PORT.fullmatch(target.authority)
    assert found is not None
    host, port = found.groups()
    if not _HOST.fullmatch(host):
        return f"upstream {shown!r} is not usable: expected a DNS name, an address or a group's name, not {host[:80]!r}"
    if port is not None and not (re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 65_536):
        return f"upstream {shown!r} is not usable: expected a port from 1 to 65535, not {port[:80]!r}"
    return ""


def host_of(authority: str) -> str:
    """``host`` of ``host:port``, an IPv6 address without its brackets."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.partition(":")[0]


def is_address(host: str) -> bool:
    """Whether it is an IP address, whose certificate nginx cannot check."""
    return not host or _ADDRESS.fullmatch(host) is not None
