"""Every configuration of the corpus is read, planned, changed and changed back on both nginx builds."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.nginx.sites import CORPUS, Case, Site, cases, lay_out, make_certificates
from tests.rig.nginx import program, programs, short_directory
from tests.rig.pki import Pki
from troth.agent.apply import apply_plan, read_config, undo
from troth.cli.nginx import inspect
from troth.nginx.client_auth import ClientAuth
from troth.nginx.family import FAMILIES
from troth.nginx.findings import examine
from troth.nginx.lexer import tokenize
from troth.nginx.map import guards, http_servers, identity_map, listen_addresses, listen_ports, server_names
from troth.nginx.plan import Declaration, Plan, PlanError, make_plan
from troth.nginx.render import Identity, Witnesses
from troth.nginx.selector import find_location

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CASES = cases()
PAIRS = [
    pytest.param(build, case, id=f"{build}-{case.file}")
    for case in CASES.values()
    for build in sorted(programs())
    if build in case.builds
]
# Why a server of the corpus cannot be made to ask.
REFUSED = r"also listens without TLS|is not the only one|vouches for clients|an included file|is included \d+ times"
COMMENT = re.compile(rb"#[^\n]*")


@pytest.fixture(scope="module")
def pki() -> Iterator[Pki]:
    with short_directory("corpus-pki") as directory:
        yield make_certificates(directory / "tls")


@dataclass(frozen=True)
class Work:
    """A case laid out, and what is declared for it."""

    case: Case
    site: Site
    port: int = 29_999

    @property
    def state(self) -> Path:
        return self.site.directory / "state"

    @property
    def include(self) -> str:
        return f"{self.site.directory}/troth"

    def asked(self, guard: ClientAuth) -> Plan:
        """The plan for a server that asks for client certificates, and nothing else."""
        config, capabilities = read_config(self.site.nginx), self.site.nginx.capabilities()
        return make_plan(config, [], [], capabilities, self.include, Witnesses("/w", {}), [guard])

    def plan(self, *guards: ClientAuth) -> Plan:
        tls = self.site.directory / "tls"
        identity = Identity("one", str(tls / "client.crt"), str(tls / "client.key"), str(tls / "ca.crt"))
        case = self.case
        listen = re.sub("@([0-9]+)@", lambda found: str(self.site.ports[int(found[1])]), case.stream)
        wanted = Declaration(case.server, case.location, identity, case.upstream, case.name, listen)
        ports = {family.witness("one"): self.port + number for number, family in enumerate(FAMILIES)}
        witnesses = Witnesses(str(self.state / "witness"), ports)
        config = read_config(self.site.nginx)
        capabilities = self.site.nginx.capabilities()
        return make_plan(config, [wanted], [identity], capabilities, self.include, witnesses, guards)

    def bytes(self) -> dict[str, bytes]:
        """Every file but the journal and nginx's own."""
        found = {str(path): path.read_bytes() for path in sorted(self.site.directory.rglob("*")) if path.is_file()}
        ignored = tuple(f"{self.site.directory}/{name}" for name in ("state/", "temp-", "cache", "nginx.pid"))
        return {name: data for name, data in found.items() if not name.startswith(ignored) and name[-4:] != ".log"}


@pytest.fixture
def work(request: pytest.FixtureRequest, pki: Pki) -> Iterator[Work]:
    build, case = request.param
    with short_directory("corpus") as directory:
        yield Work(case, lay_out(CORPUS / case.file, directory, program(build), pki, case.modules))


each = pytest.mark.parametrize("work", [pytest.param(p.values, id=p.id) for p in PAIRS], indirect=True)


def test_the_manifest_and_the_files_are_the_same() -> None:
    assert set(CASES) == {path.name for path in CORPUS.iterdir()} - {"manifest.toml", ".gitattributes"}


def test_most_of_the_corpus_is_planned() -> None:
    planned = [case for case in CASES.values() if not case.refusal]
    assert len(CASES) >= 60
    assert len(planned) * 6 >= len(CASES) * 5


@each
def test_inspect_reads_what_nginx_accepts(work: Work) -> None:
    work.site.nginx.test()
    config = read_config(work.site.nginx)
    assert config.missing == ()
    places = identity_map(config)
    for finding in examine(config, places, work.site.nginx.capabilities()):
        assert re.match(rf"{re.escape(str(work.site.directory))}/.*:\d+$", finding.where)
        assert finding.what
        assert finding.fix
    for place in places:
        assert place.to_json()["where"] == place.where
    words = ["--nginx", str(work.site.nginx.binary), "-c", str(work.site.nginx.main), "-p", str(work.site.directory)]
    for form in ((), ("--json",), ("--sarif",)):
        done = CliRunner().invoke(inspect, [*words, *form], standalone_mode=False)
        assert done.return_value in (0, 2), done.output + repr(done.exception)


