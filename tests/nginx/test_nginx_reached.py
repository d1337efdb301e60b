"""Where a location can be asked over plain HTTP, and where it cannot."""

import pytest

from troth.nginx.map import http_servers, locations
from troth.nginx.reached import Reached, reached_by
from troth.nginx.tree import parse_config


def reached(server: str, location: str = "/x") -> Reached | None:
    text = f"http {{ server {{ {server} location {location} {{ proxy_pass https://u; }} }} }}"
    config = parse_config({"/c": text.encode()}, "/c")
    return reached_by(next(locations(http_servers(config)[0])))


@pytest.mark.parametrize(
    ("server", "address", "port", "host"),
    [
        ("", "127.0.0.1", 80, "localhost"),
        ("listen 8080; server_name app.test;", "127.0.0.1", 8080, "app.test"),
        ("listen *:81 default_server;", "127.0.0.1", 81, "localhost"),
        ("listen 10.0.0.1:82; server_name ~^a *.b c.test;", "10.0.0.1", 82, "c.test"),
        ("listen [::]:83;", "127.0.0.1", 83, "localhost"),
        ("listen [::1]:84;", "::1", 84, "localhost"),
        ("listen 443 ssl; listen unix:/s; listen 85;", "127.0.0.1", 85, "localhost"),
    ],
)
def test_the_first_plain_listener_is_asked(server: str, address: str, port: int, host: str) -> None:
    assert reached(server) == Reached(address, port, host, "/x")


@pytest.mark.parametrize(
    "server", ["listen 443 ssl;", "listen unix:/s;", "listen 80 proxy_protocol;", "listen 1 quic;"]
)
def test_no_plain_listener_is_no_way(server: str) -> None:
    assert reached(server) is None


@pytest.mark.parametrize(("location", "path"), [("= /a", "/a"), ("^~ /b", "/b"), ("/c/", "/c/")])
def test_plain_paths_can_be_asked(location: str, path: str) -> None:
    found = reached("listen 80;", location)
    assert found is not None
    assert found.path == path


@pytest.mark.parametrize("location", ["~ ^/a", "~* \\.php$", "@named"])
def test_expressions_and_names_cannot(location: str) -> None:
    assert reached("listen 80;", location) is None
