"""Section 1: the HTTP interface, driven raw on both sides so that each expectation is also checked against step-ca."""

import hashlib
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.interop import material
from tests.interop.matrix import operation
from tests.interop.stage import PROVISIONER, Answer, Side


def refused(answer: Answer, *statuses: int) -> str:
    """A refusal of the expected status and in the error shape."""
    assert answer.status in statuses, f"expected {statuses}, got {answer.status}: {answer.body[:200]!r}"
    assert answer.json["status"] in statuses and answer.json["message"], answer.body
    return f"refuses ({answer.status})"


def signing(side: Side, subject: str = "http.example", **changes: Any) -> dict[str, Any]:
    """A good /sign body with some members replaced; None removes one."""
    body = {
        "csr": material.pem(material.request(material.new_key(), subject, (subject,))),
        "ott": side.token(subject),
        **changes,
    }
    return {name: value for name, value in body.items() if value is not None}


@operation("1.3", "GET /health")
def health(side: Side) -> None:
    answer = side.http("GET", "/health")
    assert (answer.status, answer.body) == (200, b'{"status":"ok"}\n')


@operation("1.3", "GET /1.0/health (the same routes below /1.0)")
def health_prefixed(side: Side) -> None:
    assert side.http("GET", "/1.0/health").status == 200


@operation("1.3", "GET /version")
def version(side: Side) -> None:
    assert side.http("GET", "/version").json["version"] is not None


@operation("1.3", "HEAD /health")
def head(side: Side) -> None:
    answer = side.http("HEAD", "/health")
    assert (answer.status, answer.body) == (200, b"")


@operation("1.3", "GET /root/{sha}")
def root(side: Side) -> None:
    found = x509.load_pem_x509_certificate(side.http("GET", f"/root/{side.fingerprint}").json["ca"].encode())
    assert hashlib.sha256(found.public_bytes(Encoding.DER)).hexdigest() == side.fingerprint


@operation("1.3", "GET /root/{SHA} in upper case with dashes")
def root_dashes(side: Side) -> None:
    sha = side.fingerprint.upper()
    assert side.http("GET", f"/root/{sha[:32]}-{sha[32:]}").status == 200


@operation("1.3", "GET /root/{sha} of another root")
def root_unknown(side: Side) -> str:
    return refused(side.http("GET", f"/root/{'0' * 64}"), 404)


@operation("1.3", "GET /roots")
def roots(side: Side) -> None:
    answer = side.http("GET", "/roots")
    assert answer.status == 201 and [c.strip() for c in answer.json["crts"]] == [side.root.read_text().strip()]


@operation("1.3", "GET /roots.pem")
def roots_pem(side: Side) -> None:
    answer = side.http("GET", "/roots.pem")
    assert answer.status == 200 and answer.headers["content-type"].startswith("application/x-pem-file")
    assert answer.body.decode().strip() == side.root.read_text().strip()


@operation("1.3", "GET /intermediates")
def intermediates(side: Side) -> None:
    answer = side.http("GET", "/intermediates")
    expected = (side.ca_dir / "certs" / "intermediate_ca.crt").read_text().strip()
    assert answer.status == 201 and [c.strip() for c in answer.json["crts"]] == [expected]


@operation("1.3", "GET /intermediates.pem")
def intermediates_pem(side: Side) -> None:
    answer = side.http("GET", "/intermediates.pem")
    assert answer.status == 200 and len(x509.load_pem_x509_certificates(answer.body)) == 1


@operation("1.3", "GET /federation")
def federation(side: Side) -> None:
    answer = side.http("GET", "/federation")
    assert answer.status == 201 and len(answer.json["crts"]) == 1


@operation("1.6", "GET /provisioners")
def provisioners(side: Side) -> None:
    listed = side.http("GET", "/provisioners").json
    assert [p["name"] for p in listed["provisioners"]] == [PROVISIONER] and listed["nextCursor"] == ""
    entry = listed["provisioners"][0]
    assert entry["type"].upper() == "JWK" and entry["encryptedKey"].count(".") == 4
    assert entry["key"]["kid"] == material.thumbprint(entry["key"])
    assert "d" not in entry["key"]


