"""What `inspect` warns of, where it takes more than a request to show: with a real nginx, and gone once cured."""

import http.client
import os
import select
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding

from tests.nginx.causes import ASKS, GOOD, NAME, UP, Case
from tests.nginx.odd_upstreams import counted, strict
from tests.nginx.reproducers import CHECK, DIR, VARIABLE, mode, old_time, with_root
from tests.nginx.sites import make_certificates
from tests.nginx.spoilers import both, copied, readable, shown
from tests.nginx.symptoms import OFF, Site
from tests.nginx.test_nginx_doctor import Scene, scene
from tests.nginx.test_nginx_symptoms import assert_answers, laid, named, replaced
from tests.rig.nginx import programs, short_directory
from tests.rig.pki import CLIENT, Pki
from troth.host.nginx import Nginx, NginxTestError
from troth.x509.keys import parse_private_key
from troth.x509.pem import bundle_to_pem, parse_certificates


@pytest.fixture(scope="module")
def pki() -> Iterator[Pki]:
    with short_directory("sequences-pki") as directory:
        yield make_certificates(directory / "tls")


def seen(made: Scene) -> str:
    """What the upstream says at ``/x``."""
    status, body = made.get("/x")
    assert status == 200, body
    return body.decode()


def renewed(made: Scene) -> None:
    made.change(both(shown("client"), copied("client.crt", "client.crt"), copied("client.key", "client.key")))
    made.nginx.reload()


@pytest.mark.parametrize("build", sorted(programs()))
def test_a_client_known_by_its_fingerprint_is_a_stranger_once_renewed(build: str, pki: Pki) -> None:
    leaf = parse_certificates((pki.directory / "client.crt").read_bytes())[0]
    known = "map {} $who {{ default nobody; {} known; }}\n"
    print_ = leaf.fingerprint(SHA1()).hex()
    bad = Site(inside="return 200 $who;", more=known.format("$ssl_client_fingerprint", print_))
    good = replace(bad, more=known.format("$ssl_client_s_dn", "CN=client"))
    with scene(laid(bad), build, pki) as made:
        assert "sha1-fingerprint" in assert_answers(made, bad)
        assert seen(made) == "known"
        renewed(made)
        assert seen(made) == "nobody"
        replaced(made, good)
        assert "sha1-fingerprint" not in assert_answers(made, good)
        renewed(made)
        assert seen(made) == "known"


@pytest.mark.parametrize("build", sorted(programs()))
def test_a_refusal_below_the_level_of_the_log_has_no_reason_anywhere(build: str, pki: Pki) -> None:
    good = Site(status=400, body="The SSL certificate error", spoil=shown("client", ended=True))
    bad = replace(good, up=f"{UP.replace('up.log info', 'up.log warn')}{ASKS}")
    with scene(laid(bad), build, pki) as made:
        log = made.directory / "tls" / "up.log"
        assert "silent-refusals" in assert_answers(made, bad)
        assert "client SSL certificate verify error" not in log.read_text()
        replaced(made, good)
        assert "silent-refusals" not in assert_answers(made, good)
        assert "client SSL certificate verify error: (10:" in log.read_text()


def test_a_file_replaced_under_its_old_time_is_not_read_again(pki: Pki) -> None:
    site = Site(spoil=old_time)
    with scene(replace(laid(site), builds=("bundled",)), "bundled", pki) as made:
        assert "stale-time" in assert_answers(made, site)
        before, path = seen(made), made.directory / "tls" / "client.crt"
        old, new = path.stat(), same_key_again(made)
        os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
        made.nginx.reload()
        assert "stale-time" in named(made)
        assert seen(made) == before
        os.utime(path)
        made.nginx.reload()
        assert "stale-time" not in named(made)
        assert int(seen(made), 16) == new


def same_key_again(made: Scene) -> int:
    """Another certificate of the same key, written in place; its serial."""
    path, key = made.directory / "tls" / "client.crt", made.directory / "tls" / "client.key"
    issuer, private = made.pki, parse_private_key(key.read_bytes())
    new = issuer._sign("client", private, "Test Intermediate", issuer._key, purposes=(CLIENT,))
    path.write_text(bundle_to_pem([new, issuer.intermediate]))
    return new.serial_number


@pytest.mark.parametrize("build", sorted(programs()))
def test_a_root_that_is_sent_along_makes_every_handshake_longer(build: str, pki: Pki) -> None:
    case = Case(GOOD, spoil=with_root, target="https://127.0.0.1:ODD", upstream=counted(strict()), heals=True)
    with scene(case, build, pki) as made:
        made.nginx.start()
        assert "root-sent" in named(made)
        assert made.get("/x")[0] == 204
        longer = sent(made, 1)
        made.nginx.stop()
        made.files(bad=False)
        made.nginx.start()
        assert "root-sent" not in named(made)
        assert made.get("/x")[0] == 204
        root = pki.root.public_bytes(Encoding.DER)
        assert longer - sent(made, 2) == pytest.approx(len(root), abs=32)


