"""A step-ca directory with three provisioners, a template, a policy and 1 000 certificates, taken over by troth."""

import asyncio
import json
import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509

from tests.interop.stage import PASSWORD
from tests.rig.step_ca import Held, StepDirectory, founded_by_step
from troth.ca.jwk import decrypt_provisioner_key
from troth.client.provisioners import SigningKey
from troth.store.sqlite import open_store
from troth.x509.pem import parse_certificates

COUNT = 1000
OF_TEMPLATE = 20
RENEWED = 60
MARK = "1.3.6.1.4.1.99999.1"
TEMPLATE = """{
    "subject": {{ toJson .Subject }},
    "sans": {{ toJson .SANs }},
    "keyUsage": ["digitalSignature"],
    "extKeyUsage": ["serverAuth", "clientAuth"],
    "extensions": [{"id": "%s", "critical": false, "value": "BAVoZWxsbw=="}]
}
"""
POLICY = {"x509": {"allow": {"dns": ["*.example.com"]}, "deny": {"dns": ["forbidden.example.com"]}}}


def provisioner_key(one: StepDirectory, name: str) -> SigningKey:
    entries = json.loads(one.served.configuration.read_text())["authority"]["provisioners"]
    entry = next(entry for entry in entries if entry["name"] == name)
    opened = decrypt_provisioner_key(entry["encryptedKey"], PASSWORD.encode())
    return SigningKey(name, opened["kid"], opened)


def add_provisioner(one: StepDirectory, *words: str) -> None:
    command = [str(shutil.which("step")), "ca", "provisioner", "add", *words]
    configuration = ["--ca-config", str(one.served.configuration)]
    environment = {**os.environ, "STEPPATH": str(one.served.directory)}
    subprocess.run([*command, *configuration], env=environment, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module", params=["badgerv2", "bbolt"])
def predecessor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StepDirectory]:
    """Made and used by the official programs, then stopped; the first certificate is revoked, the second too."""
    if shutil.which("step") is None or shutil.which("step-ca") is None:
        pytest.skip("step or step-ca is not installed")
    directory = tmp_path_factory.mktemp("predecessor") / "step"
    one = founded_by_step(directory, request.param, policy=POLICY, disableIssuedAtCheck=True)
    template = directory / "templates" / "leaf.tpl"
    template.write_text(TEMPLATE % MARK)
    password = str(directory / "password")
    add_provisioner(one, "acme", "--type", "ACME")
    add_provisioner(one, "second", "--create", "--password-file", password, "--x509-template", str(template))
    one.edit({"crl": {"enabled": True, "generateOnRevoke": True}})
    second = replace(one, served=replace(one.served, key=provisioner_key(one, "second")), issued=[])
    with one.running():
        one.issue(COUNT - OF_TEMPLATE)
        second.issue(OF_TEMPLATE, "of-template-{}.example.com")
        assert one.revoke(one.issued[0]) == 200
        assert one.revoke(one.issued[1], reasonCode=4, reason="superseded") == 200
    one.issued += second.issued
    yield one
    if one.served.process is not None:
        one.served.stop()


def renewed(one: StepDirectory, held: list[Held], work: Path) -> list[tuple[int, dict[str, Any]]]:
    """Ask for renewal over mutual TLS, each with its own certificate."""

    async def ask(index: int, one_held: Held) -> tuple[int, dict[str, Any]]:
        context = ssl.create_default_context(cafile=str(one.served.root))
        context.load_cert_chain(*one_held.write(work, str(index)))
        connector = aiohttp.TCPConnector(ssl=context)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.post(one.served.url + "/1.0/renew") as response,
        ):
            return response.status, json.loads(await response.text())

    async def all_of_them() -> list[tuple[int, dict[str, Any]]]:
        return [await ask(index, each) for index, each in enumerate(held)]

    return asyncio.run(all_of_them())


def asked_again(one: StepDirectory, held: Held) -> tuple[int, dict[str, Any]]:
    """The request that the certificate was once granted for, with the same token."""
    from troth.x509.requests import create_request, request_to_pem

    name = held.chain[0].subject.rfc4514_string().removeprefix("CN=")
    body = {"csr": request_to_pem(create_request(held.key, name, [name])), "ott": held.token}
    return one.post("/1.0/sign", body)


def test_it_is_not_served_before_it_is_imported(predecessor: StepDirectory) -> None:
    with pytest.raises(AssertionError) as refusal:
        predecessor.served.start()
    assert "has not been imported: it holds 1000 certificates and 2 revocations" in str(refusal.value)
    assert f"hint: troth ca migrate {predecessor.served.configuration} --dry-run" in str(refusal.value)


