"""The certificate a grant becomes: extensions, subject and key rules of step's default leaf, and of a renewal."""

import hashlib
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from troth.ca import ForbiddenError, MalformedError
from troth.ca.validity import Window
from troth.x509 import der
from troth.x509.keys import PrivateKey, PublicKey, subject_key_id
from troth.x509.names import SubjectNames, parse_ip

MIN_RSA_BITS = 2048
CURVES = frozenset(("secp224r1", "secp256r1", "secp384r1", "secp521r1"))
Digest = hashes.SHA256 | hashes.SHA384 | hashes.SHA512
_SUBJECT_DEFAULTS = (
    ("country", NameOID.COUNTRY_NAME),
    ("organization", NameOID.ORGANIZATION_NAME),
    ("organizationalUnit", NameOID.ORGANIZATIONAL_UNIT_NAME),
    ("locality", NameOID.LOCALITY_NAME),
    ("province", NameOID.STATE_OR_PROVINCE_NAME),
    ("streetAddress", NameOID.STREET_ADDRESS),
    ("serialNumber", NameOID.SERIAL_NUMBER),
)

# The order of Go's ``pkix.Name``.
_SUBJECT_ORDER = (
    NameOID.COUNTRY_NAME,
    NameOID.STATE_OR_PROVINCE_NAME,
    NameOID.LOCALITY_NAME,
    NameOID.STREET_ADDRESS,
    NameOID.POSTAL_CODE,
    NameOID.ORGANIZATION_NAME,
    NameOID.ORGANIZATIONAL_UNIT_NAME,
    NameOID.COMMON_NAME,
    NameOID.SERIAL_NUMBER,
)


def encoded(extension: x509.Extension[x509.ExtensionType]) -> bytes:
    """An extension as DER."""
    return der.extension(extension.oid.dotted_string, extension.value.public_bytes(), critical=extension.critical)


def _key_usage(encipherment: bool) -> bytes:
    usage = x509.KeyUsage(True, False, encipherment, False, False, False, False, False, False)
    return encoded(x509.Extension(x509.KeyUsage.oid, True, usage))


_PURPOSES = der.extension(
    x509.ExtendedKeyUsage.oid.dotted_string,
    x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]).public_bytes(),
)
_SIGN_ONLY, _SIGN_AND_ENCIPHER = _key_usage(False), _key_usage(True)
_KEY_ID_OID = x509.SubjectKeyIdentifier.oid.dotted_string
_NAMES_OID = x509.SubjectAlternativeName.oid.dotted_string
_COMMON_NAME = der.object_id(NameOID.COMMON_NAME.dotted_string)
_VERSION_3 = b"\xa0\x03\x02\x01\x02"
_DNS_TAG, _IP_TAG, _EXTENSIONS_TAG = 0x82, 0x87, 0xA3
_RSA = der.object_id("1.2.840.113549.1.1.1")
_SHA256_WITH_RSA = der.sequence(der.object_id("1.2.840.113549.1.1.11"), der.NULL)
NO_NAME = der.sequence()


class Prepared(NamedTuple):
    """Everything of a certificate but its signature; subject, key (SubjectPublicKeyInfo) and extensions are DER."""

    subject: bytes
    serial: int
    window: Window
    public_key: bytes
    extensions: tuple[bytes, ...]


def check_key(key: object) -> PublicKey:
    """The public key of a request, if it is one the authority certifies.

    Raises:
        ForbiddenError: RSA of less than 2048 bits.
        MalformedError: another kind of key, or a curve that step-ca does not know.
    """
    kind = _kind_of_key(cast(Hashable, type(key)))
    if kind == "RSA":
        assert isinstance(key, rsa.RSAPublicKey)
        if key.key_size < MIN_RSA_BITS:
            raise ForbiddenError(f"RSA key of the request has {key.key_size} bits, expected at least {MIN_RSA_BITS}")
        return key
    if kind == "EC" and cast(ec.EllipticCurvePublicKey, key).curve.name not in CURVES:
        raise MalformedError("certificate request has a key of an unsupported curve: expected P-224 to P-521")
    if kind:
        return cast(PublicKey, key)
    raise MalformedError("certificate request has an unsupported kind of key: expected EC, RSA or Ed25519")


