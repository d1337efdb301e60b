"""Places that share an upstream: who is told of whom, and thousands of them without a word for each pair."""

import re

from tests.nginx.test_nginx_plan import MAIN, NEW
from troth.nginx.findings import examine
from troth.nginx.map import identity_map
from troth.nginx.tree import parse_config

ON, OFF = "proxy_ssl_verify on;", "proxy_ssl_session_reuse off;"


def shows(name: str, more: str = "") -> str:
    return f"proxy_ssl_certificate {name}.crt; {more}"


def found(*places: str, group: str = "") -> list[tuple[str, str, str]]:
    """Rule, place and the place it shares with, by number, of what is said of sharing; each place on a line."""
    lines = [f"location /{n} {{ proxy_pass https://up.test; {text} }}" for n, text in enumerate(places)]
    head = f"events {{}} http {{ {group} server {{\n"
    config = parse_config({MAIN: (head + "\n".join(lines) + "\n}}\n").encode()}, MAIN)
    rows = []
    for one in examine(config, identity_map(config), NEW):
        with_ = re.search(r"shares its upstream with \S+:(\d+)", one.what)
        if one.id.startswith("shared-") and with_ is not None:
            rows.append((one.id, str(int(one.where.rpartition(":")[2]) - 2), str(int(with_[1]) - 2)))
    return rows


def test_a_place_is_told_of_the_first_of_each_other_identity() -> None:
    assert found(shows("a"), shows("a"), shows("b"), shows("b"), shows("c"), "") == [
        ("shared-identity", "2", "0"),
        ("shared-identity", "3", "0"),
        ("shared-identity", "4", "0"),
        ("shared-identity", "4", "2"),
        ("shared-identity", "5", "0"),
        ("shared-identity", "5", "2"),
        ("shared-identity", "5", "4"),
    ]


def test_sessions_are_shared_by_those_that_resume_them_and_connections_by_all() -> None:
    places = (shows("a"), shows("b", OFF), shows("c"))
    assert found(*places) == [("shared-identity", "2", "0")]
    keeps = "upstream up.test { server 127.0.0.1:9; keepalive 4; }"
    assert [row[1:] for row in found(*places, group=keeps)] == [("1", "0"), ("2", "0"), ("2", "1")]
    assert found(shows("a", OFF), shows("b", OFF), group=keeps.replace("4;", "0;")) == []


def test_of_trust_only_those_that_verify_are_compared() -> None:
    ca = "proxy_ssl_trusted_certificate {}.crt;"
    rows = found(f"{ON} {ca.format('a')}", ca.format("b"), f"{ON} {ca.format('c')}", f"{ON} {ca.format('a')}")
    assert [row for row in rows if row[0] == "shared-trust"] == [
        ("shared-trust", "2", "0"),
        ("shared-trust", "3", "2"),
    ]
    assert {row for row in rows if row[0] == "shared-verification"} == {
        ("shared-verification", "1", "0"),
        ("shared-verification", "2", "1"),
        ("shared-verification", "3", "1"),
    }


def test_thousands_of_places_are_not_told_of_every_pair() -> None:
    """Six thousand with an identity each: 18 million pairs, of which nobody reads more than a few."""
    assert len(found(*(shows(str(number)) for number in range(6_000)))) == 3 * 6_000 - 6
