"""A server that asks for client certificates, planned: every location tells who came, and nobody else can."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.nginx.test_nginx_plan import DIR, MAIN, NEW, ONE, http, proxied
from troth.nginx.client_auth import DEFAULT_HEADERS, FORBIDDEN, ClientAuth
from troth.nginx.client_headers import header_lines, spellings
from troth.nginx.edits import revert_text
from troth.nginx.plan import Declaration, Plan, PlanError, make_plan
from troth.nginx.preserve import plain
from troth.nginx.render import Witnesses
from troth.nginx.tree import parse_config

ASKED = ClientAuth("app.test", "/tls/clients.crt")
AUTH, PROXIED = f"{DIR}/client-auth-app_test.conf", f"{DIR}/client-headers-app_test-proxy.conf"


def plan(files: dict[str, bytes], *guards: ClientAuth, wanted: tuple[Declaration, ...] = ()) -> Plan:
    identities = [ONE] if wanted else []
    witnesses = Witnesses("/run/witness", {"one": 20_000})
    return make_plan(parse_config(files, MAIN), wanted, identities, NEW, DIR, witnesses, guards or (ASKED,))


def secure(*locations: str, more: str = "", listen: str = "listen 443 ssl;", name: str = "app.test") -> str:
    return f"server {{\n {listen}\n server_name {name};\n {more}\n" + "\n".join(locations) + "\n}"


def planned_twice(
    files: dict[str, bytes], *guards: ClientAuth, wanted: tuple[Declaration, ...] = ()
) -> dict[str, bytes]:
    """The configuration afterwards; planned again there is nothing to do."""
    after = {**files, **plan(files, *guards, wanted=wanted).after()}
    again = plan(after, *guards, wanted=wanted)
    assert again.empty, again.diff()
    assert revert_text(after[MAIN], files[MAIN], after[MAIN]) == files[MAIN]
    return after


def test_the_server_asks_and_tells() -> None:
    files = http(secure(proxied(), more="ssl_verify_client optional_no_ca; ssl_verify_depth 1;"))
    made = plan(files)
    text = made.new_files[AUTH].decode()
    assert "ssl_verify_client on;\nssl_client_certificate /tls/clients.crt;\nssl_verify_depth 2;" in text
    assert "proxy_set_header X-SSL-Client-Verify $ssl_client_verify;\n" in text
    assert "proxy_set_header X-SSL-Client-S-DN $troth_client_subject;\n" in text
    assert 'proxy_set_header Client-Cert "";\n' in text
    maps = made.new_files[f"{DIR}/client-maps.conf"].decode()
    assert 'map $ssl_client_verify $troth_client_subject { default ""; SUCCESS $ssl_client_s_dn; }' in maps
    after = planned_twice(files)[MAIN].decode()
    assert not re.search("ssl_verify", after)
    assert after.count("include") == 2
    assert any("ssl_verify_client optional_no_ca becomes on" in note for note in made.notes)
    assert any("applications receive X-SSL-Client-Verify" in note for note in made.notes)


def test_a_location_with_lines_of_its_own_gets_ours_too() -> None:
    files = http(secure(proxied("/a"), proxied("/b", "proxy_set_header X-B b;")))
    after = planned_twice(files)
    inside = after[MAIN].decode().split("location")
    assert [PROXIED in part for part in inside] == [False, False, True]
    assert b"$ssl_client_verify" in after[PROXIED]


def test_what_the_server_inherited_is_carried_over_once() -> None:
    files = http('proxy_set_header X-A "a b"; proxy_set_header Host $host;\n' + secure(proxied()))
    text = planned_twice(files)[AUTH].decode()
    assert text.count('proxy_set_header X-A "a b";') == text.count('proxy_set_header Host "$host";') == 1
    files = http("proxy_set_header X-A a;\n" + secure(proxied(), more="proxy_set_header X-B b;"))
    assert "X-A" not in planned_twice(files)[AUTH].decode()


def test_lines_that_set_the_same_header_go_wherever_they_stand() -> None:
    own = (
        "proxy_set_header X-SSL-Client-Verify $http_x; proxy_set_header x_ssl_client_s_dn evil; proxy_set_header X-B b;"
    )
    files = http(
        "proxy_set_header X-A a;\n" + secure(proxied("/", own), more="proxy_set_header X-SSL-Client-Serial 1;")
    )
    after = planned_twice(files)
    assert not re.search(rb"(?i)x.ssl.client", after[MAIN])
    assert b"proxy_set_header X-B b;" in after[MAIN]
    assert b"X-A" not in after[AUTH]


def test_a_line_in_an_included_file_is_refused_with_its_place() -> None:
    files = {**http(secure(proxied("/", "include /s.conf;"))), "/s.conf": b"proxy_set_header X-SSL-Client-Verify a;"}
    with pytest.raises(PlanError, match=r"X-SSL-Client-Verify of the location at .* stands in /s.conf:1, an included"):
        plan(files)
    files["/s.conf"] = b"proxy_set_header X-Mine a;"
    assert PROXIED.encode() in planned_twice(files)[MAIN]


def test_every_module_gets_its_own_lines() -> None:
    passes = {
        "grpc": "grpc_pass grpc://a:1",
        "uwsgi": "uwsgi_pass a:1",
        "fastcgi": "fastcgi_pass a:1",
        "scgi": "scgi_pass a:1",
    }
    locations = [f" location /{name} {{ {line}; }}" for name, line in passes.items()]
    text = planned_twice(http(secure(*locations)))[AUTH].decode()
    assert "grpc_set_header X-SSL-Client-Serial $troth_client_serial;" in text
    for name in ("uwsgi", "fastcgi", "scgi"):
        assert f"{name}_param HTTP_X_SSL_CLIENT_VERIFY $ssl_client_verify if_not_empty;" in text
        assert f'{name}_param HTTP_CLIENT_CERT "" if_not_empty;' in text
    assert "proxy_set_header" not in text


def test_headers_with_underscores_are_emptied_where_nginx_lets_them_through() -> None:
    plainly = planned_twice(http(secure(proxied())))[AUTH]
    assert b"X_SSL" not in plainly
    other = "server { underscores_in_headers on; listen 443 ssl default_server; }\n"
    text = planned_twice(http(other + secure(proxied())))[AUTH].decode()
    for spelling in ("X_SSL_Client_Verify", "X-SSL_Client-Verify", "Client_Cert"):
        assert f'proxy_set_header {spelling} "";' in text


def test_a_bound_location_tells_too_and_does_not_tell_twice() -> None:
    inherited = "proxy_set_header X-A a; proxy_set_header X-SSL-Client-Verify old;"
    files = http(secure(proxied("/a"), more=inherited))
    wanted = (Declaration("app.test", "/a", ONE),)
    after = planned_twice(files, wanted=wanted)
    location = after[f"{DIR}/location-app_test_a.conf"].decode()
    assert "proxy_set_header X-A a;" in location
    assert "X-SSL" not in location
    inside = after[MAIN].decode().split("location /a")[1]
    assert inside.count("include") == 2
    assert PROXIED.replace("headers", "told") in inside
    # In either order, one after the other, it comes to the same.
    bound = make_plan(parse_config(files, MAIN), wanted, [ONE], NEW, DIR, Witnesses("/w", {"one": 20_000}))
    stepwise = {**files, **bound.after()}
    stepwise |= plan(stepwise).after()
    assert PROXIED.replace("headers", "told") in stepwise[MAIN].decode().split("location /a")[1]


HEADERS = (("X-SSL-Client-Verify", "verify"), ("X-Who", "subject"), ("X-Whose", "issuer"))


@pytest.mark.parametrize(
    ("guard", "text"),
    [
        (ASKED, secure(proxied("/a"))),
        (ASKED, secure(proxied("/a", "proxy_set_header X-A a;"))),
        (ASKED, secure(proxied("/a"), more="proxy_set_header X-A a;")),
        (ASKED, "proxy_set_header X-A a;" + secure(proxied("/a"))),
        (ASKED, secure(proxied("/a"), " location /u { uwsgi_pass a:1; }")),
        (ClientAuth("app.test", "/tls/the clients.crt", "optional", 4, HEADERS), secure(proxied("/a"))),
        (ClientAuth("app.test", "/tls/clients.crt", headers=()), secure(proxied("/a"))),
        (ClientAuth("app.test:443", "/tls/clients.crt"), secure(proxied("/a"))),
    ],
)
def test_a_location_bound_later_by_a_declaration_of_its_own_tells_all_the_same(guard: ClientAuth, text: str) -> None:
    """Ours are header lines too: the location would no longer inherit those of the server, and believe its clients."""
    files, wanted = http(text), (Declaration("app.test", "/a", ONE),)
    config, witnesses = parse_config(files, MAIN), Witnesses("/run/witness", {"one": 20_000})
    asking = {**files, **make_plan(config, [], [], NEW, DIR, witnesses, [guard]).after()}
    alone = make_plan(parse_config(asking, MAIN), wanted, [ONE], NEW, DIR, witnesses)
    stepwise, at_once = {**asking, **alone.after()}, {**files, **plan(files, guard, wanted=wanted).after()}
    place = stepwise[MAIN].decode().split("location /a")[1].split("}")[0]
    assert re.search(r"include \S+/client-(told|headers)-\S+-proxy\.conf;", place)
    assert {name: stepwise[name] for name in at_once if name != MAIN} == {n: at_once[n] for n in at_once if n != MAIN}
    for guards in ([], [guard]):
        again = make_plan(parse_config(stepwise, MAIN), wanted, [ONE], NEW, DIR, witnesses, guards)
        assert again.empty, again.diff()


def test_what_was_edited_is_not_guessed_when_a_location_is_bound_later() -> None:
    files = http(secure(proxied("/a")))
    asking = {**files, **plan(files).after()}
    asking[AUTH] = asking[AUTH].replace(b"ssl_verify_client on;", b"ssl_verify_client optional_no_ca;")
    with pytest.raises(PlanError, match=f"^{AUTH} was edited: ") as refused:
        make_plan(parse_config(asking, MAIN), [Declaration("app.test", "/a", ONE)], [ONE], NEW, DIR, Witnesses("", {}))
    assert "--client-auth" in (refused.value.hint or "")


@pytest.mark.parametrize(
    "text",
    [
        "proxy_set_header Q q;" + secure(proxied(), more="proxy_set_header X-SSL-Client-Verify a;"),
        "proxy_set_header Q q;" + secure(proxied("/", "proxy_set_header X-SSL-Client-Verify a;")),
        "proxy_set_header X-SSL-Client-Verify a;" + secure(proxied()),
        secure(proxied("/", "proxy_set_header X-SSL-Client-Verify $proxy_host;")),
        secure(" location / { proxy_pass https://up.test; proxy_set_header X-SSL-Client-Verify a; }"),
    ],
)
def test_lines_that_go_are_not_missed_by_what_is_bound(text: str) -> None:
    after = planned_twice(http(text), wanted=(Declaration("app.test", "/", ONE),))
    # The line that goes had kept those of http level away.
    assert b"Q q" not in after[f"{DIR}/location-app_test.conf"]


def test_maps_stand_behind_the_sizes_that_they_would_fix() -> None:
    files = http("map_hash_bucket_size 128;\n" + secure(proxied()))
    text = planned_twice(files)[MAIN].decode()
    assert text.index("map_hash_bucket_size") < text.index("client-maps.conf")


def test_another_declaration_keeps_its_maps() -> None:
    files = http(secure(proxied()) + secure(proxied(), name="b.test"))
    cert = ClientAuth("b.test", "/tls/b.crt", headers=(("X-Cert", "cert"),))
    after = {**files, **plan(files, cert).after()}
    after |= plan(after, ASKED).after()
    maps = after[f"{DIR}/client-maps.conf"].decode()
    assert "$troth_client_cert" in maps
    assert "$troth_client_subject" in maps
    assert plan(after, cert).after().keys() <= {f"{DIR}/client-maps.conf"} or plan(after, cert).empty


@pytest.mark.parametrize(
    ("text", "guard", "why"),
    [
        (secure(), ClientAuth("x", "/t"), "there is no server 'x'; there are: app.test"),
        (secure(listen="listen 80;"), ASKED, "does not listen with TLS"),
        (secure(listen="listen 443 ssl; listen 80;"), ASKED, r"also listens without TLS at .*:4"),
        (secure() + secure(listen="listen 444 ssl;"), ASKED, r"is not the only one: .*:3; .*:8"),
        (secure(more="ssl_trusted_certificate /le.pem;"), ASKED, r"ssl_trusted_certificate /le.pem at .* vouches"),
        (secure(), (ASKED, ClientAuth("app.test:443", "/t")), "are one and the same"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(text: str, guard: ClientAuth | tuple[ClientAuth, ...], why: str) -> None:
    with pytest.raises(PlanError, match=why):
        plan(http(text), *(guard if isinstance(guard, tuple) else (guard,)))


def test_the_server_with_tls_is_meant_where_another_redirects() -> None:
    files = http(secure(listen="listen 80;") + secure(proxied()))
    assert planned_twice(files)[MAIN].decode().index("client-auth-") > files[MAIN].index(b"443")
    clear = ClientAuth("app.test", "/t", "optional")
    assert plan(http(secure(listen="listen 443 ssl; listen 80;")), clear).edits


def test_another_way_to_the_same_application_is_named() -> None:
    other = "server { listen 80; server_name b.test; location / { proxy_pass https://up.test:8443; } }\n"
    notes = plan(http(other + secure(proxied()))).notes
    assert any("up.test:8443 is reached from here too" in note for note in notes)
    assert not any("reached from here" in note for note in plan(http(secure(proxied()))).notes)


@given(st.sampled_from([*FORBIDDEN, *(name for name, _ in DEFAULT_HEADERS)]), st.lists(st.booleans(), max_size=8))
def test_every_spelling_is_one_of_ours(name: str, signs: list[bool]) -> None:
    """However the dashes and underscores are mixed, a CGI variable of this name is set or emptied by us."""
    parts = name.split("-")
    mixed = parts[0] + "".join(("_" if sign else "-") + part for sign, part in zip(signs, parts[1:], strict=False))
    mixed += "".join(f"-{part}" for part in parts[len(signs) + 1 :])
    assert plain(mixed) == plain(name)
    assert mixed == name or mixed in set(spellings(name))
    lines = header_lines(ASKED, "proxy_set_header", underscores=True)
    assert sum(line.split()[1].lower() == mixed.lower() for line in lines) == 1
