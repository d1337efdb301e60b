"""A new authority as values: root, intermediate, first provisioner, and the texts of its files (step's layout)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from troth.ca import jwk
from troth.ca.profile import Prepared, digest_for, encoded, issuer_of, sign
from troth.ca.validity import Window
from troth.x509.keys import PrivateKey, fingerprint, public_der, subject_key_id

LIFETIME = timedelta(days=3650)
CA_USAGE = x509.KeyUsage(False, False, False, False, False, True, True, False, False)


@dataclass(frozen=True, slots=True)
class Names:
    """What the authority is called and where it is reached."""

    name: str
    dns: tuple[str, ...]
    address: str
    provisioner: str

    @property
    def url(self) -> str:
        """``https://<first name>[:port]``, the port left out when it is 443."""
        port = self.address.rpartition(":")[2]
        host = f"[{self.dns[0]}]" if ":" in self.dns[0] else self.dns[0]
        return f"https://{host}" if port == "443" else f"https://{host}:{port}"


def create_root(name: str, key: PrivateKey, serial: int, now: datetime) -> x509.Certificate:
    """``<name> Root CA``, self-signed, path length 1, ten years of 365 days."""
    subject = _subject(name, f"{name} Root CA")
    window = _ten_years(now)
    builder = x509.CertificateBuilder(
        issuer_name=subject,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=serial,
        not_valid_before=window.not_before.replace(tzinfo=None),
        not_valid_after=window.not_after.replace(tzinfo=None),
        extensions=list(_ca_extensions(key, 1)),
    )
    return builder.sign(key, digest_for(key))


def create_intermediate(
    name: str, key: PrivateKey, root: x509.Certificate, root_key: PrivateKey, serial: int, now: datetime
) -> x509.Certificate:
    """``<name> Intermediate CA``, signed by the root, path length 0, never beyond the root's end."""
    issuer = issuer_of(root, root_key)
    window = _ten_years(now)
    window = Window(window.not_before, min(window.not_after, root.not_valid_after_utc))
    subject = _subject(name, f"{name} Intermediate CA").public_bytes()
    extensions = (*(encoded(one) for one in _ca_extensions(key, 0)), issuer.key_id)
    return sign(Prepared(subject, serial, window, public_der(key.public_key()), extensions), issuer)


def _subject(organization: str, common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization, _validate=len(organization) <= 64),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name, _validate=len(common_name) <= 64),
        ]
    )


def _ten_years(now: datetime) -> Window:
    start = now.replace(microsecond=0)
    return Window(start, start + LIFETIME)


def _ca_extensions(key: PrivateKey, path_length: int) -> tuple[x509.Extension[Any], ...]:
    constraints = x509.BasicConstraints(ca=True, path_length=path_length)
    identifier = x509.SubjectKeyIdentifier(subject_key_id(key.public_key()))
    return (
        x509.Extension(x509.KeyUsage.oid, True, CA_USAGE),
        x509.Extension(x509.BasicConstraints.oid, True, constraints),
        x509.Extension(x509.SubjectKeyIdentifier.oid, False, identifier),
    )


def create_provisioner(
    name: str, key: ec.EllipticCurvePrivateKey, password: bytes, randomness: jwk.Randomness
) -> dict[str, Any]:
    """A JWK provisioner entry with a P-256 key encrypted under a password, as ``step ca init`` makes it."""
    numbers = key.private_numbers()
    public = {
        "use": "sig",
        "kty": "EC",
        "kid": "",
        "crv": "P-256",
        "alg": "ES256",
        "x": jwk.b64encode(numbers.public_numbers.x.to_bytes(32)),
        "y": jwk.b64encode(numbers.public_numbers.y.to_bytes(32)),
    }
    public["kid"] = jwk.thumbprint(public)
    private = {**public, "d": jwk.b64encode(numbers.private_value.to_bytes(32))}
    encrypted = jwk.encrypt_provisioner_key(private, password, randomness)
    return {"type": "JWK", "name": name, "key": public, "encryptedKey": encrypted}


def configuration(names: Names, paths: Mapping[str, str], provisioners: list[dict[str, Any]], db: bool) -> str:
    """The text of ``ca.json``, only keys that step knows; `paths` has root, crt, key and db.

    ``db`` is written as ``step ca init`` does, so that step-ca starts on this file; our own database is elsewhere.
    """
    value: dict[str, Any] = {
        "root": paths["root"],
        "federatedRoots": None,
        "crt": paths["crt"],
        "key": paths["key"],
        "address": names.address,
        "insecureAddress": "",
        "dnsNames": list(names.dns),
        "logger": {"format": "text"},
    }
    if db:
        value["db"] = {"type": "badgerv2", "dataSource": paths["db"], "badgerFileLoadingMode": ""}
    value["authority"] = {"provisioners": provisioners}
    value["tls"] = {
        "cipherSuites": ["TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"],
        "minVersion": 1.2,
        "maxVersion": 1.3,
        "renegotiation": False,
    }
    return json.dumps(value, indent="\t") + "\n"


def defaults(names: Names, config: str, root_path: str, root: x509.Certificate) -> str:
    """The text of ``defaults.json``."""
    value = {"ca-url": names.url, "ca-config": config, "fingerprint": fingerprint(root), "root": root_path}
    return json.dumps(value, indent="\t") + "\n"
