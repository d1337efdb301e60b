"""From the JSON that a template made to a subject and extensions, in the order and form of Go's ``x509``."""

import base64
import binascii
import ipaddress
from collections.abc import Callable, Mapping
from typing import Any

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from troth.ca import CAError
from troth.ca.gotemplate import asn1
from troth.ca.profile import encoded, key_id
from troth.x509 import der
from troth.x509.names import parse_ip, split_names

# The order of Go's ``pkix.Name``.
_SUBJECT = (
    ("country", NameOID.COUNTRY_NAME),
    ("province", NameOID.STATE_OR_PROVINCE_NAME),
    ("locality", NameOID.LOCALITY_NAME),
    ("streetAddress", NameOID.STREET_ADDRESS),
    ("postalCode", NameOID.POSTAL_CODE),
    ("organization", NameOID.ORGANIZATION_NAME),
    ("organizationalUnit", NameOID.ORGANIZATIONAL_UNIT_NAME),
    ("commonName", NameOID.COMMON_NAME),
    ("serialNumber", NameOID.SERIAL_NUMBER),
)
_USAGES = (
    ("digitalsignature",),
    ("contentcommitment", "nonrepudiation"),
    ("keyencipherment",),
    ("dataencipherment",),
    ("keyagreement",),
    ("certsign",),
    ("crlsign",),
    ("encipheronly",),
    ("decipheronly",),
)
_PURPOSES = {
    "any": "2.5.29.37.0",
    "serverauth": "1.3.6.1.5.5.7.3.1",
    "clientauth": "1.3.6.1.5.5.7.3.2",
    "codesigning": "1.3.6.1.5.5.7.3.3",
    "emailprotection": "1.3.6.1.5.5.7.3.4",
    "ipsecendsystem": "1.3.6.1.5.5.7.3.5",
    "ipsectunnel": "1.3.6.1.5.5.7.3.6",
    "ipsecuser": "1.3.6.1.5.5.7.3.7",
    "timestamping": "1.3.6.1.5.5.7.3.8",
    "ocspsigning": "1.3.6.1.5.5.7.3.9",
    "microsoftservergatedcrypto": "1.3.6.1.4.1.311.10.3.3",
    "netscapeservergatedcrypto": "2.16.840.1.113730.4.1",
    "microsoftcommercialcodesigning": "1.3.6.1.4.1.311.2.1.22",
    "microsoftkernelcodesigning": "1.3.6.1.4.1.311.61.1.1",
}
_PRINCIPAL_NAME, _PERMANENT = "1.3.6.1.4.1.311.20.2.3", "1.3.6.1.5.5.7.8.3"
_SAN = x509.SubjectAlternativeName.oid.dotted_string
_AUTHORITY_KEY = x509.AuthorityKeyIdentifier.oid.dotted_string
_EMAIL = x509.ObjectIdentifier("1.2.840.113549.1.9.1")


def subject_of(described: Mapping[str, Any], defaults: Mapping[str, Any]) -> bytes:
    """The subject, DER, its blanks filled from ``authority.template``.

    Raises:
        CAError: a member is malformed.
    """
    if described.get("rawSubject"):
        return _base64(described["rawSubject"], "rawSubject")
    raw = described.get("subject") or {}
    members = {"commonName": raw} if isinstance(raw, str) else raw
    if not isinstance(members, dict):
        raise CAError("certificate template: subject must be an object or a text")
    parts = []
    for member, oid in _SUBJECT:
        values = _texts(members, member) or (_texts(defaults, member) if member != "postalCode" else [])
        if values:
            parts.append([_attribute(oid, value) for value in values if value])
    for extra in _list(members, "extraNames"):
        if not isinstance(extra, dict) or not isinstance(extra.get("value"), str):
            raise CAError("certificate template: extraNames must be objects of type and value")
        parts.append([_attribute(_oid(extra.get("type")), extra["value"])])
    return x509.Name([x509.RelativeDistinguishedName(part) for part in parts if part]).public_bytes()


def _attribute(oid: x509.ObjectIdentifier, value: str) -> x509.NameAttribute[str]:
    try:
        return x509.NameAttribute(oid, value, x509.name._ASN1Type.IA5String if oid == _EMAIL else None, _validate=False)
    except (ValueError, TypeError) as error:
        raise CAError(f"certificate template: {value!r} does not fit a subject") from error


