"""Section 7: provisioners as the authority lists them."""

import base64
import contextlib
import json
from collections.abc import Callable
from typing import Any

from tests.interop import material
from tests.interop.configured import configured, copied, running
from tests.interop.http import refused
from tests.interop.matrix import operation
from tests.interop.stage import PROVISIONER, Side
from tests.rig.identity_provider import WELL_KNOWN, IdentityProvider


@operation("7.1", "ca provisioner list")
def listed(side: Side) -> None:
    entries = json.loads(side.run("ca", "provisioner", "list").out)
    assert [(entry["type"], entry["name"]) for entry in entries] == [("JWK", PROVISIONER)]
    assert entries[0]["encryptedKey"] and entries[0]["key"]["alg"] == "ES256"


@operation("9.9", "ca provisioner jwe-key prints the encrypted key")
def jwe_key(side: Side) -> None:
    entry = json.loads(side.run("ca", "provisioner", "list").out)[0]
    assert side.run("ca", "provisioner", "jwe-key", entry["key"]["kid"]).out.strip() == entry["encryptedKey"]


@operation("9.9", "ca provisioner jwe-key of an unknown key")
def jwe_key_unknown(side: Side) -> str:
    side.run("ca", "provisioner", "jwe-key", "nobody", code=1)
    return "refuses (exit 1)"


def _edit(own: Side, *args: str, code: int = 0) -> None:
    """The side's program edits the other side's ca.json."""
    own.run("ca", "provisioner", *args, "--ca-config", str(own.ca_dir / "config" / "ca.json"), code=code)


def _listed(own: Side) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in json.loads(own.run("ca", "provisioner", "list").out)}


@operation("7", "ca provisioner add of every kind that needs no service abroad, served after it")
def add_kinds(side: Side) -> None:
    own = copied(side)
    self_signed = ("--profile", "self-signed", "--subtle", "--no-password", "--insecure")
    side.run("certificate", "create", "kube", "k.crt", "k.key", *self_signed)
    (own.work / "pw").write_text("another password")
    _edit(own, "add", "builds", "--create", "--password-file", "pw", "--x509-max-dur", "72h")
    _edit(own, "add", "fleet", "--type", "X5C", "--x5c-roots", str(own.root))
    _edit(own, "add", "acme", "--type", "ACME", "--challenge", "http-01", "--force-cn")
    _edit(own, "add", "kube", "--type", "K8SSA", "--public-key", "k.crt")
    _edit(own, "add", "ssh", "--type", "SSHPOP")
    _edit(own, "add", "cloud", "--type", "AWS", "--aws-account", "123456789", "--instance-age", "1h")
    with contextlib.closing(IdentityProvider()) as provider:
        staff = ("--client-id", "id", "--client-secret", "s", "--domain", "example.com", "--admin", "a@example.com")
        _edit(own, "add", "staff", "--type", "OIDC", *staff, "--configuration-endpoint", provider.url + WELL_KNOWN)
        with running(own):
            found = _listed(own)
            kinds = " ".join(one["type"] for one in found.values())
            assert kinds == "JWK JWK X5C ACME K8SSA SSHPOP AWS OIDC", kinds
            key = base64.b64decode(found["kube"]["publicKeys"]).decode()
            assert key.strip() == side.run("certificate", "key", "k.crt").out.strip()
            assert found["acme"]["challenges"] == ["http-01"] and found["acme"]["forceCN"] is True
            assert found["staff"]["domains"] == ["example.com"] and found["cloud"]["accounts"] == ["123456789"]
            keys = ("--provisioner", "builds", "--provisioner-password-file", "pw")
            own.run("ca", "certificate", "new.example", "n.crt", "n.key", *keys, "--not-after", "72h")


@operation("9.9", "ca provisioner update, then remove, served after each")
def update_remove(side: Side) -> None:
    own = copied(side)
    _edit(own, "add", "acme", "--type", "ACME", "--challenge", "http-01", "--challenge", "dns-01")
    changes = ("--remove-challenge", "dns-01", "--x509-default-dur", "6h", "--disable-renewal")
    _edit(own, "update", "acme", *changes)
    _edit(own, "update", PROVISIONER, "--x509-max-dur", "48h", "--x509-default-dur", "48h")
    with running(own):
        found = _listed(own)
        assert set(found) == {PROVISIONER, "acme"} and found["acme"]["challenges"] == ["http-01"]
        claims = found["acme"]["claims"]
        assert claims["disableRenewal"] is True and claims["defaultTLSCertDuration"] in ("6h", "6h0m0s")
        assert material.lifetime(material.load(own.certificate("long.example")[0])[0]) == 48 * 3600 + 60
    _edit(own, "remove", "acme")
    with running(own):
        assert set(_listed(own)) == {PROVISIONER}
        own.certificate("after.example")


