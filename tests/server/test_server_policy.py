"""Name policies as enforced: against the official step-ca's verdicts, per provisioner, and not at renewal."""

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.interop import material
from tests.rig.authority import Served, founded
from tests.rig.official import official
from tests.server.calls import KEY, call, request, sign
from troth.x509.keys import generate_key, public_pem
from troth.x509.requests import request_to_pem

NAMES = (
    "www.example.com",
    "WWW.EXAMPLE.COM",
    "bad.example.com",
    "example.com",
    "a.b.example.com",
    "*.example.com",
    "*.b.example.com",
    "**.example.com",
    "*example.com",
    "under_score.example.com",
    "localhost",
    "other.test",
    "xn--bcher-kva.example",
    "10.0.0.1",
    "11.0.0.1",
    "2001:db8::1",
    "jane@example.com",
    "Jane@EXAMPLE.com",
    "mary@other.test",
    "https://www.example.com/x",
    "https://www.example.com:8443/x",
    "https://10.0.0.1/x",
    "spiffe://other.test/x",
    "urn:uuid:77e4cd62-49d0-4f0c-9a9c-b3cf2c0ed3d4",
)
POLICIES: dict[str, dict[str, Any]] = {
    "none": {"allowWildcardNames": False},
    "allow exact": {"allow": {"dns": ["www.example.com", "localhost"]}},
    "allow below": {"allow": {"dns": ["*.example.com"]}, "deny": {"dns": ["bad.example.com"]}},
    "allow wildcards": {"allow": {"dns": ["*.example.com"]}, "allowWildcardNames": True},
    "allow international": {"allow": {"dns": ["*.bücher.example", "bücher.example"]}},
    "allow addresses": {"allow": {"ip": ["10.0.0.0/8", "2001:db8::/32"]}},
    "allow mailboxes": {"allow": {"email": ["@example.com", "mary@other.test"]}},
    "allow resources": {"allow": {"uri": ["*.example.com", "other.test"]}},
    "allow common names": {"allow": {"cn": ["www.example.com"], "dns": ["*.example.com"]}},
    "allow a common name alone": {"allow": {"cn": ["www.example.com"]}},
    "deny some": {"deny": {"dns": ["bad.example.com"], "ip": ["11.0.0.0/8"], "email": ["jane@example.com"]}},
    "deny resources": {"deny": {"uri": ["www.example.com"]}, "allowWildcardNames": True},
    "deny a common name": {"deny": {"cn": ["www.example.com"]}},
    "deny beside allow": {"allow": {"dns": ["www.example.com"]}, "deny": {"ip": ["11.0.0.0/8"], "cn": ["x.y"]}},
}
# Where step-ca grants what its policy forbids, and troth refuses; docs/divergences.md has them.
STRICTER = {
    # A wildcard name, although allowWildcardNames is off, because there are deny entries only.
    ("deny some", "*.example.com"),
    ("deny some", "*.b.example.com"),
    ("deny a common name", "*.example.com"),
    ("deny a common name", "*.b.example.com"),
    # A denied common name, because no other entry refuses the name it looks like.
    ("deny a common name", "www.example.com"),
    ("deny a common name", "WWW.EXAMPLE.COM"),
    # A kind with deny entries and no allow entries, beside allow entries of another kind.
    ("deny beside allow", "10.0.0.1"),
    ("deny beside allow", "2001:db8::1"),
}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with founded(tmp_path) as one:
        yield one


def verdicts(served: Served) -> dict[str, int]:
    return {name: sign(served, name)[0] for name in NAMES}


def settings(served: Served, value: dict[str, Any]) -> None:
    (served.directory / "config" / "troth.json").write_text(json.dumps(value))


@pytest.mark.parametrize("policy", POLICIES)
def test_the_verdicts_are_step_ca_s_or_listed_stricter_ones(served: Served, policy: str) -> None:
    served.edit(policy={"x509": POLICIES[policy]})
    with official(served):
        theirs = verdicts(served)
    assert set(theirs.values()) <= {201, 403, 500}
    assert served.migrate().returncode == 0
    served.start()
    ours = verdicts(served)
    # A name that cannot be judged is a failure of the server to step-ca, and a refusal to us.
    expected = {name: 403 if status == 500 or (policy, name) in STRICTER else status for name, status in theirs.items()}
    assert ours == expected
    assert {name for name in NAMES if (policy, name) in STRICTER and theirs[name] != 201} == set()


