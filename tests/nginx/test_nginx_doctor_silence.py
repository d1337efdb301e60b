"""What nobody logs: a real nginx shows the wrong identity or checks nothing; ``--why`` names it, and not once cured."""

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.nginx.causes import ASKS, SILENT, UP, Silent
from tests.nginx.sites import make_certificates
from tests.nginx.spoilers import readable, shown, stranger
from tests.nginx.test_nginx_doctor import asked, ids
from tests.rig.nginx import frame, get, program, programs, short_directory
from tests.rig.pki import Pki
from troth.host.nginx import Nginx
from troth.host.ports import free_ports
from troth.x509.pem import parse_certificates

SEEN = "location / { return 200 $ssl_client_serial; }"


@pytest.fixture(scope="module")
def pki() -> Iterator[Pki]:
    with short_directory("silence-pki") as directory:
        yield make_certificates(directory / "tls")


def write(case: Silent, nginx: Nginx, port: int, *, cured: bool) -> None:
    """The configuration of the case, with its fault or without."""
    directory = nginx.main.parent
    around, lines = (case.cured_around, case.good) if cured else (case.around, case.bad)
    more = (cured and case.cured_more) or case.more
    body = (
        f"{more}server {{\nlisten 127.0.0.1:{port};\nserver_name app.test;\n{around}"
        f"location /x {{\nproxy_pass {case.target};\n{lines}\n}}\n}}\n"
        f"server {{\n{UP}{ASKS}\n{SEEN}\n}}\n"
    )
    # One worker: sessions and idle connections are a worker's own.
    text = frame(directory, body, workers=1).replace("PORT2", str(free_ports(1)[0]))
    nginx.main.write_text(re.sub(r"\bTLS(?=[/;])", str(directory / "tls"), text))


@contextmanager
def running(case: Silent, nginx: Nginx, port: int, *, cured: bool) -> Iterator[None]:
    write(case, nginx, port, cured=cured)
    nginx.start()
    try:
        yield
    finally:
        nginx.stop()


def serial(path: Path) -> str:
    return f"{parse_certificates(path.read_bytes())[0].serial_number:X}"


def is_wrong(case: Silent, port: int, tls: Path, mine: Pki) -> bool:
    """Does what leads to the symptom, and says whether it came."""
    for path in case.first:
        get(port, path)
    if case.renewed:
        time.sleep(case.pause)
        shown("client")(tls, mine)
        readable(tls, mine)
    for _ in range(case.asks - 1):
        get(port, "/x")
    return not is_right(case, port, tls)


def is_right(case: Silent, port: int, tls: Path) -> bool:
    status, body = get(port, "/x")
    if case.stranger:
        return status == 502
    return (status, int(body, 16)) == (200, int(serial(tls / "client.crt"), 16))


@pytest.mark.parametrize("rule", sorted(SILENT))
@pytest.mark.parametrize("build", sorted(programs()))
def test_what_nobody_logs_is_named_and_ends_with_the_cure(build: str, rule: str, pki: Pki) -> None:
    case = SILENT[rule]
    with short_directory("silence") as directory:
        nginx, (port,) = Nginx(program(build), directory / "nginx.conf", directory), free_ports(1)
        which = ("--nginx", str(nginx.binary), "-c", str(nginx.main), "-p", str(directory))
        question = (*which, "--why", case.why, "--location", "/x")
        shutil.copytree(pki.directory, tls := directory / "tls")
        mine = Pki.__new__(Pki)
        mine.__dict__.update(pki.__dict__, directory=tls)
        readable(tls, mine)
        if case.stranger:
            stranger("server")(tls, mine)
        with running(case, nginx, port, cured=False):
            assert is_wrong(case, port, tls, mine)
            found = asked(*question)
            assert ids(found) == (2, [rule])
            assert found[1][0]["evidence"]
            if case.reloaded:
                nginx.reload()
                assert is_right(case, port, tls)
                assert asked(*question) == (0, [])
        if not case.reloaded:
            with running(case, nginx, port, cured=True):
                assert not is_wrong(case, port, tls, mine)
                assert asked(*question) == (0, [])