@operation("1.6", "GET /provisioners?limit=0 (means the default)")
def provisioners_limit(side: Side) -> None:
    assert len(side.http("GET", "/provisioners?limit=0").json["provisioners"]) == 1


@operation("1.6", "GET /provisioners?limit=many")
def provisioners_bad_limit(side: Side) -> str:
    return refused(side.http("GET", "/provisioners?limit=many"), 400)


@operation("1.3", "GET /provisioners/{kid}/encrypted-key")
def encrypted_key(side: Side) -> None:
    entry = side.http("GET", "/provisioners").json["provisioners"][0]
    answer = side.http("GET", f"/provisioners/{entry['key']['kid']}/encrypted-key")
    assert (answer.status, answer.json) == (200, {"key": entry["encryptedKey"]})


@operation("1.3", "GET /provisioners/{unknown}/encrypted-key")
def encrypted_key_unknown(side: Side) -> str:
    return refused(side.http("GET", "/provisioners/nobody/encrypted-key"), 404)


@operation("1.1", "X-Request-Id is echoed, and made when absent")
def request_id(side: Side) -> None:
    assert side.http("GET", "/health", headers={"X-Request-Id": "abc-123"}).headers["x-request-id"] == "abc-123"
    assert side.http("GET", "/health").headers["x-request-id"]


@operation("1.1", "unknown path")
def unknown_path(side: Side) -> str:
    answer = side.http("GET", "/nothing-here")
    assert answer.status == 404
    return "refuses (404)"


@operation("1.1", "wrong method")
def wrong_method(side: Side) -> str:
    assert side.http("GET", "/sign").status == 405
    return "refuses (405)"


@operation("1.3", "GET /admin/admins without the admin interface")
def admin(side: Side) -> str:
    answer = side.http("GET", "/admin/admins")
    assert answer.status in (404, 501), answer.status
    return "refuses (404 or 501)"


@operation("1.5", "POST /sign")
def sign(side: Side) -> None:
    answer = side.http("POST", "/sign", signing(side))
    assert answer.status == 201, answer.body
    body = answer.json
    assert body["certChain"] == [body["crt"], body["ca"]]
    assert {"cipherSuites", "minVersion", "maxVersion", "renegotiation"} <= set(body["tlsOptions"])


@operation("1.5", "POST /1.0/sign")
def sign_prefixed(side: Side) -> None:
    assert side.http("POST", "/1.0/sign", signing(side)).status == 201


@operation("1.4", "POST /sign with unknown members")
def sign_unknown_members(side: Side) -> None:
    assert side.http("POST", "/sign", signing(side, surprise=1)).status == 201


@operation("1.4", "POST /sign with notAfter as a duration")
def sign_duration(side: Side) -> None:
    body = side.http("POST", "/sign", signing(side, notAfter="2h")).json
    assert 7200 <= material.lifetime(x509.load_pem_x509_certificate(body["crt"].encode())) <= 7260


@operation("1.4", "POST /sign with notAfter in RFC 3339")
def sign_time(side: Side) -> None:
    from datetime import UTC, datetime, timedelta

    moment = (datetime.now(UTC) + timedelta(hours=3)).replace(microsecond=0)
    text = moment.isoformat().replace("+00:00", "Z")
    body = side.http("POST", "/sign", signing(side, notAfter=text)).json
    assert x509.load_pem_x509_certificate(body["crt"].encode()).not_valid_after_utc == moment


@operation("1.2", "POST /sign that is not JSON")
def sign_not_json(side: Side) -> str:
    return refused(side.http("POST", "/sign", b"{"), 400)


@operation("1.2", "POST /sign without a request")
def sign_no_csr(side: Side) -> str:
    return refused(side.http("POST", "/sign", signing(side, csr=None)), 400)


@operation("1.2", "POST /sign with a request that is not PEM")
def sign_bad_pem(side: Side) -> str:
    return refused(side.http("POST", "/sign", signing(side, csr="nonsense")), 400)