def test_the_policies_of_ca_json_of_the_authority_and_of_the_provisioner_must_all_allow(served: Served) -> None:
    served.edit(policy={"x509": {"deny": {"dns": ["by-ca-json.example"]}}})
    policy = {
        "authority": {"x509": {"deny": {"dns": ["by-authority.example"]}}},
        "provisioners": {"admin": {"x509": {"deny": {"dns": ["by-provisioner.example"]}}}},
    }
    settings(served, {"policy": policy})
    served.start()
    assert sign(served, "good.example")[0] == 201
    for name, whose in (
        ("ca-json", "the authority"),
        ("authority", "the authority"),
        ("provisioner", "provisioner admin"),
    ):
        status, answer = sign(served, "good.example", "good.example", f"by-{name}.example")
        assert status == 403
        assert answer["message"] == (f"dns name 'by-{name}.example' is not allowed by the policy of {whose}: denied")


def test_the_policy_of_one_provisioner_is_not_another_s(served: Served) -> None:
    raw = json.loads(served.configuration.read_text())
    raw["authority"]["provisioners"].append({"type": "ACME", "name": "other"})
    served.configuration.write_text(json.dumps(raw))
    settings(served, {"policy": {"provisioners": {"other": {"x509": {"allow": {"dns": ["x.example"]}}}}}})
    served.start()
    assert sign(served, "good.example")[0] == 201


def test_renewal_and_a_new_key_are_not_judged_by_policy_as_with_step_ca(served: Served) -> None:
    served.start()
    _, issued = sign(served, "old.example")
    settings(served, {"policy": {"authority": {"x509": {"deny": {"dns": ["old.example"]}}}}})
    assert served.process is not None
    served.stop()
    served.start()
    assert sign(served, "old.example")[0] == 403
    identity = ("".join(issued["certChain"]), KEY)
    assert call(served, "POST", "/renew", identity=identity)[0] == 201
    assert call(served, "POST", "/rekey", {"csr": request(generate_key())}, identity)[0] == 201


def test_a_refused_name_spends_the_token(served: Served) -> None:
    served.edit(policy={"x509": {"deny": {"dns": ["bad.example"]}}})
    served.start()
    body = {"csr": request(), "ott": served.token("bad.example")}
    assert [call(served, "POST", "/sign", body)[0] for _ in range(2)] == [403, 401]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"policies": {}}, "unknown member 'policies'"),
        (
            {"policy": {"authority": {"x509": {"allow": {"dns": ["*local"]}}}}},
            "policy.authority.x509.allow.dns: '*local'",
        ),
        (
            {"policy": {"provisioners": {"gone": {"x509": {"deny": {"cn": ["a"]}}}}}},
            "provisioner 'gone', which ca.json",
        ),
        ({"provisioners": {"admin": {"issuer": "edge"}}}, "provisioners.admin.issuer: expected the name of an issuer"),
        ({"issuers": {"edge": {"crt": "x"}}}, "issuers.edge.key: expected the name of a file, got nothing"),
        ({"issuers": {"edge": {"crt": "certs/none", "key": "k"}}}, "certs/none"),
    ],
)
def test_settings_that_cannot_be_meant_end_the_start(served: Served, value: dict[str, Any], says: str) -> None:
    settings(served, value)
    with pytest.raises(AssertionError, match="did not start"):
        served.start()
    assert says in served.log
    assert "Traceback" not in served.log


def test_a_broken_policy_is_not_reloaded_and_the_old_one_goes_on(served: Served) -> None:
    served.edit(policy={"x509": {"deny": {"dns": ["bad.example"]}}})
    served.start()
    assert sign(served, "bad.example")[0] == 403
    served.edit(policy={"x509": {"deny": {"dns": ["*"]}}})
    assert served.process is not None
    served.process.send_signal(1)
    until = time.monotonic() + 20
    while "not reloaded" not in served.log and time.monotonic() < until:
        time.sleep(0.05)
    assert "not reloaded" in served.log
    assert sign(served, "bad.example")[0] == 403


def test_every_common_name_of_a_subject_that_is_taken_whole_is_judged(served: Served) -> None:
    cluster = material.new_key()
    raw = json.loads(served.configuration.read_text())
    keys = base64.b64encode(public_pem(cluster.public_key()).encode()).decode()
    raw["authority"]["provisioners"].append({"type": "K8sSA", "name": "cluster", "publicKeys": keys})
    raw["authority"]["policy"] = {"x509": {"allow": {"cn": ["web", "api"]}}}
    served.configuration.write_text(json.dumps(raw))
    served.start()
    claims = {"iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:default:web"}
    ott = material.jws(cluster, {"alg": "ES256"}, claims)
    for names, status in ((("web", "api"), 201), (("web", "root"), 403), (("root",), 403)):
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name) for name in names])
        csr = x509.CertificateSigningRequestBuilder(subject).sign(material.new_key(), hashes.SHA256())
        body = {"csr": request_to_pem(csr), "ott": ott}
        assert call(served, "POST", "/sign", body)[0] == status
