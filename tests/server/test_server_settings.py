"""The reference of an authority's settings: its examples are read and run as they are written."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rig.authority import MAIN, founded
from troth.ca import ConfigurationError
from troth.ca.revocations import parse_lists
from troth.ca.settings import parse_settings
from troth.server import ServerError
from troth.server.elsewhere import check_here

TEXT = (Path(__file__).parent.parent.parent / "docs" / "reference" / "authority-settings.md").read_text()
EXAMPLES = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)


def test_every_example_of_troth_json_is_taken_and_says_what_it_seems_to() -> None:
    policies, issuers = (parse_settings(text) for text in EXAMPLES[:2])
    assert policies.authority_policy is not None
    assert list(policies.provisioner_policies) == ["builds"]
    assert (list(issuers.issuers), issuers.assigned) == (["edge"], {"builds": "edge"})


def test_the_example_of_lists_is_taken() -> None:
    lists = parse_lists(json.loads(EXAMPLES[2])["crl"], ("ca.example",))
    assert lists is not None
    assert (lists.on_revoke, lists.point) == (True, "https://ca.example/1.0/crl")
    assert lists.period.total_seconds() == 16 * 3600


def test_every_command_runs_and_makes_what_the_example_shows(tmp_path: Path) -> None:
    commands = [shlex.split(line)[1:] for line in re.findall(r"^\$ (troth ca policy .*)$", TEXT, re.MULTILINE)]
    with founded(tmp_path):
        environment = {**os.environ, "STEPPATH": str(tmp_path)}
        add = ["ca", "provisioner", "add", "builds", "--type", "ACME"]
        for command in [add, *commands]:
            subprocess.run(
                [sys.executable, "-c", MAIN, *command],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=60,
                check=True,
            )
    left = json.loads((tmp_path / "config" / "troth.json").read_text())
    assert left == {"policy": {"provisioners": {"builds": {"x509": {"allow": {"dns": ["*.builds.internal.example"]}}}}}}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not valid JSON"),
        ("[]", "expected an object"),
        ('{"policy": {}, "policy": {}}', "'policy' is there twice"),
        ('{"policy": {"authority": {"x509": {"allow": {"dns": ["a.b"]}, "allow": {}}}}}', "'allow' is there twice"),
        ('{"policy": {"authorities": {}}}', "policy: unknown member 'authorities', expected authority, provisioners"),
        ('{"policy": {"provisioners": {"": {}}}}', "expected a name"),
        ('{"policy": {"authority": []}}', "policy.authority: expected an object"),
        ('{"issuers": {"edge": "certs/edge.crt"}}', "issuers.edge: expected an object"),
        ('{"issuers": {"edge": {"crt": "a", "key": 1}}}', "issuers.edge.key: expected the name of a file"),
        ('{"issuers": {"a/b": {"crt": "a", "key": "b"}}}', "issuers.a/b: expected a name of letters"),
        ('{"issuers": {"edge": {"cert": "a"}}}', "issuers.edge: unknown member 'cert'"),
        ('{"provisioners": {"a": {"isuer": "b"}}}', "provisioners.a: unknown member 'isuer'"),
        ('{"provisioners": {"a": {"issuer": "b"}}}', "expected the name of an issuer (none), got 'b'"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_settings(text)
    assert says in caught.value.message
    assert caught.value.message.startswith("troth.json")


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({"enabled": "yes"}, "crl.enabled"),
        ({"cacheDuration": 5}, "crl.cacheDuration"),
        ({"cacheDuration": "5 hours"}, "crl.cacheDuration"),
        ({"cacheDuration": "-1h"}, "crl.cacheDuration"),
        ({"cacheDuration": "1h", "renewPeriod": "2h"}, "crl.renewPeriod"),
        ({"idpURL": 1}, "crl.idpURL"),
        ({"idpURL": "https://bücher.example/"}, "crl.idpURL"),
    ],
)
def test_lists_that_cannot_be_made_are_refused_with_their_place(raw: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        parse_lists({"enabled": True, **raw}, ("ca.example",))


def test_periods_not_given_are_step_ca_s() -> None:
    assert parse_lists({}, ("a",)) is None
    assert parse_lists({"enabled": False, "cacheDuration": "x"}, ("a",)) is None
    plain = parse_lists({"enabled": True, "cacheDuration": "0s", "renewPeriod": "0s"}, ("::1", "b"))
    assert plain is not None
    assert (plain.cache.total_seconds(), plain.period.total_seconds()) == (86400, 57600)
    assert plain.point_of("") == "https://[::1]/1.0/crl"
    assert plain.point_of("edge") == "https://[::1]/1.0/crl/edge"


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({"authority": {"enableAdmin": True}}, "authority.enableAdmin"),
        ({"authority": {"type": "stepcas"}}, "authority.type: 'stepcas'"),
        ({"authority": {"type": "CloudCAS"}}, "authority.type: 'cloudcas'"),
        ({"kms": {"type": "pkcs11", "uri": "pkcs11:"}}, "kms.type: a key in 'pkcs11'"),
    ],
)
def test_a_configuration_that_means_another_machine_is_refused_with_what_to_do(
    raw: dict[str, object], says: str
) -> None:
    with pytest.raises(ServerError, match=says) as caught:
        check_here(raw)
    assert caught.value.hint


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"authority": None, "kms": None},
        {"authority": {"type": "", "enableAdmin": False}, "kms": {"type": ""}},
        {"authority": {"type": "softCAS"}, "kms": {"type": "softKMS"}},
    ],
)
def test_a_configuration_of_this_machine_is_served(raw: dict[str, object]) -> None:
    check_here(raw)


def test_serving_what_is_elsewhere_names_the_file_and_the_next_step(tmp_path: Path) -> None:
    with founded(tmp_path) as served:
        served.edit(enableAdmin=True)
        with pytest.raises(AssertionError, match="the authority did not start"):
            served.start()
        assert f"{served.configuration}: authority.enableAdmin" in served.log
        assert "hint: write what `step ca provisioner list` prints" in served.log
