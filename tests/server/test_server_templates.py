"""Certificates by custom templates: equal to what the official step-ca makes of the same template and request."""

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.rig.authority import MAIN, Served, founded
from tests.rig.official import official
from tests.server.calls import KEY, Answer, call
from troth.x509.requests import create_request, request_to_pem

NAME = "www.example.com"
USER = {"ou": "Dev <Ops>", "count": 3}
DEFAULT = """{
	"subject": {{ toJson .Subject }},
	"sans": {{ toJson .SANs }},
{{- if typeIs "*rsa.PublicKey" .Insecure.CR.PublicKey }}
	"keyUsage": ["keyEncipherment", "digitalSignature"],
{{- else }}
	"keyUsage": ["digitalSignature"],
{{- end }}
	"extKeyUsage": ["serverAuth", "clientAuth"]
}"""
TEMPLATES = {
    "the default, written out": DEFAULT,
    "the user's data in the subject": """{
	"subject": {
{{- if .Insecure.User.ou }}
		"organizationalUnit": {{ toJson .Insecure.User.ou }},
{{- end }}
		"organization": ["One", "Two"],
		"country": "DE",
		"commonName": {{ toJson .Subject.CommonName }}
	},
	"sans": {{ toJson .SANs }},
	"keyUsage": ["digitalSignature", "keyAgreement"],
	"extKeyUsage": ["clientAuth"]
}""",
    "every extension": """{
	"subject": {{ toJson .Subject }},
	"dnsNames": ["a.example.com", "b.example.com"],
	"emailAddresses": "jane@example.com",
	"ipAddresses": ["10.0.0.1", "2001:db8::1"],
	"uris": ["spiffe://example.com/x"],
	"keyUsage": ["certSign", "crlSign"],
	"extKeyUsage": ["server_auth", "emailProtection", "ocspSigning"],
	"unknownExtKeyUsage": ["1.3.6.1.4.1.311.20.2.2"],
	"basicConstraints": {"isCA": true, "maxPathLen": 0},
	"ocspServer": ["http://ocsp.example.com"],
	"issuingCertificateURL": "http://ca.example.com/ca.crt",
	"crlDistributionPoints": ["http://ca.example.com/a.crl", "http://ca.example.com/b.crl"],
	"policyIdentifiers": ["1.2.3.4"],
	"nameConstraints": {"critical": true, "permittedDNSDomains": ["example.com"], "excludedIPRanges": ["10.0.0.0/8"]},
	"extensions": [{"id": "1.2.3.4.5", "critical": false, "value": {{ asn1Enc "utf8:hello" | toJson }}}]
}""",
    "of the request": """{
	"subject": {{ toJson .Insecure.CR.Subject }},
	"dnsNames": {{ toJson .Insecure.CR.DNSNames }},
	"ipAddresses": {{ toJson .Insecure.CR.IPAddresses }},
	"keyUsage": ["digitalSignature"]
}""",
    "of the token and the configuration": """{
	"subject": {"commonName": {{ toJson .Token.sub }}, "organization": {{ toJson .company }}},
	"sans": [
{{- range $i, $s := .SANs }}{{ if $i }},{{ end }}
{"type": {{ toJson $s.Type }}, "value": {{ toJson $s.Value }}}{{ end -}}
	],
	"extKeyUsage": {{ toJson .purposes }}
}""",
    "no subject": '{"sans": {{ toJson .SANs }}, "keyUsage": ["digitalSignature"]}',
    "another kind of name": """{
	"subject": {{ toJson .Subject }},
	"sans": [{"type": "dns", "value": "x.example.com"},
		{"type": "userPrincipalName", "value": "jane@corp.example"},
		{"type": "1.2.3.4", "value": "utf8:other"},
		{"type": "permanentIdentifier", "value": "42"}]
}""",
    "names of its own extension": """{
	"subject": "cn",
	"extensions": [{"id": "2.5.29.17", "critical": true,
	"value": {{ asn1Seq (asn1Marshal "own.example.com" "ia5" "tag:2") | toJson }}}]
}""",
    "validity": """{"subject": {{ toJson .Subject }}, "sans": {{ toJson .SANs }},
	"notBefore": "2026-01-01T00:00:00Z", "notAfter": {{ now | dateModify "2h" | toJson }}}""",
    "refuses": '{{ if ne .Insecure.User.ou "Sales" }}{{ fail "only Sales" }}{{ end }}{}',
    "no JSON": '{"subject": {{ .Subject.CommonName }} }',
    "a mistake that shows when it runs": '{"subject": {{ index .SANs 7 | toJson }} }',
    "an unknown usage": '{"keyUsage": ["nonsense"]}',
}
DATA = {"company": "Acme & Söhne", "purposes": ["clientAuth"]}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with founded(tmp_path) as served:
        yield served


def templated(served: Served, **options: Any) -> None:
    raw = json.loads(served.configuration.read_text())
    raw["authority"]["provisioners"][0]["options"] = {"x509": options}
    raw["authority"]["template"] = {"country": "AT", "locality": "Wien"}
    served.configuration.write_text(json.dumps(raw))


def asked(served: Served) -> Answer:
    csr = request_to_pem(create_request(KEY, NAME, [NAME, "10.0.0.9"]))
    token = served.token(NAME, sans=[NAME, "10.0.0.9"])
    return call(served, "POST", "/sign", {"csr": csr, "ott": token, "templateData": USER})


