"""A site of two locations with a troth.toml and a running nginx, driven by the commands people type."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner, Result

from tests.agent.rig import material
from tests.rig.nginx import frame, get, program, short_directory
from tests.rig.pki import Pair, Pki
from troth.agent.state import only_agent
from troth.cli.group import load_command
from troth.host.generations import Generations
from troth.host.nginx import Nginx
from troth.host.ports import free_ports

PATHS = ("/one", "/two")


@dataclass(frozen=True)
class Site:
    """Where it is; its identity is called ``shop``, renewed by nobody, and kept in ``mtls/shop``."""

    nginx: Nginx
    directory: Path
    port: int
    upstream: int
    pki: Pki

    @property
    def file(self) -> Path:
        return self.directory / "site.conf"

    @property
    def toml(self) -> Path:
        return self.directory / "troth.toml"

    @property
    def generations(self) -> Generations:
        return Generations(self.directory / "mtls" / "shop")

    @property
    def options(self) -> list[str]:
        return ["--nginx", str(self.nginx.binary), "-c", str(self.nginx.main), "-p", str(self.directory)]

    def declare(self, *paths: str, more: str = "") -> None:
        """Write the declaration: these locations show the identity."""
        locations = "".join(
            f'[[location]]\nserver = "app.test"\npath = "{path}"\nidentity = "shop"\nname = "up.test"\n'
            for path in paths
        )
        identity = '[[identity]]\nname = "shop"\nsubject = "shop.test"\nca = "https://127.0.0.1:1"\ndir = "mtls/shop"\n'
        self.toml.write_text(f'[agent]\nstate = "state"\n{identity}{locations}{more}')

    def renew(self, pki: Pki | None = None) -> Pair:
        """A new generation, as the agent makes one, without telling nginx."""
        authority = pki or self.pki
        pair = authority.leaf("shop.test", file=f"shop-{len(self.generations.numbers()) + 1}")
        self.generations.switch(self.generations.stage(material(pair, authority.trust)))
        return pair

    def run(self, command: str, *words: str, options: bool = True) -> Result:
        """``troth nginx COMMAND`` with the options that mean this site; errors are raised."""
        chosen = load_command("nginx", command)
        assert isinstance(chosen, click.Command)
        common = [*self.options, "--config", str(self.toml)] if options else []
        return CliRunner().invoke(chosen, [*common, *words], standalone_mode=False)

    def done(self, command: str, *words: str, code: int | None = 0) -> str:
        """What it printed on stdout, after it ended with this code."""
        result = self.run(command, *words)
        if result.exception is not None:
            raise result.exception
        assert code is None or result.return_value == code, result.output
        return result.stdout

    def json(self, command: str, *words: str, code: int | None = 0) -> Any:
        return json.loads(self.done(command, "--json", *words, code=code))

    def serial(self, path: str) -> int:
        """The serial that the upstream sees through a location."""
        status, body = get(self.port, path)
        assert status == 200, body
        return int(body, 16)


@contextmanager
def site(build: str) -> Iterator[Site]:
    """nginx with both locations as the guide leaves them, nothing applied; the identity has its first certificate."""
    with short_directory("site") as directory:
        pki = Pki(directory / "pki")
        server = pki.leaf("up.test")
        port, up = free_ports(2)
        found = Site(Nginx(program(build), directory / "nginx.conf", directory), directory, port, up, pki)
        locations = "".join(
            f"    location {path} {{\n        proxy_pass https://127.0.0.1:{up};\n    }}\n" for path in PATHS
        )
        found.file.write_text(f"server {{\n    listen 127.0.0.1:{port};\n    server_name app.test;\n{locations}}}\n")
        upstream = (
            f"    server {{ listen 127.0.0.1:{up} ssl; ssl_protocols TLSv1.2 TLSv1.3;\n"
            f"    ssl_certificate {server.certificate}; ssl_certificate_key {server.key};\n"
            f"    ssl_client_certificate {pki.trust}; ssl_verify_client on; ssl_verify_depth 2;\n"
            "    location / { return 200 $ssl_client_serial; } }\n"
        )
        (directory / "nginx.conf").write_text(frame(directory, f"    include {found.file};\n{upstream}"))
        found.renew()
        found.declare(*PATHS)
        with only_agent(directory / "state"):
            pass
        found.nginx.start()
        try:
            yield found
        finally:
            found.nginx.stop()
