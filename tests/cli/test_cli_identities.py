"""Tokens that others signed, by either program: identity tokens of a person, and those of service accounts."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.accounts import Account
from tests.interop import material
from tests.rig.authority import Served, founded
from tests.rig.identity_provider import IdentityProvider
from troth.x509.keys import public_pem
from troth.x509.names import SubjectNames, alternative_names, common_name
from troth.x509.pem import parse_certificates

CLIENT, CLUSTER, JANE = "client", material.new_key(), "jane@example.com"


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    one = IdentityProvider()
    yield one
    one.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, provider: IdentityProvider) -> Iterator[Served]:
    with founded(tmp_path_factory.mktemp("authority")) as one:
        raw = json.loads(one.configuration.read_text())
        keys = base64.b64encode(public_pem(CLUSTER.public_key()).encode()).decode()
        where = {"clientSecret": "", "configurationEndpoint": provider.url}
        more = [
            {"type": "OIDC", "name": "people", "clientID": CLIENT, "admins": ["root@example.com"], **where},
            {"type": "K8SSA", "name": "cluster", "publicKeys": keys},
        ]
        one.edit(provisioners=[*raw["authority"]["provisioners"], *more])
        one.start()
        yield one


@pytest.fixture
def account(tmp_path: Path, served: Served) -> Account:
    fresh = Account(tmp_path, {"STEP_CA_URL": served.url, "STEP_ROOT": str(served.root)})
    claims = {"iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:default:web"}
    (tmp_path / "account").write_text(material.jws(CLUSTER, {"alg": "ES256", "kid": "k"}, claims) + "\n")
    return fresh


def names(account: Account, file: str) -> tuple[str, SubjectNames]:
    leaf = parse_certificates((account.work / file).read_bytes())[0]
    return common_name(leaf.subject), alternative_names(leaf.extensions)


def test_a_person_gets_a_certificate_by_either_program(account: Account, provider: IdentityProvider) -> None:
    wanted = ("u-17", SubjectNames(emails=(JANE,), uris=(f"{provider.issuer}#u-17",)))
    account.good("ca", "certificate", JANE, "a.crt", "a.key", "--token", provider.token(CLIENT))
    done = account.official("ca", "certificate", JANE, "b.crt", "b.key", "--token", provider.token(CLIENT))
    assert done.code == 0, done
    assert names(account, "a.crt") == names(account, "b.crt") == wanted


def test_whatever_a_person_asks_for_the_certificate_is_theirs(account: Account, provider: IdentityProvider) -> None:
    account.good("ca", "certificate", "web.example.com", "a.crt", "a.key", "--token", provider.token(CLIENT))
    assert names(account, "a.crt")[0] == "u-17"


def test_an_administrator_gets_what_was_asked_for(account: Account, provider: IdentityProvider) -> None:
    root = provider.token(CLIENT, email="root@example.com")
    account.good("ca", "certificate", "web", "a.crt", "a.key", "--san", "web.example.com", "--token", root)
    assert names(account, "a.crt") == ("web", SubjectNames(("web.example.com",)))


def test_a_service_account_gets_a_certificate_by_either_program(account: Account) -> None:
    flags = ("--k8ssa-token-path", "account", "--san", "web.default.svc", "--san", "10.0.0.7")
    account.good("ca", "certificate", "web", "a.crt", "a.key", *flags)
    whose = ("--provisioner", "cluster")
    done = account.official("ca", "certificate", "web", "b.crt", "b.key", *flags, *whose)
    assert done.code == 0, done
    wanted = ("web", SubjectNames(("web.default.svc",), (), ("10.0.0.7",)))
    assert names(account, "a.crt") == names(account, "b.crt") == wanted


def test_a_service_account_without_names_is_named_by_the_subject(account: Account) -> None:
    account.good("ca", "certificate", "web.default.svc", "a.crt", "a.key", "--k8ssa-token-path", "account")
    assert names(account, "a.crt") == ("web.default.svc", SubjectNames(("web.default.svc",)))
    said = account.refused("ca", "certificate", "web", "c.crt", "c.key", "--k8ssa-token-path", "absent")
    assert "absent" in said
