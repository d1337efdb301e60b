"""``troth ca policy`` edits troth.json, and a running authority does as it says after SIGHUP."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rig.authority import MAIN, Served, founded
from tests.server.calls import sign


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with founded(tmp_path_factory.mktemp("policy")) as one:
        yield one


@pytest.fixture
def served(directory: Served) -> Served:
    settings(directory).unlink(missing_ok=True)
    return directory


def settings(served: Served) -> Path:
    return served.directory / "config" / "troth.json"


def run(served: Served, *args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "ca", *args],
        env={**os.environ, "STEPPATH": str(served.directory)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def policy(served: Served, *args: str) -> Any:
    """The policy that a change prints."""
    return json.loads(run(served, "policy", *args).stdout)


def refused(served: Served, *args: str) -> str:
    before = settings(served).read_text() if settings(served).exists() else None
    done = run(served, "policy", *args, code=1)
    assert (settings(served).read_text() if settings(served).exists() else None) == before
    return done.stderr


def test_entries_come_go_and_stay_once(served: Served) -> None:
    at = ("authority", "x509")
    policy(served, *at, "allow", "dns", "*.example.com", "localhost")
    policy(served, *at, "allow", "dns", "localhost")
    policy(served, *at, "deny", "ip", "10.0.0.0/8")
    found = policy(served, *at, "wildcards", "allow")
    expected = {
        "x509": {
            "allow": {"dns": ["*.example.com", "localhost"]},
            "deny": {"ip": ["10.0.0.0/8"]},
            "allowWildcardNames": True,
        }
    }
    assert found == expected
    assert policy(served, "authority", "view") == expected
    assert json.loads(settings(served).read_text()) == {"policy": {"authority": expected}}
    policy(served, *at, "deny", "ip", "10.0.0.0/8", "--remove")
    found = policy(served, *at, "wildcards", "deny")
    assert found == {"x509": {"allow": {"dns": ["*.example.com", "localhost"]}, "allowWildcardNames": False}}
    assert run(served, "policy", "authority", "remove").stdout == "policy deleted\n"
    assert json.loads(settings(served).read_text()) == {}
    assert run(served, "policy", "authority", "view").stdout == "certificate issuance policy does not exist\n"
    assert "certificate issuance policy does not exist" in refused(served, "authority", "remove")


@pytest.mark.parametrize(
    ("kind", "entry"),
    [("cn", "My User"), ("dns", "a.b"), ("ip", "10.0.0.1"), ("email", "@a.b"), ("uri", "*.a.b")],
)
def test_every_kind_and_side_for_a_provisioner(served: Served, kind: str, entry: str) -> None:
    for side in ("allow", "deny"):
        policy(served, "provisioner", "x509", side, kind, entry, "--provisioner", "admin")
    raw = json.loads(settings(served).read_text())
    assert raw == {"policy": {"provisioners": {"admin": {"x509": {s: {kind: [entry]} for s in ("allow", "deny")}}}}}


def test_what_is_not_about_policies_stays(served: Served) -> None:
    other = {"issuers": {"edge": {"crt": "a", "key": "b"}}, "provisioners": {"admin": {"issuer": "edge"}}}
    settings(served).write_text(json.dumps(other))
    settings(served).chmod(0o640)
    policy(served, "authority", "x509", "allow", "dns", "a.b")
    run(served, "policy", "authority", "remove")
    assert json.loads(settings(served).read_text()) == other
    assert settings(served).stat().st_mode & 0o777 == 0o640


def test_a_new_file_can_be_read_by_owner_and_group_of_ca_json_only(served: Served) -> None:
    served.configuration.chmod(0o644)
    policy(served, "authority", "x509", "allow", "dns", "a.b")
    assert settings(served).stat().st_mode & 0o777 == 0o640, "it may hold secrets"
    assert settings(served).stat().st_uid == served.configuration.stat().st_uid


def test_mistakes_change_nothing_and_say_what_was_expected(served: Served) -> None:
    assert "'*local' cannot be used" in refused(served, "authority", "x509", "allow", "dns", "*local")
    assert "10.0.0.0/99" in refused(served, "authority", "x509", "deny", "ip", "10.0.0.0/99")
    assert "missing --provisioner" in refused(served, "provisioner", "x509", "allow", "dns", "a.b")
    answer = refused(served, "provisioner", "x509", "allow", "dns", "a.b", "--provisioner", "nobody")
    assert "no provisioner 'nobody': there are admin" in answer
    assert "no entry 'c.d'" in refused(served, "authority", "x509", "allow", "dns", "c.d", "--remove")
    settings(served).write_text('{"policy": ')
    assert "not valid JSON" in refused(served, "authority", "x509", "allow", "dns", "a.b")
    settings(served).write_text('{"police": {}}')
    assert "unknown member 'police'" in refused(served, "authority", "x509", "allow", "dns", "a.b")


def test_what_is_said_of_a_provisioner_follows_its_name_and_goes_with_it(served: Served) -> None:
    run(served, "provisioner", "add", "guests", "--type", "ACME")
    run(served, "policy", "provisioner", "x509", "allow", "dns", "*.guests.example", "--provisioner", "guests")
    run(served, "provisioner", "update", "guests", "--name", "visitors")
    raw = json.loads(settings(served).read_text())
    assert list(raw["policy"]["provisioners"]) == ["visitors"]
    run(served, "provisioner", "remove", "visitors")
    assert json.loads(settings(served).read_text()) == {}


def test_a_running_authority_takes_a_policy_over_on_sighup(served: Served) -> None:
    served.start()
    try:
        assert sign(served, "a.example")[0] == 201
        policy(served, "provisioner", "x509", "allow", "dns", "*.inside.example", "--provisioner", "admin")
        assert served.process is not None
        served.process.send_signal(signal.SIGHUP)
        until = time.monotonic() + 20
        while "configuration reloaded" not in served.log and time.monotonic() < until:
            time.sleep(0.05)
        assert sign(served, "a.example")[0] == 403
        assert sign(served, "a.inside.example")[0] == 201
    finally:
        served.stop()


def test_what_ca_json_says_besides_is_shown_and_said(served: Served) -> None:
    """Both are enforced: a name that this one allows may still be refused by that one."""
    before = served.configuration.read_text()
    raw = json.loads(before)
    own = {"x509": {"allow": {"dns": ["*.example.com"]}}}
    served.configuration.write_text(json.dumps({**raw, "authority": {**raw["authority"], "policy": own}}))
    try:
        viewed = run(served, "policy", "authority", "view")
        assert json.loads(viewed.stdout) == own and "This is authority.policy of" in viewed.stderr
        changed = run(served, "policy", "authority", "x509", "allow", "dns", "more.example.org")
        both = "both are enforced, and a name needs both to allow it"
        assert (
            json.loads(changed.stdout) == {"x509": {"allow": {"dns": ["more.example.org"]}}} and both in changed.stderr
        )
        assert both in run(served, "policy", "authority", "view").stderr
        for_one = ("provisioner", "x509", "allow", "dns", "a.b", "--provisioner", "admin")
        assert both not in run(served, "policy", *for_one).stderr
        removed = run(served, "policy", "authority", "remove")
        assert "authority.policy of" in removed.stderr and "stays in force" in removed.stderr
    finally:
        served.configuration.write_text(before)
