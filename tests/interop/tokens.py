"""Section 3: one-time tokens, what the programs put into them and what the authorities make of them."""

import base64
import hashlib

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.interop import material
from tests.interop.http import refused, signing
from tests.interop.matrix import operation
from tests.interop.stage import PROVISIONER, Side


@operation("3.1", "ca token: header and claims")
def token(side: Side) -> None:
    text = side.token("web.example", "--san", "web.example", "--san", "10.0.0.7")
    header, claims = material.header_of(text), material.claims_of(text)
    listed = side.http("GET", "/provisioners").json["provisioners"][0]
    assert header == {"alg": "ES256", "kid": listed["key"]["kid"], "typ": "JWT"}
    assert claims["aud"] == f"{side.url}/1.0/sign" and claims["iss"] == PROVISIONER
    assert claims["sub"] == "web.example" and claims["sans"] == ["web.example", "10.0.0.7"]
    assert claims["exp"] - claims["nbf"] == 300 and len(claims["jti"]) == 64
    assert claims["sha"] == side.fingerprint


@operation("3.1", "ca token without --san names the subject")
def token_default_san(side: Side) -> None:
    assert material.claims_of(side.token("one.example"))["sans"] == ["one.example"]


@operation("3.1", "ca token --not-after")
def token_not_after(side: Side) -> None:
    claims = material.claims_of(side.token("one.example", "--not-after", "10m"))
    assert 599 <= claims["exp"] - claims["nbf"] <= 601  # step reads its clock twice


@operation("3.1", "ca token --not-after beyond an hour")
def token_too_long(side: Side) -> str:
    keys = ("--provisioner", PROVISIONER, "--password-file", str(side.password_file))
    side.run("ca", "token", "one.example", *keys, "--not-after", "2h", code=1)
    return "refuses (exit 1)"


@operation("3.1", "ca token --set reaches the claim user")
def token_set(side: Side) -> None:
    assert material.claims_of(side.token("one.example", "--set", "team=blue"))["user"] == {"team": "blue"}


@operation("3.1", "ca token --revoke")
def token_revoke(side: Side) -> None:
    claims = material.claims_of(side.token("1234", "--revoke"))
    assert claims["aud"] == f"{side.url}/1.0/revoke" and claims["sub"] == "1234" and "sans" not in claims


@operation("3.1", "ca token --cnf-file binds a request")
def token_cnf(side: Side) -> None:
    _, csr = material.write_request(side, "bound.example", ("bound.example",))
    claims = material.claims_of(side.token("bound.example", "--cnf-file", str(csr)))
    der = x509.load_pem_x509_csr(csr.read_bytes()).public_bytes(Encoding.DER)
    assert claims["cnf"] == {"x5rt#S256": material.b64(hashlib.sha256(der).digest())}


@operation("3.2", "POST /sign with a bound token and another request")
def token_cnf_other(side: Side) -> str:
    _, csr = material.write_request(side, "bound.example", ("bound.example",))
    body = signing(side, "bound.example", ott=side.token("bound.example", "--cnf-file", str(csr)))
    return refused(side.http("POST", "/sign", body), 403)


@operation("3.1", "ca token --output-file is born 0600")
def token_output(side: Side) -> None:
    keys = ("--provisioner", PROVISIONER, "--password-file", str(side.password_file))
    side.run("ca", "token", "one.example", *keys, "--output-file", "token")
    path = side.work / "token"
    assert path.read_text().strip().count(".") == 2 and path.stat().st_mode & 0o777 == 0o600


@operation("3.1", "ca token with a wrong password")
def token_wrong_password(side: Side) -> str:
    wrong = side.work / "wrong"
    wrong.write_text("not-the-password")
    side.run("ca", "token", "x.example", "--provisioner", PROVISIONER, "--password-file", str(wrong), code=1)
    return "refuses (exit 1)"


@operation("3.1", "ca token for an unknown provisioner")
def token_unknown_provisioner(side: Side) -> str:
    side.run("ca", "token", "x", "--provisioner", "nobody", "--password-file", str(side.password_file), code=1)
    return "refuses (exit 1)"


@operation("3.2", "a token is good once")
def token_reused(side: Side) -> str:
    text = side.token("http.example")
    assert side.http("POST", "/sign", signing(side, ott=text)).status == 201
    return refused(side.http("POST", "/sign", signing(side, ott=text)), 401)


@operation("3.2", "a token signed by another key")
def token_forged(side: Side) -> str:
    good = side.token("http.example")
    forged = material.jws(material.new_key(), material.header_of(good), material.claims_of(good))
    return refused(side.http("POST", "/sign", signing(side, ott=forged)), 401)


@operation("3.3", "a revoke token on /sign")
def token_wrong_audience(side: Side) -> str:
    return refused(side.http("POST", "/sign", signing(side, ott=side.token("http.example", "--revoke"))), 401)


@operation("3.2", "a request with a name outside the token")
def token_other_name(side: Side) -> str:
    csr = material.pem(material.request(material.new_key(), "http.example", ("http.example", "evil.example")))
    return refused(side.http("POST", "/sign", signing(side, csr=csr)), 403)


@operation("3.2", "a request with another common name")
def token_other_subject(side: Side) -> str:
    csr = material.pem(material.request(material.new_key(), "evil.example"))
    return refused(side.http("POST", "/sign", signing(side, csr=csr)), 403)


@operation("3.2", "a request without names gets the token's")
def token_names_win(side: Side) -> None:
    body = signing(side, csr=material.pem(material.request(material.new_key())))
    certificate = x509.load_pem_x509_certificate(side.http("POST", "/sign", body).json["crt"].encode())
    assert material.names_of(certificate) == {"http.example"}


@operation("3.4", "the provisioner key opens with step's parameters")
def provisioner_key(side: Side) -> None:
    import json

    entry = side.http("GET", "/provisioners").json["provisioners"][0]
    header = json.loads(material.unb64(entry["encryptedKey"].split(".")[0]))
    assert header["alg"] == "PBES2-HS256+A128KW" and header["enc"] == "A256GCM" and header["cty"] == "jwk+json"
    assert 100_000 <= header["p2c"] <= 1_000_000 and len(base64.urlsafe_b64decode(header["p2s"] + "==")) >= 8
    side.token("opens.example")
