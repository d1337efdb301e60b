"""A server that asks its clients for certificates, and tells the application who came in headers nobody else can send.

What is told about a certificate goes through maps that are empty unless it was verified: behind ``error_page 495`` or
``optional_no_ca`` a request gets on with a certificate that anybody may have made, subject and all.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from troth.nginx.declaration import PlanError
from troth.nginx.map import GENERATED
from troth.nginx.render import quote, slug
from troth.nginx.tree import Directive

MODES = ("on", "optional")
LEAST_DEPTH = 2
VERDICT = "verify"
# What can be told, by the word for it in a declaration.
SOURCES: Mapping[str, str] = MappingProxyType(
    {
        VERDICT: "$ssl_client_verify",
        "subject": "$ssl_client_s_dn",
        "issuer": "$ssl_client_i_dn",
        "serial": "$ssl_client_serial",
        "fingerprint": "$ssl_client_fingerprint",
        "cert": "$ssl_client_escaped_cert",
        "not-before": "$ssl_client_v_start",
        "not-after": "$ssl_client_v_end",
    }
)
DEFAULT_HEADERS = (
    ("X-SSL-Client-Verify", VERDICT),
    ("X-SSL-Client-S-DN", "subject"),
    ("X-SSL-Client-Serial", "serial"),
    ("X-SSL-Client-Fingerprint", "fingerprint"),
    ("X-SSL-Client-Not-After", "not-after"),
)
# Names by which proxies tell who came (nginx's guides, ingress-nginx, Envoy, RFC 9440 §2); none is let through.
FORBIDDEN = (
    *(f"X-SSL-Client-{part}" for part in ("Verify", "S-DN", "I-DN", "DN", "Subject-DN", "Issuer-DN", "Serial")),
    *(f"X-SSL-Client-{part}" for part in ("Fingerprint", "Cert", "Not-Before", "Not-After")),
    *(f"SSL-Client-{part}" for part in ("Verify", "Subject-DN", "Issuer-DN", "Cert")),
    *("X-SSL-Cert", "X-Client-Cert", "X-Client-DN", "X-Client-Verify"),
    *("Client-Cert", "Client-Cert-Chain", "X-Forwarded-Client-Cert"),
)
MAPS_FILE = "client-maps.conf"
MAP_PREFIX = "$troth_client_"
INHERITED = "# Those of http level, which lines of a server would drop."


@dataclass(frozen=True, slots=True)
class ClientAuth:
    """One ``[[client-auth]]`` of a troth.toml.

    `server` is a name, ``name:port`` or ``:port``; `trust` the file of the clients' roots; `mode` ``on`` or
    ``optional``; `depth` how many intermediates may stand between; `headers` a name and a word of `SOURCES` each.
    """

    server: str
    trust: str
    mode: str = "on"
    depth: int = LEAST_DEPTH
    headers: tuple[tuple[str, str], ...] = field(default=DEFAULT_HEADERS)

    @property
    def name(self) -> str:
        return slug(self.server)

    @property
    def file(self) -> str:
        """The generated file that its server includes."""
        return f"client-auth-{self.name}.conf"

    def headers_file(self, setter: str, *, own: bool) -> str:
        """The generated file for a location that inherits no lines, by the directive that they are.

        `own` says whether it had lines of the user's own, or only those of another file of ours.
        """
        return f"client-{'headers' if own else 'told'}-{self.name}-{setter.partition('_')[0]}.conf"


def value_of(source: str) -> str:
    """The nginx value that tells something: the verdict itself, all else through a map."""
    return SOURCES[source] if source == VERDICT else f"{MAP_PREFIX}{source.replace('-', '_')}"


def render_maps(values: Collection[str]) -> str:
    """The maps for http level whose variables are among `values`."""
    used = [source for source in SOURCES if source != VERDICT and value_of(source) in values]
    maps = (f'map $ssl_client_verify {value_of(one)} {{ default ""; SUCCESS {SOURCES[one]}; }}\n' for one in used)
    what = "# What is told of a client's certificate; nothing unless it was verified.\n"
    return GENERATED.decode() + "\n" + what + "".join(maps)


def render_guard(guard: ClientAuth, lines: Mapping[str, Sequence[str]], copies: Mapping[str, Sequence[str]]) -> str:
    """What the server pulls in.

    Args:
        guard: as declared.
        lines: the header lines of each directive in use, without semicolons.
        copies: lines of http level that the server had inherited, by directive.
    """
    parts = [
        f"ssl_verify_client {guard.mode};",
        f"ssl_client_certificate {quote(guard.trust)};",
        f"ssl_verify_depth {guard.depth};  # how many intermediates may stand between",
    ]
    kept = [f"{line};" for some in copies.values() for line in some]
    if kept:
        parts += [INHERITED, *kept]
    parts += [f"{line};" for some in lines.values() for line in some]
    return GENERATED.decode() + "\n" + "\n".join(parts) + "\n"


def render_headers(lines: Sequence[str]) -> str:
    """What a location with lines of its own pulls in."""
    return GENERATED.decode() + "\n" + "".join(f"{line};\n" for line in lines)


def read_guard(server: Directive, include_dir: str) -> ClientAuth | None:
    """What `render_guard` wrote for a server under an earlier declaration; None where it includes no such file.

    Raises:
        PlanError: the file was edited, and does not say any more what was declared.
    """
    start = f"{include_dir}/client-auth-"
    file = next(
        (d.arguments[0] for d in server.find("include") if d.arguments and d.arguments[0].startswith(start)), ""
    )
    if not file:
        return None
    lines = [d for d in server.children if d.file == file and d.arguments]
    said = {d.name: d.arguments[0] for d in lines if d.name.startswith("ssl_")}
    mode, trust, depth = (
        said.get(f"ssl_{name}", "") for name in ("verify_client", "client_certificate", "verify_depth")
    )
    if mode not in MODES or not trust or not depth.isdigit():
        raise PlanError(
            f"{file} was edited: it does not say any more how the server at {server.where} asks for certificates",
            hint="declare it again, as [[client-auth]] in troth.toml or with --client-auth",
        )
    name = file.removeprefix(start).removesuffix(".conf")
    return ClientAuth(name, trust, mode, int(depth), _headers_said(lines))


def _headers_said(lines: Sequence[Directive]) -> tuple[tuple[str, str], ...]:
    """The headers that these lines set, parameters last: they have lost how the name was written."""
    sources = {value_of(source): source for source in SOURCES}
    found: dict[str, tuple[str, str]] = {}
    for line in sorted(lines, key=lambda line: line.name.endswith("_param")):
        source = sources.get(line.arguments[1]) if len(line.arguments) > 1 else None
        if source is not None:
            name = line.arguments[0].removeprefix("HTTP_").replace("_", "-")
            found.setdefault(name.lower(), (name, source))
    return tuple(found.values())
