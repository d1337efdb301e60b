"""Every rule finds what it says in a configuration that nginx accepts, at its line, and nothing in the cured one."""

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.nginx.reproducers import ASKS, CHECK, ID, REPRODUCERS, guarded, site
from tests.nginx.sites import make_certificates
from tests.rig.nginx import frame, program, programs, short_directory
from tests.rig.pki import Pki
from troth.agent.material import look_into_files
from troth.agent.reading import read_config
from troth.cli.nginx import inspect
from troth.errors import UsageError
from troth.host import clock
from troth.host.nginx import Nginx, NginxTestError
from troth.host.ports import free_ports
from troth.nginx.capabilities import Capabilities
from troth.nginx.findings import RULES, SEVERITIES, Finding, examine
from troth.nginx.findings.page import page
from troth.nginx.findings.rotation import seconds
from troth.nginx.map import guards, identity_map
from troth.nginx.tree import parse_config
from troth.nginx.variables import of_client, possible_values

# Reproduced with a running nginx, below.
LIVE = {"reload-pending"}


@pytest.fixture(scope="module")
def pki() -> Iterator[Pki]:
    with short_directory("findings-pki") as directory:
        yield make_certificates(directory / "tls")


def write(directory: Path, binary: Path, body: str, head: str = "") -> Nginx:
    ports = free_ports(2)
    text = frame(directory, body, head=head).replace("PORT2", str(ports[1])).replace("PORT", str(ports[0]))
    (directory / "nginx.conf").write_text(re.sub(r"\bTLS(?=[/;])", str(directory / "tls"), text))
    return Nginx(binary, directory / "nginx.conf", directory)


def found(nginx: Nginx) -> list[Finding]:
    config = read_config(nginx)
    places, asking = identity_map(config), guards(config)
    facts = look_into_files(config, places, asking, nginx, clock.now())
    return examine(config, places, nginx.capabilities(), facts)


