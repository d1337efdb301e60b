"""grpc, uwsgi and stream: planned like http, each with what is its own."""

import re

import pytest

from tests.nginx.test_nginx_plan import DIR, MAIN, NEW, ONE, TWO, http, location_file, plan, server
from troth.nginx.capabilities import Capabilities
from troth.nginx.family import GRPC, STREAM, UWSGI
from troth.nginx.map import identity_map
from troth.nginx.plan import Declaration, Plan, PlanError, make_plan
from troth.nginx.render import Witnesses, witness_ports
from troth.nginx.tree import parse_config


def by(pass_line: str, lines: str = "", path: str = "/") -> str:
    return f" location {path} {{\n  {pass_line};\n  {lines}\n }}"


def grpc(lines: str = "", path: str = "/") -> str:
    return by("grpc_pass grpcs://up.test:8443", lines, path)


def uwsgi(lines: str = "", path: str = "/") -> str:
    return by("uwsgi_pass suwsgi://up.test:8443", lines, path)


def stream(*servers: str) -> dict[str, bytes]:
    return {MAIN: ("events {}\nstream {\n" + "\n".join(servers) + "\n}\n").encode()}


def tcp(port: str = "5432", lines: str = "proxy_ssl on;", to: str = "db.test:5433") -> str:
    return f" server {{\n  listen {port};\n  proxy_pass {to};\n  {lines}\n }}"


def db(listen: str = "5432", upstream: str = "", identity: object = ONE) -> Declaration:
    return Declaration("", "", ONE if identity is ONE else TWO, upstream, "", listen)


def with_ports(files: dict[str, bytes], *wanted: Declaration, capabilities: Capabilities = NEW) -> Plan:
    ports = {one: 20_000 + number for number, one in enumerate(("one", "one/grpc", "one/uwsgi", "one/stream"))}
    return make_plan(parse_config(files, MAIN), wanted, [ONE], capabilities, DIR, Witnesses("/run/witness", ports))


def test_a_grpc_location_gets_directives_of_its_own_module() -> None:
    made = plan(http(server(grpc("grpc_ssl_verify off; grpc_ssl_ciphers HIGH;"))), Declaration("app.test", "/", ONE))
    text = location_file(made)
    assert "grpc_pass grpcs://troth_app_test;\n" in text
    assert "grpc_set_header Host up.test:8443;\n" in text
    assert "grpc_ssl_name up.test;" in text
    assert f"include {DIR}/grpc-identity-one.conf;" in text
    assert not re.search(r"proxy_|Connection", text)
    assert "grpc_ssl_session_reuse off;" in made.new_files[f"{DIR}/grpc-identity-one.conf"].decode()
    assert f"{DIR}/identity-one.conf" not in made.new_files
    assert any("receives its name as host instead of :authority" in note for note in made.notes)
    assert any("grpc_ssl_ciphers HIGH becomes" in note for note in made.notes)
    assert not re.search(r"grpc_(pass|ssl)", made.after()[MAIN].decode())


def test_a_host_of_the_users_own_stays_and_nothing_is_said_of_authority() -> None:
    made = plan(http(server(grpc("grpc_set_header Host up.test;"))), Declaration("app.test", "/", ONE))
    assert "Host" not in location_file(made)
    assert made.notes == ()


def test_inherited_header_lines_of_grpc_are_carried_over() -> None:
    made = plan(http(server(grpc(), more='grpc_set_header X-A "b c";')), Declaration("app.test", "/", ONE))
    assert 'grpc_set_header X-A "b c";' in location_file(made)


def test_a_uwsgi_location_keeps_its_parameters_and_its_group_keeps_no_connection() -> None:
    pool = "upstream pool { zone z 64k; server up.test:1; keepalive 4; }\n"
    text = pool + server(by("uwsgi_pass suwsgi://pool", "uwsgi_param A b;"))
    made = plan(http(text), Declaration("app.test", "/", ONE))
    group = made.new_files[f"{DIR}/http.conf"].decode()
    assert "upstream troth_app_test {\n    zone z 64k;\n    server up.test:1;\n}" in group
    assert "uwsgi_pass suwsgi://troth_app_test;" in location_file(made)
    assert "uwsgi_ssl_name up.test;" in location_file(made)
    assert b"uwsgi_param A b;" in made.after()[MAIN]
    assert made.notes == ()


