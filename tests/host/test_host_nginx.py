"""Finding, testing, starting and reloading a real nginx, both builds; a reload that fails leaves the old workers on."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.nginx import frame, get, program, programs, running, short_directory
from tests.rig.pki import Pki
from troth.host import HostError
from troth.host.nginx import (
    LogTail,
    Nginx,
    NginxNotFoundError,
    NginxTestError,
    ReloadError,
    _of_title,
    alive,
    emergency,
    find_nginx,
)
from troth.host.ports import free_ports, lasting_port


@pytest.fixture(params=sorted(programs()))
def binary(request: pytest.FixtureRequest) -> Path:
    return program(request.param)


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory("nginx") as path:
        yield path


def server(port: int, answer: str) -> str:
    return f"    server {{ listen 127.0.0.1:{port}; return 200 '{answer}'; }}\n"


def tls_server(port: int, certificate: Path, key: Path) -> str:
    return f"    server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {certificate}; ssl_certificate_key {key}; }}\n"


def test_a_reload_is_over_when_new_workers_serve_the_new_configuration(binary: Path, directory: Path) -> None:
    port = free_ports(1)[0]
    with running(binary, directory, server(port, "old")) as nginx:
        before = nginx.generation()
        assert len(before.workers) == 2
        assert get(port)[1] == b"old"
        (directory / "nginx.conf").write_text(frame(directory, server(port, "new")))
        after = nginx.reload()
        assert after.master == before.master
        assert after.workers
        assert not after.workers & before.workers
        assert get(port)[1] == b"new"


@pytest.mark.parametrize("value", ["", "/usr/sbin/nginx", "3;"])
def test_a_variable_meant_for_us_does_not_keep_nginx_in_the_foreground(
    binary: Path, directory: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("NGINX", value)
    port = free_ports(1)[0]
    with running(binary, directory, server(port, "up")):
        assert get(port)[1] == b"up"


def test_a_pair_that_does_not_match_is_refused_and_the_old_workers_go_on(binary: Path, directory: Path) -> None:
    port = free_ports(1)[0]
    pki = Pki(directory / "pki")
    pair, other = pki.leaf("up.test"), pki.leaf("other.test")
    with running(binary, directory, tls_server(port, pair.certificate, pair.key)) as nginx:
        before = nginx.generation()
        pair.key.write_bytes(other.key.read_bytes())
        with pytest.raises(NginxTestError, match="key values mismatch"):
            nginx.test()
        with pytest.raises(ReloadError, match=r"old workers go on.*key values mismatch"):
            nginx.reload()
        assert nginx.generation() == before


def test_a_command_that_only_signals_is_judged_by_the_error_log(binary: Path, directory: Path) -> None:
    port = free_ports(1)[0]
    with running(binary, directory, server(port, "old")) as nginx:
        before = nginx.generation()
        signalling = ["kill", "-HUP", str(before.master)]
        (directory / "nginx.conf").write_text(frame(directory, "    no_such_directive on;\n"))
        with pytest.raises(ReloadError, match="unknown directive") as caught:
            nginx.reload(signalling, timeout=15)
        assert caught.value.hint is not None
        assert "-t" in caught.value.hint
        assert nginx.generation() == before
        assert get(port)[1] == b"old"


def test_a_port_that_is_taken_is_the_reason_given(binary: Path, directory: Path) -> None:
    import socket

    port = free_ports(1)[0]
    with running(binary, directory, server(port, "old")) as nginx, socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        (directory / "nginx.conf").write_text(frame(directory, server(port, "new") + server(taken, "x")))
        with pytest.raises(ReloadError, match=f"bind.*{taken} failed"):
            nginx.reload(timeout=15)
        assert get(port)[1] == b"old"


def test_a_reload_command_that_fails_or_is_missing_is_named(binary: Path, directory: Path) -> None:
    with running(binary, directory, server(free_ports(1)[0], "x")) as nginx:
        with pytest.raises(ReloadError, match="reload failed"):
            nginx.reload(["false"])
        with pytest.raises(HostError, match="cannot run no-such-program"):
            nginx.reload(["no-such-program"])
        with pytest.raises(ReloadError, match="no new workers within 0 s"):
            nginx.reload(["true"], timeout=0.3)


def test_a_syntax_error_is_quoted_with_file_and_line(binary: Path, directory: Path) -> None:
    (directory / "nginx.conf").write_text("events {}\nhttp { oops on; }\n")
    nginx = Nginx(binary, directory / "nginx.conf", directory)
    with pytest.raises(NginxTestError, match=r'unknown directive "oops" in .*nginx\.conf:2'):
        nginx.test()
    with pytest.raises(NginxTestError, match="oops"):
        nginx.dump()
    with pytest.raises(HostError, match=r"nginx does not start: .*oops"):
        nginx.start()


def test_an_encrypted_key_is_not_asked_about(binary: Path, directory: Path) -> None:
    from troth.x509.keys import private_key_to_pem

    pair = Pki(directory / "pki").leaf("up.test")
    pair.key.write_bytes(private_key_to_pem(pair.private, b"secret"))
    (directory / "nginx.conf").write_text(frame(directory, tls_server(1, pair.certificate, pair.key)))
    with pytest.raises(NginxTestError, match=r"cannot load certificate key|PEM_read_bio_PrivateKey"):
        Nginx(binary, directory / "nginx.conf", directory).test()


def test_the_dump_holds_included_files(binary: Path, directory: Path) -> None:
    (directory / "more.conf").write_text("# more\n")
    (directory / "nginx.conf").write_text(frame(directory, "    include more.conf;\n"))
    assert (
        b"configuration file %s/more.conf:" % str(directory).encode()
        in Nginx(binary, directory / "nginx.conf", directory).dump()
    )


def test_a_master_is_found_by_its_configuration_and_stop_ends_it(binary: Path, directory: Path) -> None:
    with running(binary, directory, server(free_ports(1)[0], "x")) as nginx:
        found = find_nginx(None, directory / "nginx.conf", None)
        assert found.generation() == nginx.generation()
        assert found.prefix == directory
        assert found.binary.resolve() == binary.resolve()
        assert find_nginx(binary, None, directory).main == directory / "nginx.conf"
        master = nginx.generation().master
        nginx.stop()
        assert not alive(master)
        with pytest.raises(HostError, match="nginx is not running"):
            nginx.generation()
        nginx.stop()


def test_a_command_that_takes_another_nginx_than_a_running_one_says_so(binary: Path, directory: Path) -> None:
    troth = Path(sys.executable).with_name("troth")
    # Other tests' nginx run beside this one; in a mount namespace of its own there is none.
    apart = ["unshare", "--mount"]
    if subprocess.run([*apart, "true"], capture_output=True, check=False, timeout=20).returncode:
        pytest.skip("no namespace of one's own may be made")
    path = {**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"}
    (directory / "nginx").symlink_to(binary)
    (directory / "nginx.conf").write_text(frame(directory, server(free_ports(1)[0], "x")))

    def said(*words: str) -> str:
        command = [*apart, str(troth), "nginx", "inspect", *words]
        return subprocess.run(command, capture_output=True, text=True, env=path, check=False, timeout=60).stderr

    note = "note: no nginx runs here; "
    assert said().startswith(f"{note}{directory}/nginx and its ")
    assert note not in said("-c", str(directory / "nginx.conf"))
    assert note not in said("--nginx", str(binary))


def test_a_worker_shutting_down_does_not_count(binary: Path, directory: Path) -> None:
    import socket

    port = free_ports(1)[0]
    upstream = socket.create_server(("127.0.0.1", 0))
    target = f"proxy_pass http://127.0.0.1:{upstream.getsockname()[1]};"
    body = f"    server {{ listen 127.0.0.1:{port}; location / {{ {target} }} }}\n"
    with upstream, running(binary, directory, body) as nginx, socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        waiting, _ = upstream.accept()
        with waiting:
            before = nginx.generation()
            after = nginx.reload()
            assert not after.workers & before.workers
            assert any(alive(pid) for pid in before.workers), "the slow request keeps one old worker"
            waiting.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nslow")
        assert client.recv(4096).startswith(b"HTTP/1.1 200")


def test_a_stale_pid_file_is_not_a_running_nginx(binary: Path, directory: Path) -> None:
    (directory / "nginx.conf").write_text(frame(directory, ""))
    (directory / "nginx.pid").write_text("999999999\n")
    with pytest.raises(HostError, match="999999999, which does not exist"):
        Nginx(binary, directory / "nginx.conf", directory).generation()


def test_pid_and_error_log_come_from_the_command_line_then_the_file_then_the_build(
    binary: Path, directory: Path
) -> None:
    conf = directory / "nginx.conf"
    conf.write_text("# pid wrong.pid;\npid 'a b.pid'; error_log logs/e.log warn;\nhttp { error_log inner.log; }\n")
    nginx = Nginx(binary, conf, directory)
    assert nginx.pid_file() == directory / "a b.pid"
    assert nginx.error_log() == directory / "logs/e.log"
    given = Nginx(binary, conf, directory, ("-g", "pid /run/x.pid; error_log syslog:server=1.2.3.4;"))
    assert given.pid_file() == Path("/run/x.pid")
    assert given.error_log() is None
    conf.write_text("events {}\n")
    assert nginx.pid_file() == directory / nginx.capabilities().argument("pid-path")


def test_a_relative_configuration_is_below_the_prefix_as_to_nginx(binary: Path, directory: Path) -> None:
    (directory / "site.conf").write_text(frame(directory, ""))
    nginx = find_nginx(binary, Path("site.conf"), directory)
    nginx.test()
    assert nginx.main == directory / "site.conf"


def test_titles_are_read_back_into_options() -> None:
    found = _of_title("/usr/sbin/nginx -g daemon on; master_process on;", Path("/usr/sbin/nginx"), Path("/"))
    assert found == Nginx(Path("/usr/sbin/nginx"))
    found = _of_title("nginx -p site -c n.conf -g pid /run/x.pid; daemon off;", Path("/n"), Path("/srv"))
    assert found == Nginx(Path("/n"), Path("n.conf"), Path("/srv/site"), ("-g", "pid /run/x.pid; daemon off;"))


def test_a_program_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NginxNotFoundError, match="is not a program"):
        find_nginx(tmp_path / "nginx")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            'nginx: [emerg] unknown directive "x" in f:1\nnginx: configuration file f test failed',
            'unknown directive "x" in f:1',
        ),
        ("2026/01/02 03:04:05 [emerg] 12#12: bind() to 0.0.0.0:80 failed", "bind() to 0.0.0.0:80 failed"),
        ('nginx: [warn] conflict\nnginx: [emerg] open() "y" failed', 'open() "y" failed'),
        ("Job for nginx.service failed.", "Job for nginx.service failed."),
        ("", "it printed nothing"),
    ],
)
def test_the_reason_is_nginx_s_own_line(text: str, reason: str) -> None:
    assert emergency(text) == reason


def test_a_log_tail_gives_only_what_is_new(tmp_path: Path) -> None:
    log = tmp_path / "error.log"
    assert LogTail(None).news() == ""
    tail = LogTail(log)
    assert tail.news() == ""
    log.write_text("one\n")
    assert tail.news() == "one\n"
    later = LogTail(log)
    assert later.news() == ""
    with log.open("a") as stream:
        stream.write("two\n")
    assert (tail.news(), later.news()) == ("two\n", "two\n")


def test_a_lasting_port_is_none_of_those_taken_and_not_one_for_outgoing_connections() -> None:
    port = lasting_port({20_000})
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert 1024 < port < low


def test_killing_the_master_is_noticed(binary: Path, directory: Path) -> None:
    with running(binary, directory, server(free_ports(1)[0], "x")) as nginx:
        generation = nginx.generation()
        os.kill(generation.master, signal.SIGKILL)
        for worker in generation.workers:
            os.kill(worker, signal.SIGTERM)
        with pytest.raises(HostError, match="not running"):
            while True:
                nginx.generation()


def test_a_pid_file_that_names_a_later_process_is_no_nginx(directory: Path, binary: Path) -> None:
    """nginx was killed, its pid given to somebody else: a reload must not signal that one."""
    with running(binary, directory, "") as nginx:
        pass
    other = subprocess.Popen(["sleep", "60"])
    try:
        (directory / "nginx.pid").write_text(f"{other.pid}\n")
        with pytest.raises(HostError, match=f"names {other.pid}, which is another program"):
            nginx.reload()
        nginx.stop()
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
