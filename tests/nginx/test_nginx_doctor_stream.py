"""The doctor on servers of stream: told by what they listen on, named for what their clients see as a reset."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.nginx.test_nginx_doctor import asked, ids
from tests.nginx.test_nginx_families_live import Bench, bench, each_build, echo, upstream
from tests.rig.nginx import short_directory
from tests.rig.pki import Pki
from troth.cli.nginx import doctor
from troth.errors import TrothError
from troth.host.ports import free_ports

# Two servers of one upstream share sessions: the one without a fault must not lend its own to the other.
CHECKED = "proxy_ssl on; proxy_ssl_verify on; proxy_ssl_trusted_certificate {0}/ca.crt; proxy_ssl_server_name on;"
CHECKED += " proxy_ssl_session_reuse off;"
SHOWN = "proxy_ssl_certificate {0}/{1}.crt; proxy_ssl_certificate_key {0}/{1}.key; proxy_ssl_name {2};"
FAULTS = {"name-wrong": ("one", "else.test"), "client-expired": ("late", "localhost")}


@pytest.fixture(scope="module")
def pki() -> Iterator[Pki]:
    with short_directory("stream-pki") as directory:
        made = Pki(directory / "tls")
        made.leaf("one")
        made.leaf("client", file="late", ended=True)
        made.leaf("localhost", file="server")
        yield made


def server(port: int, up: int, directory: Path, shown: str, name: str) -> str:
    lines = f"{CHECKED} {SHOWN}".format(directory, shown, name)
    return f"server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{up}; {lines} }}\n"


def words(one: Bench) -> tuple[str, ...]:
    return ("--nginx", str(one.nginx.binary), "-c", str(one.nginx.main), "-p", str(one.directory))


def answer(port: int) -> bytes:
    """What comes back; nothing where nginx resets the connection."""
    with contextlib.suppress(ConnectionError):
        return echo(port, b"x")
    return b""


@each_build
@pytest.mark.parametrize("rule", sorted(FAULTS))
def test_a_server_of_stream_is_examined_alone_and_has_nothing_once_cured(build: str, rule: str, pki: Pki) -> None:
    (good, bad), tls = free_ports(2), pki.directory
    with upstream(pki, uwsgi=False) as up:
        well = server(good, up.port, tls, "one", "localhost")
        with bench(build, pki, stream=well + server(bad, up.port, tls, *FAULTS[rule])) as one:
            assert (answer(good), answer(bad)) == (b"X", b"")
            for listen in (str(bad), f"127.0.0.1:{bad}"):
                assert ids(asked(*words(one), "--stream", listen)) == (2, [rule])
            assert asked(*words(one), "--stream", str(good)) == (0, [])
            log = str(one.directory / "error.log")
            assert ids(asked(*words(one), "--stream", str(bad), "--log", log)) == (2, [rule])
            one.stream = well + server(bad, up.port, tls, "one", "localhost")
            one.write()
            one.nginx.reload()
            assert answer(bad) == b"X"
            assert asked(*words(one), "--stream", str(bad)) == (0, [])


def refused(*words: str) -> TrothError:
    error = CliRunner().invoke(doctor, words, standalone_mode=False).exception
    assert isinstance(error, TrothError), error
    return error


@each_build
def test_a_server_that_is_not_there_or_speaks_no_tls_is_told(build: str, pki: Pki) -> None:
    (port,) = free_ports(1)
    with bench(build, pki, stream=f"server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:1; }}\n") as one:
        plain = refused(*words(one), "--stream", str(port))
        assert plain.message.endswith("does not talk TLS to its upstream")
        assert (plain.hint or "").startswith(f"make it: troth nginx plan --stream {port} ")
        assert f"there are: 127.0.0.1:{port} at " in refused(*words(one), "--stream", "1").message
        both = refused(*words(one), "--stream", "1", "--location", "/")
        assert both.message == "--location and --stream both say what is meant: expected one of them"
