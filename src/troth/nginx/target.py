"""What ``proxy_pass`` and its like point at, taken apart as nginx does."""

import re
from dataclasses import dataclass

_TARGET = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(unix:[^:]*:?|[^/?]*)(.*)", re.DOTALL)
_ADDRESS = re.compile(r"[\d.]+|\[.*\]|.*:.*")
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
    return Target(text, found[1].lower(), found[2].removesuffix(":"), found[3] or None)


def host_of(authority: str) -> str:
    """``host`` of ``host:port``, an IPv6 address without its brackets."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.partition(":")[0]


def is_address(host: str) -> bool:
    """Whether it is an IP address, whose certificate nginx cannot check."""
    return not host or _ADDRESS.fullmatch(host) is not None
