"""The hardened form of an upstream location as texts of include files, for rotation by reload or by a variable.

``upstream{}`` cannot stand in a location, and sessions and idle connections are kept by peer and never by certificate;
so there is one group per location at http level, one file per identity, and one file that the location pulls in.
"""

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from troth.nginx.capabilities import Capabilities
from troth.nginx.family import PROXY, Family
from troth.nginx.map import GENERATED

HEADER = GENERATED.decode()
PROTOCOLS = "TLSv1.2 TLSv1.3"
# TLS 1.2 only; the suites of 1.3 are all good and are not set here.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
KEEPALIVE_MIN_TIMEOUT_SECONDS = 5
KEEPALIVE_SECONDS = 600
# In mode variable nothing else ends a busy connection, or makes a worker read the files again, after a rotation.
# nginx looks at keepalive_time when a connection is put back only: it may then be idle for keepalive_timeout, and serve
# one more request.
VARIABLE_KEEPALIVE_SECONDS = 50
VARIABLE_IDLE_SECONDS = 10
CACHE_VALID_SECONDS = 1
_UNSAFE = re.compile(r"[^A-Za-z0-9]+")
_WITNESS_PORT = re.compile(r"listen 127\.0\.0\.1:(\d+);  # witness of (\S+)")
# What tells the blocks of a generated file from each other.
_BLOCK_NAME = re.compile(r'^(?:upstream|map "") \S+|# witness of \S+', re.MULTILINE)
_PLAIN = re.compile(r"^[^\s;{}\"'\\$#]+$")


@dataclass(frozen=True, slots=True)
class Identity:
    """Where an identity's files are: absolute paths, through a ``current`` link for those the agent keeps.

    `variable` is whether the workers read certificate and key at each handshake; `unfit` says why they must not, empty
    where they may, and `mending` what would let them.
    """

    name: str
    certificate: str
    key: str
    trust: str
    variable: bool = False
    unfit: str = ""
    mending: str = ""


@dataclass(frozen=True, slots=True)
class Witnesses:
    """Loopback ports at which nginx asks the witness, and the directory of the witness's sockets.

    `ports` are by `Family.witness`: each module has TLS contexts of its own, and is asked by itself.
    """

    directory: str
    ports: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Header:
    """One ``proxy_set_header`` line or the like: its arguments as nginx read them."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Binding:
    """One location, or server of stream, bound to an identity.

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
    family: Family = PROXY

    @property
    def group(self) -> str:
        return f"troth_{self.name}"

    @property
    def file(self) -> str:
        """The generated file that is included where it is bound."""
        return f"{self.family.block}-{self.name}.conf"


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
    shown: Sequence[tuple[Family, Identity]],
    capabilities: Capabilities,
    include_dir: str,
    witnesses: Witnesses,
    *,
    set_min_timeout: bool,
    others: Sequence[str] = (),
    present: str = "",
) -> str:
    """The file for http level: upstream groups, and the hidden servers through which the agent asks who nginx is.

    `shown` are the identities that get a witness, each by one module; `set_min_timeout` is False when the configuration
    sets ``keepalive_min_timeout`` itself; `others` are blocks that stay as they are, each as `without_header` gives it;
    `present` is the file as it is, whose blocks keep their places.
    """
    first = ""
    if set_min_timeout and capabilities.keepalive_min_timeout:
        first = (
            "\n# A reload closes no client connection that may be carrying a request (nginx 1.27.4).\n"
            f"keepalive_min_timeout {KEEPALIVE_MIN_TIMEOUT_SECONDS}s;\n"
        )
    return HEADER + first + _level(bindings, shown, capabilities, include_dir, witnesses, others, present)


def render_stream(
    bindings: Sequence[Binding],
    shown: Sequence[tuple[Family, Identity]],
    capabilities: Capabilities,
    include_dir: str,
    witnesses: Witnesses,
    *,
    others: Sequence[str] = (),
    present: str = "",
) -> str:
    """The file for stream level, as `render_http`."""
    return HEADER + _level(bindings, shown, capabilities, include_dir, witnesses, others, present)


def _level(
    bindings: Sequence[Binding],
    shown: Sequence[tuple[Family, Identity]],
    capabilities: Capabilities,
    include_dir: str,
    witnesses: Witnesses,
    others: Sequence[str],
    present: str,
) -> str:
    names = dict.fromkeys(one for _, one in shown if one.variable)
    parts = [_variables(one) for one in names]
    parts += [_group(binding, capabilities) for binding in bindings]
    parts += [
        _witness(family, one, include_dir, witnesses)
        for family, one in shown
        if family.witness(one.name) in witnesses.ports
    ]
    parts += [f"\n{block}\n" for block in others]
    return "".join(_in_place(parts, present))


def _in_place(parts: Sequence[str], present: str) -> list[str]:
    """The blocks in the order they have in a file, new ones last: another order in a declaration changes nothing."""
    places = {found[0]: found.start() for found in _BLOCK_NAME.finditer(present)}

    def place(part: str) -> int:
        found = _BLOCK_NAME.search(part)
        return places.get(found[0], len(present)) if found else len(present)

    return sorted(parts, key=place)


def without_header(text: str) -> str:
    """A block of a generated file with the comments before it, without the file's own first line."""
    return text.replace(HEADER, "").strip("\n")


