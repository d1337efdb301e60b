"""Webhooks: what they are told and how it is signed, what their data and verdicts do, and what their failures do."""

import base64
import hashlib
import hmac
import json
import os
import re
import signal
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.rig.authority import Served, founded
from tests.rig.hook import Hook, listening
from tests.rig.pki import Pki
from tests.server.calls import KEY, Answer, call, sign
from troth.x509.keys import private_key_to_pem
from troth.x509.requests import create_request, request_to_pem

NAME = "www.example.com"
SECRET = b"a secret of both"
TEMPLATE = """{"subject": {"commonName": {{ toJson .Subject.CommonName }},
	"organization": {{ toJson .Webhooks.people.department }}}, "sans": {{ toJson .SANs }}}"""


@pytest.fixture
def hook(tmp_path: Path) -> Iterator[Hook]:
    noted = Hook()
    pair = Pki(tmp_path / "web").leaf("127.0.0.1")
    noted.tls.load_cert_chain(pair.certificate, pair.key)
    with listening(noted):
        yield noted


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "ca").mkdir()
    with founded(tmp_path / "ca") as served:
        yield served


def configured(served: Served, tmp_path: Path, *hooks: dict[str, Any], template: str = "") -> None:
    raw = json.loads(served.configuration.read_text())
    x509_options = {"template": template} if template else {}
    raw["authority"]["provisioners"][0]["options"] = {"x509": x509_options, "webhooks": list(hooks)}
    served.configuration.write_text(json.dumps(raw))
    secrets = {one["name"]: {"secret": base64.b64encode(SECRET).decode(), "bearerToken": "it is us"} for one in hooks}
    settings = {"provisioners": {"admin": {"webhooks": secrets}}}
    served.configuration.with_name("troth.json").write_text(json.dumps(settings))
    served.start(env={**os.environ, "SSL_CERT_FILE": str(tmp_path / "web" / "ca.crt")})


def asking(served: Served) -> Answer:
    csr = request_to_pem(create_request(KEY, NAME, [NAME]))
    return call(served, "POST", "/sign", {"csr": csr, "ott": served.token(NAME)})


def one(hook: Hook, kind: str, name: str = "people", path: str = "/ask") -> dict[str, Any]:
    return {"id": "id-of-it", "name": name, "url": f"https://127.0.0.1:{hook.port}{path}", "kind": kind}


def test_an_enriching_webhook_gives_data_to_the_template_and_knows_who_asks(
    served: Served, hook: Hook, tmp_path: Path
) -> None:
    hook.answers = [(200, {"allow": True, "data": {"department": "Finance"}})]
    configured(served, tmp_path, one(hook, "ENRICHING", path="/{{ .Token.sub }}"), template=TEMPLATE)
    status, answer = asking(served)
    assert status == 201, served.log
    subject = x509.load_pem_x509_certificate(answer["crt"].encode()).subject
    assert subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)[0].value == "Finance"
    path, headers, body = hook.told[0]
    assert path == f"/{NAME}"
    assert headers["x-smallstep-signature"] == hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    assert (headers["x-smallstep-webhook-id"], headers["authorization"]) == ("id-of-it", "Bearer it is us")
    told = json.loads(body)
    assert told["provisionerName"] == "admin"
    assert told["x509CertificateRequest"]["subject"] == {"commonName": NAME}
    assert told["x509CertificateRequest"]["dnsNames"] == [NAME]
    request = x509.load_der_x509_csr(base64.b64decode(told["x509CertificateRequest"]["raw"]))
    assert request.is_signature_valid
    assert "ott" not in body.decode()
    assert not re.search(r"eyJ[\w-]+\.eyJ", body.decode())  # nor a token under another name


def test_an_authorizing_webhook_sees_the_certificate_and_may_refuse_it(
    served: Served, hook: Hook, tmp_path: Path
) -> None:
    refusal = {"allow": False, "error": {"code": "x", "message": "not before Monday"}}
    hook.answers = [(200, {"allow": True}), (200, refusal)]
    configured(served, tmp_path, one(hook, "authorizing"))
    assert asking(served)[0] == 201
    told = json.loads(hook.told[0][2])["x509Certificate"]
    assert (told["subject"], told["dnsNames"]) == ({"commonName": NAME}, [NAME])
    assert {"notBefore", "notAfter", "publicKey", "publicKeyAlgorithm"} <= told.keys()
    status, answer = asking(served)
    assert status == 403
    assert answer["message"] == "webhook people did not allow the request: not before Monday"


def test_a_token_is_spent_even_when_a_webhook_refuses(served: Served, hook: Hook, tmp_path: Path) -> None:
    hook.answers = [(200, {"allow": False}), (200, {"allow": True})]
    configured(served, tmp_path, one(hook, "ENRICHING"))
    csr = request_to_pem(create_request(KEY, NAME, [NAME]))
    body = {"csr": csr, "ott": served.token(NAME)}
    assert [call(served, "POST", "/sign", body)[0] for _ in range(2)] == [403, 401]