def extensions_of(
    described: Mapping[str, Any], key: bytes, issuer_key_id: bytes, provisioner: bytes | None, *, critical_names: bool
) -> tuple[bytes, ...]:
    """Every extension, encoded: those the members stand for, then ``extensions``, the provisioner's last.

    Raises:
        CAError: a member is malformed.
    """
    try:
        custom = [_custom(one) for one in _list(described, "extensions")]
        given = {dotted for dotted, _ in custom}
        makers: tuple[tuple[str, Callable[[], x509.ExtensionType | None], bool], ...] = (
            ("2.5.29.15", lambda: _key_usage(described), True),
            ("2.5.29.37", lambda: _purposes(described), False),
            ("2.5.29.19", lambda: _basic(described), True),
        )
        later: tuple[tuple[str, Callable[[], x509.ExtensionType | None], bool], ...] = (
            ("1.3.6.1.5.5.7.1.1", lambda: _access(described), False),
            (_SAN, lambda: _names(described), critical_names),
            ("2.5.29.32", lambda: _policies(described), False),
            (
                "2.5.29.30",
                lambda: _constraints(described),
                bool((described.get("nameConstraints") or {}).get("critical")),
            ),
            ("2.5.29.31", lambda: _distribution(described), False),
        )
        subject_key = (
            _base64(described["subjectKeyId"], "subjectKeyId") if described.get("subjectKeyId") else key_id(key)
        )
        identifiers = [
            ("2.5.29.14", der.extension("2.5.29.14", der.tlv(der.OCTET_STRING, subject_key))),
            (_AUTHORITY_KEY, issuer_key_id),
        ]
        made = [
            *_made(makers, given),
            *(one for dotted, one in identifiers if dotted not in given),
            *_made(later, given),
        ]
        return (*made, *(one for _, one in custom), *((provisioner,) if provisioner is not None else ()))
    except (ValueError, TypeError, AttributeError, binascii.Error) as error:
        raise CAError(f"certificate template: {str(error).rstrip('.')}") from error


def requested_extensions(described: Mapping[str, Any], *, critical_names: bool) -> tuple[bytes, ...]:
    """The extensions that a request asks for, encoded: names, usages and constraints, then ``extensions``.

    Raises:
        CAError: a member is malformed.
    """
    try:
        custom = [_custom(one) for one in _list(described, "extensions")]
        makers: tuple[tuple[str, Callable[[], x509.ExtensionType | None], bool], ...] = (
            ("2.5.29.19", lambda: _basic(described), True),
            ("2.5.29.37", lambda: _purposes(described), False),
            ("2.5.29.15", lambda: _key_usage(described), True),
            (_SAN, lambda: _names(described), critical_names),
        )
        return (*_made(makers, {dotted for dotted, _ in custom}), *(one for _, one in custom))
    except (ValueError, TypeError, AttributeError, binascii.Error) as error:
        raise CAError(f"certificate template: {str(error).rstrip('.')}") from error


def _made(
    makers: tuple[tuple[str, Callable[[], x509.ExtensionType | None], bool], ...], given: set[str]
) -> list[bytes]:
    made = []
    for dotted, make, critical in makers:
        value = make() if dotted not in given else None
        if value is not None:
            made.append(encoded(x509.Extension(value.oid, critical, value)))
    return made


def _custom(raw: Any) -> tuple[str, bytes]:
    if not isinstance(raw, dict):
        raise CAError("certificate template: extensions must be objects of id, critical and value")
    dotted = _oid(raw.get("id")).dotted_string
    return dotted, der.extension(
        dotted, _base64(raw.get("value") or "", "extensions"), critical=raw.get("critical") is True
    )


def _word(name: str) -> str:
    return name.lower().replace("_", "")


def _key_usage(described: Mapping[str, Any]) -> x509.KeyUsage | None:
    wanted = {_word(name) for name in _texts(described, "keyUsage")}
    foreign = wanted - {name for names in _USAGES for name in names}
    if foreign:
        raise ValueError(f"unsupported keyUsage {min(foreign)}")
    bits = [any(name in wanted for name in names) for names in _USAGES]
    if any(bits[7:]) and not bits[4]:
        raise ValueError("encipherOnly and decipherOnly need keyAgreement")
    return x509.KeyUsage(*bits) if any(bits) else None


def _purposes(described: Mapping[str, Any]) -> x509.ExtendedKeyUsage | None:
    found = []
    for name in _texts(described, "extKeyUsage"):
        if _word(name) not in _PURPOSES:
            raise ValueError(f"unsupported extKeyUsage {name}")
        found.append(x509.ObjectIdentifier(_PURPOSES[_word(name)]))
    found += [_oid(text) for text in _texts(described, "unknownExtKeyUsage")]
    return x509.ExtendedKeyUsage(found) if found else None


def _basic(described: Mapping[str, Any]) -> x509.BasicConstraints | None:
    raw = described.get("basicConstraints")
    if raw is None:
        return None
    authority = raw.get("isCA") is True
    length = raw.get("maxPathLen", 0)
    return x509.BasicConstraints(authority, length if authority and length >= 0 else None)


