"""What is wanted of a location or a stream server, and the refusal of it."""

from dataclasses import dataclass

from troth.nginx import NginxError
from troth.nginx.render import Identity


class PlanError(NginxError):
    """The declaration does not fit the configuration; the message lists what does."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """One ``[[location]]`` or ``[[stream]]`` of a troth.toml.

    A server of stream has no path and is told by `listen`, the address or port it listens on. Upstream and name may be
    empty where the configuration tells them. `mode` is one of `troth.nginx.modes.MODES`.
    """

    server: str
    path: str
    identity: Identity
    upstream: str = ""
    name: str = ""
    listen: str = ""
    mode: str = "static"
