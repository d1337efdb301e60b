"""The mode of an identity: as declared where nginx can, chosen where it is left open, each with its reason."""

from dataclasses import replace

import pytest

from tests.nginx.test_nginx_plan import MAIN, NEW, ONE, http, location_file, plan, proxied, server
from troth.nginx.capabilities import Capabilities
from troth.nginx.declaration import Declaration, PlanError
from troth.nginx.render import Identity, is_variable, variable_name

OLD = replace(NEW, version=(1, 22, 1))
CLOSED = replace(ONE, unfit="nginx's workers (www-data) may not read /tls/one.key", mending="chgrp www-data ...")
UPGRADED = proxied(lines="proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;")
WHOLE = Declaration("app.test", "/", ONE)


def mode(
    declared: str,
    text: str = "",
    head: str = "",
    capabilities: Capabilities = NEW,
    identity: Identity = ONE,
) -> tuple[bool, str]:
    """Whether the plan lets the workers read the files, and its first note."""
    files = http(text or server(proxied()))
    files[MAIN] = head.encode() + files[MAIN]
    made = plan(files, replace(WHOLE, identity=identity, mode=declared), capabilities=capabilities)
    return is_variable(made.new_files["/etc/nginx/troth/identity-one.conf"].decode()), "; ".join(made.notes)


def test_static_is_the_default_and_needs_no_word() -> None:
    assert WHOLE.mode == "static"
    variable, notes = mode("static")
    assert not variable
    assert "identity one" not in notes


def test_variable_names_the_files_by_a_map_keeps_what_was_read_and_ends_connections_soon() -> None:
    made = plan(http(server(proxied())), replace(WHOLE, mode="variable"))
    level = made.new_files["/etc/nginx/troth/http.conf"].decode()
    assert 'map "" $troth_certificate_one {\n    default /tls/one.crt;\n}' in level
    assert 'map "" $troth_key_one {\n    default /tls/one.key;\n}' in level
    assert "keepalive_time 50s;" in level
    assert "keepalive_timeout 10s;" in level
    assert "proxy_ssl_certificate_cache max=64 valid=1s inactive=1h;" in location_file(made)
    assert "proxy_ssl_session_reuse off;" in made.new_files["/etc/nginx/troth/identity-one.conf"].decode()
    again = plan({**http(server(proxied())), **made.after()}, replace(WHOLE, mode="variable"))
    assert again.empty, again.diff()


def test_a_cache_of_the_users_own_gives_way() -> None:
    text = server(proxied(lines="proxy_ssl_certificate_cache max=2;"))
    made = plan(http(text), replace(WHOLE, mode="variable"))
    assert b"max=2" not in made.after()[MAIN]


@pytest.mark.parametrize(
    ("capabilities", "reason"),
    [
        (OLD, "nginx 1.22.1 answers 500 when it reads between a new certificate and its key"),
        (replace(NEW, version=(1, 20, 2)), "takes no variable"),
        (replace(NEW, arguments=("--without-http_map_module",)), "without its map module"),
    ],
)
def test_where_nginx_cannot_reloads_stay_and_the_plan_says_why(capabilities: Capabilities, reason: str) -> None:
    variable, notes = mode("variable", capabilities=capabilities)
    assert not variable
    assert "identity one is rotated by reloads, though mode variable is declared" in notes
    assert reason in notes


def test_a_key_that_the_workers_may_not_read_is_refused_with_the_cure() -> None:
    with pytest.raises(PlanError, match=r"cannot be in mode variable: .* may not read /tls/one.key") as refused:
        mode("variable", identity=CLOSED)
    assert refused.value.hint == CLOSED.mending


@pytest.mark.parametrize(
    ("text", "head", "reason"),
    [
        (server(UPGRADED), "", "connections are upgraded at"),
        (server(proxied(lines="proxy_buffering off;")), "", "unbuffered"),
        (server(proxied()), "worker_shutdown_timeout 10s;\n", "cuts the requests of old workers after 10s"),
    ],
)
def test_auto_spares_reloads_where_requests_outlive_them(text: str, head: str, reason: str) -> None:
    variable, notes = mode("auto", text, head)
    assert variable
    assert "without reloads" in notes
    assert reason in notes
    variable, notes = mode("auto", text, head, capabilities=OLD)
    assert not variable
    assert f"though {notes.partition('though ')[2]}" in notes
    assert "1.27.4" in notes
    variable, notes = mode("auto", text, head, identity=CLOSED)
    assert not variable
    assert "may not read" in notes


def test_auto_reloads_where_nothing_lasts() -> None:
    variable, notes = mode("auto")
    assert not variable
    assert "no request is known to outlive one" in notes


def test_one_identity_has_one_mode() -> None:
    files = http(server(proxied("/a"), proxied("/b")))
    both = (Declaration("", "/a", ONE, mode="variable"), Declaration("", "/b", ONE))
    with pytest.raises(PlanError, match="shown in mode static and in mode variable"):
        plan(files, *both)
    made = plan(files, both[0], replace(both[1], mode="auto"))
    assert is_variable(made.new_files["/etc/nginx/troth/identity-one.conf"].decode())


def test_identities_whose_names_only_differ_in_signs_have_variables_of_their_own() -> None:
    names = ("a-b", "a_b", "a.b", "ab", "AB", "A_B")
    assert len({variable_name(name, "key").lower() for name in names}) == len(names)
    assert all(variable_name(name, "key").replace("_", "").isalnum() for name in names)