def _names(described: Mapping[str, Any]) -> x509.SubjectAlternativeName | None:
    dns = _texts(described, "dnsNames")
    emails = _texts(described, "emailAddresses")
    ips = _texts(described, "ipAddresses")
    uris = _texts(described, "uris")
    others: list[x509.GeneralName] = []
    for one in _list(described, "sans"):
        kind, value = (one.get("type") or ""), one.get("value") or ""
        plain = {"dns": dns, "email": emails, "ip": ips, "uri": uris}.get(kind.lower())
        if not value and "asn1Value" not in one:
            continue
        if plain is not None:
            plain.append(value)
        elif kind.lower() in ("", "auto"):
            for target, part in zip((dns, emails, ips, uris), split_names([value]), strict=True):
                target.extend(part)
        else:
            others.append(_other(kind, value, one))
    general: list[x509.GeneralName] = [
        *(x509.DNSName(name) for name in dns),
        *(x509.RFC822Name(name) for name in emails),
        *(x509.IPAddress(parse_ip(name)) for name in ips),
        *(x509.UniformResourceIdentifier(name) for name in uris),
        *others,
    ]
    return x509.SubjectAlternativeName(general) if general else None


def _other(kind: str, value: str, raw: Mapping[str, Any]) -> x509.GeneralName:
    if kind == "userPrincipalName":
        return x509.OtherName(x509.ObjectIdentifier(_PRINCIPAL_NAME), asn1.encode(value, "utf8"))
    if kind == "registeredID":
        return x509.RegisteredID(_oid(value))
    if kind == "permanentIdentifier":
        given = raw.get("asn1Value") or {"identifier": value}
        parts = [asn1.encode(given["identifier"], "utf8")] if given.get("identifier") else []
        parts += [asn1.oid(given["assigner"])] if given.get("assigner") else []
        return x509.OtherName(x509.ObjectIdentifier(_PERMANENT), der.sequence(*parts))
    if kind[:1].isdigit():
        encoding, colon, text = value.partition(":")
        content = asn1.encode(text, encoding) if colon else asn1.encode(value, "printable")
        return x509.OtherName(_oid(kind), content)
    raise ValueError(f"unsupported SAN type {kind}")


def _access(described: Mapping[str, Any]) -> x509.AuthorityInformationAccess | None:
    kinds = (
        (AuthorityInformationAccessOID.OCSP, "ocspServer"),
        (AuthorityInformationAccessOID.CA_ISSUERS, "issuingCertificateURL"),
    )
    found = [
        x509.AccessDescription(oid, x509.UniformResourceIdentifier(url))
        for oid, member in kinds
        for url in _texts(described, member)
    ]
    return x509.AuthorityInformationAccess(found) if found else None


def _policies(described: Mapping[str, Any]) -> x509.CertificatePolicies | None:
    found = [x509.PolicyInformation(_oid(text), None) for text in _texts(described, "policyIdentifiers")]
    return x509.CertificatePolicies(found) if found else None


def _constraints(described: Mapping[str, Any]) -> x509.NameConstraints | None:
    raw = described.get("nameConstraints")
    if raw is None:
        return None

    def subtrees(which: str) -> list[x509.GeneralName] | None:
        found: list[x509.GeneralName] = [
            *(x509.DNSName(name) for name in _texts(raw, f"{which}DNSDomains")),
            *(x509.IPAddress(ipaddress.ip_network(name, strict=False)) for name in _texts(raw, f"{which}IPRanges")),
            *(x509.RFC822Name(name) for name in _texts(raw, f"{which}EmailAddresses")),
            *(x509.UniformResourceIdentifier(name) for name in _texts(raw, f"{which}URIDomains")),
        ]
        return found or None

    permitted, excluded = subtrees("permitted"), subtrees("excluded")
    return x509.NameConstraints(permitted, excluded) if permitted or excluded else None


def _distribution(described: Mapping[str, Any]) -> x509.CRLDistributionPoints | None:
    urls = _texts(described, "crlDistributionPoints")
    points = [x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None) for url in urls]
    return x509.CRLDistributionPoints(points) if points else None


def _list(raw: Mapping[str, Any], member: str) -> list[Any]:
    value = raw.get(member) or []
    if not isinstance(value, list):
        raise CAError(f"certificate template: {member} must be a list")
    return value


def _texts(raw: Mapping[str, Any], member: str) -> list[str]:
    value = raw.get(member)
    values = [value] if isinstance(value, str) and value else value or []
    if not isinstance(values, list | tuple) or not all(isinstance(item, str) for item in values):
        raise CAError(f"certificate template: {member} must be a text or a list of texts")
    return list(values)


def _oid(value: Any) -> x509.ObjectIdentifier:
    if not isinstance(value, str):
        raise CAError(f"certificate template: {value!r} is not an object identifier")
    try:
        return x509.ObjectIdentifier(value)
    except ValueError as error:
        raise CAError(f"certificate template: {value!r} is not an object identifier") from error


def _base64(value: Any, member: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise CAError(f"certificate template: {member} is not base64") from error