@operation("9.9", "ca provisioner remove of one that is not there")
def remove_unknown(side: Side) -> str:
    own = copied(side)
    before = (own.ca_dir / "config" / "ca.json").read_bytes()
    _edit(own, "remove", "nobody", code=1)
    assert (own.ca_dir / "config" / "ca.json").read_bytes() == before
    return "refuses (exit 1)"


@operation("9.9", "ca provisioner add of a name that is taken")
def add_taken(side: Side) -> str:
    own = copied(side)
    before = (own.ca_dir / "config" / "ca.json").read_bytes()
    _edit(own, "add", PROVISIONER, "--type", "ACME", code=1)
    assert (own.ca_dir / "config" / "ca.json").read_bytes() == before
    return "refuses (exit 1)"


@operation("1.6", "GET /provisioners page by page")
def pages(side: Side) -> None:
    many = [{"type": "ACME", "name": f"acme{number}"} for number in range(5)]
    own = copied(side)
    raw = json.loads((own.ca_dir / "config" / "ca.json").read_text())
    raw["authority"]["provisioners"] += many
    (own.ca_dir / "config" / "ca.json").write_text(json.dumps(raw))
    with running(own):
        names, cursor = [], ""
        for _ in range(10):
            page = own.http("GET", f"/provisioners?limit=2&cursor={cursor}").json
            names += [entry["name"] for entry in page["provisioners"]]
            cursor = page.get("nextCursor") or ""
            if not cursor:
                break
        assert names == [PROVISIONER, *(entry["name"] for entry in many)]
        assert list(_listed(own)) == names


# Kinds that certify nothing without a service abroad, or nothing of X.509 at all.
ABROAD: dict[str, tuple[str, dict[str, Any]]] = {
    "7.3": ("GCP", {"projectIDs": ["p"], "disableCustomSANs": False, "disableTrustOnFirstUse": False}),
    "7.4": ("AWS", {"accounts": ["123"], "disableCustomSANs": False, "disableTrustOnFirstUse": False}),
    "7.5": ("Azure", {"tenantID": "tenant-1", "disableCustomSANs": False, "disableTrustOnFirstUse": False}),
    "7.9": ("SSHPOP", {}),
    "7.10": ("SCEP", {"challenge": "open sesame", "minimumPublicKeyLength": 2048}),
    "7.11": ("Nebula", {}),
}


def _abroad(kind: str, members: dict[str, Any]) -> Callable[[Side], str]:
    def check(side: Side) -> str:
        first = json.loads((side.ca_dir / "config" / "ca.json").read_text())["authority"]["provisioners"]
        entry = {"type": kind, "name": "abroad", **members}
        with configured(side, {"provisioners": [*first, entry]}) as own:
            shown = _listed(own)["abroad"]
            wanted = {**entry, **({"challenge": "*** REDACTED ***"} if kind == "SCEP" else {})}
            assert {name: shown.get(name) for name in wanted} == wanted, shown
            claims = {"aud": f"{own.url}/1.0/sign#{kind.lower()}/abroad", "sub": "web", "iss": "abroad"}
            claims |= {"aud": "https://management.azure.com/", "tid": "tenant-1"} if kind == "Azure" else {}
            token = material.jws(material.new_key(), {"alg": "ES256"}, claims)
            csr = material.pem(material.request(material.new_key(), "web"))
            # step-ca knows SCEP, and says that it takes no tokens.
            said = refused(own.http("POST", "/sign", {"csr": csr, "ott": token}), 400 if kind == "SCEP" else 401, 401)
            own.certificate("beside.example")
        return said

    return check


for _section, (_kind, _members) in ABROAD.items():
    _title = f"{_kind}: listed as configured, its tokens refused, the others served beside it"
    operation(_section, _title)(_abroad(_kind, _members))
