"""A second nginx of the user's build, whose locations carry the user's own directives, in a directory of its own."""

import itertools
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from cryptography import x509

from troth.agent.prove.subject import DATA, Subject
from troth.host.files import write_file
from troth.host.http import Reply, get
from troth.host.http import hold as hold_open
from troth.host.nginx import LogTail, Nginx
from troth.host.ports import free_ports
from troth.host.witness import Shown
from troth.nginx.map import FAMILIES, effective_list
from troth.nginx.render import quote
from troth.nginx.tree import Directive
from troth.nginx.variables import variables
from troth.x509.keys import private_key_to_pem
from troth.x509.pem import bundle_to_pem

_FILES = ("ssl_certificate", "ssl_certificate_key", "ssl_trusted_certificate", "ssl_crl", "ssl_password_file")
_REPLACED = ("ssl_certificate", "ssl_certificate_key", "ssl_password_file", "ssl_trusted_certificate", "ssl_name")
_OWN_CERTIFICATE = ("certificate", "privatekey")
TEMP_PATHS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
_STAMP = re.compile(r"^.*?\] \d+#\d+: (\*\d+ )?")
# Headers that decide how the upstream is spoken to; others are the application's.
_HEADERS = ("host", "connection")
# How long an upstream gets to end a connection that it does not want.
HOLD_SECONDS = 1.5
_TELLS = re.compile(r"\[error\]|\[crit\]|SSL_\w+\(\) failed|alert number")
# What an application behind uwsgi cannot do without.
_UWSGI = "REQUEST_METHOD $request_method|REQUEST_URI $request_uri|PATH_INFO $document_uri|QUERY_STRING $query_string"
_UWSGI += "|SERVER_PROTOCOL $server_protocol|SERVER_NAME $server_name|SERVER_PORT $server_port|REMOTE_ADDR $remote_addr"
_BUILT_IN = {"host", "http_host", "proxy_host", "server_name", "http_upgrade", "http_connection"}


@dataclass(frozen=True, slots=True)
class Route:
    """One location, or server of stream, of the second nginx.

    `target` is what its ``proxy_pass`` or the like names, without the scheme. `trust` are the roots it believes, or
    None for the location's own file; `name` overrides the name it checks.
    """

    id: str
    subject: Subject
    target: str
    client: Shown | None
    trust: Sequence[x509.Certificate] | None = None
    name: str = ""


