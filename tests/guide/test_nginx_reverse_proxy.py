"""The commands and configuration of the guide, run as written against a fresh authority and each real nginx.

Only host, port, fingerprint and directory are substituted.
"""

import http.client
import json
import os
import re
import shlex
import shutil
import subprocess
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.stage import PASSWORD, free_port, initialise, serving, troth_program
from troth.host.nginx import bundled

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "nginx-reverse-proxy.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TEMP_PATHS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


NGINXES = {
    "bundled": str(bundled() or "") or None,
    "system": shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin"),
}
CHOSEN = {"chosen": os.environ["TROTH_TEST_NGINX"]} if os.environ.get("TROTH_TEST_NGINX") else NGINXES


@dataclass(frozen=True)
class Guide:
    """The guide's blocks, with the five things a reader replaces replaced."""

    text: str

    def blocks(self, language: str) -> list[str]:
        return [body for kind, body in BLOCK.findall(self.text) if kind == language]

    @property
    def commands(self) -> list[str]:
        lines = "".join(self.blocks("console")).splitlines()
        return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


@dataclass(frozen=True)
class Site:
    """A directory in the role of /etc/nginx, the proxy's port, and how to run things there."""

    directory: Path
    port: int
    nginx: str
    steppath: Path

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.directory}/bin:{os.environ['PATH']}"
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("STEP")},
            "PATH": path,
            "STEPPATH": str(self.steppath),
            "STEP_PROVISIONER_PASSWORD_FILE": str(self.directory / "provisioner.password"),
        }

    def run(self, command: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        words = shlex.split(command)
        assert words[0] == "troth", f"the guide runs {words[0]}"
        done = subprocess.run(
            [*troth_program(), *words[1:]],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert code is None or done.returncode == code, f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def get(self) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", "/upstream", headers={"Host": "proxy.internal.net"})
        response = connection.getresponse()
        return response.status, response.read()

    def seen(self) -> int:
        status, body = self.get()
        assert status == 200, body
        return int(json.loads(body)["serial"], 16)


def frame(directory: Path, body: str) -> str:
    temp = "".join(f"{name}_temp_path {directory}/temp-{name};\n" for name in TEMP_PATHS)
    return (
        f"worker_processes 2;\npid {directory}/nginx.pid;\nerror_log {directory}/error.log info;\n"
        f"events {{}}\nhttp {{\n{temp}access_log off;\n{body}}}\n"
    )


def start_nginx(nginx: str, directory: Path) -> None:
    subprocess.run(
        [nginx, "-p", str(directory), "-c", str(directory / "nginx.conf")],
        stdin=subprocess.DEVNULL,
        check=True,
        capture_output=True,
        timeout=20,
    )


def stop_nginx(nginx: str, directory: Path) -> None:
    subprocess.run(
        [nginx, "-p", str(directory), "-c", str(directory / "nginx.conf"), "-s", "stop"], timeout=20, check=False
    )
    deadline = time.monotonic() + 10
    while (directory / "nginx.pid").exists() and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory whose path is short enough for Unix sockets and open to nginx's workers."""
    import tempfile

    path = Path(tempfile.mkdtemp(prefix="guide-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def authority(base: Path) -> Iterator[tuple[Path, int]]:
    directory, port = base / "ca", free_port()
    initialise(troth_program(), directory, port)
    with serving([*troth_program(), "ca", "serve"], directory, port):
        yield directory, port


@pytest.fixture(params=sorted(CHOSEN))
def site(request: pytest.FixtureRequest, base: Path, authority: tuple[Path, int]) -> Iterator[Site]:
    nginx = CHOSEN[request.param]
    if nginx is None:
        pytest.skip(f"no {request.param} nginx on this machine")
    directory = base / request.param
    (directory / "bin").mkdir(parents=True)
    (directory / "bin" / "nginx").symlink_to(nginx)
    (directory / "provisioner.password").write_text(PASSWORD)
    yield Site(directory, free_port(), nginx, directory / "step")
    stop_nginx(nginx, directory)


@pytest.fixture
def upstream(base: Path, site: Site, authority: tuple[Path, int]) -> Iterator[int]:
    """An nginx in the role of myserver.internal.net, which lets nobody in without a certificate."""
    ca, ca_port = authority
    directory, port = base / f"upstream-{site.directory.name}", free_port()
    directory.mkdir()
    environment = {**site.environment, "STEPPATH": str(directory / "step")}
    fingerprint = json.loads((ca / "config" / "defaults.json").read_text())["fingerprint"]
    for command in (
        f"ca bootstrap --ca-url https://localhost:{ca_port} --fingerprint {fingerprint}",
        "ca certificate localhost up.crt up.key",
    ):
        subprocess.run(
            [*troth_program(), *command.split()],
            cwd=directory,
            env=environment,
            check=True,
            capture_output=True,
            timeout=60,
        )
    report = '{"serial":"$ssl_client_serial","subject":"$ssl_client_s_dn"}'
    body = (
        f"server {{\nlisten 127.0.0.1:{port} ssl;\nssl_protocols TLSv1.2 TLSv1.3;\n"
        f"ssl_certificate {directory}/up.crt;\nssl_certificate_key {directory}/up.key;\n"
        f"ssl_client_certificate {ca}/certs/root_ca.crt;\nssl_verify_client on;\nssl_verify_depth 2;\n"
        f"location / {{ return 200 '{report}'; }}\n}}\n"
    )
    (directory / "nginx.conf").write_text(frame(directory, body))
    start_nginx(site.nginx, directory)
    yield port
    stop_nginx(site.nginx, directory)


def guide_for(site: Site, ca: Path, ca_port: int, upstream_port: int) -> Guide:
    text = GUIDE.read_text()
    fingerprint = json.loads((ca / "config" / "defaults.json").read_text())["fingerprint"]
    text = text.replace("https://ca.internal:9000", f"https://localhost:{ca_port}")
    text = text.replace("myserver.internal.net:443", f"localhost:{upstream_port}")
    text = text.replace("myserver.internal.net", "localhost").replace("/etc/nginx", str(site.directory))
    return Guide(re.sub(r"\b[0-9a-f]{64}\b", fingerprint, text))


def configure(site: Site, guide: Guide) -> None:
    """Step 4's location with step 5's lines in it, inside the server block of a site."""
    location, checks = guide.blocks("nginx")
    whole = location.rstrip().removesuffix("}") + textwrap.indent(checks, "    ") + "}\n"
    server = f"server {{\nlisten 127.0.0.1:{site.port};\nserver_name proxy.internal.net;\n{whole}}}\n"
    (site.directory / "nginx.conf").write_text(frame(site.directory, server))
    (site.directory / "troth.toml").write_text(guide.blocks("toml")[0])


def serial_of(path: Path) -> int:
    from cryptography import x509

    return x509.load_pem_x509_certificates(path.read_bytes())[0].serial_number


def test_the_guide_holds_word_for_word(site: Site, authority: tuple[Path, int], upstream: int) -> None:
    guide = guide_for(site, *authority, upstream)
    commands = guide.commands
    bootstrap, certificate, root, inspect, once, plan, apply, prove, forever = commands
    for command in (bootstrap, certificate, root):
        site.run(command)
    configure(site, guide)
    start_nginx(site.nginx, site.directory)
    assert site.seen() == serial_of(site.directory / "client.crt"), "the guide's own configuration works as it stands"

    found = site.run(inspect, code=2)
    assert "session" in found.stdout.lower(), "inspect names what the guide leaves open"
    site.run(once)
    current = site.directory / "mtls" / "myuser" / "current" / "client.crt"
    assert site.run(plan, code=2).stdout.count("proxy_ssl_certificate client.crt;") == 1
    site.run(apply)
    assert site.seen() == serial_of(current), "the hardened location shows the agent's identity"
    assert site.run(plan).stdout.strip() == "" or "nothing" in site.run(plan).stdout
    assert "✔" in site.run(prove).stdout

    agent = subprocess.Popen(
        [*troth_program(), *shlex.split(forever)[1:]],
        cwd=site.directory,
        env=site.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert agent.stdout is not None
        assert "agent started" in agent.stdout.readline(), agent.communicate()[0]
        assert "myuser" in site.run(f"troth agent status --config {site.directory}/troth.toml").stdout
    finally:
        agent.terminate()
        assert agent.wait(20) == 0


def test_nothing_of_the_guide_is_left_out() -> None:
    guide = Guide(GUIDE.read_text())
    assert len(guide.commands) == 9
    assert len(guide.blocks("nginx")) == 2
    assert len(guide.blocks("toml")) == 1
    assert all(command.startswith("troth ") for command in guide.commands)
