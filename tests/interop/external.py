"""Sections 7.2, 7.13 and 9 with what stands around an authority: who is asked, and who answers for it."""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography import x509

from tests.interop import material
from tests.interop.configured import copied, described, running
from tests.interop.http import refused
from tests.interop.matrix import operation
from tests.interop.stage import PASSWORD, PROVISIONER, Answer, Side
from tests.rig.forward_proxy import forwarding
from tests.rig.hook import Hook, listening
from tests.rig.identity_provider import IdentityProvider, with_browser
from tests.rig.ocsp import answering
from tests.rig.pki import Pki
from troth.x509.names import alternative_names, common_name

JANE = "jane@example.com"


@contextlib.contextmanager
def people(side: Side, **members: Any) -> Iterator[tuple[Side, IdentityProvider]]:
    """An authority with an OIDC provisioner, and the provider that it believes; both trust as the system would."""
    pki = Pki(side.work / "provider")
    provider = IdentityProvider(pki.leaf("127.0.0.1"))
    provider.secret = "of the client"
    oidc = {"type": "OIDC", "name": "people", "clientID": "client", "clientSecret": provider.secret, **members}
    first = json.loads((side.ca_dir / "config" / "ca.json").read_text())["authority"]["provisioners"]
    trusting = replace(side, env={**side.env, "SSL_CERT_FILE": str(pki.trust)})
    own = copied(trusting, {"provisioners": [*first, {**oidc, "configurationEndpoint": provider.url}]})
    try:
        with running(replace(own, serve=["env", f"SSL_CERT_FILE={pki.trust}", *own.serve])) as served:
            yield served, provider
    finally:
        provider.close()


def asked(side: Side, token: str, *names: str) -> Answer:
    csr = material.request(material.new_key(), names[0] if names else "", names)
    return side.http("POST", "/sign", {"csr": material.pem(csr), "ott": token})


@operation("7.2", "OIDC: names are those of the token, whatever the request asks")
def oidc_names(side: Side) -> None:
    with people(side) as (own, provider):
        answer = asked(own, provider.token("client"), "other.example")
        assert answer.status == 201, answer
        leaf = material.load_text(answer.json["crt"])
        found = alternative_names(leaf.extensions)
        assert (common_name(leaf.subject), found.emails) == ("u-17", (JANE,))
        assert found.uris == (f"{provider.issuer}#u-17",) and not found.dns


@operation("7.2", "OIDC: an admin gets the names of the request")
def oidc_admin(side: Side) -> None:
    with people(side, admins=[JANE], domains=["nowhere.example"]) as (own, provider):
        answer = asked(own, provider.token("client"), "admin.example")
        assert material.names_of(material.load_text(answer.json["crt"])) == {"admin.example"}


@operation("7.2", "OIDC: domain, group, audience, azp, issuer, times and a second use")
def oidc_refusals(side: Side) -> str:
    with people(side, domains=["example.com"], groups=["ops"]) as (own, provider):
        good = provider.token("client", groups=["ops", "dev"])
        assert asked(own, good).status == 201
        now = int(time.time())
        wrong: list[dict[str, Any]] = [
            {"email": "jane@other.example"}, {"groups": ["dev"]}, {"groups": None}, {"azp": "other"},
            {"iss": "https://other.example"}, {"iat": now - 9000, "exp": now - 3600},
        ]  # fmt: skip
        tokens = [provider.token("client", **{"groups": ["ops"], **claims}) for claims in wrong]
        tokens += [provider.token("other", groups=["ops"]), good]
        tokens.append(provider.token("client", groups=["ops"], key=material.new_key()))
        return {refused(asked(own, token), 401) for token in tokens}.pop()


@operation("7.2", "ca certificate --token with an identity token")
def oidc_token(side: Side) -> None:
    with people(side) as (own, provider):
        own.run("ca", "certificate", JANE, "a.crt", "a.key", "--token", provider.token("client"))
        assert common_name(material.load(own.work / "a.crt")[0].subject) == "u-17"