def test_a_dry_run_counts_and_writes_nothing(predecessor: StepDirectory) -> None:
    before = predecessor.served.database.exists() and open_store(predecessor.served.database).count()
    done = predecessor.served.migrate("--dry-run")
    assert done.returncode == 0, done.stderr
    assert "certificates           1000   0 expired, from 2 provisioners" in done.stdout
    assert "revocations               2" in done.stdout and "used tokens            1002" in done.stdout
    assert "cannot be read            0" in done.stdout
    assert f"To import: troth ca migrate {predecessor.served.configuration}" in done.stdout
    assert not before and not open_store(predecessor.served.database).count()


def test_while_step_ca_runs_nothing_is_imported(predecessor: StepDirectory) -> None:
    with predecessor.running():
        done = predecessor.served.migrate()
    assert done.returncode == 1 and "is in use, step-ca seems to run" in done.stderr
    assert not open_store(predecessor.served.database).count()


def test_what_step_ca_issued_goes_on(predecessor: StepDirectory, tmp_path: Path) -> None:
    done = predecessor.served.migrate()
    assert done.returncode == 0, done.stderr
    assert "Imported: 2004 new records" in done.stderr
    predecessor.served.start()
    of_template = predecessor.issued[-OF_TEMPLATE:]
    held = [*predecessor.issued[2:RENEWED], *of_template]
    answers = renewed(predecessor, held, tmp_path)
    assert [status for status, _ in answers] == [201] * len(held)
    store = open_store(predecessor.served.database)
    assert store.count() == COUNT + len(held)
    for old, (_, answer) in zip(held, answers, strict=True):
        new = parse_certificates(answer["crt"].encode())[0]
        assert new.subject == old.chain[0].subject and new.public_key() == old.chain[0].public_key()
        assert store.provisioner_of(new.serial_number) == store.provisioner_of(old.serial) != ""
        assert store.certificate(old.serial) is not None
    marked = parse_certificates(answers[-1][1]["crt"].encode())[0]
    assert marked.extensions.get_extension_for_oid(x509.ObjectIdentifier(MARK))


def test_what_is_revoked_stays_refused(predecessor: StepDirectory, tmp_path: Path) -> None:
    answers = renewed(predecessor, predecessor.issued[:2], tmp_path)
    assert [status for status, _ in answers] == [401, 401], answers
    assert predecessor.revoke(predecessor.issued[1]) == 400
    record = open_store(predecessor.served.database).revocation(predecessor.issued[1].serial)
    assert record is not None
    assert (record.reason_code, record.reason, record.mtls) == (4, "superseded", False)
    assert record.provisioner_id.startswith("admin@example.com:") and record.token_id


def test_used_tokens_stay_used(predecessor: StepDirectory) -> None:
    for held in (*predecessor.issued[:3], predecessor.issued[COUNT // 2], predecessor.issued[-1]):
        status, answer = asked_again(predecessor, held)
        assert status == 401, answer
    assert "token was used before" in predecessor.served.log
    fresh = replace(predecessor.issued[2], token=predecessor.served.token("host2.example.com"))
    assert asked_again(predecessor, fresh)[0] == 201


def test_the_revocation_list_counts_on(predecessor: StepDirectory) -> None:
    store = open_store(predecessor.served.database)
    before = store.published("")
    assert before is not None and before.number >= 2
    assert predecessor.revoke(predecessor.issued[3]) == 200
    after = store.published("")
    assert after is not None and after.number > before.number
    listed = {entry.serial_number for entry in x509.load_der_x509_crl(after.der)}
    assert listed == {predecessor.issued[index].serial for index in (0, 1, 3)}


def test_what_step_ca_does_afterwards_is_not_forgotten_either(predecessor: StepDirectory, tmp_path: Path) -> None:
    predecessor.served.stop()
    with predecessor.running():
        pass
    predecessor.served.start()
    predecessor.served.stop()
    with predecessor.running():
        assert predecessor.revoke(predecessor.issued[4]) == 200
    with pytest.raises(AssertionError, match="was written to since it was imported"):
        predecessor.served.start()
    done = predecessor.served.migrate()
    assert "Imported: 2 new records" in done.stderr, done.stderr
    predecessor.served.start()
    assert renewed(predecessor, predecessor.issued[4:5], tmp_path)[0][0] == 401


@pytest.mark.parametrize("kind", ["badgerv2", "bbolt"])
def test_what_a_killed_step_ca_answered_is_taken_over(kind: str, tmp_path: Path) -> None:
    """Killed, it leaves its last records in a log, and a certificate it handed out must be among what is read."""
    if shutil.which("step") is None or shutil.which("step-ca") is None:
        pytest.skip("step or step-ca is not installed")
    one = founded_by_step(tmp_path / "step", kind)
    with one.running() as process:
        one.issue(20)
        assert one.revoke(one.issued[0]) == 200
        process.kill()
        process.wait(10)
    done = one.served.migrate()
    assert done.returncode == 0, done.stdout + done.stderr
    store = open_store(one.served.database)
    assert [store.certificate(held.serial) is not None for held in one.issued] == [True] * 20
    assert [store.is_revoked(held.serial) for held in one.issued[:2]] == [True, False]
    store.close()
