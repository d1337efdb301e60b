"""Certificates and requests for programs: the JSON schema that ``step certificate inspect --format json`` has."""

import base64
import hashlib
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from troth.x509.keys import spki_of
from troth.x509.names import SubjectNames, alternative_names
from troth.x509.provisioned import provisioned_by
from troth.x509.text import Holder, attribute_name, signature_name, usage_names

_ATTRIBUTES = {
    "CN": "common_name",
    "O": "organization",
    "OU": "organizational_unit",
    "C": "country",
    "L": "locality",
    "ST": "province",
    "STREET": "street_address",
    "POSTALCODE": "postal_code",
    "SERIALNUMBER": "serial_number",
    "emailAddress": "email_address",
}
_USAGES = {"key_cert_sign": "certificate_sign"}
_USAGE_BITS = {
    "digital_signature": 1,
    "content_commitment": 2,
    "key_encipherment": 4,
    "data_encipherment": 8,
    "key_agreement": 16,
    "key_cert_sign": 32,
    "crl_sign": 64,
    "encipher_only": 128,
    "decipher_only": 256,
}
_PURPOSES = {
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE: "any",
    ExtendedKeyUsageOID.SERVER_AUTH: "server_auth",
    ExtendedKeyUsageOID.CLIENT_AUTH: "client_auth",
    ExtendedKeyUsageOID.CODE_SIGNING: "code_signing",
    ExtendedKeyUsageOID.EMAIL_PROTECTION: "email_protection",
    ExtendedKeyUsageOID.TIME_STAMPING: "time_stamping",
    ExtendedKeyUsageOID.OCSP_SIGNING: "ocsp_signing",
}


def certificate_json(certificate: x509.Certificate) -> dict[str, Any]:
    """A certificate as a JSON object; times are RFC 3339, byte strings hex or base64 as in the schema."""
    der = certificate.public_bytes(Encoding.DER)
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    names = _all_names(certificate)
    tbs = hashlib.sha256(certificate.tbs_certificate_bytes).hexdigest()
    return {
        "version": 3,
        "serial_number": str(certificate.serial_number),
        "signature_algorithm": _signature_algorithm(certificate),
        "issuer": _name(certificate.issuer),
        "issuer_dn": _dn(certificate.issuer),
        "validity": {
            "start": f"{start:%Y-%m-%dT%H:%M:%SZ}",
            "end": f"{end:%Y-%m-%dT%H:%M:%SZ}",
            "length": int((end - start).total_seconds()),
        },
        "subject": _name(certificate.subject),
        "subject_dn": _dn(certificate.subject),
        "subject_key_info": _key(certificate),
        "extensions": _extensions(certificate.extensions),
        "signature": {
            "signature_algorithm": _signature_algorithm(certificate),
            "value": _base64(certificate.signature),
            "valid": _self_signed(certificate),
            "self_signed": _self_signed(certificate),
        },
        "fingerprint_md5": hashlib.md5(der, usedforsecurity=False).hexdigest(),
        "fingerprint_sha1": hashlib.sha1(der, usedforsecurity=False).hexdigest(),
        "fingerprint_sha256": hashlib.sha256(der).hexdigest(),
        "tbs_fingerprint": tbs,
        **({"names": names} if names else {}),
    }


def request_json(request: x509.CertificateSigningRequest) -> dict[str, Any]:
    """A certificate request as a JSON object with the same vocabulary as certificates."""
    return {
        "version": 0,
        "subject": _name(request.subject),
        "subject_dn": _dn(request.subject),
        "subject_key_info": _key(request),
        "extensions": _extensions(request.extensions),
        "signature": {
            "signature_algorithm": _signature_algorithm(request),
            "value": _base64(request.signature),
            "valid": request.is_signature_valid,
        },
    }


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _signature_algorithm(holder: Holder) -> dict[str, str]:
    return {"name": signature_name(holder), "oid": holder.signature_algorithm_oid.dotted_string}


def _name(name: x509.Name) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for attribute in name:
        short = attribute_name(attribute.oid)
        values.setdefault(_ATTRIBUTES.get(short, short), []).append(str(attribute.value))
    return values


def _dn(name: x509.Name) -> str:
    return ", ".join(f"{attribute_name(a.oid)}={a.value!s}" for a in name)


def _key(holder: Holder) -> dict[str, Any]:
    key = holder.public_key()
    info: dict[str, Any] = {"key_algorithm": {"name": type(key).__name__}}
    if isinstance(key, ec.EllipticCurvePublicKey):
        octets = (key.curve.key_size + 7) // 8
        numbers = key.public_numbers()
        x, y = numbers.x.to_bytes(octets, "big"), numbers.y.to_bytes(octets, "big")
        curve = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}.get(key.curve.name, key.curve.name)
        info["key_algorithm"]["name"] = "ECDSA"
        info["ecdsa_public_key"] = {
            "curve": curve,
            "length": key.curve.key_size,
            "pub": _base64(b"\x04" + x + y),
            "x": _base64(x),
            "y": _base64(y),
        }
    elif isinstance(key, rsa.RSAPublicKey):
        public = key.public_numbers()
        modulus = public.n.to_bytes((public.n.bit_length() + 7) // 8, "big")
        info["key_algorithm"]["name"] = "RSA"
        info["rsa_public_key"] = {"exponent": public.e, "modulus": _base64(modulus), "length": key.key_size}
    elif isinstance(key, ed25519.Ed25519PublicKey):
        info["key_algorithm"]["name"] = "Ed25519"
    info["fingerprint_sha256"] = hashlib.sha256(spki_of(holder)).hexdigest()
    return info


def _extensions(extensions: x509.Extensions) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for extension in extensions:
        value = extension.value
        match value:
            case x509.KeyUsage():
                bits: dict[str, Any] = {_USAGES.get(name, name): True for name in usage_names(value)}
                found["key_usage"] = {**bits, "value": sum(_USAGE_BITS[name] for name in usage_names(value))}
            case x509.ExtendedKeyUsage():
                found["extended_key_usage"] = {_PURPOSES.get(oid, oid.dotted_string): True for oid in value}
            case x509.BasicConstraints():
                length = {} if value.path_length is None else {"max_path_len": value.path_length}
                found["basic_constraints"] = {"is_ca": value.ca, **length}
            case x509.SubjectAlternativeName():
                found["subject_alt_name"] = _names(alternative_names(extensions))
            case x509.SubjectKeyIdentifier():
                found["subject_key_id"] = value.digest.hex()
            case x509.AuthorityKeyIdentifier():
                found["authority_key_id"] = (value.key_identifier or b"").hex()
    granted = provisioned_by(extensions)
    if granted is not None:
        about = {"type": granted.kind, "name": granted.name, "credentialID": granted.credential_id}
        found["step_provisioner"] = about
    return found


def _names(names: SubjectNames) -> dict[str, list[str]]:
    kinds = (
        ("dns_names", names.dns),
        ("email_addresses", names.emails),
        ("ip_addresses", names.ips),
        ("uniform_resource_identifiers", names.uris),
    )
    return {kind: list(values) for kind, values in kinds if values}


def _all_names(certificate: x509.Certificate) -> list[str]:
    names = alternative_names(certificate.extensions)
    return [*names.dns, *names.emails, *names.ips, *names.uris]


def _self_signed(certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(certificate)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True