def sent(made: Scene, connections: int) -> int:
    """Bytes that the proxy sent in the last of so many connections; each is counted once it has ended."""
    file, until = made.directory / "sent", time.monotonic() + 10
    while time.monotonic() < until:
        sizes = file.read_text().splitlines() if file.exists() else []
        if len(sizes) == connections:
            return int(sizes[-1])
        time.sleep(0.01)
    raise AssertionError(f"{connections} connections did not end")


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("curl") is None, reason="needs root and curl")
@pytest.mark.parametrize("build", sorted(programs()))
def test_another_account_with_an_open_key_is_let_in_as_the_client(build: str, pki: Pki) -> None:
    bad = Site(inside='return 200 "$ssl_client_s_dn";', spoil=mode("client.key", 0o644))
    good = replace(bad, spoil=mode("client.key", 0o600))
    with scene(laid(bad), build, pki) as made:
        assert "open-key" in assert_answers(made, bad)
        assert as_nobody(made) == "CN=client"
        replaced(made, good)
        assert "open-key" not in assert_answers(made, good)
        assert as_nobody(made) == ""


def as_nobody(made: Scene) -> str:
    """What the upstream answers to another account of the machine that takes the client's files; nothing: it cannot."""
    tls, port = made.directory / "tls", made.ports[1]
    files = ["--cert", f"{tls}/client.crt", "--key", f"{tls}/client.key", "--cacert", f"{tls}/ca.crt"]
    where = ["--connect-to", f"up.test:{port}:127.0.0.1:{port}", f"https://up.test:{port}/x"]
    command = ["curl", "--silent", "--max-time", "10", *files, *where]
    done = subprocess.run(command, user=65534, group=65534, extra_groups=[], cwd="/", capture_output=True, check=False)
    return done.stdout.decode()


@pytest.mark.parametrize("build", sorted(programs()))
def test_an_answer_that_lasts_is_cut_by_a_reload(build: str, pki: Pki) -> None:
    # limit_rate holds from the second second on: 3 000 bytes take two to three.
    site = Site(f"{GOOD} proxy_buffering off;", inside=f'limit_rate 1000; return 200 "{"x" * 3000}";')
    with scene(laid(site), build, pki) as made:
        text = made.nginx.main.read_text()
        made.nginx.main.write_text(f"worker_shutdown_timeout 500ms;\n{text}")
        made.nginx.start()
        assert "shutdown-timeout" in named(made)
        assert 0 < read_over_a_reload(made) < 3000
        made.nginx.stop()
        made.nginx.main.write_text(text)
        made.nginx.start()
        assert "shutdown-timeout" not in named(made)
        assert read_over_a_reload(made) == 3000


def read_over_a_reload(made: Scene) -> int:
    """How many bytes of the answer arrive where nginx reloads after the first."""
    connection = http.client.HTTPConnection("127.0.0.1", made.ports[0], timeout=20)
    try:
        connection.request("GET", "/x")
        response = connection.getresponse()
        first = len(response.read(1))
        made.nginx.reload()
        try:
            return first + len(response.read())
        except http.client.IncompleteRead as cut:
            return first + len(cut.partial)
    finally:
        connection.close()


def test_a_reload_closes_a_connection_that_a_client_keeps(pki: Pki) -> None:
    bad = Site()
    good = replace(bad, more="keepalive_min_timeout 5s;\n")
    with scene(replace(laid(bad), builds=("bundled",)), "bundled", pki) as made:
        assert "reload-races" in assert_answers(made, bad)
        assert not kept_over_a_reload(made)
        replaced(made, good)
        assert "reload-races" not in assert_answers(made, good)
        assert kept_over_a_reload(made)


def kept_over_a_reload(made: Scene) -> bool:
    """Whether a second request is answered on the connection of the first."""
    connection = http.client.HTTPConnection("127.0.0.1", made.ports[0], timeout=10)
    try:
        connection.request("GET", "/x")
        assert connection.getresponse().read()
        made.nginx.reload()
        # The old worker closes when it hears of the reload, a moment after the new ones are there; or it does not.
        select.select([connection.sock], [], [], 2)
        connection.request("GET", "/x")
        return connection.getresponse().status == 200
    except (http.client.RemoteDisconnected, ConnectionError):
        return False
    finally:
        connection.close()


@pytest.mark.parametrize("build", sorted(programs()))
def test_a_renewed_file_without_a_reload_is_not_shown(build: str, pki: Pki) -> None:
    site = Site(f"{GOOD} proxy_ssl_session_reuse off;")
    with scene(laid(site), build, pki) as made:
        assert "reload-pending" not in assert_answers(made, site)
        before = seen(made)
        # Files are compared with the workers' start by whole seconds.
        time.sleep(1.5)
        made.change(shown("client"))
        assert "reload-pending" in named(made)
        assert seen(made) == before
        made.nginx.reload()
        assert "reload-pending" not in named(made)
        assert seen(made) != before