def test_a_stream_server_is_told_by_what_it_listens_on_and_its_group_stands_in_stream() -> None:
    files = stream("upstream dbs { least_conn; server db.test:1; }", tcp(to="dbs"), tcp("5433"))
    made = plan(files, db())
    text = made.new_files[f"{DIR}/server-5432.conf"].decode()
    assert "proxy_pass troth_5432;\nproxy_ssl on;\n" in text
    assert "proxy_ssl_name db.test;" in text
    assert not re.search(r"set_header|http_version|redirect", text)
    assert (
        "upstream troth_5432 {\n    least_conn;\n    server db.test:1;\n}"
        in made.new_files[f"{DIR}/stream.conf"].decode()
    )
    assert f"{DIR}/http.conf" not in made.new_files
    after = made.after()[MAIN].decode()
    assert after.startswith(f"events {{}}\nstream {{\ninclude {DIR}/stream.conf;  # managed by troth\n")
    assert after.count("include") == 2
    assert "listen 5433;\n  proxy_pass db.test:5433;\n  proxy_ssl on;" in after
    assert plan({**files, **made.after()}, db()).empty


@pytest.mark.parametrize(
    ("listen", "line"),
    [
        ("10.0.0.1:1", 5),
        ("1", None),
        ("2", 10),
        (":2", 10),
        ("unix:/s", 10),
        ("[::1]:2", 10),
        ("b.test:3", 20),
        ("3", None),
    ],
)
def test_a_selector_finds_its_stream_server(listen: str, line: int | None) -> None:
    text = stream(
        tcp("10.0.0.1:1"),
        tcp("127.0.0.1:1", "proxy_ssl on; listen [::1]:2; listen unix:/s;"),
        tcp("3", "proxy_ssl on; server_name a.test;"),
        tcp("3", "proxy_ssl on; server_name b.test;"),
    )
    if line is None:
        with pytest.raises(PlanError, match=r"is not the only one: .* at .*; .* at "):
            plan(text, db(listen))
    else:
        (edit,) = [e for e in plan(text, db(listen)).edits if b"server-" in e.text]
        assert text[MAIN][: edit.start].count(b"\n") + 1 == line