@operation("7.2", "ca certificate: logging in by browser, and on another device")
def oidc_login(side: Side) -> None:
    with people(side) as (own, provider):
        env = {"PATH": with_browser(own.work / "programs", own.work / "page")}
        own.run("ca", "certificate", JANE, "a.crt", "a.key", "--provisioner", "people", env=env)
        assert (own.work / "page").read_text().startswith("200 ")
        assert provider.authorized[0]["code_challenge_method"] == "S256"
        provider.interval = 1  # step reads a whole number
        done = own.run("ca", "certificate", JANE, "b.crt", "b.key", "--provisioner", "people", "--console")
        assert f"{provider.url}/activate" in done.err and "WDJB-MJHT" in done.err
        for name in ("a.crt", "b.crt"):
            assert alternative_names(material.load(own.work / name)[0].extensions).emails == (JANE,)


@contextlib.contextmanager
def hooked(side: Side, kind: str, template: str = "") -> Iterator[tuple[Side, Hook]]:
    """An authority whose provisioner asks a webhook, and trusts its certificate as the system would."""
    pki = Pki(side.work / "web")
    pair, hook = pki.leaf("127.0.0.1"), Hook()
    hook.tls.load_cert_chain(pair.certificate, pair.key)
    with listening(hook):
        one = {"id": "id-of-it", "name": "people", "url": f"https://127.0.0.1:{hook.port}/ask", "kind": kind}
        options = {"x509": {"template": template} if template else {}, "webhooks": [one]}
        own = copied(side, described(side, options=options))
        with running(replace(own, serve=["env", f"SSL_CERT_FILE={pki.trust}", *own.serve])) as served:
            yield served, hook


@operation("7.13", "webhook ENRICHING: what it is told, signed, and its data in the template")
def webhook_enriching(side: Side) -> None:
    template = """{"subject": {"commonName": {{ toJson .Subject.CommonName }},
        "organization": {{ toJson .Webhooks.people.department }}}, "sans": {{ toJson .SANs }}}"""
    with hooked(side, "ENRICHING", template) as (own, hook):
        hook.answers = [(200, {"allow": True, "data": {"department": "Finance"}})]
        crt, _ = own.certificate("web.example")
        organization = material.load(crt)[0].subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
        assert [one.value for one in organization] == ["Finance"]
        _, headers, body = hook.told[0]
        told = json.loads(body)
        assert headers["x-smallstep-webhook-id"] == "id-of-it"
        assert headers["x-smallstep-signature"] == hmac.new(b"", body, hashlib.sha256).hexdigest()
        assert "timestamp" in told
        request = x509.load_der_x509_csr(base64.b64decode(told["x509CertificateRequest"]["raw"]))
        assert common_name(request.subject) == "web.example"


@operation("7.13", "webhook AUTHORIZING: allowed, refused, failed and gone")
def webhook_authorizing(side: Side) -> str:
    with hooked(side, "AUTHORIZING") as (own, hook):
        hook.answers = [(200, {"allow": True})]
        assert asked(own, own.token("a.example"), "a.example").status == 201
        assert "x509Certificate" in json.loads(hook.told[0][2])
        verdicts = set()
        for answer in ((200, {"allow": False}), (500, {}), (200, b"no JSON")):
            hook.answers = [answer]
            verdicts.add(refused(asked(own, own.token("a.example"), "a.example"), 403))
        return verdicts.pop()


@operation("9.10", "certificate verify --verify-ocsp --ocsp-endpoint")
def verify_ocsp(side: Side) -> None:
    good, bad = (side.certificate(f"{name}.example", name=name)[0] for name in ("good", "bad"))
    serials = {material.serial_of(good): False, material.serial_of(bad): True}
    flags = ("--roots", str(side.root), "--issuing-ca", str(side.ca_dir / "certs" / "intermediate_ca.crt"))
    # Go takes a certificate in the answer for one that the issuer gave away: the issuer's own is left out.
    with answering(side.ca_dir, PASSWORD, side.work / "ocsp", serials, "-resp_no_certs") as url:
        side.run("certificate", "verify", str(good), *flags, "--verify-ocsp", "--ocsp-endpoint", url)
        assert (
            "revoked"
            in side.run("certificate", "verify", str(bad), *flags, "--verify-ocsp", "--ocsp-endpoint", url, code=1).err
        )


def owned(side: Side) -> tuple[Side, tuple[str, ...]]:
    """An authority that does not run, and the flags by which its owner works without it."""
    own = copied(side)
    secret = str(own.password_file)
    where = ("--offline", "--ca-config", str(own.ca_dir / "config" / "ca.json"))
    return own, (*where, "--provisioner", PROVISIONER, "--password-file", secret)