@operation("1.2", "POST /sign with a request whose signature is broken")
def sign_broken_csr(side: Side) -> str:
    good = material.request(material.new_key(), "http.example", ("http.example",))
    der = bytearray(good.public_bytes(Encoding.DER))
    der[-1] ^= 1
    import base64

    text = base64.b64encode(bytes(der)).decode()
    csr = f"-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n"
    return refused(side.http("POST", "/sign", signing(side, csr=csr)), 400)


@operation("1.2", "POST /sign without a token")
def sign_no_token(side: Side) -> str:
    return refused(side.http("POST", "/sign", signing(side, ott=None)), 400)


@operation("1.2", "POST /sign with a token that is no token")
def sign_bad_token(side: Side) -> str:
    return refused(side.http("POST", "/sign", signing(side, ott="a.b.c")), 401)


@operation("1.2", "POST /sign with a bad duration")
def sign_bad_duration(side: Side) -> str:
    return refused(side.http("POST", "/sign", signing(side, notAfter="soon")), 400)


@operation("1.2", "POST /sign with a notAfter in the past")
def sign_past(side: Side) -> str:
    return refused(side.http("POST", "/sign", signing(side, notAfter="2020-01-01T00:00:00Z")), 400)


@operation("1.2", "POST /sign for longer than allowed")
def sign_too_long(side: Side) -> str:
    return refused(side.http("POST", "/sign", signing(side, notAfter="48h")), 403)


@operation("1.2", "POST /sign for shorter than allowed")
def sign_too_short(side: Side) -> str:
    return refused(side.http("POST", "/sign", signing(side, notAfter="1m")), 403)


@operation("1.2", "POST /renew with neither certificate nor token")
def renew_nothing(side: Side) -> str:
    return refused(side.http("POST", "/renew"), 400)


@operation("1.2", "POST /revoke without a serial")
def revoke_nothing(side: Side) -> str:
    return refused(side.http("POST", "/revoke", {"ott": "x", "passive": True}), 400)


@operation("1.2", "POST /revoke that is not passive")
def revoke_active(side: Side) -> str:
    body = {"serial": "1", "ott": side.token("1", "--revoke"), "passive": False}
    return refused(side.http("POST", "/revoke", body), 501)


@operation("1.3", "GET /crl while lists are off")
def crl_off(side: Side) -> str:
    return refused(side.http("GET", "/crl"), 404)


@operation("1.1", "HEAD on the other GET routes: headers and no body")
def head_everywhere(side: Side) -> None:
    for path in ("/version", "/roots", "/roots.pem", "/intermediates", "/federation", "/provisioners"):
        get, head = side.http("GET", path), side.http("HEAD", path)
        assert (head.status, head.body) == (get.status, b""), path
        assert head.headers["content-type"] == get.headers["content-type"], path


@operation("1.1", "X-Smallstep-Id is echoed as the request id")
def old_request_id(side: Side) -> None:
    assert side.http("GET", "/health", headers={"X-Smallstep-Id": "old-1"}).headers["x-request-id"] == "old-1"


@operation("1.2", "POST /rekey without a certificate")
def rekey_nothing(side: Side) -> str:
    return refused(side.http("POST", "/rekey", {"csr": "x"}), 400)


@operation("1.2", "POST /renew, /re-sign, /rekey and /revoke below /1.0, empty")
def prefixed_nothing(side: Side) -> str:
    for path in ("renew", "re-sign", "rekey"):
        refused(side.http("POST", f"/1.0/{path}"), 400)
    return refused(side.http("POST", "/1.0/revoke", b""), 400)


@operation("1.2", "POST /revoke with passive that is neither true nor false")
def revoke_passive_text(side: Side) -> str:
    return refused(side.http("POST", "/revoke", {"serial": "1", "ott": "x", "passive": "true"}), 400)


@operation("1.3", "GET /ssh/roots without SSH")
def ssh_absent(side: Side) -> str:
    return refused(side.http("GET", "/ssh/roots"), 404)


@operation("1.3", "GET /acme/{unknown}/directory")
def acme_absent(side: Side) -> str:
    assert side.http("GET", "/acme/nobody/directory").status == 404
    return "refuses (404)"