def _group(binding: Binding, capabilities: Capabilities) -> str:
    lines = [f"    {line};" for line in binding.balance]
    lines += [f"    server {peer};" for peer in binding.peers]
    if binding.family.kept:
        lines.append("    keepalive 32;")
        if capabilities.keepalive_time:
            variable = binding.identity.variable
            time = f"{VARIABLE_KEEPALIVE_SECONDS}s" if variable else f"{KEEPALIVE_SECONDS // 60}m"
            lines.append(f"    keepalive_time {time};  # a connection keeps the identity it was opened with")
            if variable:
                lines.append(f"    keepalive_timeout {VARIABLE_IDLE_SECONDS}s;")
        lines.append("    keepalive_requests 10000;")
    return f"\nupstream {binding.group} {{\n" + "\n".join(lines) + "\n}\n"


def variable_name(identity: str, what: str) -> str:
    """The variable that names the ``certificate`` or ``key`` of an identity; nginx knows them in lower case only."""
    plain = _UNSAFE.sub("_", identity.lower())
    return f"troth_{what}_{plain}" if plain == identity else f"troth_{what}_{plain}_{zlib.crc32(identity.encode()):08x}"


def _variables(identity: Identity) -> str:
    return f"""
# A variable in the name of a file: the workers read identity {identity.name} at each handshake, no reload is needed.
map "" ${variable_name(identity.name, "certificate")} {{
    default {quote(identity.certificate)};
}}
map "" ${variable_name(identity.name, "key")} {{
    default {quote(identity.key)};
}}
"""


def is_variable(text: str) -> bool:
    """Whether a file that `render_identity` wrote leaves the reading of the pair to the workers."""
    return "_ssl_certificate $troth_" in text


def witness_ports(text: str) -> dict[str, int]:
    """The ports of the hidden servers in a file that `render_http` or `render_stream` wrote, by `Family.witness`."""
    return {name: int(port) for port, name in _WITNESS_PORT.findall(text)}


# How each module reaches the witness; the check of its name and chain is off, it only carries the handshake.
_ASKED = {
    "proxy": (
        "proxy_pass https://unix:{0}:;",
        "proxy_http_version 1.1;",
        "proxy_set_header Host witness;",
        "proxy_set_header Connection close;",
        "proxy_cache off;",
    ),
    "grpc": ("grpc_pass grpcs://unix:{0};", "grpc_set_header Host witness;"),
    "uwsgi": ("uwsgi_pass suwsgi://unix:{0};", "uwsgi_cache off;"),
    "stream": ("proxy_pass unix:{0};", "proxy_ssl on;", "proxy_protocol off;"),
}


def _witness(family: Family, identity: Identity, include_dir: str, witnesses: Witnesses) -> str:
    # A port and not a Unix socket: nginx does not start when an unclean end left its socket file behind.
    name = family.witness(identity.name)
    lines = [line.format(f"{witnesses.directory}/{identity.name}.out") for line in _ASKED[family.name]]
    lines.append(f"include {quote(f'{include_dir}/{family.identity_file(identity.name)}')};")
    lines += [f"{family.prefix}_ssl_verify off;", f"{family.prefix}_ssl_server_name off;"]
    indent = "    " if family.is_stream else "        "
    body = "".join(f"{indent}{line}\n" for line in lines)
    inner = body if family.is_stream else f"    location / {{\n{body}    }}\n"
    return f"""
# The agent asks here which certificate these workers show: same files, same workers, answered by a local witness.
server {{
    listen 127.0.0.1:{witnesses.ports[name]};  # witness of {name}
    access_log off;
{inner}}}
"""


def render_identity(identity: Identity, family: Family = PROXY) -> str:
    """What is shown to an upstream, and how."""
    prefix = family.prefix
    certificate, key = quote(identity.certificate), quote(identity.key)
    if identity.variable:
        certificate, key = (f"${variable_name(identity.name, what)}" for what in ("certificate", "key"))
    return f"""{HEADER}
{prefix}_ssl_certificate {certificate};
{prefix}_ssl_certificate_key {key};
{prefix}_ssl_protocols {PROTOCOLS};
{prefix}_ssl_ciphers {CIPHERS};
# A resumed session would go on under the identity it began with.
{prefix}_ssl_session_reuse off;
"""


def render_location(binding: Binding, include_dir: str) -> str:
    """What the location, or server of stream, pulls in: where to, as whom, and whom to believe."""
    family, prefix = binding.family, binding.family.prefix
    where_to = quote(f"{family.scheme}{binding.group}{binding.uri or ''}")
    lines = [f"# upstream: {binding.url}", f"{family.pass_name} {where_to};"]
    if family.is_stream:
        lines.append("proxy_ssl on;")
    if family is PROXY and binding.version:
        lines.append("proxy_http_version 1.1;")
    lines += [f"{family.setter} {header.name} {quote(header.value)};" for header in binding.headers]
    lines += [f"proxy_redirect {quote(before)} {quote(after)};" for before, after in binding.redirects]
    lines += [
        f"include {quote(f'{include_dir}/{family.identity_file(binding.identity.name)}')};",
        f"{prefix}_ssl_trusted_certificate {quote(binding.identity.trust)};",
        f"{prefix}_ssl_verify on;",
        f"{prefix}_ssl_verify_depth {binding.depth};  # how many intermediates may stand between",
        f"{prefix}_ssl_server_name on;",
        f"{prefix}_ssl_name {quote(binding.verify_name)};  # a DNS name: nginx does not check IP addresses",
    ]
    if binding.identity.variable and not family.is_stream:
        # Not where the identity is shown to the witness: that is to see at once what the workers can read.
        lines.append(f"{prefix}_ssl_certificate_cache max=64 valid={CACHE_VALID_SECONDS}s inactive=1h;")
    return HEADER + "\n" + "\n".join(lines) + "\n"