@pytest.mark.parametrize("build", sorted(programs()))
def test_a_key_that_is_inherited_leaves_its_certificate_when_the_outer_one_changes(build: str, pki: Pki) -> None:
    outer, cert, key = "proxy_ssl_certificate_key {};\n", "proxy_ssl_certificate TLS/client.crt;", "TLS/client.key"
    bad = replace(laid(Site(f"{cert} {CHECK} {NAME}")), around=outer.format(key))
    with scene(bad, build, pki) as made:
        made.nginx.test()
        assert "split-pair" in named(made)
        made.case = replace(bad, around=outer.format("TLS/other.key"))
        made.write(bad=True)
        with pytest.raises(NginxTestError, match="key values mismatch"):
            made.nginx.test()
        made.case = replace(made.case, bad=GOOD)
        made.write(bad=True)
        assert "split-pair" not in named(made)
        made.nginx.start()
        assert seen(made)


@pytest.mark.parametrize("build", sorted(programs()))
def test_a_relative_path_is_of_another_file_where_the_main_file_moves(build: str, pki: Pki) -> None:
    bad, good = Site(GOOD.replace("TLS/", "tls/")), Site()
    with scene(laid(bad), build, pki) as made:
        assert "relative-path" in assert_answers(made, bad)
        with pytest.raises(NginxTestError, match="cannot load certificate"):
            moved(made).test()
        replaced(made, good)
        assert "relative-path" not in assert_answers(made, good)
        moved(made).test()


def moved(made: Scene) -> Nginx:
    """The same configuration, its main file in a directory below."""
    below = made.directory / "below"
    below.mkdir(exist_ok=True)
    shutil.copyfile(made.nginx.main, below / "nginx.conf")
    return Nginx(made.binary, below / "nginx.conf", made.directory)


@pytest.mark.parametrize("build", sorted(programs()))
def test_peers_that_refused_a_bad_certificate_stay_out_when_it_is_good(build: str, pki: Pki) -> None:
    peers = "upstream pool {{ server 127.0.0.1:ODD{0}; server localhost:ODD{0}; }}\n"
    lines = f"{CHECK} {NAME} {VARIABLE} {OFF}"
    bad = Case(
        lines, target="https://pool", upstream=strict(), more=peers.format("") + DIR,
        spoil=both(shown("client", ended=True), readable),
    )  # fmt: skip
    with scene(bad, build, pki) as made:
        for case, rules, status in (
            (bad, True, 502),
            (replace(bad, more=peers.format(" max_fails=0") + DIR), False, 204),
        ):
            made.nginx.stop()
            made.case = case
            made.files(bad=True)
            made.write(bad=True)
            made.nginx.start()
            assert ("all-peers" in named(made)) is rules
            assert [made.get("/x")[0] for _ in range(2)] == [502, 502]
            made.change(both(shown("client"), readable))
            assert made.get("/x")[0] == status


@pytest.mark.parametrize("build", sorted(programs()))
def test_a_session_of_one_server_is_not_good_for_another_with_the_nginx_of_the_tests(build: str, pki: Pki) -> None:
    """Both have the correction of CVE-2025-23419: `session-across-servers` is about others."""
    more = (
        f"server {{ {UP.replace('up.test', 'else.test')} {ASKS.replace('ca.crt', 'foreign.crt')} "
        "ssl_protocols TLSv1.3; location / { return 204; } }\n"
    )
    with scene(replace(laid(Site(up=f"{UP}{ASKS} ssl_protocols TLSv1.3;")), more=more), build, pki) as made:
        foreign = Pki(made.directory / "foreign", "Foreign")
        (made.directory / "tls" / "foreign.crt").write_bytes(foreign.trust.read_bytes())
        made.nginx.start()
        context = ssl.create_default_context(cafile=str(made.directory / "tls" / "ca.crt"))
        context.check_hostname = False
        context.load_cert_chain(made.directory / "tls" / "client.crt", made.directory / "tls" / "client.key")
        status, session = asked_with(context, made.ports[1], "up.test", None)
        assert (status, session is not None) == (200, True)
        assert asked_with(context, made.ports[1], "up.test", session)[0] == 200
        try:
            assert asked_with(context, made.ports[1], "else.test", session)[0] in (400, 421)
        except ssl.SSLError as refused:
            assert "ALERT_ACCESS_DENIED" in str(refused)  # what the correction of nginx 1.22 to 1.26 answers


def asked_with(
    context: ssl.SSLContext, port: int, name: str, session: ssl.SSLSession | None
) -> tuple[int, ssl.SSLSession | None]:
    """The status of a request in the session, and the session for the next."""
    with (
        socket.create_connection(("127.0.0.1", port), 10) as plain,
        context.wrap_socket(plain, server_hostname=name, session=session) as tls,
    ):
        tls.sendall(f"GET /x HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while data := tls.recv(4096):
            answer += data
        return int(answer.split()[1]), tls.session