@each
def test_apply_changes_it_once_nginx_accepts_it_and_undo_gives_every_byte_back(work: Work) -> None:
    before = work.bytes()
    if work.case.refusal:
        with pytest.raises(PlanError, match=work.case.refusal):
            work.plan()
        return
    plan = work.plan()
    assert not plan.empty
    only_ours_changed(plan, work)
    apply_plan(plan, work.site.nginx, work.state, now=NOW)
    work.site.nginx.test()
    applied = work.bytes()
    assert applied != before
    config = read_config(work.site.nginx)
    places = [p for p in identity_map(config) if p.where.startswith(work.include)]
    proven = [p for p in places if p.value("ssl_verify") == "on"]
    assert [p.value("ssl_certificate") for p in proven] == [f"{work.site.directory}/tls/client.crt"]
    findings = examine(config, places, work.site.nginx.capabilities())
    # What the user's own HTTP/1.0 costs stays, as the plan says.
    grave = [f for f in findings if f.severity != "info" and f.id != "keepalive-unused"]
    assert [finding for finding in grave if finding.where.startswith(work.include)] == []

    again = work.plan()
    assert again.empty, again.diff()
    undo(work.site.nginx, work.state, now=NOW)
    assert work.bytes() == before
    work.site.nginx.test()


@each
def test_every_server_with_tls_can_ask_for_certificates_and_forget_it_again(work: Work) -> None:
    before, config = work.bytes(), read_config(work.site.nginx)
    servers = [server for server in http_servers(config) if listen_addresses(server)]
    for server in servers:
        port = sorted(listen_ports(server))[0]
        guard = ClientAuth(f"{server_names(server)[0]}:{port}", str(work.site.directory / "tls/ca.crt"))
        try:
            plan = work.asked(guard)
        except PlanError as error:
            assert re.search(REFUSED, error.message), error.message
            continue
        apply_plan(plan, work.site.nginx, work.state, now=NOW)
        again = work.asked(guard)
        assert again.empty, again.diff()
        after = read_config(work.site.nginx)
        asking = [one for one in guards(after) if one.where.startswith(f"{work.include}/client-auth-")]
        assert [(one.mode, one.servers) for one in asking] == [("on", server_names(server))]
        found = examine(after, identity_map(after), work.site.nginx.capabilities())
        assert not [one for one in found if one.where.startswith(f"{work.include}/client-") and one.severity == "error"]
        undo(work.site.nginx, work.state, now=NOW)
        assert work.bytes() == before


@each
def test_a_location_and_its_server_are_planned_together_as_one_after_the_other(work: Work) -> None:
    """Both at once is idempotent too, where both can be had."""
    if work.case.refusal or work.case.stream:
        return
    config = read_config(work.site.nginx)
    place = find_location(config, work.case.server, work.case.location)
    server = place.enclosing("server")
    if server is None or not listen_addresses(server):
        return
    guard = ClientAuth(f"{server_names(server)[0]}:{sorted(listen_ports(server))[0]}", str(work.site.pki.trust))
    try:
        plan = work.plan(guard)
    except PlanError as error:
        assert re.search(REFUSED, error.message), error.message
        return
    before = work.bytes()
    apply_plan(plan, work.site.nginx, work.state, now=NOW)
    assert work.plan(guard).empty, work.plan(guard).diff()
    undo(work.site.nginx, work.state, now=NOW)
    assert work.bytes() == before


def only_ours_changed(plan: Plan, work: Work) -> None:
    """In the user's files upstream TLS lines go, our includes come (and $proxy_host's value); every comment stays."""
    edited = {name: data for name, data in plan.after().items() if not name.startswith(work.include)}
    assert edited
    for name, after in edited.items():
        before = plan.before[name]
        old, new = [t.text for t in tokenize(before, name)], [t.text for t in tokenize(after, name)]
        came = [token for token in new if token not in old and token != b"include"]
        assert all(token.startswith((work.include.encode(), b"localhost:")) for token in came), came
        gone = {token for token in set(old) - set(new) if token.startswith((b"proxy_", b"grpc_", b"uwsgi_"))}
        assert all(re.match(rb"(proxy|grpc|uwsgi)_(pass|redirect|ssl(_\w+)?)$", token) for token in gone), gone
        kept = COMMENT.findall(after)
        assert all(comment in kept for comment in COMMENT.findall(before) if b";" not in comment)
        assert after.count(b"\r\n") - before.count(b"\r\n") in (0, after.count(b"\n") - before.count(b"\n"))
