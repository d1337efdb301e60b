"""The doctor names what a real nginx shows: its refusal, its log line or its answer, and says nothing once cured."""

import contextlib
import json
import os
import re
import shlex
import shutil
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.nginx.causes import (
    ALONE,
    ANSWERS,
    ASKS,
    CASES,
    CONNECTIONS,
    GOOD,
    PEERS,
    REFUSALS,
    REFUSED,
    SILENT,
    THEIRS,
    UP,
    Case,
)
from tests.nginx.odd_upstreams import strict, waiting
from tests.nginx.sites import make_certificates
from tests.nginx.spoilers import shown
from tests.rig.nginx import frame, get, program, programs, short_directory
from tests.rig.pki import SERVER, Pki
from troth.cli.nginx import doctor
from troth.cli.nginx_doctor import UnknownSymptomError
from troth.host import HostError
from troth.host.nginx import Nginx, NginxTestError
from troth.host.ports import free_ports
from troth.nginx.diagnosis import RULES, Rule
from troth.nginx.diagnosis.page import page
from troth.nginx.diagnosis.rule import ANSWER

BY_ID = {rule.id: rule for rule in RULES}


@pytest.fixture(scope="module")
def pki() -> Iterator[Pki]:
    with short_directory("doctor-pki") as directory:
        made = make_certificates(directory / "tls")
        foreign = Pki(directory / "foreign", "Foreign")
        (made.directory / "foreign.crt").write_bytes(foreign.trust.read_bytes())
        yield made


@dataclass
class Scene:
    """One case on one nginx; `ports` are those of the site and of the nginx upstream, `odd` that of another."""

    case: Case
    directory: Path
    binary: Path
    pki: Pki
    ports: list[int]
    odd: int = 0

    @property
    def nginx(self) -> Nginx:
        return Nginx(self.binary, self.directory / "nginx.conf", self.directory)

    @property
    def log(self) -> Path:
        return self.directory / "error.log"

    def files(self, *, bad: bool) -> None:
        """The directory of certificates, with the case's fault or without."""
        shutil.rmtree(self.directory / "tls", ignore_errors=True)
        shutil.copytree(self.pki.directory, self.directory / "tls")
        if bad:
            self.change(self.case.spoil)

    def change(self, prepare: object) -> None:
        mine = Pki.__new__(Pki)
        mine.__dict__.update(self.pki.__dict__, directory=self.directory / "tls")
        prepare(self.directory / "tls", mine)  # type: ignore[operator]

    def write(self, *, bad: bool) -> None:
        case = self.case
        lines = case.bad if bad else case.good
        target = case.target if bad or case.heals else "https://127.0.0.1:PORT2"
        if not bad and case.target.startswith("grpcs"):
            target = "grpcs://127.0.0.1:PORT2"
        up = case.up if bad else UP.replace(" ssl;", " ssl http2;") + ASKS if "grpcs" in target else UP + ASKS
        kind = "grpc" if target.startswith("grpcs") else "proxy"
        body = (
            f"{case.more}server {{\nlisten 127.0.0.1:PORT;\nserver_name app.test;\n{case.around}"
            f"location /x {{\n{kind}_pass {target};\n{lines}\n}}\n}}\n"
            f"server {{\n{up}\nlocation / {{ return 204; }}\n}}\n"
        )
        # One worker: sessions and the state of peers are a worker's own.
        text = frame(self.directory, body, workers=1)
        for name, port in (("PORT2", self.ports[1]), ("PORT", self.ports[0]), ("ODD", self.odd)):
            text = text.replace(name, str(port))
        self.nginx.main.write_text(re.sub(r"\bTLS(?=[/;])", str(self.directory / "tls"), text))
        self.log.unlink(missing_ok=True)

    def logged(self, enough: Callable[[str], bool]) -> list[str]:
        """The lines of the log once one is enough, or as they are ten seconds later: some come after the answer."""
        until = time.monotonic() + 10
        while not any(map(enough, lines := self.log.read_text(errors="replace").splitlines())):
            if time.monotonic() > until:
                break
            time.sleep(0.02)
        return lines

    def get(self, path: str) -> tuple[int, bytes]:
        return get(self.ports[0], path)

    def doctor(self, *words: str) -> tuple[int, list[dict[str, object]]]:
        """The exit code and what was found."""
        nginx = self.nginx
        return asked("--nginx", str(nginx.binary), "-c", str(nginx.main), "-p", str(self.directory), *words)