@pytest.mark.parametrize(
    ("answers", "status", "attempts"),
    [
        ([(500, {}), (200, {"allow": True})], 201, 2),
        ([(500, {})], 403, 2),
        ([(404, {"allow": True})], 403, 1),
        ([(302, {"allow": True})], 403, 1),
        ([(200, b"<html>")], 403, 1),
        ([(200, ["allow"])], 403, 1),
        ([(200, {"allow": "yes"})], 403, 1),
        ([(200, b'{"allow": true, "data": "' + b"x" * 1_100_000 + b'"}')], 403, 1),
    ],
)
def test_what_is_no_clear_permission_is_a_refusal(
    served: Served, hook: Hook, tmp_path: Path, answers: list[tuple[int, Any]], status: int, attempts: int
) -> None:
    hook.answers = answers
    configured(served, tmp_path, one(hook, "AUTHORIZING"))
    assert (asking(served)[0], len(hook.told)) == (status, attempts)


def test_a_webhook_whose_certificate_is_not_trusted_is_not_told_anything(
    served: Served, hook: Hook, tmp_path: Path
) -> None:
    hook.answers = [(200, {"allow": True})]
    configured(served, tmp_path, one(hook, "AUTHORIZING"))
    served.stop()
    time.sleep(1.1)
    served.start(env={name: value for name, value in os.environ.items() if name != "SSL_CERT_FILE"})
    status, answer = asking(served)
    assert (status, hook.told) == (403, [])
    assert answer["message"] == "webhook people cannot be asked; the log of the authority says why"
    assert "CERTIFICATE_VERIFY_FAILED" in served.log


def test_a_webhook_that_demands_a_client_certificate_is_shown_the_authority_s_own(
    served: Served, hook: Hook, tmp_path: Path
) -> None:
    hook.answers = [(200, {"allow": True})]
    hook.demand(served.root)
    configured(served, tmp_path, one(hook, "AUTHORIZING"))
    assert asking(served)[0] == 201, served.log
    assert hook.shown[0] is not None
    shown = x509.load_der_x509_certificate(hook.shown[0])
    assert shown.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value == "Step Online CA"
    assert shown == x509.load_pem_x509_certificate(ssl.get_server_certificate(("127.0.0.1", served.port)).encode())


def test_a_webhook_without_client_authentication_is_shown_none(served: Served, hook: Hook, tmp_path: Path) -> None:
    hook.answers = [(200, {"allow": True})]
    hook.tls.load_verify_locations(served.root)
    hook.tls.verify_mode = ssl.CERT_OPTIONAL
    anonymous = {**one(hook, "AUTHORIZING", "nobody"), "disableTLSClientAuth": True}
    configured(served, tmp_path, anonymous, one(hook, "AUTHORIZING"))
    assert asking(served)[0] == 201, served.log
    assert [shown is not None for shown in hook.shown] == [False, True]
    hook.demand(served.root)
    status, answer = asking(served)
    assert (status, answer["message"]) == (403, "webhook nobody cannot be asked; the log of the authority says why")


def test_after_a_reload_a_webhook_is_still_shown_a_certificate(served: Served, hook: Hook, tmp_path: Path) -> None:
    hook.answers = [(200, {"allow": True})]
    hook.demand(served.root)
    configured(served, tmp_path, one(hook, "AUTHORIZING"))
    assert asking(served)[0] == 201
    assert served.process is not None
    served.process.send_signal(signal.SIGHUP)
    until = time.monotonic() + 10
    while "configuration reloaded" not in served.log and time.monotonic() < until:
        time.sleep(0.05)
    assert asking(served)[0] == 201, served.log
    assert hook.shown[0] != hook.shown[1]


def test_a_webhook_whose_certificate_is_of_this_authority_is_trusted(served: Served, tmp_path: Path) -> None:
    served.start()
    status, answer = sign(served, "127.0.0.1")
    assert (status, served.stop()) == (201, 0)
    (tmp_path / "own.pem").write_bytes("".join(answer["certChain"]).encode() + private_key_to_pem(KEY))
    own = Hook(answers=[(200, {"allow": True})])
    own.tls.load_cert_chain(tmp_path / "own.pem")
    with listening(own):
        time.sleep(1.1)
        configured(served, tmp_path, one(own, "AUTHORIZING"))
        assert asking(served)[0] == 201, served.log


def test_webhooks_of_other_kinds_and_for_ssh_are_not_asked(served: Served, hook: Hook, tmp_path: Path) -> None:
    hook.answers = [(200, {"allow": False})]
    other = {**one(hook, "AUTHORIZING", "ssh"), "certType": "SSH"}
    configured(served, tmp_path, other, one(hook, "SCEPCHALLENGE", "scep"))
    assert (asking(served)[0], hook.told) == (201, [])


@pytest.mark.parametrize(
    ("member", "value", "said"),
    [
        ("url", "http://127.0.0.1/x", "expected https://host/path"),
        ("url", "https://user:pass@host/x", "must not hold a password"),
        ("url", "https://host/{{ nosuch }}", 'function "nosuch" not defined'),
        ("kind", "GUESSING", "expected ENRICHING or AUTHORIZING"),
        ("name", "", "expected a text"),
        ("disableTLSClientAuth", "no", "expected true or false"),
    ],
)
def test_a_malformed_webhook_keeps_the_authority_from_starting(
    served: Served, hook: Hook, tmp_path: Path, member: str, value: str, said: str
) -> None:
    with pytest.raises(AssertionError, match="the authority did not start"):
        configured(served, tmp_path, {**one(hook, "ENRICHING"), member: value})
    assert said in served.log