@pytest.mark.parametrize(
    ("files", "wanted", "why"),
    [
        (stream(tcp()), db("1"), r"there is no stream server '1'; there are: 5432 at "),
        (http(""), db("1"), "there are: no servers of stream"),
        (stream(tcp()), Declaration("", "/", ONE), "has no http block"),
        (stream(tcp(lines="")), db(), "does not talk TLS to its upstream: proxy_ssl is off"),
        (stream(tcp("5432 udp")), db(), "listens for UDP at .*:4"),
        (stream(tcp(to="$x")), db(), r"proxy_pass \$x at .* has variables"),
        (stream(tcp()), db(upstream="db.test"), "upstream db.test has no port: expected host:port"),
        (stream(tcp(to="10.0.0.1:1")), db(), "addressed by IP"),
        (http(server(uwsgi())), Declaration("", "/", ONE, "https://a.test"), "for proxy_pass, and it has uwsgi_pass"),
        (http(server(by("uwsgi_pass a.test:1"))), Declaration("", "/", ONE), "a.test:1 is not usable: expected suwsgi://host"),
        (http(server(by("grpc_pass a.test:1"))), Declaration("", "/", ONE), "expected grpcs://host"),
        (http(server(by("fastcgi_pass a.test:1"))), Declaration("", "/", ONE), "has no proxy_pass, only fastcgi_pass"),
        (http(server(by("return 1"))), Declaration("", "/", ONE, "suwsgi://a.test"), "suwsgi://a.test has no port"),
        (http(server(by("return 1"))), Declaration("", "/", ONE, "grpcs://a.test/x"), "nothing behind it"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_the_reason(files: dict[str, bytes], wanted: Declaration, why: str) -> None:
    with pytest.raises(PlanError, match=why):
        plan(files, wanted)


def test_a_block_declared_by_two_selectors_is_refused() -> None:
    with pytest.raises(PlanError, match=r"stream server at .* is declared twice: for one and for two"):
        plan(stream(tcp()), db("5432"), db(":5432", identity=TWO))
    both = (Declaration("app.test", "/", ONE), Declaration("", "/", TWO))
    with pytest.raises(PlanError, match=r"location / at .* is declared twice: for one and for two"):
        plan(http(server(grpc())), *both)


def test_a_declared_upstream_chooses_the_module_of_an_empty_location() -> None:
    for upstream, line in (("grpcs://a.test", "grpc_pass grpcs://"), ("suwsgi://a.test:1", "uwsgi_pass suwsgi://")):
        made = plan(http(server(by("satisfy all"))), Declaration("app.test", "/", ONE, upstream))
        assert f"{line}troth_app_test;" in location_file(made)
        assert "    server a.test:" in made.new_files[f"{DIR}/http.conf"].decode()


def test_a_plain_stream_server_is_moved_where_the_upstream_is_named() -> None:
    files = stream(tcp(lines=""))
    made = plan(files, db(upstream="new.test:6432"))
    assert "# upstream: new.test:6432" in made.new_files[f"{DIR}/server-5432.conf"].decode()
    assert plan({**files, **made.after()}, db(upstream="new.test:6432")).empty


def test_nested_locations_of_another_module_are_no_obstacle() -> None:
    inner = "location /g { grpc_pass grpcs://g.test; }"
    outer = f" location / {{ proxy_pass https://a.test;\n {inner}\n }}"
    assert plan(http(server(outer)), Declaration("app.test", "/", ONE)).edits
    nested = http(server(" location / { grpc_pass grpcs://a.test;\n location /b { grpc_pass grpcs://b.test; }\n }"))
    with pytest.raises(PlanError, match=r"location /b at .* would inherit"):
        plan(nested, Declaration("app.test", "/", ONE))


def test_each_module_that_shows_an_identity_has_a_witness_of_its_own() -> None:
    files = {MAIN: http(server(grpc(path="/g"), uwsgi(path="/u")))[MAIN] + stream(tcp())[MAIN].split(b"\n", 1)[1]}
    all_of_them = (Declaration("", "/g", ONE), Declaration("", "/u", ONE), db())
    made = with_ports(files, *all_of_them)
    levels = {name: witness_ports(made.new_files[f"{DIR}/{name}.conf"].decode()) for name in ("http", "stream")}
    assert levels == {"http": {"one/grpc": 20_001, "one/uwsgi": 20_002}, "stream": {"one/stream": 20_003}}
    after = {**files, **made.after()}
    assert with_ports(after, *all_of_them).empty
    fewer = {**after, **with_ports(after, all_of_them[0]).after()}
    text = fewer[f"{DIR}/http.conf"].decode()
    assert "upstream troth_u {" in text
    assert "witness of one/uwsgi\n" in text
    assert fewer[f"{DIR}/stream.conf"] == after[f"{DIR}/stream.conf"]


def test_names_of_files_and_witnesses_are_no_others() -> None:
    names = ("one", "grpc", "identity-one", "one-grpc", "grpc-identity-one")
    files = [family.identity_file(name) for family in (GRPC, UWSGI, STREAM) for name in names]
    assert len(set(files)) == len(files)
    assert not {f"identity-{name}.conf" for name in names} & set(files)


def test_a_server_of_stream_is_told_by_what_it_listens_on() -> None:
    (place,) = identity_map(parse_config(stream(tcp("127.0.0.1:5432; listen [::1]:5432")), MAIN))
    assert place.listens == "127.0.0.1:5432 [::1]:5432"
    (place,) = identity_map(parse_config(http(server(grpc(path="/x"), more="listen 80;")), MAIN))
    assert place.listens == ""
