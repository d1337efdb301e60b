"""Plans as values: applied once and planned again they are empty, taken back they leave the text as it was."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.nginx.configurations import sites
from troth.nginx.capabilities import Capabilities
from troth.nginx.edits import Edit, after_brace, after_line, apply_edits, eol, replacement, revert_text
from troth.nginx.family import FAMILIES, Family
from troth.nginx.lexer import tokenize
from troth.nginx.plan import Declaration, Plan, PlanError, find_location, make_plan
from troth.nginx.render import Identity, Witnesses
from troth.nginx.tree import parse_config

MAIN, DIR = "/etc/nginx/nginx.conf", "/etc/nginx/troth"
ONE = Identity("one", "/tls/one.crt", "/tls/one.key", "/tls/ca.crt")
TWO = Identity("two", "/tls/two.crt", "/tls/two.key", "/tls/ca.crt")
NEW = Capabilities("nginx", (1, 31, 3), "", ())


def plan(files: dict[str, bytes], *wanted: Declaration, capabilities: Capabilities = NEW) -> Plan:
    identities = list(dict.fromkeys(one.identity for one in wanted))
    ports = {one.name: 20_000 + number for number, one in enumerate(identities)}
    return make_plan(parse_config(files, MAIN), wanted, identities, capabilities, DIR, Witnesses("/run/witness", ports))


def http(text: str) -> dict[str, bytes]:
    return {MAIN: f"events {{}}\nhttp {{\n{text}\n}}\n".encode()}


def server(*locations: str, name: str = "app.test", more: str = "") -> str:
    return f"server {{\n server_name {name}; {more}\n" + "\n".join(locations) + "\n}"


def proxied(path: str = "/", lines: str = "", url: str = "https://up.test:8443") -> str:
    return f" location {path} {{\n  proxy_pass {url};\n  {lines}\n }}"


def location_file(made: Plan) -> str:
    (name,) = [name for name in made.new_files if "/location-" in name]
    return made.new_files[name].decode()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@given(st.data())
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
def test_planned_again_there_is_nothing_to_do_and_taken_back_every_byte_is_as_before(
    family: Family, draws: st.DataObject
) -> None:
    data = draws.draw(sites(family))
    files = {MAIN: data}
    wanted = Declaration("", "", ONE, listen="5432") if family.is_stream else Declaration("app.test", "/x", ONE)
    first = plan(files, wanted)
    after = {**files, **first.after()}
    assert after[MAIN] != data
    again = plan(after, wanted)
    assert again.empty, again.diff()
    assert revert_text(after[MAIN], data, after[MAIN]) == data
    left = [token.text for token in tokenize(after[MAIN])]
    gone = [token.text for token in tokenize(data) if token.text not in left]
    assert all(
        re.match(
            rb"(proxy|grpc|uwsgi)_(pass|redirect|ssl)|(\w+://)?up\.test|on$|\$proxy_host|client\.|off|default|;$", word
        )
        for word in gone
    )


@pytest.mark.parametrize(
    ("text", "spans", "expected"),
    [
        (b"{\n  a;\n  b;\n}", [b"a;"], b"{\n  X;  #m\n  b;\n}"),
        (b"{\n  a;\n  b;\n}", [b"a;", b"b;"], b"{\n  X;  #m\n}"),
        (b"{\n  b; a; c;\n}", [b"a;"], b"{\n  b; X; c;\n}"),
        (b"{ a; b; c; }", [b"a;", b"b;"], b"{ X; c; }"),
        (b"{\r\n\ta; # why\r\n}", [b"a;"], b"{\r\n\tX;  #m\r\n\t# why\r\n}"),
        (b"{\n  a;b\n y;\n}", [b"a;", b"b\n y;"], b"{\n  X;  #m\n}"),
        (b"{\n  a; z;\n  b;\n  c;\n}", [b"a;", b"b;", b"c;"], b"{\n  X; z;\n}"),
        (b"{\n}\na;", [b"a;"], b"{\n}\nX;  #m"),
    ],
)
def test_a_line_takes_the_place_of_directives(text: bytes, spans: list[bytes], expected: bytes) -> None:
    places = [(text.index(span), text.index(span) + len(span)) for span in spans]
    edits = replacement(text, places, b"X;  #m", "f")
    assert apply_edits({"f": text}, edits) == {"f": expected}
    gone = apply_edits({"f": text}, replacement(text, places, None, "f"))["f"]
    assert not any(span in gone for span in spans)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"h {\n\ta;\n}", b"h {\n\tX;  #m\n\ta;\n}"),
        (b"h { a; }", b"h { X; a; }"),
        (b"h {}", b"h { X;}"),
        (b"h { # why\r\n}\r\n", b"h { # why\r\n    X;  #m\r\n}\r\n"),
        (b"h {", b"h {\n    X;  #m\n"),
    ],
)
def test_a_line_is_put_first_into_a_block(text: bytes, expected: bytes) -> None:
    assert apply_edits({"f": text}, [after_brace(text, text.index(b"{"), b"X;  #m", "f")])["f"] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"  a; # why\n}", b"  a; # why\n  X;  #m\n}"),
        (b"  a; b;\n", b"  a; X; b;\n"),
        (b"a; }", b"a; X; }"),
    ],
)
def test_a_line_is_put_below_a_directive(text: bytes, expected: bytes) -> None:
    assert apply_edits({"f": text}, [after_line(text, text.index(b";") + 1, b"X;  #m", "f")])["f"] == expected


def test_the_line_end_is_that_of_the_place() -> None:
    text = b"a\r\nb\nc"
    assert [eol(text, place) for place in (0, 3, 5)] == [b"\r\n", b"\n", b"\n"]
    assert eol(b"no line end") == b"\n"


def test_overlapping_edits_are_refused() -> None:
    with pytest.raises(Exception, match="two changes of f overlap"):
        apply_edits({"f": b"abc"}, [Edit("f", 0, 2, b""), Edit("f", 1, 3, b"")])


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (b"a\nX\nc\nd\n", b"a\nb\nc\nd\n"),
        (b"new\na\nX\nc\n", b"new\na\nb\nc\n"),
        (b"a\nb\nc\n", b"a\nb\nc\n"),
        (b"a\nY\nc\n", None),
        (b"a\nX\nmine\nc\n", b"a\nb\nmine\nc\n"),
    ],
)
def test_a_change_is_taken_back_beside_the_edits_of_others(now: bytes, expected: bytes | None) -> None:
    assert revert_text(now, b"a\nb\nc\n", b"a\nX\nc\n") == expected


lines = st.sampled_from([b"a\n", b"b\n", b"    c;\r\n", b"}\n", b"\n"])
texts = st.lists(lines, max_size=12)


@given(texts, st.data())
def test_a_change_taken_back_never_costs_a_line_of_others(before: list[bytes], data: st.DataObject) -> None:
    """Ours is put in, or stands for some lines; others add lines of their own anywhere and take none away."""
    start = data.draw(st.integers(0, len(before)))
    end = data.draw(st.integers(start, len(before)))
    after = [*before[:start], b"include ours;\n", *before[end:]]
    places = data.draw(st.lists(st.integers(0, len(after)), max_size=4))
    now = list(after)
    for number, place in enumerate(sorted(places, reverse=True)):
        now.insert(place, b"theirs %d;\n" % number)
    found = revert_text(b"".join(now), b"".join(before), b"".join(after))
    if not places:
        assert found == b"".join(before)
    if found is None:
        return
    assert b"include ours;" not in found
    theirs = [line for line in found.splitlines(keepends=True) if line.startswith(b"theirs")]
    assert theirs == [line for line in b"".join(now).splitlines(keepends=True) if line.startswith(b"theirs")]
    rest = [line for line in found.splitlines(keepends=True) if not line.startswith(b"theirs")]
    assert b"".join(rest) == b"".join(before)


@pytest.mark.parametrize(
    ("wanted", "path", "line"),
    [("a.test", "/x", 4), ("a.test:443", "/y", 12), (":443", "/y", 12), ("a.test", "= /x", 5), ("b.test", "/x", 17)],
)
def test_a_selector_finds_its_location(wanted: str, path: str, line: int) -> None:
    text = "\n".join(
        [
            server(" location /x {}", " location = /x {}", " location /y {}", name="a.test"),
            server(" location /y {}", name="a.test", more="listen 443 ssl;"),
            server(" location /x {}", name="b.test", more="listen [::]:443 ssl; listen unix:/s;"),
        ]
    )
    config = parse_config({MAIN: f"http {{{text}}}".encode()}, MAIN)
    if path == "/y" and wanted == "a.test":
        with pytest.raises(PlanError, match="is not the only one"):
            find_location(config, wanted, path)
    else:
        found = find_location(config, wanted, path)
        assert found.arguments == tuple(path.split())


def test_two_locations_with_one_name_get_files_of_their_own_and_keep_them() -> None:
    files = http(server(proxied("/a-b"), proxied("/a_b")))
    both = (Declaration("app.test", "/a-b", ONE), Declaration("app.test", "/a_b", TWO))
    first = plan(files, *both)
    assert [one.name for one in first.bindings] == ["app_test_a_b", "app_test_a_b_2"]
    after = {**files, **first.after()}
    assert plan(after, *both).empty
    assert plan(after, *reversed(both)).edits == ()
    assert [one.name for one in plan(after, both[1]).bindings] == ["app_test_a_b_2"]


def test_a_second_declaration_leaves_what_the_first_one_made() -> None:
    files = http(server(proxied("/a"), proxied("/b")))
    after = {**files, **plan(files, Declaration("app.test", "/a", ONE)).after()}
    second = plan(after, Declaration("app.test", "/b", TWO))
    text = second.new_files[f"{DIR}/http.conf"].decode()
    assert [text.count(f"upstream troth_app_test_{name} {{") for name in "ab"] == [1, 1]
    assert [text.count(f"  # witness of {name}\n") for name in ("one", "two")] == [1, 1]
    after |= second.after()
    assert plan(after, Declaration("app.test", "/b", TWO)).empty
    other = {**after, **plan(after, Declaration("app.test", "/a", ONE)).after()}
    assert other[f"{DIR}/http.conf"].count(b"upstream ") == 2


def test_the_name_checked_is_the_declared_the_configured_the_peers_or_the_hosts() -> None:
    group = "upstream pool { server a.test:1; server a.test:2; }\n"
    configured = proxied(lines="proxy_ssl_name c.test:443;", url="https://127.0.0.1:1")
    for text, name, expected in (
        (server(configured), "d.test", "d.test"),
        (server(configured), "", "c.test"),
        (server(proxied(lines="proxy_ssl_name $host;")), "", "up.test"),
        (group + server(proxied(url="https://POOL")), "", "a.test"),
        (group.replace("a.test:2", "127.0.0.1") + server(proxied(url="https://pool")), "", "pool"),
        (server(proxied()), "", "up.test"),
    ):
        files = http(text)
        made = plan(files, Declaration("app.test", "/", ONE, "", name))
        assert f"proxy_ssl_name {expected};" in location_file(made)
        after = {**files, **made.after()}
        assert plan(after, Declaration("app.test", "/", ONE, "", name)).empty


def test_another_upstream_brings_its_own_name_and_keeps_the_uri() -> None:
    files = http(server(proxied("/a/", url="https://old.test/app/")))
    after = {**files, **plan(files, Declaration("app.test", "/a/", ONE)).after()}
    moved = location_file(plan(after, Declaration("app.test", "/a/", ONE, "https://new.test:8443")))
    assert "# upstream: https://new.test:8443/app/\n" in moved
    assert "proxy_ssl_name new.test;" in moved
    assert "proxy_redirect https://new.test:8443/app/ /a/;" in moved


@pytest.mark.parametrize(
    ("url", "peer", "host"),
    [
        ("https://up.test", "up.test:443", "up.test"),
        ("https://up.test:443/x", "up.test:443", "up.test"),
        ("HTTPS://up.test:8443?a=b", "up.test:8443", "up.test:8443"),
        ("https://[::1]:8443/", "[::1]:8443", "up.test"),
        ("https://unix:/run/up.sock:/x", "unix:/run/up.sock", "up.test"),
    ],
)
def test_where_a_proxy_pass_leads(url: str, peer: str, host: str) -> None:
    made = plan(http(server(proxied(url=url))), Declaration("app.test", "/", ONE, "", "up.test"))
    assert f"    server {peer};\n" in made.new_files[f"{DIR}/http.conf"].decode()
    assert f"proxy_set_header Host {host};" in location_file(made)


@pytest.mark.parametrize(
    ("lines", "note"),
    [
        ("proxy_set_header Host $host;", "Host stays \\$host, the server name is now sent and is up.test"),
        ("proxy_set_header Connection $x;", "Connection is set by the configuration and stays"),
        ("proxy_ssl_protocols TLSv1.3;", "proxy_ssl_protocols TLSv1.3 becomes TLSv1.2 TLSv1.3 here"),
        ("proxy_ssl_ciphers HIGH;", "proxy_ssl_ciphers HIGH becomes ECDHE"),
        ("proxy_cache zone;", "cached answers get new keys"),
        ("proxy_http_version 1.0;", "HTTP/1.0 stays, so every request opens a connection of its own"),
        ("proxy_cache off;", ""),
        ("proxy_cache zone; proxy_cache_key $uri;", ""),
        ("proxy_set_header Host up.test;", ""),
        ("proxy_set_header Host $host; proxy_ssl_server_name on;", ""),
    ],
)
def test_what_changes_is_named(lines: str, note: str) -> None:
    made = plan(http(server(proxied(lines=lines))), Declaration("app.test", "/", ONE))
    assert re.search(note, "\n".join(made.notes)) if note else made.notes == ()


def test_http_1_1_is_a_change_where_it_is_not_the_default() -> None:
    old = Capabilities("nginx", (1, 22, 1), "", ())
    files = http(server(proxied()))
    assert any(
        "HTTP/1.1 instead of 1.0" in note for note in plan(files, Declaration("", "/", ONE), capabilities=old).notes
    )
    files = http("proxy_http_version 1.1;" + server(proxied()))
    made = plan(files, Declaration("", "/", ONE), capabilities=old)
    assert made.notes == ()
    assert "proxy_http_version" not in location_file(made)


def test_what_the_user_set_and_ours_does_not_say_stays() -> None:
    lines = "proxy_ssl_crl /crl.pem; proxy_ssl_verify_depth 4; proxy_ssl_conf_command Options -SessionTicket;"
    lines += " proxy_ssl_conf_command Certificate /old.crt;"
    files = http(server(proxied(lines=lines)))
    made = plan(files, Declaration("app.test", "/", ONE))
    after = made.after()[MAIN]
    assert b"proxy_ssl_crl /crl.pem;" in after
    assert b"Options -SessionTicket;" in after
    assert b"/old.crt" not in after
    assert "proxy_ssl_verify_depth 4;" in location_file(made)
    again = plan({**files, **made.after()}, Declaration("app.test", "/", ONE))
    assert again.empty, again.diff()


def test_proxy_host_is_written_out_in_the_location_and_named_outside() -> None:
    more = "add_header X-Up $proxy_host; proxy_set_header X-B ${proxy_host}/$proxy_hostname;"
    files = http(server(proxied(), more=more) + "\nlog_format l '$proxy_host $uri';")
    made = plan(files, Declaration("app.test", "/", ONE))
    assert 'proxy_set_header X-B "up.test:8443/$proxy_hostname";' in location_file(made)
    assert [note.split(": ")[1].split()[0] for note in made.notes if "uses $proxy_host" in note] == [
        "add_header",
        "log_format",
    ]
    files = {**http(server(proxied(lines="include /etc/nginx/x.conf;"))), "/etc/nginx/x.conf": b"set $a $proxy_host;"}
    with pytest.raises(PlanError, match=r"set in /etc/nginx/x.conf:1, an included file, uses \$proxy_host"):
        plan(files, Declaration("app.test", "/", ONE))


def test_a_nested_location_that_is_declared_too_is_no_obstacle() -> None:
    files = http(server(" location / { proxy_pass https://a.test;\n location /b { proxy_pass https://b.test; }\n }"))
    both = (Declaration("app.test", "/", ONE), Declaration("app.test", "/b", TWO))
    with pytest.raises(PlanError, match=r"location /b at .* would inherit"):
        plan(files, both[0])
    after = {**files, **plan(files, *both).after()}
    assert plan(after, *both).empty


def test_our_maps_stand_behind_the_sizes_that_they_would_fix() -> None:
    files = http("map_hash_bucket_size 128;\n" + server(proxied()))
    after = plan(files, Declaration("app.test", "/", ONE)).after()[MAIN].decode()
    assert after.index("map_hash_bucket_size") < after.index(f"{DIR}/http.conf")