class Second:
    """Use as a context manager; `get` asks one of its routes."""

    def __init__(self, nginx: Nginx, routes: Sequence[Route], groups: Sequence[str] = ()) -> None:
        """`routes` are at least one, all of one module; `groups` are the upstream blocks that they name."""
        self._directory = Path(tempfile.mkdtemp(prefix="troth-prove-"))
        self._nginx = Nginx(nginx.binary, self._directory / "nginx.conf", self._directory)
        self._users = nginx
        self._routes = {route.id: route for route in routes}
        self._stream = routes[0].subject.place.module == "stream"
        # A server of stream has no path to be told by: each has a port.
        count = len(self._routes) if self._stream else 1
        self._ports = dict(zip(self._routes, itertools.cycle(free_ports(count)), strict=False))
        self._groups = groups
        self._log = LogTail(self._directory / "error.log")

    def __enter__(self) -> "Second":
        try:
            self._write()
            self._nginx.start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._nginx.stop()
        self._remove()

    def _remove(self) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)

    def get(self, route: str) -> tuple[Reply, str]:
        """One request; the answer, and the first line of the error log that came with it, shortened."""
        self._log.news()
        reply = get(self._ports[route], f"/{route}", self._routes[route].subject.host)
        lines = self._log.news().splitlines()
        return reply, _short(next((line for line in lines if "[error]" in line or "[crit]" in line), ""))

    def hold(self, route: str) -> tuple[bool, int, str]:
        """A connection to a server of stream on which nothing is sent: whether it stands, how many bytes came, the log.

        nginx calls the upstream at once. An upstream that refuses the certificate says so without being asked anything,
        in TLS 1.3 too, where the handshake is over for nginx by then.
        """
        self._log.news()
        stands, received = hold_open(self._ports[route], HOLD_SECONDS)
        lines = self._log.news().splitlines()
        return stands, received, _short(next((line for line in lines if _TELLS.search(line)), ""))

    def _write(self) -> None:
        body = self._stream_block() if self._stream else self._http_block()
        # One worker: idle connections and sessions belong to one, and the proof is about what happens to them.
        text = (
            f"{self._modules()}worker_processes 1;\npid {quote(str(self._directory / 'nginx.pid'))};\n"
            f"error_log {quote(str(self._directory / 'error.log'))} info;\nevents {{}}\n{body}"
        )
        write_file(self._directory / "nginx.conf", text.encode("utf-8", "surrogateescape"))

    def _http_block(self) -> str:
        temp = "".join(f"{one}_temp_path {quote(str(self._directory / one))};\n" for one in TEMP_PATHS)
        port = next(iter(self._ports.values()))
        locations = "".join(f"location = /{one.id} {{\n{self._directives(one)}}}\n" for one in self._routes.values())
        return (
            f"http {{\n{temp}access_log off;\nproxy_max_temp_file_size 0;\n{''.join(self._groups)}"
            f"server {{\nlisten 127.0.0.1:{port};\n{locations}}}\n}}\n"
        )

    def _stream_block(self) -> str:
        servers = [
            f"server {{\nlisten 127.0.0.1:{self._ports[one.id]};\nproxy_ssl on;\n{self._directives(one)}}}\n"
            for one in self._routes.values()
        ]
        return f"stream {{\n{''.join(self._groups)}{''.join(servers)}}}\n"

    def _modules(self) -> str:
        """Where stream is a module of its own, it is loaded from where the user's nginx has it."""
        config = next(iter(self._routes.values())).subject.config
        names = [d.arguments[0] for d in config.root.find("load_module") if d.arguments] if self._stream else []
        return "".join(f"load_module {quote(str(self._users.base / name))};\n" for name in names if "_stream_" in name)

    def _directives(self, route: Route) -> str:
        subject, place = route.subject, route.subject.place
        family = place.family
        scheme = "" if self._stream else f"{FAMILIES[family]}://"
        lines = [f"{family}_pass {scheme}{route.target};"]
        if "http_version" in place.settings:
            lines.append(f"{family}_http_version {place.value('http_version')};")
        if place.module in ("proxy", "grpc"):
            lines += _headers(subject)
        if place.module == "uwsgi":
            lines += [f"uwsgi_param {one};" for one in _UWSGI.split("|")]
        lines.append(f"{family}_ssl_name {quote(route.name or subject.name)};")
        if route.client is not None:
            stem = self._directory / route.id
            write_file(stem.with_suffix(".crt"), bundle_to_pem(list(route.client.chain)).encode())
            write_file(stem.with_suffix(".key"), private_key_to_pem(route.client.key))
            lines += [f"{family}_ssl_certificate {quote(str(stem.with_suffix('.crt')))};"]
            lines += [f"{family}_ssl_certificate_key {quote(str(stem.with_suffix('.key')))};"]
        own_trust = place.value("ssl_trusted_certificate")
        if route.trust is not None:
            file = self._directory / f"{route.id}-trust.crt"
            write_file(file, bundle_to_pem(list(route.trust)).encode())
            lines.append(f"{family}_ssl_trusted_certificate {quote(str(file))};")
        elif own_trust:
            lines.append(f"{family}_ssl_trusted_certificate {quote(str(subject.path_of(own_trust)))};")
        lines += _own(subject, crl=route.trust is None)
        return "".join(f"{line}\n" for line in lines)


def group_of(name: str, peers: Sequence[str]) -> str:
    """An upstream group for one route: no other's connections and sessions, and a refusing peer is not thought down."""
    return f"upstream {name} {{\n" + "".join(f"server {quote(peer)} max_fails=0;\n" for peer in peers) + "}\n"


def _headers(subject: Subject) -> list[str]:
    """The location's own Host and Connection where a server without its maps can say them, else the upstream's name."""
    lines, host = [], False
    setter = f"{subject.place.family}_set_header"
    for directive in effective_list(subject.place.node, setter):
        name, value = directive.arguments[:2] if len(directive.arguments) == 2 else ("", "")
        if name.lower() in _HEADERS and set(variables(value)) <= _BUILT_IN:
            host |= name.lower() == "host"
            value = value.replace("$proxy_host", subject.target.proxy_host)
            lines.append(f"{setter} {name} {quote(value)};")
    return lines if host else [*lines, f"{setter} Host {quote(subject.target.proxy_host)};"]


def _own(subject: Subject, *, crl: bool) -> list[str]:
    """The location's own TLS directives, inherited ones too, file names made absolute."""
    lines = []
    for name, setting in subject.place.settings.items():
        if not name.startswith("ssl_") or name in (*_REPLACED, "ssl_conf_command") or (name == "ssl_crl" and not crl):
            continue
        absolute = name in _FILES and not setting.value.startswith(DATA)
        words = [str(subject.path_of(one)) if absolute else one for one in setting.arguments]
        lines.append(f"{subject.place.family}_{name} {' '.join(map(quote, words))};")
    commands = effective_list(subject.place.node, f"{subject.place.family}_ssl_conf_command")
    return lines + [_command(one) for one in commands if one.arguments[0].lower() not in _OWN_CERTIFICATE]


def _command(directive: Directive) -> str:
    return f"{directive.name} {' '.join(map(quote, directive.arguments))};"


def _short(line: str) -> str:
    """A log line without its time stamp, process and connection, cut before the client's part."""
    return _STAMP.sub("", line).partition(", client:")[0].strip()
