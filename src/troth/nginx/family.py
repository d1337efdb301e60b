"""The modules by which nginx talks TLS to upstreams, and how they differ: names, levels, headers, kept connections.

Observed on 1.22.1 and 1.31.3: ``uwsgi_pass`` closes its connection after every request whatever its group says, and an
upstream group of stream knows no ``keepalive``.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Family:
    """One module.

    `prefix` is what its directives begin with; `scheme` what comes before the upstream in its ``*_pass`` (empty in
    stream, where ``proxy_ssl on`` says it); `setter` the directive that sets a request header (empty where there are no
    headers of ours to set); `kept` whether it keeps connections to upstreams.
    """

    name: str
    prefix: str
    scheme: str
    setter: str
    kept: bool

    @property
    def is_stream(self) -> bool:
        return self.name == "stream"

    @property
    def level(self) -> str:
        """The block in which its upstream groups and witnesses stand."""
        return "stream" if self.is_stream else "http"

    @property
    def pass_name(self) -> str:
        return f"{self.prefix}_pass"

    @property
    def block(self) -> str:
        """What a binding is written into, as in the names of the generated files."""
        return "server" if self.is_stream else "location"

    @property
    def expected(self) -> str:
        """The form of an upstream, for messages."""
        return f"{self.scheme}host[:port]" if self.has_port else f"{self.scheme}host:port"

    @property
    def has_port(self) -> bool:
        """Whether there is a port where none is written."""
        return self.name in ("proxy", "grpc")

    def identity_file(self, name: str) -> str:
        """The generated file that shows an identity by this module."""
        return f"identity-{name}.conf" if self is PROXY else f"{self.name}-identity-{name}.conf"

    def witness(self, identity: str) -> str:
        """The name of an identity's hidden server for this module; no identity has a slash in its name."""
        return identity if self is PROXY else f"{identity}/{self.name}"


PROXY = Family("proxy", "proxy", "https://", "proxy_set_header", kept=True)
GRPC = Family("grpc", "grpc", "grpcs://", "grpc_set_header", kept=True)
UWSGI = Family("uwsgi", "uwsgi", "suwsgi://", "", kept=False)
STREAM = Family("stream", "proxy", "", "", kept=False)
FAMILIES = (PROXY, GRPC, UWSGI, STREAM)
OF_HTTP = (PROXY, GRPC, UWSGI)
LEVELS = ("http", "stream")


def family_of_scheme(scheme: str) -> Family | None:
    """The family whose upstreams are written with a scheme such as ``grpcs``."""
    return next((one for one in OF_HTTP if one.scheme == f"{scheme}://"), None)