def asked(*words: str) -> tuple[int, list[dict[str, object]]]:
    result = CliRunner().invoke(doctor, [*words, "--json"], standalone_mode=False)
    assert isinstance(result.return_value, int), result.output + repr(result.exception)
    return result.return_value, json.loads(result.output)["diagnoses"]


@contextlib.contextmanager
def scene(case: Case, build: str, pki: Pki) -> Iterator[Scene]:
    """The case laid out, its fault in it; nothing runs yet but an upstream that is no nginx."""
    if build not in (*case.builds, "chosen"):
        pytest.skip(f"{build} nginx does not show it")
    if case.root_only and os.geteuid() != 0:
        pytest.skip("another account for nginx needs root")
    with short_directory("doctor") as directory, contextlib.ExitStack() as stack:
        made = Scene(case, directory, program(build), pki, free_ports(2))
        made.files(bad=True)
        if case.upstream is not None:
            made.odd = stack.enter_context(case.upstream(directory / "tls"))
        made.write(bad=True)
        stack.callback(made.nginx.stop)
        yield made


def ids(found: tuple[int, list[dict[str, object]]]) -> tuple[int, list[object]]:
    return found[0], [one["id"] for one in found[1]]


@pytest.mark.parametrize("rule", sorted(REFUSED))
@pytest.mark.parametrize("build", sorted(programs()))
def test_a_refused_configuration_is_explained_and_accepted_once_cured(build: str, rule: str, pki: Pki) -> None:
    with scene(CASES[rule], build, pki) as made:
        with pytest.raises(NginxTestError) as refused:
            made.nginx.test()
        assert BY_ID[rule].match(refused.value.message)
        code, found = made.doctor()
        assert (code, [one["id"] for one in found]) == (2, [rule]), found
        assert found[0]["evidence"]
        assert_cured(made)


@pytest.mark.parametrize("rule", sorted(PEERS | REFUSALS | CONNECTIONS | ANSWERS))
@pytest.mark.parametrize("build", sorted(programs()))
def test_a_request_that_fails_is_explained_and_succeeds_once_cured(build: str, rule: str, pki: Pki) -> None:
    case = CASES[rule]
    with scene(case, build, pki) as made:
        made.nginx.start()
        made.change(case.later)
        for path in case.first:
            made.get(path)
        status, body = made.get("/x")
        assert status == (case.status or BY_ID[rule].status)
        assert_shown(BY_ID[rule], made, body)
        code, found = made.doctor(f"http://127.0.0.1:{made.ports[0]}/x")
        assert (code, [one["id"] for one in found]) == (2, [rule]), found
        assert found[0]["evidence"]
        assert_cured(made)


def assert_shown(rule: Rule, made: Scene, body: bytes) -> None:
    """The real nginx, or its upstream, says what the rule looks for."""
    lines = [body.decode()] if rule.source == ANSWER else made.logged(lambda line: rule.match(line) is not None)
    assert any(rule.match(line) for line in lines), "\n".join(lines[-3:])


def assert_cured(made: Scene) -> None:
    """After a reload, or a new start where more than files changes, the request succeeds and the doctor has nothing."""
    if made.case.reloaded:
        made.nginx.reload()
    else:
        made.nginx.stop()
        made.files(bad=False)
        made.write(bad=False)
        made.nginx.start()
    assert made.get("/x")[0] == 204, made.log.read_text()
    assert made.doctor("--location", "/x") == (0, [])
    assert made.doctor(f"http://127.0.0.1:{made.ports[0]}/x") == (0, [])


@pytest.mark.parametrize("rule", sorted(THEIRS))
@pytest.mark.parametrize("build", sorted(programs()))
def test_the_upstreams_own_log_is_understood(build: str, rule: str, pki: Pki) -> None:
    with scene(THEIRS[rule], build, pki) as made:
        made.nginx.start()
        assert made.get("/x")[0] == (made.case.status or BY_ID[rule].status)
        assert ids(made.doctor("--log", str(made.directory / "tls" / "up.log"))) == (2, [rule])
        assert_cured(made)


@pytest.mark.parametrize("alert", [ssl.ALERT_DESCRIPTION_BAD_CERTIFICATE, ssl.ALERT_DESCRIPTION_CERTIFICATE_UNKNOWN])
def test_behind_an_alert_that_says_nothing_the_file_shows_the_cause(alert: int, pki: Pki) -> None:
    faults: dict[str, dict[str, object]] = {
        "client-expired": {"ended": True},
        "client-purpose": {"purposes": (SERVER,)},
        "client-leaf-only": {"leaf_only": True},
    }
    for rule, fault in faults.items():
        case = replace(CASES["client-bad"], spoil=shown("client", **fault), upstream=strict(alert=alert))
        with scene(case, "system", pki) as made:
            made.nginx.start()
            assert ids(made.doctor(f"http://127.0.0.1:{made.ports[0]}/x")) == (2, [rule])


