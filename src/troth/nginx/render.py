"""The hardened form of an upstream location, static files and reload, as texts of include files.

``upstream{}`` cannot stand in a location, and sessions and idle connections are kept by peer and never by certificate;
so there is one group per location at http level, one file per identity, and one file that the location pulls in.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from troth.nginx.capabilities import Capabilities
from troth.nginx.map import GENERATED

HEADER = GENERATED.decode()
PROTOCOLS = "TLSv1.2 TLSv1.3"
# TLS 1.2 only; the suites of 1.3 are all good and are not set here.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
KEEPALIVE_MIN_TIMEOUT_SECONDS = 5
_UNSAFE = re.compile(r"[^A-Za-z0-9]+")
_WITNESS_PORT = re.compile(r"listen 127\.0\.0\.1:(\d+);  # witness of (\S+)")
_PLAIN = re.compile(r"^[^\s;{}\"'\\$#]+$")


@dataclass(frozen=True, slots=True)
class Identity:
    """Where an identity's files are: absolute paths, through a ``current`` link for those the agent keeps."""

    name: str
    certificate: str
    key: str
    trust: str


@dataclass(frozen=True, slots=True)
class Witnesses:
    """A loopback port per identity at which nginx asks the witness, and the directory of the witness's sockets."""

    directory: str
    ports: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Header:
    """One ``proxy_set_header`` line: its arguments as nginx read them."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Binding:
    """One location bound to an identity.

    `peers` are the ``server`` lines of its group without the semicolon; `url` is the upstream as the user wrote it;
    `uri` is what follows the host in it, ``None`` when nothing does; `redirects` the explicit ``proxy_redirect``
    pairs that stand in for nginx's default; `version` is False where the location sets ``proxy_http_version``.
    """

    name: str
    identity: Identity
    url: str
    peers: tuple[str, ...]
    balance: tuple[str, ...]
    uri: str | None
    verify_name: str
    headers: tuple[Header, ...]
    redirects: tuple[tuple[str, str], ...]
    depth: int = 2
    version: bool = True

    @property
    def group(self) -> str:
        return f"troth_{self.name}"


def slug(*parts: str) -> str:
    """A name for files and groups: letters, digits and underscores."""
    return _UNSAFE.sub("_", "_".join(part for part in parts if part)).strip("_").lower() or "root"


def quote(text: str) -> str:
    """A word as nginx reads it back: plain when nothing in it is special, else in double quotes."""
    if _PLAIN.match(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def render_http(
    bindings: Sequence[Binding],
    identities: Sequence[Identity],
    capabilities: Capabilities,
    include_dir: str,
    witnesses: Witnesses,
    *,
    set_min_timeout: bool,
    others: Sequence[str] = (),
) -> str:
    """The file for http level: upstream groups, and the hidden servers through which the agent asks who nginx is.

    `set_min_timeout` is False when the configuration sets ``keepalive_min_timeout`` itself; `others` are blocks that
    stay as they are, each as `without_header` gives it.
    """
    parts = [HEADER]
    if set_min_timeout and capabilities.keepalive_min_timeout:
        parts.append(
            "\n# A reload closes no client connection that may be carrying a request (nginx 1.27.4).\n"
            f"keepalive_min_timeout {KEEPALIVE_MIN_TIMEOUT_SECONDS}s;\n"
        )
    parts += [_group(binding, capabilities) for binding in bindings]
    parts += [_witness(one, include_dir, witnesses) for one in identities if one.name in witnesses.ports]
    parts += [f"\n{block}\n" for block in others]
    return "".join(parts)


def without_header(text: str) -> str:
    """A block of a generated file with the comments before it, without the file's own first line."""
    return text.replace(HEADER, "").strip("\n")


def _group(binding: Binding, capabilities: Capabilities) -> str:
    lines = [f"    {line};" for line in binding.balance]
    lines += [f"    server {peer};" for peer in binding.peers]
    lines.append("    keepalive 32;")
    if capabilities.keepalive_time:
        lines.append("    keepalive_time 10m;  # an idle connection keeps the identity it was opened with")
    lines.append("    keepalive_requests 10000;")
    return f"\nupstream {binding.group} {{\n" + "\n".join(lines) + "\n}\n"


def witness_ports(text: str) -> dict[str, int]:
    """The ports of the hidden servers in a file that `render_http` wrote, by identity."""
    return {name: int(port) for port, name in _WITNESS_PORT.findall(text)}


def _witness(identity: Identity, include_dir: str, witnesses: Witnesses) -> str:
    # A port and not a Unix socket: nginx does not start when an unclean end left its socket file behind.
    return f"""
# The agent asks here which certificate these workers show: same files, same workers, answered by a local witness.
server {{
    listen 127.0.0.1:{witnesses.ports[identity.name]};  # witness of {identity.name}
    access_log off;
    location / {{
        proxy_pass https://unix:{witnesses.directory}/{identity.name}.out:;
        proxy_http_version 1.1;
        proxy_set_header Host witness;
        proxy_set_header Connection close;
        proxy_cache off;
        include {quote(f"{include_dir}/identity-{identity.name}.conf")};
        proxy_ssl_verify off;
        proxy_ssl_server_name off;
    }}
}}
"""


def render_identity(identity: Identity) -> str:
    """What is shown to an upstream, and how."""
    return f"""{HEADER}
proxy_ssl_certificate {quote(identity.certificate)};
proxy_ssl_certificate_key {quote(identity.key)};
proxy_ssl_protocols {PROTOCOLS};
proxy_ssl_ciphers {CIPHERS};
# A resumed session would go on under the identity it began with.
proxy_ssl_session_reuse off;
"""


def render_location(binding: Binding, include_dir: str) -> str:
    """What the location pulls in: where to, as whom, and whom to believe."""
    lines = [f"# upstream: {binding.url}", f"proxy_pass {quote(f'https://{binding.group}' + (binding.uri or ''))};"]
    if binding.version:
        lines.append("proxy_http_version 1.1;")
    lines += [f"proxy_set_header {header.name} {quote(header.value)};" for header in binding.headers]
    lines += [f"proxy_redirect {quote(before)} {quote(after)};" for before, after in binding.redirects]
    lines += [
        f"include {quote(f'{include_dir}/identity-{binding.identity.name}.conf')};",
        f"proxy_ssl_trusted_certificate {quote(binding.identity.trust)};",
        "proxy_ssl_verify on;",
        f"proxy_ssl_verify_depth {binding.depth};  # how many intermediates may stand between",
        "proxy_ssl_server_name on;",
        f"proxy_ssl_name {quote(binding.verify_name)};  # a DNS name: nginx does not check IP addresses",
    ]
    return HEADER + "\n" + "\n".join(lines) + "\n"
