"""How each program is found, configured to ask for client certificates, and started."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.rig.pki import Pair

HERE = Path(__file__).parent
BUILD = Path("build")


@dataclass(frozen=True)
class Setting:
    """What an upstream is to use: its port, its pair, whom it lets in, a directory, and a plain HTTP server behind.

    With `newest` it speaks TLS 1.3 alone.
    """

    directory: Path
    port: int
    pair: Pair
    trust: Path
    behind: int
    newest: bool = False

    def write(self, name: str, text: str) -> str:
        path = self.directory / name
        path.write_text(text)
        return str(path)

    @property
    def one_file(self) -> str:
        """Certificate and key in one file."""
        return self.write("up.pem", self.pair.certificate.read_text() + self.pair.key.read_text())


@dataclass(frozen=True)
class Program:
    """`find` gives the path or None; `install` says how to get it; `command` writes files and says what to run."""

    name: str
    find: Callable[[], str | None]
    install: str
    command: Callable[[str, Setting], list[str]]
    version: tuple[str, ...]


def on_path(*names: str) -> Callable[[], str | None]:
    def find() -> str | None:
        found = (shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/go/bin") for name in names)
        return next((path for path in found if path), None)

    return find


def built(path: str) -> Callable[[], str | None]:
    return lambda: str((BUILD / path).absolute()) if (BUILD / path).exists() else None


def haproxy(program: str, at: Setting) -> list[str]:
    least = " ssl-min-ver TLSv1.3" if at.newest else ""
    text = f"""\
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
frontend upstream
    bind 127.0.0.1:{at.port} ssl crt {at.one_file} ca-file {at.trust} verify required{least}
    http-request return status 200 content-type text/plain string hello
"""
    return [program, "-db", "-f", at.write("haproxy.cfg", text)]


def caddy(program: str, at: Setting) -> list[str]:
    least = "protocols tls1.3" if at.newest else ""
    text = f"""\
{{
    admin off
    auto_https off
    persist_config off
    storage file_system {at.directory}/caddy
}}
https://up.test:{at.port} {{
    bind 127.0.0.1
    tls {at.pair.certificate} {at.pair.key} {{
        {least}
        client_auth {{
            mode require_and_verify
            trust_pool file {at.trust}
        }}
    }}
    respond hello
}}
"""
    return [program, "run", "--adapter", "caddyfile", "--config", at.write("Caddyfile", text)]


def envoy(program: str, at: Setting) -> list[str]:
    extensions = "type.googleapis.com/envoy.extensions"
    pair = {"certificate_chain": {"filename": str(at.pair.certificate)}, "private_key": {"filename": str(at.pair.key)}}
    tls = {
        "@type": f"{extensions}.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": True,
        "common_tls_context": {
            "tls_certificates": [pair],
            "validation_context": {"trusted_ca": {"filename": str(at.trust)}},
            "tls_params": {
                "tls_minimum_protocol_version": "TLSv1_3" if at.newest else "TLSv1_2",
                "tls_maximum_protocol_version": "TLSv1_3",
            },
        },
    }
    answer = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "hello"}}}
    http = {
        "@type": f"{extensions}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "upstream",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [answer]}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{extensions}.filters.http.router.v3.Router"},
            }
        ],
    }
    chain = {
        "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": http}],
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": at.port}}
    value = {"static_resources": {"listeners": [{"address": address, "filter_chains": [chain]}]}}
    file = at.write("envoy.json", json.dumps(value))
    return [program, "-c", file, "--concurrency", "1", "--disable-hot-restart"]


def apache(program: str, at: Setting) -> list[str]:
    modules = "/usr/lib/apache2/modules"
    text = f"""\
ServerRoot {at.directory}
PidFile {at.directory}/apache.pid
ErrorLog {at.directory}/apache.log
DefaultRuntimeDir {at.directory}
Mutex file:{at.directory}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule alias_module {modules}/mod_alias.so
LoadModule socache_shmcb_module {modules}/mod_socache_shmcb.so
LoadModule ssl_module {modules}/mod_ssl.so
User www-data
Group www-data
ServerName up.test
Listen 127.0.0.1:{at.port}
SSLEngine on
SSLCertificateFile {at.pair.certificate}
SSLCertificateKeyFile {at.pair.key}
SSLCACertificateFile {at.trust}
SSLProtocol {"-all +TLSv1.3" if at.newest else "all"}
SSLVerifyClient require
SSLVerifyDepth 2
Redirect 410 /
"""
    return [program, "-f", at.write("apache.conf", text), "-DFOREGROUND"]


def go_server(program: str, at: Setting) -> list[str]:
    binary = str(at.directory / "upstream")
    subprocess.run([program, "build", "-o", binary, "."], cwd=HERE / "go", check=True, capture_output=True, timeout=240)
    files = [str(at.pair.certificate), str(at.pair.key), str(at.trust)]
    return [binary, f"127.0.0.1:{at.port}", *files, *(["newest"] if at.newest else [])]


def python_ssl(program: str, at: Setting) -> list[str]:
    files = [str(at.pair.certificate), str(at.pair.key), str(at.trust)]
    return [program, str(HERE / "python_upstream.py"), str(at.port), *files, *(["newest"] if at.newest else [])]


def stunnel(program: str, at: Setting) -> list[str]:
    text = f"""\
foreground = yes
pid =
[upstream]
accept = 127.0.0.1:{at.port}
connect = 127.0.0.1:{at.behind}
cert = {at.pair.certificate}
key = {at.pair.key}
CAfile = {at.trust}
verifyChain = yes
requireCert = yes
sslVersionMin = TLSv1.{3 if at.newest else 2}
"""
    return [program, at.write("stunnel.conf", text)]


def python() -> str | None:
    return sys.executable


PROGRAMS = (
    Program("HAProxy", on_path("haproxy"), "apt-get install haproxy", haproxy, ("-v",)),
    Program("Caddy", on_path("caddy"), "make programs", caddy, ("build-info",)),
    Program("Envoy", built("envoy/bin/envoy"), "make programs", envoy, ("--version",)),
    Program("Apache httpd", on_path("apache2"), "apt-get install apache2", apache, ("-v",)),
    Program("Go net/http", on_path("go"), "https://go.dev/dl/", go_server, ("version",)),
    Program("Python ssl", python, "", python_ssl, ("--version",)),
    Program("stunnel", on_path("stunnel4", "stunnel"), "apt-get install stunnel4", stunnel, ("-version",)),
)
