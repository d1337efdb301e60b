"""Answers to validations: the listener answers one path and cuts off in time; a web root is left as it was."""

import http.client
import os
import socket
import time
from pathlib import Path

import pytest

from troth.host.challenges import Responder, Webroot, WebrootError, responding
from troth.host.listener import MAX_CONNECTIONS, ListenError, listening, parse_listen

TOKEN = "t" * 43
PATH = f"/.well-known/acme-challenge/{TOKEN}"


def get(port: int, path: str, method: str = "GET") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_only_the_tokens_path_is_answered_and_only_while_it_is_published() -> None:
    with responding("127.0.0.1", 0, hint="") as responder, listening("127.0.0.1", 0, responder.page, hint="") as port:
        assert get(port, PATH)[0] == 404
        with responder.publish(TOKEN, "text"):
            assert get(port, PATH) == (200, b"text")
            assert get(port, PATH, "HEAD") == (200, b"")
            assert [get(port, path)[0] for path in ("/", PATH + "x", PATH + "/", f"{PATH}/..")] == [404] * 4
            assert get(port, PATH, "POST")[0] == 501
        assert get(port, PATH)[0] == 404
    with pytest.raises(OSError):
        get(port, PATH)


def test_who_sends_slowly_is_cut_off_and_others_are_answered_meanwhile() -> None:
    responder = Responder()
    with (
        listening("127.0.0.1", 0, responder.page, hint="", seconds=1.0) as port,
        responder.publish(TOKEN, "text"),
        socket.create_connection(("127.0.0.1", port), 5) as slow,
    ):
        begun = time.monotonic()
        slow.sendall(b"GET / HTTP/1.1\r\n")
        assert get(port, PATH) == (200, b"text")
        assert slow.recv(1) == b""
        assert 0.5 < time.monotonic() - begun < 5


def test_more_connections_than_there_are_places_are_closed() -> None:
    with listening("127.0.0.1", 0, Responder().page, hint="", seconds=2.0) as port:
        crowd = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(MAX_CONNECTIONS + 5)]
        last = crowd[-1]
        assert last.recv(1) == b""
        for one in crowd:
            one.close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [(":80", ("", 80)), ("127.0.0.1:8080", ("127.0.0.1", 8080)), ("[::1]:80", ("::1", 80)), ("host:0", ("host", 0))],
)
def test_addresses_to_listen_at(text: str, expected: tuple[str, int]) -> None:
    assert parse_listen(text, "--http-listen") == expected


@pytest.mark.parametrize("text", ["", "80", "host", "host:", "host:99999", "::1:80", "host:x"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ListenError, match="expected HOST:PORT"):
        parse_listen(text, "--http-listen")


def test_a_web_root_is_readable_by_others_and_left_as_it_was(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with Webroot(tmp_path).publish(TOKEN, "text"):
            path = tmp_path / PATH[1:]
            assert path.read_text() == "text" and path.stat().st_mode & 0o777 == 0o644
            assert [parent.stat().st_mode & 0o777 for parent in list(path.parents)[:2]] == [0o755, 0o755]
    finally:
        os.umask(before)
    assert list(tmp_path.iterdir()) == []


def test_what_others_put_there_meanwhile_stays(tmp_path: Path) -> None:
    with Webroot(tmp_path).publish(TOKEN, "text"):
        (tmp_path / ".well-known" / "security.txt").write_text("theirs")
    assert [path.name for path in tmp_path.rglob("*")] == [".well-known", "security.txt"]


def test_a_link_in_the_way_is_not_written_through(tmp_path: Path) -> None:
    victim, directory = tmp_path / "victim", tmp_path / "www" / ".well-known" / "acme-challenge"
    directory.mkdir(parents=True)
    victim.write_text("mine")
    (directory / TOKEN).symlink_to(victim)
    with pytest.raises(WebrootError, match="file exists"), Webroot(tmp_path / "www").publish(TOKEN, "text"):
        pass
    assert victim.read_text() == "mine" and (directory / TOKEN).is_symlink()


@pytest.mark.parametrize("token", ["../x", "a/b", "", "."])
def test_a_token_that_is_no_file_name_is_refused(tmp_path: Path, token: str) -> None:
    with pytest.raises(WebrootError, match="no file name"), Webroot(tmp_path).publish(token, "text"):
        pass
    assert list(tmp_path.iterdir()) == []