def test_every_rule_has_a_reproducer_and_says_what_it_needs_to() -> None:
    assert len(RULES) >= 35
    assert {rule.id for rule in RULES} == set(REPRODUCERS) | LIVE
    assert len({rule.id for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.severity in SEVERITIES
        for text in (rule.title, rule.why, rule.fix):
            assert text
            assert text[-1] != "."


@pytest.mark.parametrize("rule", sorted(REPRODUCERS))
@pytest.mark.parametrize("build", sorted(programs()))
def test_the_rule_names_the_line_and_the_cure_silences_it(build: str, rule: str, pki: Pki) -> None:
    case = REPRODUCERS[rule]
    if build not in (*case.builds, "chosen"):
        return
    if case.root_only and os.geteuid() != 0:
        pytest.skip("workers of another account need root")
    with short_directory("finding") as directory:
        shutil.copytree(pki.directory, directory / "tls")
        mine = Pki.__new__(Pki)
        mine.__dict__.update(pki.__dict__, directory=directory / "tls")
        case.spoil(directory / "tls", mine)
        nginx = write(directory, program(build), case.bad, case.head)
        nginx.test()
        lines = (directory / "nginx.conf").read_text().splitlines()
        expected = [f"{directory}/nginx.conf:{number}" for number, line in enumerate(lines, 1) if line.endswith("#!")]
        hits = [finding for finding in found(nginx) if finding.id == rule]
        assert hits, f"{rule} is not found"
        if expected:
            assert {finding.where for finding in hits} == set(expected), hits
        case.cure(directory / "tls", mine)
        nginx = write(directory, program(build), case.good)
        nginx.test()
        assert [finding for finding in found(nginx) if finding.id == rule] == []


@pytest.fixture(params=sorted(programs()))
def nginx(request: pytest.FixtureRequest, pki: Pki) -> Iterator[Nginx]:
    with short_directory("inspected") as directory:
        shutil.copytree(pki.directory, directory / "tls")
        yield write(directory, program(request.param), site(f"{ID} proxy_ssl_session_reuse off;"))


def test_a_file_changed_after_the_start_is_named_until_a_reload(nginx: Nginx) -> None:
    certificate = nginx.main.parent / "tls" / "client.crt"
    nginx.start()
    try:
        assert "reload-pending" not in {finding.id for finding in found(nginx)}
        time.sleep(1.5)
        certificate.write_bytes(certificate.read_bytes())
        assert "reload-pending" in {finding.id for finding in found(nginx)}
        nginx.reload()
        assert "reload-pending" not in {finding.id for finding in found(nginx)}
    finally:
        nginx.stop()


def run(nginx: Nginx, *options: str) -> tuple[int, str]:
    words = ["--nginx", str(nginx.binary), "-c", str(nginx.main), "-p", str(nginx.main.parent), *options]
    result = CliRunner().invoke(inspect, words, standalone_mode=False)
    assert isinstance(result.return_value, int), result.output + repr(result.exception)
    return result.return_value, result.output


def test_the_exit_code_is_2_from_the_chosen_severity_on(nginx: Nginx) -> None:
    assert run(nginx)[0] == 2
    assert run(nginx, "--fail-on", "error")[0] == 2
    assert run(nginx, "--fail-on", "never")[0] == 0
    write(nginx.main.parent, nginx.binary, site(f"{ID}{CHECK} proxy_ssl_name up.test; proxy_ssl_session_reuse off;"))
    assert [run(nginx, "--fail-on", one)[0] for one in ("error", "warning", "info")] == [0, 2, 2]
    assert run(nginx, "--fail-on", "never", "--json")[0] == 0
    nginx.main.write_text(nginx.main.read_text().replace("proxy_pass", "proxy_passes"))
    code, text = run(nginx, "--fail-on", "never")
    assert code == 2
    assert text.startswith('nginx refuses the configuration: unknown directive "proxy_passes"')


def test_text_tells_whose_certificate_and_until_when(nginx: Nginx) -> None:
    write(
        nginx.main.parent,
        nginx.binary,
        site(f"{ID}{CHECK} proxy_ssl_name up.test;") + guarded(ASKS).replace("PORT", "PORT2"),
    )
    text = run(nginx)[1]
    assert re.search(r"^    shows    client until \d{4}-\d\d-\d\d \d\d:\d\d UTC \(.*/client.crt\)$", text, re.MULTILINE)
    assert re.search(r"^    trusts   Test Root until .*, the name up.test, depth 1$", text, re.MULTILINE)
    assert re.search(r"asks for client certificates: on   \(.*:\d+\)$", text, re.MULTILINE)
    value = json.loads(run(nginx, "--json")[1])
    assert value["verified"] is True
    assert [one["mode"] for one in value["servers"]] == ["on"]
    client = next(one for one in value["files"] if one["path"].endswith("client.crt"))
    assert client["certificates"][0]["subject"] == "CN=client"
    assert {"id", "severity", "where", "what", "why", "fix"} == set(value["findings"][0])


def test_sarif_names_every_rule_and_every_line(nginx: Nginx) -> None:
    code, text = run(nginx, "--sarif", "--fail-on", "never")
    value = json.loads(text)
    (once,) = value["runs"]
    rules = once["tool"]["driver"]["rules"]
    assert (code, value["version"], len(rules)) == (0, "2.1.0", len(RULES))
    assert once["results"]
    for result, finding in zip(once["results"], found(nginx), strict=True):
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == finding.id
        place = result["locations"][0]["physicalLocation"]
        assert f"{place['artifactLocation']['uri']}:{place['region']['startLine']}" == f"file://{finding.where}"
        assert result["level"] in ("note", "warning", "error")


REQUIRED = {
    # What sarif-schema-2.1.0.json requires of the objects that are written (OASIS SARIF 2.1.0 §3).
    "": ("version", "runs"),
    "runs": ("tool",),
    "tool": ("driver",),
    "driver": ("name",),
    "rules": ("id",),
    "invocations": ("executionSuccessful",),
    "toolConfigurationNotifications": ("message",),
    "results": ("message",),
    "message": ("text",),
    "shortDescription": ("text",),
    "fullDescription": ("text",),
    "help": ("text",),
}


def lacking(value: object, name: str = "") -> list[str]:
    """The required properties that are not there, by where they should be."""
    if isinstance(value, list):
        return [one for item in value for one in lacking(item, name)]
    if not isinstance(value, dict):
        return []
    mine = [f"{name}.{one}" for one in REQUIRED.get(name, ()) if one not in value]
    return mine + [one for key, item in value.items() for one in lacking(item, key)]


def test_sarif_has_what_its_schema_requires(nginx: Nginx) -> None:
    for spoil in ("", "proxy_passes"):
        nginx.main.write_text(nginx.main.read_text().replace("proxy_pass ", f"{spoil or 'proxy_pass'} "))
        value = json.loads(run(nginx, "--sarif")[1])
        assert lacking(value) == []
        (once,) = value["runs"]
        assert once["invocations"][0]["executionSuccessful"] is not bool(spoil)
        rules = [rule["id"] for rule in once["tool"]["driver"]["rules"]]
        assert len(set(rules)) == len(rules)
        for result in once["results"]:
            place = result["locations"][0]["physicalLocation"]
            assert place["region"]["startLine"] >= 1
            assert place["artifactLocation"]["uri"].startswith("file:///")
    assert "unknown directive" in once["invocations"][0]["toolConfigurationNotifications"][0]["message"]["text"]


def test_what_nginx_refuses_is_read_all_the_same_and_marked(nginx: Nginx) -> None:
    """The include is found, the place in it is shown, nginx's word stands first."""
    other = nginx.main.parent / "more.conf"
    other.write_text(site(f"{ID} nonsense;").replace("PORT", "1").replace("TLS", str(nginx.main.parent / "tls")))
    nginx.main.write_text(nginx.main.read_text().replace("access_log off;", f"access_log off; include {other};"))
    code, text = run(nginx)
    assert code == 2
    assert text.startswith(f'nginx refuses the configuration: unknown directive "nonsense" in {other}:5')
    assert "The map below is read without nginx's word for it." in text
    assert f"({other}:4)" in text
    value = json.loads(run(nginx, "--json")[1])
    assert value["verified"] is False
    assert len(value["places"]) == 2


def test_what_nobody_can_read_is_quoted_from_nginx(nginx: Nginx) -> None:
    nginx.main.write_text(nginx.main.read_text().rstrip().removesuffix("}"))
    with pytest.raises(NginxTestError, match='unexpected end of file, expecting "}" in') as refused:
        inspect.main(
            ["--nginx", str(nginx.binary), "-c", str(nginx.main), "-p", str(nginx.base)], standalone_mode=False
        )
    assert (refused.value.hint or "").startswith("nor can it be read without nginx: ")


def test_the_map_says_how_long_connections_keep_an_identity(nginx: Nginx) -> None:
    pool = "upstream pool { server 127.0.0.1:1; keepalive 4; keepalive_time 5m; }\n"
    write(
        nginx.main.parent,
        nginx.binary,
        site(f"{ID}{CHECK} proxy_ssl_server_name on;", "proxy_pass https://pool;", pool),
    )
    text = run(nginx)[1]
    assert "    sends    name pool, sessions resumed, connections kept up to 300 s, upstream pool" in text
    (place,) = json.loads(run(nginx, "--json")[1])["places"]
    assert (place["keptSeconds"], place["name"]) == (300, "pool")
    write(nginx.main.parent, nginx.binary, site(f"{ID} proxy_ssl_session_reuse off;"))
    assert "    sends    no name, no session resumed, connections not kept" in run(nginx)[1]


def test_sarif_and_json_are_one_or_the_other(nginx: Nginx) -> None:
    with pytest.raises(UsageError, match="expected one of them"):
        inspect.main(["--sarif", "--json", "-c", str(nginx.main)], standalone_mode=False)


@pytest.mark.parametrize(
    ("text", "expected"), [("75", 75), ("1h", 3600), ("1h 30m", 5400), ("500ms", 0), ("1d", 86400), ("2w1d", 1296000)]
)
def test_times_are_read_as_nginx_reads_them(text: str, expected: int) -> None:
    assert seconds(text) == expected


def test_what_a_variable_can_be() -> None:
    text = b"""http {
    map $request_method $a { default x; POST y; } map $http_q $b { default $a/1; } map $http_z $g { a 1; b 2; }
    split_clients $uri $c { * z; } geo $f { default 0; 10.0.0.0/8 1; }
    server { set $d $a-$c; set $e $nothing; }
    }"""
    config = parse_config({"/c": text}, "/c")
    for value, possible, client in (
        ("plain", ("plain",), False),
        ("/$a.pem", ("/x.pem", "/y.pem"), True),
        ("$b", ("x/1", "y/1"), True),
        ("${c}", ("z",), False),
        ("$d", ("x-z", "y-z"), True),
        ("$e", (), False),
        ("$f", ("0", "1"), False),
        ("$g", ("1", "2"), True),
        ("$http_host", (), True),
        ("$pid", (), False),
    ):
        assert possible_values(config, value) == possible, value
        assert of_client(config, value) is client, value


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("http { server { location / { grpc_pass grpcs://up.test; grpc_ssl_certificate c; } } }", "grpc"),
        ("http { server { location / { uwsgi_pass suwsgi://up.test:1; uwsgi_ssl_certificate c; } } }", "uwsgi"),
        ("stream { server { proxy_pass up.test:1; proxy_ssl on; proxy_ssl_certificate c; } }", "proxy"),
    ],
)
def test_every_kind_of_upstream_is_judged_in_its_own_words(text: str, family: str) -> None:
    config = parse_config({"/c": text.encode()}, "/c")
    findings = examine(config, identity_map(config), Capabilities("nginx", (1, 31, 3), "", ()))
    fixes = {finding.id: finding.fix for finding in findings}
    assert fixes["verify-off"].startswith(f"{family}_ssl_verify on;")
    assert fixes["session-reuse"].startswith(f"{family}_ssl_session_reuse off;")
    assert fixes["no-server-name"] == f"{family}_ssl_server_name on;"


def test_the_gravest_come_first() -> None:
    config = parse_config({"/c": b"http { server { location / { proxy_pass https://up.test; } } }"}, "/c")
    findings = examine(config, identity_map(config), Capabilities("nginx", (1, 22, 1), "", ()))
    order = [SEVERITIES.index(finding.severity) for finding in findings]
    assert order == sorted(order, reverse=True)
    assert len(set(order)) > 1


def test_the_page_of_rules_is_up_to_date() -> None:
    committed = Path(__file__).parents[2] / "docs" / "reference" / "findings.md"
    assert committed.read_text() == page(), "run: python -m troth.nginx.findings.page > docs/reference/findings.md"
