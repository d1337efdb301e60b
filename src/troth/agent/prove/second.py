"""A second nginx of the user's build, whose locations carry the user's own directives, in a directory of its own."""

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
from troth.host.nginx import LogTail, Nginx
from troth.host.ports import free_ports
from troth.host.witness import Shown
from troth.nginx.map import effective_list
from troth.nginx.render import quote
from troth.nginx.tree import Directive
from troth.nginx.variables import variables
from troth.x509.keys import private_key_to_pem
from troth.x509.pem import bundle_to_pem

_FILES = ("ssl_certificate", "ssl_certificate_key", "ssl_trusted_certificate", "ssl_crl", "ssl_password_file")
_REPLACED = ("ssl_certificate", "ssl_certificate_key", "ssl_password_file", "ssl_trusted_certificate", "ssl_name")
_OWN_CERTIFICATE = ("certificate", "privatekey")
_TEMP_PATHS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
_STAMP = re.compile(r"^.*?\] \d+#\d+: (\*\d+ )?")
# Headers that decide how the upstream is spoken to; others are the application's.
_HEADERS = ("host", "connection")
_BUILT_IN = {"host", "http_host", "proxy_host", "server_name", "http_upgrade", "http_connection"}


@dataclass(frozen=True, slots=True)
class Route:
    """One location of the second nginx.

    `target` is what follows ``https://`` in its ``proxy_pass``. `trust` are the roots it believes, or None for the
    location's own file; `name` overrides the name it checks.
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
        self._directory = Path(tempfile.mkdtemp(prefix="troth-prove-"))
        self._nginx = Nginx(nginx.binary, self._directory / "nginx.conf", self._directory)
        self._port = free_ports(1)[0]
        self._routes = {route.id: route for route in routes}
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
        reply = get(self._port, f"/{route}", self._routes[route].subject.host)
        lines = self._log.news().splitlines()
        return reply, _short(next((line for line in lines if "[error]" in line or "[crit]" in line), ""))

    def _write(self) -> None:
        temp = "".join(f"{one}_temp_path {quote(str(self._directory / one))};\n" for one in _TEMP_PATHS)
        # One worker: idle connections and sessions belong to one, and the proof is about what happens to them.
        text = (
            f"worker_processes 1;\npid {quote(str(self._directory / 'nginx.pid'))};\n"
            f"error_log {quote(str(self._directory / 'error.log'))} info;\nevents {{}}\nhttp {{\n{temp}"
            f"access_log off;\nproxy_max_temp_file_size 0;\n{''.join(self._groups)}"
            f"server {{\nlisten 127.0.0.1:{self._port};\n{''.join(map(self._location, self._routes.values()))}}}\n}}\n"
        )
        write_file(self._directory / "nginx.conf", text.encode("utf-8", "surrogateescape"))

    def _location(self, route: Route) -> str:
        subject, place = route.subject, route.subject.place
        lines = [f"proxy_pass https://{route.target};"]
        if "http_version" in place.settings:
            lines.append(f"proxy_http_version {place.value('http_version')};")
        lines += _headers(subject)
        lines.append(f"proxy_ssl_name {quote(route.name or subject.name)};")
        if route.client is not None:
            stem = self._directory / route.id
            write_file(stem.with_suffix(".crt"), bundle_to_pem(list(route.client.chain)).encode())
            write_file(stem.with_suffix(".key"), private_key_to_pem(route.client.key))
            lines += [f"proxy_ssl_certificate {quote(str(stem.with_suffix('.crt')))};"]
            lines += [f"proxy_ssl_certificate_key {quote(str(stem.with_suffix('.key')))};"]
        own_trust = place.value("ssl_trusted_certificate")
        if route.trust is not None:
            file = self._directory / f"{route.id}-trust.crt"
            write_file(file, bundle_to_pem(list(route.trust)).encode())
            lines.append(f"proxy_ssl_trusted_certificate {quote(str(file))};")
        elif own_trust:
            lines.append(f"proxy_ssl_trusted_certificate {quote(str(subject.path_of(own_trust)))};")
        lines += _own(subject, crl=route.trust is None)
        return f"location = /{route.id} {{\n" + "\n".join(lines) + "\n}\n"


def group_of(name: str, peers: Sequence[str]) -> str:
    """An upstream group for one route: no other's connections and sessions, and a refusing peer is not thought down."""
    return f"upstream {name} {{\n" + "".join(f"server {quote(peer)} max_fails=0;\n" for peer in peers) + "}\n"


def _headers(subject: Subject) -> list[str]:
    """The location's own Host and Connection where a server without its maps can say them, else the upstream's name."""
    lines, host = [], False
    for directive in effective_list(subject.place.node, "proxy_set_header"):
        name, value = directive.arguments[:2] if len(directive.arguments) == 2 else ("", "")
        if name.lower() in _HEADERS and set(variables(value)) <= _BUILT_IN:
            host |= name.lower() == "host"
            value = value.replace("$proxy_host", subject.target.proxy_host)
            lines.append(f"proxy_set_header {name} {quote(value)};")
    return lines if host else [*lines, f"proxy_set_header Host {quote(subject.target.proxy_host)};"]


def _own(subject: Subject, *, crl: bool) -> list[str]:
    """The location's own TLS directives, inherited ones too, file names made absolute."""
    lines = []
    for name, setting in subject.place.settings.items():
        if not name.startswith("ssl_") or name in (*_REPLACED, "ssl_conf_command") or (name == "ssl_crl" and not crl):
            continue
        absolute = name in _FILES and not setting.value.startswith(DATA)
        words = [str(subject.path_of(one)) if absolute else one for one in setting.arguments]
        lines.append(f"proxy_{name} {' '.join(map(quote, words))};")
    commands = effective_list(subject.place.node, "proxy_ssl_conf_command")
    return lines + [_command(one) for one in commands if one.arguments[0].lower() not in _OWN_CERTIFICATE]


def _command(directive: Directive) -> str:
    return f"{directive.name} {' '.join(map(quote, directive.arguments))};"


def _short(line: str) -> str:
    """A log line without its time stamp, process and connection, cut before the client's part."""
    return _STAMP.sub("", line).partition(", client:")[0].strip()
