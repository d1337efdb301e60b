"""What every guide needs: an authority, and a directory for each nginx."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guide.rig import CHOSEN, Site, start_nginx, stop_nginx
from tests.interop.stage import PASSWORD, free_port, initialise, serving, troth_program
from tests.rig.nginx import frame


@pytest.fixture(scope="module")
def base() -> Iterator[Path]:
    """A directory whose path is short enough for Unix sockets and open to nginx's workers."""
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
    """An nginx in the role of the internal server, which lets nobody in without a certificate."""
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
    report = '{"serial":"$ssl_client_serial","subject":"$ssl_client_s_dn","uri":"$request_uri"}'
    body = (
        f"server {{\nlisten 127.0.0.1:{port} ssl;\nserver_name localhost;\nssl_protocols TLSv1.2 TLSv1.3;\n"
        f"ssl_certificate {directory}/up.crt;\nssl_certificate_key {directory}/up.key;\n"
        f"ssl_client_certificate {ca}/certs/root_ca.crt;\nssl_verify_client on;\nssl_verify_depth 2;\n"
        f"location / {{ return 200 '{report}'; }}\n}}\n"
    )
    (directory / "nginx.conf").write_text(frame(directory, body))
    start_nginx(site.nginx, directory)
    yield port
    stop_nginx(site.nginx, directory)
