"""Configurations to be proven, with their authority; each need not run."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner, Result

from tests.rig.nginx import frame, program, short_directory
from tests.rig.pki import Pki
from troth.agent.prove import ProofRow, prove_live, prove_location
from troth.agent.reading import read_config
from troth.cli.nginx import prove
from troth.host.nginx import Nginx
from troth.host.ports import free_ports
from troth.nginx.map import Place, identity_map

CLIENT = "proxy_ssl_certificate DIR/{0}.crt; proxy_ssl_certificate_key DIR/{0}.key;"
CHECK = (
    "proxy_ssl_verify on; proxy_ssl_verify_depth 2; proxy_ssl_trusted_certificate DIR/ca.crt; proxy_ssl_name up.test;"
)
KEEP = 'proxy_http_version 1.1; proxy_set_header Connection "";'
APART = "proxy_ssl_session_reuse off;"
GOOD = f"location /upstream {{ proxy_pass https://UP; {CLIENT.format('one')} {CHECK} {APART} }}"
SHARED = "upstream shared.test { server UP; keepalive 4; } "
WITNESSED = {
    "accepted",
    *("client-none", "client-expired", "client-foreign", "client-server-only"),
    *("upstream-foreign", "upstream-wrong-name", "upstream-expired", "upstream-client-only"),
    *("after-others", "foreign-after-others"),
}
LIVE = {"live-accepted", "live-client-none", "live-client-foreign", "live-upstream-foreign", "live-wrong-name"}


@dataclass(frozen=True)
class Site:
    """A configuration, which need not run, and its authority."""

    nginx: Nginx
    directory: Path
    pki: Pki

    def place(self, path: str = "/upstream") -> Place:
        return next(place for place in identity_map(read_config(self.nginx)) if place.path == path)

    def rows(self, path: str = "/upstream") -> dict[str, ProofRow]:
        rows = prove_location(read_config(self.nginx), self.place(path), self.nginx)
        return {row.id: row for row in rows}

    def live(self) -> dict[str, ProofRow]:
        return {row.id: row for row in prove_live(read_config(self.nginx), self.place(), self.nginx)}

    def command(self, *words: str) -> Result:
        common = ["--nginx", str(self.nginx.binary), "-c", str(self.nginx.main), "-p", str(self.directory)]
        return run(*common, *words)

    def check(self, *words: str) -> Result:
        return run("--check", str(self.directory / "proof.jws"), "--root", str(self.pki.trust), *words)


def run(*words: str) -> Result:
    return CliRunner().invoke(prove, list(words), standalone_mode=False)


@contextmanager
def laid_out(build: str, *locations: str, outside: str = "", asks: str = "on", http2: bool = False) -> Iterator[Site]:
    """The locations in a server, ``outside`` before it, and an upstream that asks for certificates."""
    with short_directory("prove") as directory:
        pki = Pki(directory)
        pki.leaf("one"), pki.leaf("two"), pki.leaf("up.test", file="up")
        port, up = free_ports(2)
        flag = " http2" if http2 else ""
        upstream = (
            f"server {{ listen 127.0.0.1:{up} ssl{flag}; ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate DIR/up.crt;\n"
            f"ssl_certificate_key DIR/up.key; ssl_client_certificate DIR/ca.crt; ssl_verify_client {asks};\n"
            "ssl_verify_depth 2; location / { return 404; } }\n"
        )
        server = "".join(f"{one}\n" for one in locations)
        body = f"{outside}\nserver {{ listen 127.0.0.1:{port}; server_name app.test;\n{server}}}\n{upstream}"
        body = body.replace("UP", f"127.0.0.1:{up}").replace("DIR", str(directory))
        (directory / "nginx.conf").write_text(frame(directory, body))
        yield Site(Nginx(program(build), directory / "nginx.conf", directory), directory, pki)


def failed(rows: dict[str, ProofRow]) -> set[str]:
    return {name for name, row in rows.items() if not row.ok}