@pytest.mark.parametrize("build", sorted(programs()))
def test_a_handshake_names_the_cause_where_nobody_sent_a_request(build: str, pki: Pki) -> None:
    for rule in ("shows-nothing", "shows-expired", "upstream-expired", "depth-too-small", "name-wrong"):
        with scene(CASES[rule], build, pki) as made:
            made.nginx.start()
            assert ids(made.doctor("--location", "/x")) == (2, [rule])


def test_an_upstream_that_shakes_hands_and_is_slow_to_answer_is_not_blamed(pki: Pki) -> None:
    up = f"{UP} {ASKS} location = / {{ proxy_pass http://127.0.0.1:ODD; }}"
    with scene(Case(GOOD, up=up, upstream=waiting), "system", pki) as made:
        made.nginx.start()
        assert made.doctor("--location", "/x") == (0, [])


def test_a_file_that_the_account_of_nginx_may_not_read_is_named(pki: Pki) -> None:
    for build in sorted(programs()):
        with scene(ALONE["file-denied"], build, pki) as made:
            wrapper = made.directory / "nginx-as-nobody"
            setpriv = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", str(made.binary)]
            wrapper.write_text(f'#!/bin/sh\nexec {shlex.join(setpriv)} "$@"\n')
            wrapper.chmod(0o755)
            made.binary = wrapper
            with pytest.raises(NginxTestError, match="Permission denied"):
                made.nginx.test()
            assert ids(made.doctor()) == (2, ["file-denied"])
            os.chown(made.directory, 65534, 65534)
            for path in (made.directory, *made.directory.rglob("*")):
                os.chown(path, 65534, 65534)
            made.nginx.test()
            assert made.doctor("--why", "400")[0] == 0


@pytest.mark.parametrize("build", sorted(programs()))
def test_an_address_that_another_program_has_is_named(build: str, pki: Pki) -> None:
    with scene(ALONE["port-taken"], build, pki) as made:
        with pytest.raises(HostError) as refused:
            made.nginx.start()
        assert ids(made.doctor("--log", str(made.log))) == (2, ["port-taken"])
        assert ids(made.doctor(refused.value.message)) == (2, ["port-taken"])
        assert_cured(made)


@pytest.mark.parametrize("build", sorted(programs()))
def test_a_reset_without_the_configuration_is_told_from_the_network_s(build: str, pki: Pki) -> None:
    """Of the alert of TLS 1.3 nothing is left: nginx says 104 or "prematurely closed", as the moment has it."""
    with scene(ALONE["client-refused-by-reset"], build, pki) as made:
        made.nginx.start()
        assert made.get("/x")[0] == 502
        (line,) = [one for one in made.logged(lambda one: "[error]" in one) if "[error]" in one]
        assert ids(asked(line, "-p", str(made.directory / "elsewhere"))) == (2, ["client-refused-by-reset"])
        assert ids(made.doctor(line)) == (2, ["client-none"])
        assert_cured(made)


def test_a_pasted_line_is_explained_and_an_unknown_one_is_refused() -> None:
    line = "connect() failed (111: Connection refused) while connecting to upstream"
    result = CliRunner().invoke(doctor, [line], standalone_mode=False)
    assert result.return_value == 2
    assert result.output.startswith("refused-connection")
    assert CliRunner().invoke(doctor, ["-"], input=line, standalone_mode=False).return_value == 2
    assert isinstance(CliRunner().invoke(doctor, ["hello"], standalone_mode=False).exception, UnknownSymptomError)


def test_every_rule_has_a_reproducer_or_says_why_it_has_none() -> None:
    reproduced = set(CASES) | set(ALONE) | set(SILENT)
    assert {rule.id for rule in RULES if not rule.unseen} == reproduced
    assert len(reproduced) >= 45
    assert len({rule.id for rule in RULES}) == len(RULES)


def test_the_page_of_rules_is_up_to_date() -> None:
    committed = Path(__file__).parents[2] / "docs" / "reference" / "diagnosis.md"
    assert committed.read_text() == page(), "run: python -m troth.nginx.diagnosis.page > docs/reference/diagnosis.md"
