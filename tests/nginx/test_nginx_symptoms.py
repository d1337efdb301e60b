"""What `inspect` warns of happens with a real nginx: the rule names it, and both are gone once cured.

`ELSEWHERE` names the cause of the doctor whose reproducer shows the symptom and its cure; here the rule is held to name
that very configuration. `UNSEEN` are the rules whose symptom no nginx of the tests has.
"""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.nginx.causes import ALONE, CASES, SILENT, Case
from tests.nginx.reproducers import REPRODUCERS
from tests.nginx.sites import make_certificates
from tests.nginx.spoilers import readable
from tests.nginx.symptoms import SYMPTOMS, Site
from tests.nginx.test_nginx_doctor import Scene, scene
from tests.nginx.test_nginx_doctor_silence import write
from tests.nginx.test_nginx_findings import found
from tests.rig.nginx import get, program, programs, short_directory
from tests.rig.pki import Pki
from troth.host.nginx import Nginx
from troth.host.ports import free_ports
from troth.nginx.findings import RULES

ELSEWHERE = {
    "verify-off": "unchecked-off",
    "name-is-group": "name-is-group",
    "name-is-address": "name-is-address",
    "depth-zero": "depth-too-small",
    "key-without-certificate": "shows-key-only",
    "plain-upstream": "plain-to-tls",
    "variable-race": "variable-pair-mismatch",
    "identity-by-request": "other-by-request",
    "shared-identity": "other-shared",
    "shared-verification": "unchecked-shared",
    "shared-trust": "session-poisoned",
    "session-reuse": "old-session",
    "no-server-name": "server-name-not-sent",
    "host-differs": "misdirected",
    "keepalive-time": "old-connection",
    "unusable-file": "variable-names-nothing",
    "expired": "shows-expired",
    "not-yet-valid": "shows-future",
    "pair-mismatch": "variable-pair-mismatch",
    "no-client-purpose": "shows-purpose",
    "leaf-alone": "shows-leaf-only",
    "unreadable-by-workers": "key-unreadable-by-workers",
    "no-root": "root-missing",
    "depth-too-small": "depth-too-small",
    "list-incomplete": "list-incomplete",
    "list-expired": "list-expired",
}
APART = {
    "sha1-fingerprint", "silent-refusals", "stale-time", "root-sent", "open-key", "shutdown-timeout", "reload-races",
    "reload-pending", "split-pair", "relative-path", "all-peers",
}  # fmt: skip
UNSEEN = {rule.id for rule in RULES if rule.unseen}


@pytest.fixture(scope="module")
def pki() -> Iterator[Pki]:
    with short_directory("symptoms-pki") as directory:
        made = make_certificates(directory / "tls")
        foreign = Pki(directory / "foreign", "Foreign")
        (made.directory / "foreign.crt").write_bytes(foreign.trust.read_bytes())
        yield made


def test_every_rule_is_shown_once_or_says_why_there_is_nothing_to_show() -> None:
    shown_ids = [*ELSEWHERE, *SYMPTOMS, *APART, *UNSEEN]
    assert sorted(shown_ids) == sorted(rule.id for rule in RULES)
    assert set(ELSEWHERE.values()) <= CASES.keys() | ALONE.keys() | SILENT.keys()


def laid(site: Site) -> Case:
    up = f"{site.up} location /x {{ {site.inside} }}"
    return Case(site.lines, up=up, target=site.target, spoil=site.spoil, more=site.more)


def replaced(made: Scene, site: Site) -> None:
    """Another configuration and other files in the place of what runs."""
    made.nginx.stop()
    made.case = laid(site)
    made.files(bad=True)
    made.write(bad=True)


def named(made: Scene) -> set[str]:
    return {finding.id for finding in found(made.nginx)}


def assert_answers(made: Scene, site: Site) -> set[str]:
    """What is said of the site comes about; the rules that name it before."""
    made.nginx.start()
    findings = named(made)
    for path in site.first:
        assert made.get(path)[0] == 200
    made.change(site.later)
    status, body = get(made.ports[0], site.path, **site.headers)
    assert (status, bool(re.search(site.body, body.decode()))) == (site.status, True), body
    assert not site.logged or any(site.logged in line for line in made.logged(lambda line: site.logged in line))
    return findings


@pytest.mark.parametrize("rule", sorted(SYMPTOMS))
@pytest.mark.parametrize("build", sorted(programs()))
def test_what_inspect_warns_of_happens_and_ends_with_the_cure(build: str, rule: str, pki: Pki) -> None:
    one = SYMPTOMS[rule]
    case = replace(laid(one.bad), builds=one.builds, root_only=one.root_only)
    with scene(case, build, pki) as made:
        assert rule in assert_answers(made, one.bad)
        replaced(made, one.good)
        assert rule not in assert_answers(made, one.good)


@pytest.mark.parametrize("rule", sorted(ELSEWHERE))
@pytest.mark.parametrize("build", sorted(programs()))
def test_the_rule_names_what_the_doctor_s_reproducer_shows(build: str, rule: str, pki: Pki) -> None:
    cause = ELSEWHERE[rule]
    if build not in (*REPRODUCERS[rule].builds, "chosen"):
        pytest.skip(f"the rule is not about the {build} nginx")
    if cause in SILENT:
        assert_names_silent(build, rule, pki)
        return
    with scene(CASES[cause], build, pki) as made:
        assert rule in named(made)
        made.files(bad=False)
        made.write(bad=False)
        assert rule not in named(made)


def assert_names_silent(build: str, rule: str, pki: Pki) -> None:
    case = SILENT[ELSEWHERE[rule]]
    with short_directory("silent") as directory:
        nginx = Nginx(program(build), directory / "nginx.conf", directory)
        shutil.copytree(pki.directory, directory / "tls")
        mine = Pki.__new__(Pki)
        mine.__dict__.update(pki.__dict__, directory=directory / "tls")
        readable(directory / "tls", mine)
        findings = []
        for cured in (False, True):
            write(case, nginx, free_ports(1)[0], cured=cured)
            findings.append(rule in {finding.id for finding in found(nginx)})
    assert findings == [True, False]
