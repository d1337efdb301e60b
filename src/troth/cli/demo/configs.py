"""The nginx configurations of the demo: an upstream that requires client certificates, and the guide's proxy."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TEMP_PATHS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@dataclass(frozen=True, slots=True)
class Site:
    """One TLS listener of the upstream with the certificate it shows."""

    port: int
    certificate: Path
    key: Path


def _frame(directory: Path, workers: int, body: str) -> str:
    """A configuration that writes nothing outside its directory and needs no root."""
    temp = "\n".join(f"    {name}_temp_path {directory}/temp-{name};" for name in TEMP_PATHS)
    return f"""\
worker_processes {workers};
pid {directory}/nginx.pid;
error_log {directory}/error.log info;
events {{ worker_connections 1024; }}
http {{
{temp}
    access_log off;
{body}}}
"""


def upstream(directory: Path, root: Path, sites: Mapping[str, Site]) -> str:
    """The upstream: every site asks for a client certificate and reports whose it saw."""
    servers = "".join(
        f"""\
    server {{
        listen 127.0.0.1:{site.port} ssl;
        server_name myserver.internal.net;  # {name}
        ssl_certificate {site.certificate};
        ssl_certificate_key {site.key};
        location / {{
            default_type application/json;
            return 200 '{{"serial":"$ssl_client_serial","subject":"$ssl_client_s_dn","protocol":"$ssl_protocol"}}';
        }}
    }}
"""
        for name, site in sites.items()
    )
    return _frame(
        directory,
        1,
        f"""\
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_client_certificate {root};
    ssl_verify_client on;
    ssl_verify_depth 2;
    keepalive_requests 1000000;
{servers}""",
    )


def guide_proxy(directory: Path, port: int, upstream_port: int) -> str:
    """The reverse proxy exactly as the guide leaves it after step 5, relative paths and all."""
    return _frame(
        directory,
        2,
        f"""\
    server {{
        listen 127.0.0.1:{port};
        server_name proxy.internal.net;

        location /upstream {{
            proxy_pass https://localhost:{upstream_port};
            proxy_ssl_certificate client.crt;
            proxy_ssl_certificate_key client.key;
            proxy_ssl_protocols TLSv1.2 TLSv1.3;
            proxy_ssl_ciphers HIGH:!aNULL:!MD5;

            proxy_ssl_trusted_certificate {directory}/ca.crt;
            proxy_ssl_verify on;
            proxy_ssl_verify_depth 2;
        }}
    }}
""",
    )


@dataclass(frozen=True, slots=True)
class Trial:
    """One location of the trial proxy: which identity it shows, and to which port of the upstream."""

    name: str
    upstream_port: int
    certificate: Path | None
    key: Path | None


def trials(directory: Path, port: int, trust: Path, wanted: list[Trial]) -> str:
    """A second proxy with one hardened location per trial, each with one thing wrong."""
    locations = "".join(_trial(trial, trust) for trial in wanted)
    return _frame(directory, 1, f"    server {{\n        listen 127.0.0.1:{port};\n{locations}    }}\n")


def _trial(trial: Trial, trust: Path) -> str:
    shown = (
        f"            proxy_ssl_certificate {trial.certificate};\n            proxy_ssl_certificate_key {trial.key};\n"
        if trial.certificate
        else ""
    )
    return f"""\
        location /{trial.name} {{
            proxy_pass https://127.0.0.1:{trial.upstream_port};
            proxy_set_header Host myserver.internal.net;
{shown}            proxy_ssl_trusted_certificate {trust};
            proxy_ssl_verify on;
            proxy_ssl_verify_depth 2;
            proxy_ssl_server_name on;
            proxy_ssl_name myserver.internal.net;
            proxy_ssl_protocols TLSv1.2 TLSv1.3;
            proxy_ssl_session_reuse off;
        }}
"""