def shape(certificate: x509.Certificate) -> dict[str, Any]:
    """What a template decides."""
    extensions = [
        (one.oid.dotted_string, one.critical, one.value.public_bytes().hex()) for one in certificate.extensions
    ]
    subject = [sorted((one.oid.dotted_string, str(one.value)) for one in part) for part in certificate.subject.rdns]
    return {"subject": subject, "extensions": extensions}


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_makes_the_certificate_that_step_ca_makes_of_it(served: Served, template: str) -> None:
    templated(served, template=TEMPLATES[template], templateData=DATA)
    with official(served):
        theirs, their_answer = asked(served)
    time.sleep(1.1)  # a token is not older than the authority that judges it
    assert served.migrate().returncode == 0
    served.start()
    ours, our_answer = asked(served)
    assert ours == theirs, (our_answer, their_answer, served.log)
    if theirs != 201:
        if theirs == 400:
            assert our_answer["message"] in their_answer["message"]
        return
    mine, other = (x509.load_pem_x509_certificate(one["crt"].encode()) for one in (our_answer, their_answer))
    assert shape(mine) == shape(other)
    if template == "validity":
        assert mine.not_valid_before_utc == other.not_valid_before_utc


def unit_of(answer: Answer) -> str:
    subject = x509.load_pem_x509_certificate(answer[1]["crt"].encode()).subject
    return str(subject.get_attributes_for_oid(x509.NameOID.ORGANIZATIONAL_UNIT_NAME)[0].value)


def test_a_template_in_base64_and_one_in_a_file_are_read(served: Served) -> None:
    text = TEMPLATES["the user's data in the subject"]
    templated(served, template=base64.b64encode(text.encode()).decode())
    served.start()
    assert unit_of(asked(served)) == "Dev <Ops>"
    served.stop()
    (served.directory / "templates").mkdir(exist_ok=True)
    (served.directory / "templates" / "leaf.tpl").write_text(text)
    templated(served, templateFile="templates/leaf.tpl")
    time.sleep(1.1)
    served.start()
    assert unit_of(asked(served)) == "Dev <Ops>"


def test_a_function_that_is_not_supported_keeps_the_authority_from_starting(served: Served) -> None:
    templated(served, template='{\n"subject": "x",\n"dnsNames": [{{ genPrivateKey "rsa" | toJson }}]\n}')
    with pytest.raises(AssertionError, match="the authority did not start"):
        served.start()
    assert 'provisioner admin: template: template:3: function "genPrivateKey" not defined' in served.log


def test_policies_judge_the_names_that_a_template_puts_in(served: Served) -> None:
    served.edit(policy={"x509": {"deny": {"dns": ["evil.example.com"]}}})
    templated(served, template='{"subject": {{ toJson .Subject }}, "dnsNames": ["evil.example.com"]}')
    served.start()
    status, answer = asked(served)
    assert (status, "evil.example.com" in answer["message"]) == (403, True)


def test_a_client_s_data_reaches_the_template_as_data_only(served: Served) -> None:
    templated(served, template='{"subject": {"commonName": "x", "organization": {{ toJson .Insecure.User.ou }}}}')
    served.start()
    csr = request_to_pem(create_request(KEY, "", []))
    body = {"csr": csr, "ott": served.token(NAME), "templateData": {"ou": '"}, "basicConstraints": {"isCA": true'}}
    status, answer = call(served, "POST", "/sign", body)
    certificate = x509.load_pem_x509_certificate(answer["crt"].encode())
    assert status == 201
    assert [one.oid.dotted_string for one in certificate.extensions if one.oid == x509.BasicConstraints.oid] == []


def test_without_a_template_the_subject_defaults_are_placed_as_step_ca_places_them(served: Served) -> None:
    members = ("country", "organization", "organizationalUnit", "locality", "province", "streetAddress", "serialNumber")
    served.edit(template=dict(zip(members, ("AT", "Acme", "Ops", "Wien", "Wien", "Ring 1", "42"), strict=True)))
    with official(served):
        theirs = asked(served)
    time.sleep(1.1)
    assert served.migrate().returncode == 0
    served.start()
    ours = asked(served)
    mine, other = (x509.load_pem_x509_certificate(answer["crt"].encode()) for _, answer in (ours, theirs))
    assert shape(mine) == shape(other)


def test_what_set_and_set_file_give_on_the_command_line_reaches_the_template(served: Served) -> None:
    text = """{"subject": {"commonName": {{ toJson .Subject.CommonName }},
	"organizationalUnit": {{ toJson .Insecure.User.ou }},
	"organization": {{ toJson .Insecure.User.company.name }}}, "sans": {{ toJson .SANs }}}"""
    templated(served, template=text)
    served.start()
    (served.directory / "data.json").write_text('{"company": {"name": "Acme"}, "ou": "replaced"}')
    command = [
        sys.executable,
        "-c",
        MAIN,
        "ca",
        "certificate",
        NAME,
        "leaf.crt",
        "leaf.key",
        "--token",
        served.token(NAME),
    ]
    command += ["--set", "ou=Ops", "--set-file", "data.json", "--ca-url", served.url, "--root", str(served.root)]
    environment = {**os.environ, "STEPPATH": str(served.directory)}
    subprocess.run(command, cwd=served.directory, env=environment, check=True, capture_output=True, timeout=60)
    subject = x509.load_pem_x509_certificate((served.directory / "leaf.crt").read_bytes()).subject
    found = {one.oid: one.value for one in subject}
    assert found[x509.NameOID.ORGANIZATION_NAME] == "Acme"
    assert found[x509.NameOID.ORGANIZATIONAL_UNIT_NAME] == "Ops"
