"""Kinds of provisioners that are listed and not served, and those that cannot be: what is said of them to whom."""

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.accounts import program
from tests.interop import material
from tests.rig.authority import Served, founded
from tests.server.calls import call, request, sign

LISTED: dict[str, dict[str, Any]] = {
    "AWS": {"accounts": ["123"], "disableCustomSANs": False, "disableTrustOnFirstUse": False, "imdsVersions": ["v2"]},
    "GCP": {"projectIDs": ["p"], "disableCustomSANs": False, "disableTrustOnFirstUse": False, "instanceAge": "0s"},
    "Azure": {"tenantID": "tenant-1", "resourceGroups": None, "subscriptionIDs": None, "objectIDs": None},
    "SCEP": {"minimumPublicKeyLength": 2048},
    "SSHPOP": {},
    "Nebula": {"roots": "AAAA"},
    "ACME": {},
}
BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "X5C": ({"roots": "AAAA"}, "certificate"),
    "OIDC": ({"clientID": "c", "configurationEndpoint": "http://idp.example.com"}, "configurationEndpoint"),
    "K8sSA": ({"publicKeys": ""}, "publicKeys"),
}

SECRETS = {
    "challenge": "open sesame",
    "decrypterCertificate": "c2VjcmV0",
    "decrypterKeyPEM": "c2VjcmV0",
    "decrypterKey": "",
    "decrypterKeyPassword": "open sesame",
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with founded(tmp_path_factory.mktemp("authority")) as one:
        raw = json.loads(one.configuration.read_text())
        entries = [{"type": kind, "name": f"my-{kind}", **members} for kind, members in LISTED.items()]
        entries.append({"type": "SCEP", "name": "enrol", **SECRETS, "capabilities": ["AES"]})
        entries += [{"type": kind, "name": f"bad-{kind}", **members} for kind, (members, _) in BROKEN.items()]
        one.edit(provisioners=[*raw["authority"]["provisioners"], *entries, {"type": "Teleport", "name": "nobody's"}])
        one.start()
        yield one


def listing(served: Served) -> dict[str, dict[str, Any]]:
    status, answer = call(served, "GET", "/provisioners?limit=100")
    assert status == 200
    return {entry["name"]: entry for entry in answer["provisioners"]}


@pytest.mark.parametrize("kind", LISTED)
def test_a_kind_that_is_not_served_is_listed_as_it_is_with_why(served: Served, kind: str) -> None:
    entry = listing(served)[f"my-{kind}"]
    assert entry["type"] == kind and entry["state"] == "Uninitialized"
    assert entry["stateReason"] == f"{kind} provisioners are not served by troth"
    assert {name: value for name, value in entry.items() if name in LISTED[kind]} == LISTED[kind]


@pytest.mark.parametrize("kind", LISTED)
def test_a_token_for_a_kind_that_is_not_served_is_refused_and_the_log_says_why(served: Served, kind: str) -> None:
    own = {"aud": f"{served.url}/1.0/sign#{kind.lower()}/my-{kind}", "sub": "web"}
    claims = {"aud": "https://management.azure.com/", "tid": "tenant-1"} if kind == "Azure" else own
    token = material.jws(material.new_key(), {"alg": "ES256"}, claims)
    before = len(served.log)
    status, answer = call(served, "POST", "/sign", {"csr": request(), "ott": token})
    assert status == 401 and answer["status"] == 401
    assert f"provisioner my-{kind} ({kind}) is not served: {kind} provisioners are not served" in served.log[before:]


def test_no_secret_of_a_provisioner_is_listed(served: Served) -> None:
    entry = listing(served)["enrol"]
    assert {entry["challenge"], entry["decrypterKeyPassword"]} == {"*** REDACTED ***"}
    for name in ("decrypterCertificate", "decrypterKeyPEM"):
        assert base64.b64decode(entry[name]) == b"*** REDACTED ***"
    assert entry["decrypterKey"] == "" and entry["capabilities"] == ["AES"]


@pytest.mark.parametrize("kind", BROKEN)
def test_a_provisioner_that_cannot_be_used_is_listed_with_why(served: Served, kind: str) -> None:
    entry = listing(served)[f"bad-{kind}"]
    assert entry["state"] == "Uninitialized" and BROKEN[kind][1] in entry["stateReason"]


def test_the_others_are_served_and_an_unknown_kind_is_left_out(served: Served) -> None:
    assert sign(served, "web.example.com")[0] == 201
    assert "nobody's" not in listing(served)


def test_the_official_step_reads_the_listing(served: Served, tmp_path: Path) -> None:
    where = ["--ca-url", served.url, "--root", str(served.root)]
    command = [program("step"), "ca", "provisioner", "list", *where]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    names = {entry["name"] for entry in json.loads(done.stdout)}
    assert {f"my-{kind}" for kind in LISTED if kind != "Nebula"} <= names