@lru_cache(maxsize=64)
def _kind_of_key(kind: Hashable) -> str:
    """``RSA``, ``EC`` or ``Ed25519``, or nothing; asked once for each class, since these classes answer slowly."""
    kinds = ((rsa.RSAPublicKey, "RSA"), (ec.EllipticCurvePublicKey, "EC"), (ed25519.Ed25519PublicKey, "Ed25519"))
    return next((name for base, name in kinds if issubclass(cast(type, kind), base)), "")


def subject_name(common_name: str, defaults: Mapping[str, Any]) -> bytes:
    """A common name with the blanks filled from ``authority.template``, DER.

    Raises:
        MalformedError: the common name does not fit a certificate.
    """
    if not defaults and common_name:
        try:
            text = der.tlv(der.UTF8_STRING, common_name.encode())
        except UnicodeEncodeError as error:
            raise MalformedError(f"common name {common_name!r} does not fit a certificate") from error
        return der.sequence(der.tlv(der.SET, der.sequence(_COMMON_NAME, text)))
    chosen = common_name or str(defaults.get("commonName") or "")
    try:
        attributes = _filling(defaults)
        if chosen:
            attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, chosen, _validate=len(chosen) <= 64))
        return x509.Name(sorted(attributes, key=lambda one: _rank(one.oid))).public_bytes()
    except ValueError as error:
        raise MalformedError(f"common name {chosen!r} does not fit a certificate") from error


def _filling(defaults: Mapping[str, Any]) -> list[x509.NameAttribute[str | bytes]]:
    """The attributes of ``authority.template`` but the common name."""
    attributes: list[x509.NameAttribute[str | bytes]] = []
    for member, oid in _SUBJECT_DEFAULTS:
        value = defaults.get(member)
        values = value if isinstance(value, list) else [value]
        attributes += [x509.NameAttribute(oid, str(item)) for item in values if item]
    return attributes


def requested_subject(name: x509.Name, defaults: Mapping[str, Any]) -> bytes:
    """A request's whole subject in the order that step writes, the blanks filled from ``authority.template``, DER.

    Raises:
        MalformedError: it does not fit a certificate.
    """
    present = {attribute.oid for attribute in name}
    try:
        filling = _filling(defaults)
        if defaults.get("commonName"):
            filling.append(x509.NameAttribute(NameOID.COMMON_NAME, str(defaults["commonName"])))
        missing = [attribute for attribute in filling if attribute.oid not in present]
        return x509.Name(sorted([*name, *missing], key=lambda one: _rank(one.oid))).public_bytes()
    except ValueError as error:
        raise MalformedError("subject of the certificate request does not fit a certificate") from error


def _rank(oid: x509.ObjectIdentifier) -> int:
    return _SUBJECT_ORDER.index(oid) if oid in _SUBJECT_ORDER else len(_SUBJECT_ORDER)


def leaf_extensions(
    key: bytes, issuer_key_id: bytes, names: SubjectNames, provisioner: bytes | None, *, critical_names: bool = False
) -> tuple[bytes, ...]:
    """The extensions of step's default leaf, in its order; `key` is its SubjectPublicKeyInfo.

    Raises:
        NameSyntaxError: a name cannot be encoded.
    """
    extensions = [
        _SIGN_AND_ENCIPHER if _is_rsa(key) else _SIGN_ONLY,
        _PURPOSES,
        der.extension(_KEY_ID_OID, der.tlv(der.OCTET_STRING, key_id(key))),
        issuer_key_id,
    ]
    if names:
        extensions.append(der.extension(_NAMES_OID, general_names(names), critical=critical_names))
    if provisioner is not None:
        extensions.append(provisioner)
    return tuple(extensions)


def _is_rsa(key: bytes) -> bool:
    return _RSA in key[:32]


def key_id(key: bytes) -> bytes:
    """SHA-1 of the bit string of a SubjectPublicKeyInfo (RFC 5280 §4.2.1.2, method 1)."""
    _, bits = der.expect(der.expect(key, der.SEQUENCE)[0], der.SEQUENCE)
    return hashlib.sha1(der.expect(bits, der.BIT_STRING)[0][1:], usedforsecurity=False).digest()


