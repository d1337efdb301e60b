"""Declarations applied one after the other: each leaves what the earlier ones wrote as and where it is."""

from dataclasses import replace
from itertools import permutations

import pytest

from tests.nginx.test_nginx_plan import DIR, MAIN, NEW, ONE, TWO, http, proxied, server
from troth.nginx.declaration import Declaration
from troth.nginx.plan import Plan, make_plan
from troth.nginx.render import Identity, Witnesses
from troth.nginx.tree import parse_config

SITE = http(server(proxied("/a"), proxied("/b"), proxied("/c")))
THREE = Identity("three", "/tls/three.crt", "/tls/three.key", "/tls/ca.crt")
WANTED = [Declaration("app.test", path, one) for path, one in (("/a", ONE), ("/b", TWO), ("/c", THREE))]

WITNESSES = Witnesses("/run/witness", {"one": 20_000, "two": 20_001, "three": 20_002})


def plan(files: dict[str, bytes], *wanted: Declaration) -> Plan:
    return make_plan(parse_config(files, MAIN), wanted, [one.identity for one in wanted], NEW, DIR, WITNESSES)


def applied(files: dict[str, bytes], *wanted: Declaration) -> dict[str, bytes]:
    return {**files, **plan(files, *wanted).after()}


@pytest.mark.parametrize("mode", ["static", "variable"])
@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_applied_one_by_one_there_is_nothing_more_to_do_for_any_of_them(order: tuple[int, ...], mode: str) -> None:
    wanted = [replace(WANTED[number], mode=mode) for number in order]
    files = SITE
    for one in wanted:
        files = applied(files, one)
    for one in WANTED:
        again = plan(files, replace(one, mode=mode))
        assert again.empty, again.diff()


def test_the_order_in_the_declaration_is_no_difference() -> None:
    files = applied(SITE, *WANTED)
    for some in (WANTED[::-1], WANTED[1:], WANTED[:1]):
        again = plan(files, *some)
        assert again.empty, again.diff()


@pytest.mark.parametrize("modes", [("static", "variable"), ("variable", "static"), ("variable", "variable")])
def test_every_variable_that_is_used_is_defined_once(modes: tuple[str, str]) -> None:
    files = SITE
    for one, mode in zip(WANTED, modes, strict=False):
        files = applied(files, replace(one, mode=mode))
    nodes = list(parse_config(files, MAIN).root.walk())
    used = {n.arguments[0] for n in nodes if n.name.startswith("proxy_ssl_certificate") and "$" in n.arguments[0]}
    assert sorted(n.arguments[1] for n in nodes if n.name == "map") == sorted(used)
    assert len(used) == 2 * modes.count("variable")
    assert f"{DIR}/http.conf" in files
