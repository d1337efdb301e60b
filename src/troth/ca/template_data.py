"""What a certificate template sees: subject, names, token, request, the user's own data, and what webhooks said.

The names and shapes are those of step's ``x509util``, so that templates written for step-ca find what they look for.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from troth.ca.gotemplate.json_form import Ordered, from_json
from troth.ca.gotemplate.values import Struct, TypedList
from troth.x509.names import SubjectNames, alternative_names

_ATTRIBUTES = (
    ("Country", NameOID.COUNTRY_NAME),
    ("Organization", NameOID.ORGANIZATION_NAME),
    ("OrganizationalUnit", NameOID.ORGANIZATIONAL_UNIT_NAME),
    ("Locality", NameOID.LOCALITY_NAME),
    ("Province", NameOID.STATE_OR_PROVINCE_NAME),
    ("StreetAddress", NameOID.STREET_ADDRESS),
    ("PostalCode", NameOID.POSTAL_CODE),
    ("SerialNumber", NameOID.SERIAL_NUMBER),
    ("CommonName", NameOID.COMMON_NAME),
)
_SINGLE = ("SerialNumber", "CommonName")


def as_go_reads(value: Any) -> Any:
    """JSON data, read again as Go would: its own copy, numbers as floats."""
    return from_json(json.dumps(value))


def template_data(
    subject: str,
    names: SubjectNames,
    token: Mapping[str, Any],
    request: x509.CertificateSigningRequest,
    key: object,
) -> dict[str, Any]:
    """The root of a template's data, made new for each certificate, since templates may change it."""
    return {
        "Subject": _name(
            "x509util.Subject",
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject, _validate=False)])
            if subject
            else x509.Name([]),
        ),
        "SANs": TypedList("[]x509util.SubjectAlternativeName", [_alternative(*one) for one in _kinds(names)]),
        "Token": as_go_reads(dict(token)),
        "Insecure": {"CR": _request(request, key)},
    }


def _kinds(names: SubjectNames) -> Iterable[tuple[str, str]]:
    for kind, values in (("dns", names.dns), ("ip", names.ips), ("email", names.emails), ("uri", names.uris)):
        yield from ((kind, value) for value in values)


def _alternative(kind: str, value: str) -> Struct:
    return _struct("x509util.SubjectAlternativeName", {"Type": kind, "Value": value})


def _struct(go_type: str, fields: Mapping[str, Any], *, without_empty: bool = False) -> Struct:
    members = {_json_name(name): value for name, value in fields.items() if value or not without_empty}
    return Struct(go_type, fields, Ordered(members))


def _json_name(name: str) -> str:
    known = {"DNSNames": "dnsNames", "IPAddresses": "ipAddresses", "URIs": "uris", "SANs": "sans", "ID": "id"}
    return known.get(name, name[:1].lower() + name[1:])


def _name(go_type: str, name: x509.Name) -> Struct:
    fields: dict[str, Any] = {}
    for member, oid in _ATTRIBUTES:
        values = [str(attribute.value) for attribute in name.get_attributes_for_oid(oid)]
        fields[member] = (values[-1] if values else "") if member in _SINGLE else _strings(values)
    known = {oid for _, oid in _ATTRIBUTES}
    extra = [
        _struct("x509util.DistinguishedName", {"Type": one.oid.dotted_string, "Value": str(one.value)})
        for one in name
        if one.oid not in known
    ]
    fields["ExtraNames"] = TypedList("[]x509util.DistinguishedName", extra)
    return _struct(go_type, fields, without_empty=True)


def _strings(values: Iterable[str]) -> TypedList:
    return TypedList("x509util.MultiString", list(values))


def _shown(go_type: str, text: str) -> Struct:
    return Struct(go_type, {}, text, text)


def _named(names: SubjectNames) -> dict[str, Any]:
    return {
        "DNSNames": _strings(names.dns),
        "EmailAddresses": _strings(names.emails),
        "IPAddresses": TypedList("x509util.MultiIP", [_shown("net.IP", one) for one in names.ips]),
        "URIs": TypedList("x509util.MultiURL", [_shown("*url.URL", one) for one in names.uris]),
    }


def _extensions(extensions: x509.Extensions) -> TypedList:
    return TypedList(
        "[]x509util.Extension",
        [
            _struct(
                "x509util.Extension",
                {"ID": one.oid.dotted_string, "Critical": one.critical, "Value": one.value.public_bytes()},
            )
            for one in extensions
        ],
    )


def _public_key(key: object) -> tuple[Struct, Struct]:
    kinds = (
        (rsa.RSAPublicKey, "*rsa.PublicKey", "RSA"),
        (ec.EllipticCurvePublicKey, "*ecdsa.PublicKey", "ECDSA"),
        (ed25519.Ed25519PublicKey, "ed25519.PublicKey", "Ed25519"),
    )
    go_type, name = next(((go, text) for kind, go, text in kinds if isinstance(key, kind)), ("<nil>", "0"))
    size = {"Size": key.key_size // 8} if isinstance(key, rsa.RSAPublicKey) else {}
    return Struct(go_type, size), _shown("x509.PublicKeyAlgorithm", name)


def _request(request: x509.CertificateSigningRequest, key: object) -> Struct:
    public, algorithm = _public_key(key)
    shown: dict[str, Any] = {
        "Version": 0,
        "Subject": _name("x509util.Subject", request.subject),
        "RawSubject": request.subject.public_bytes(),
        **_named(alternative_names(request.extensions)),
        "SANs": TypedList("[]x509util.SubjectAlternativeName"),
        "Extensions": _extensions(request.extensions),
    }
    form = _struct("", shown).json
    return Struct(
        "*x509util.CertificateRequest",
        {**shown, "PublicKey": public, "PublicKeyAlgorithm": algorithm, "Signature": request.signature},
        form,
    )


def certificate_data(certificate: x509.Certificate) -> Struct:
    """``.AuthorizationCrt``: the certificate that signed the token."""
    public, algorithm = _public_key(certificate.public_key())
    fields = {
        "Version": 3,
        "Subject": _name("x509util.Subject", certificate.subject),
        "RawSubject": certificate.subject.public_bytes(),
        "Issuer": _name("x509util.Issuer", certificate.issuer),
        "SerialNumber": _shown("*big.Int", str(certificate.serial_number)),
        **_named(alternative_names(certificate.extensions)),
        "NotBefore": certificate.not_valid_before_utc,
        "NotAfter": certificate.not_valid_after_utc,
        "Extensions": _extensions(certificate.extensions),
    }
    form = _struct("", fields).json
    return Struct("*x509util.Certificate", {**fields, "PublicKey": public, "PublicKeyAlgorithm": algorithm}, form)