def general_names(names: SubjectNames) -> bytes:
    """GeneralNames in the order DNS, email, IP, URI, DER.

    Raises:
        NameSyntaxError: a name cannot be encoded.
    """
    if names.emails or names.uris or not all(name.isascii() for name in names.dns):
        return x509.SubjectAlternativeName(names.general_names()).public_bytes()
    return der.sequence(
        *(der.tlv(_DNS_TAG, name.encode()) for name in names.dns),
        *(der.tlv(_IP_TAG, parse_ip(name).packed) for name in names.ips),
    )


def renewed_extensions(old: x509.Certificate, issuer_key_id: bytes, new_key: bytes | None) -> tuple[bytes, ...]:
    """All extensions of a certificate as they stand, the authority key id of the present issuer first.

    With a new key the subject key id is made anew.
    """
    extensions = [issuer_key_id]
    for extension in old.extensions:
        if extension.oid == x509.AuthorityKeyIdentifier.oid:
            continue
        if new_key is not None and extension.oid == x509.SubjectKeyIdentifier.oid:
            value = der.tlv(der.OCTET_STRING, key_id(new_key))
            extensions.append(der.extension(_KEY_ID_OID, value, critical=extension.critical))
        else:
            extensions.append(encoded(extension))
    return tuple(extensions)


@dataclass(frozen=True, slots=True)
class Issuer:
    """The signing certificate, its key, and what is copied into every certificate, encoded."""

    certificate: x509.Certificate
    key: PrivateKey
    name: bytes
    key_id: bytes
    algorithm: bytes
    signature: Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Myself:
    """What signs a certificate that is its own issuer: no authority key identifier (RFC 5280 §4.2.1.1)."""

    name: bytes
    algorithm: bytes
    signature: Callable[[bytes], bytes]


def issuer_of(certificate: x509.Certificate, key: PrivateKey) -> Issuer:
    """An issuer with its authority key identifier (its subject key id) and signature algorithm."""
    try:
        identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        identifier = subject_key_id(key.public_key())
    value = x509.AuthorityKeyIdentifier(identifier, None, None).public_bytes()
    extension = der.extension(x509.AuthorityKeyIdentifier.oid.dotted_string, value)
    algorithm, signature = signer_of(key)
    return Issuer(certificate, key, certificate.subject.public_bytes(), extension, algorithm, signature)


def signer_of(key: PrivateKey) -> tuple[bytes, Callable[[bytes], bytes]]:
    """The AlgorithmIdentifier (RFC 5758, 4055, 8410) and how to sign."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return der.sequence(der.object_id("1.3.101.112")), key.sign
    digest = digest_for(key)
    assert digest is not None
    if isinstance(key, ec.EllipticCurvePrivateKey):
        last = {"sha256": 2, "sha384": 3, "sha512": 4}[digest.name]
        scheme = ec.ECDSA(digest)
        return der.sequence(der.object_id(f"1.2.840.10045.4.3.{last}")), lambda data: key.sign(data, scheme)
    padding = PKCS1v15()
    return _SHA256_WITH_RSA, lambda data: key.sign(data, padding, digest)


def digest_for(key: PrivateKey) -> Digest | None:
    """What a key of this kind signs over: nothing for Ed25519, SHA-384 and SHA-512 for the larger curves."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return None
    if isinstance(key, ec.EllipticCurvePrivateKey):
        larger: dict[str, Digest] = {"secp384r1": hashes.SHA384(), "secp521r1": hashes.SHA512()}
        return larger.get(key.curve.name, hashes.SHA256())
    return hashes.SHA256()


def sign_der(prepared: Prepared, issuer: Issuer | Myself) -> bytes:
    """Assemble the TBSCertificate (RFC 5280 §4.1) and sign it once.

    cryptography's builder takes three times as long as the signature itself; a property test holds this assembly
    to the builder's bytes.
    """
    tbs = der.sequence(
        _VERSION_3,
        der.integer(prepared.serial),
        issuer.algorithm,
        issuer.name,
        der.sequence(der.time(prepared.window.not_before), der.time(prepared.window.not_after)),
        prepared.subject,
        prepared.public_key,
        der.tlv(_EXTENSIONS_TAG, der.sequence(*prepared.extensions)),
    )
    return der.sequence(tbs, issuer.algorithm, der.bit_string(issuer.signature(tbs)))


def sign(prepared: Prepared, issuer: Issuer) -> x509.Certificate:
    """As `sign_der`, read back."""
    return x509.load_der_x509_certificate(sign_der(prepared, issuer))