@operation("9.4", "ca token --offline")
def token_offline(side: Side) -> None:
    own, flags = owned(side)
    # Authorities take no token that is older than they are.
    with running(own):
        token = own.run("ca", "token", "web.example", "--san", "web.example", "--san", "10.0.0.7", *flags).out.strip()
        claims = material.claims_of(token)
        assert (claims["iss"], claims["sub"]) == (PROVISIONER, "web.example")
        assert claims["sans"] == ["web.example", "10.0.0.7"] and claims["sha"] == own.fingerprint
        own.run("ca", "certificate", "web.example", "a.crt", "a.key", "--token", token)


@operation("9.3", "ca certificate --offline, ca sign --offline, ca renew --offline")
def certificate_offline(side: Side) -> None:
    own, flags = owned(side)
    key = ("--provisioner-password-file", str(own.password_file))
    own.run("ca", "certificate", "web.example", "a.crt", "a.key", *flags, *key)
    chain = material.load(own.work / "a.crt")
    assert material.names_of(chain[0]) == {"web.example"} and len(chain) == 2
    _, csr = material.write_request(own, "own.example", ("own.example",))
    own.run("ca", "sign", str(csr), "b.crt", *flags, *key)
    assert material.names_of(material.load(own.work / "b.crt")[0]) == {"own.example"}
    before = material.serial_of(own.work / "a.crt")
    own.run("ca", "renew", "a.crt", "a.key", "--force", *flags[:3], "--password-file", str(own.password_file))
    assert material.serial_of(own.work / "a.crt") != before


@operation("9.1", "HTTPS_PROXY and NO_PROXY: an authority that only the proxy finds")
def by_proxy(side: Side) -> None:
    name = "ca.interop.example"
    own = copied(side, dnsNames=["localhost", name])
    with running(own), forwarding(name) as proxy:
        flags = ("--ca-url", f"https://{name}:{own.port}", "--root", str(own.root))
        env = {"HTTPS_PROXY": proxy.url.replace("//", "//me:secret@")}
        assert own.run("ca", "health", *flags, env=env).out == "ok\n"
        assert proxy.asked == [f"CONNECT {name}:{own.port}"]
        assert b"Proxy-Authorization: Basic bWU6c2VjcmV0\r\n" in proxy.heads[0]
        keys = ("--provisioner", PROVISIONER, "--provisioner-password-file", str(own.password_file))
        own.run("ca", "certificate", "a.example", "a.crt", "a.key", *keys, *flags, env=env)
        own.run("ca", "renew", "a.crt", "a.key", "--force", *flags, env=env)
        count = len(proxy.asked)
        own.run("ca", "health", *flags, code=1, env={**env, "NO_PROXY": ".interop.example"})
        assert own.run("ca", "health", env=env).out == "ok\n"
        assert len(proxy.asked) == count, "localhost is never asked of a proxy"
        proxy.answer = b"HTTP/1.1 403 Forbidden\r\n\r\n"
        own.run("ca", "health", *flags, code=1, env=env)


@operation("9.11", "certificate install and uninstall of a root, in the system's trust store")
def install_root(side: Side) -> str:
    """In a mount namespace, over empty directories: the machine's own store is not touched."""
    script = (
        "set -e; mount -t tmpfs none /usr/local/share/ca-certificates; mount -t tmpfs none /etc/ssl/certs\n"
        '"$@" install root.crt\nls /usr/local/share/ca-certificates >there; cp /etc/ssl/certs/ca-certificates.crt 1\n'
        '"$@" uninstall root.crt\nls /usr/local/share/ca-certificates >left; cp /etc/ssl/certs/ca-certificates.crt 2\n'
    )
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        return "not observed: no root"
    (side.work / "root.crt").write_bytes(side.root.read_bytes())
    side.call(["unshare", "--mount", "sh", "-c", script, "sh", *side.program, "certificate"])
    root = side.root.read_text().strip()
    assert root in (side.work / "1").read_text() and root not in (side.work / "2").read_text()
    names = [(side.work / name).read_text().split() for name in ("there", "left")]
    serial = material.serial_of(Path(side.root))
    assert names == [[f"Interop_Root_CA_{serial}.crt"], []]
    return ""
