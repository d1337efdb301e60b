"""Certificates and requests for people: the layout of ``openssl x509 -text`` and step's short form."""

from collections.abc import Iterable
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, ObjectIdentifier

from troth.x509.keys import CURVES, describe_key
from troth.x509.names import SubjectNames, alternative_names, common_name
from troth.x509.provisioned import OID as PROVISIONER_OID
from troth.x509.provisioned import provisioned_by

Holder = x509.Certificate | x509.CertificateSigningRequest

ATTRIBUTE_NAMES = {
    "2.5.4.3": "CN",
    "2.5.4.5": "SERIALNUMBER",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.17": "POSTALCODE",
    "1.2.840.113549.1.9.1": "emailAddress",
}
SIGNATURE_NAMES = {
    "1.2.840.10045.4.3.2": "ECDSA-SHA256",
    "1.2.840.10045.4.3.3": "ECDSA-SHA384",
    "1.2.840.10045.4.3.4": "ECDSA-SHA512",
    "1.2.840.113549.1.1.5": "SHA1-RSA",
    "1.2.840.113549.1.1.10": "SHA256-RSAPSS",
    "1.2.840.113549.1.1.11": "SHA256-RSA",
    "1.2.840.113549.1.1.12": "SHA384-RSA",
    "1.2.840.113549.1.1.13": "SHA512-RSA",
    "1.3.101.112": "Ed25519",
}
USAGE_NAMES = {
    "digital_signature": "Digital Signature",
    "content_commitment": "Content Commitment",
    "key_encipherment": "Key Encipherment",
    "data_encipherment": "Data Encipherment",
    "key_agreement": "Key Agreement",
    "key_cert_sign": "Certificate Sign",
    "crl_sign": "CRL Sign",
    "encipher_only": "Encipher Only",
    "decipher_only": "Decipher Only",
}
PURPOSE_NAMES = {
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE: "Any Usage",
    ExtendedKeyUsageOID.SERVER_AUTH: "Server Authentication",
    ExtendedKeyUsageOID.CLIENT_AUTH: "Client Authentication",
    ExtendedKeyUsageOID.CODE_SIGNING: "Code Signing",
    ExtendedKeyUsageOID.EMAIL_PROTECTION: "Email Protection",
    ExtendedKeyUsageOID.TIME_STAMPING: "Time Stamping",
    ExtendedKeyUsageOID.OCSP_SIGNING: "OCSP Signing",
}


def certificate_text(certificate: x509.Certificate) -> str:
    """The long form of a certificate, as ``step certificate inspect`` prints it."""
    serial = certificate.serial_number
    algorithm = signature_name(certificate)
    lines = [
        "Certificate:",
        "    Data:",
        "        Version: 3 (0x2)",
        f"        Serial Number: {serial} ({_hex_number(serial)})",
        f"        Signature Algorithm: {algorithm}",
        f"        Issuer: {name_text(certificate.issuer)}",
        "        Validity",
        f"            Not Before: {_moment(certificate.not_valid_before_utc)}",
        f"            Not After : {_moment(certificate.not_valid_after_utc)}",
        f"        Subject: {name_text(certificate.subject)}",
        *_indented(8, _key_lines(certificate)),
    ]
    if len(certificate.extensions):
        lines += ["        X509v3 extensions:", *_indented(12, _extension_lines(certificate.extensions))]
    lines += [f"    Signature Algorithm: {algorithm}", *_hex_lines(certificate.signature, 18, 9)]
    return "\n".join(lines) + "\n"


def request_text(request: x509.CertificateSigningRequest) -> str:
    """The long form of a certificate request."""
    lines = [
        "Certificate Request:",
        "    Data:",
        "        Version: 0 (0x0)",
        f"        Subject: {name_text(request.subject)}",
        *_indented(8, _key_lines(request)),
    ]
    if len(request.extensions):
        lines += ["        Requested Extensions:", *_indented(12, _extension_lines(request.extensions))]
    lines += [f"    Signature Algorithm: {signature_name(request)}", *_hex_lines(request.signature, 18, 9)]
    return "\n".join(lines) + "\n"


def short_text(holder: Holder) -> str:
    """A few lines: what it is, who, by whom, until when."""
    names = _short_names(holder)
    key = describe_key(holder.public_key())
    if isinstance(holder, x509.CertificateSigningRequest):
        return "\n".join([f"X.509v3 Certificate Signing Request ({key})", *_listed("Subject", names)]) + "\n"
    lines = [
        f"X.509v3 {_role(holder)} Certificate ({key}) [Serial: {_abbreviated(str(holder.serial_number))}]",
        *_listed("Subject", names),
        *_listed("Issuer", [common_name(holder.issuer) or name_text(holder.issuer)]),
    ]
    granted = provisioned_by(holder.extensions)
    if granted is not None:
        identity = f" [ID: {_abbreviated(granted.credential_id)}]" if granted.credential_id else ""
        lines += _listed("Provisioner", [granted.name + identity])
    lines += _listed("Valid from", [f"{holder.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}"])
    lines += [f"          to:  {holder.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"]
    return "\n".join(lines) + "\n"


def name_text(name: x509.Name) -> str:
    """A distinguished name in the order of its encoding: ``O=T,CN=T Root CA``."""
    return ",".join(f"{attribute_name(a.oid)}={a.value!s}" for a in name)


def attribute_name(oid: ObjectIdentifier) -> str:
    """The usual short name of a subject attribute, else its OID."""
    return ATTRIBUTE_NAMES.get(oid.dotted_string, oid.dotted_string)


def signature_name(holder: Holder) -> str:
    """The signature algorithm as step names it, else its OID."""
    oid = holder.signature_algorithm_oid.dotted_string
    return SIGNATURE_NAMES.get(oid, oid)


def usage_names(usage: x509.KeyUsage) -> list[str]:
    """The names, as attributes, of the bits set in a key usage."""
    # encipher_only and decipher_only mean nothing, and raise, without key_agreement (RFC 5280 §4.2.1.3).
    names = list(USAGE_NAMES) if usage.key_agreement else list(USAGE_NAMES)[:-2]
    return [name for name in names if getattr(usage, name)]


def _role(certificate: x509.Certificate) -> str:
    try:
        authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        authority = False
    if not authority:
        return "TLS"
    return "Root CA" if certificate.subject == certificate.issuer else "Intermediate CA"


def _short_names(holder: Holder) -> list[str]:
    names = _flat(alternative_names(holder.extensions))
    first = common_name(holder.subject)
    return list(dict.fromkeys([first, *names] if first else names)) or [name_text(holder.subject)]


def _flat(names: SubjectNames) -> list[str]:
    return [*names.dns, *names.emails, *names.ips, *names.uris]


def _listed(label: str, values: list[str]) -> list[str]:
    return [f"  {label + ':' if not index else '':<13}{value}" for index, value in enumerate(values)]


def _abbreviated(text: str) -> str:
    return text if len(text) <= 12 else f"{text[:4]}...{text[-4:]}"


def _hex_number(number: int) -> str:
    """Whole octets, as the number is encoded."""
    return "0x" + number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big").hex()


def _moment(moment: datetime) -> str:
    return f"{moment:%b} {moment.day:>2} {moment:%H:%M:%S %Y} UTC"


def _indented(width: int, lines: Iterable[str]) -> list[str]:
    return [" " * width + line for line in lines]


def _hex_lines(data: bytes, per_line: int, indent: int) -> list[str]:
    rows = [data[i : i + per_line] for i in range(0, len(data), per_line)]
    text = [":".join(f"{octet:02x}" for octet in row) for row in rows]
    return _indented(indent, [row + (":" if index < len(text) - 1 else "") for index, row in enumerate(text)])


def _magnitude(number: int) -> bytes:
    """Big-endian without leading zero octets, as step prints numbers: coordinates too, whatever the curve's size."""
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _key_lines(holder: Holder) -> list[str]:
    key = holder.public_key()
    head = ["Subject Public Key Info:"]
    if isinstance(key, ec.EllipticCurvePublicKey):
        numbers, size = key.public_numbers(), key.curve.key_size
        curve = next((name for name, kind in CURVES.items() if isinstance(key.curve, kind)), key.curve.name)
        return [
            *head,
            "    Public Key Algorithm: ECDSA",
            f"        Public-Key: ({size} bit)",
            *("        X:", *_hex_lines(_magnitude(numbers.x), 15, 12)),
            *("        Y:", *_hex_lines(_magnitude(numbers.y), 15, 12)),
            f"        Curve: {curve}",
        ]
    if isinstance(key, rsa.RSAPublicKey):
        public = key.public_numbers()
        return [
            *head,
            "    Public Key Algorithm: RSA",
            f"        Public-Key: ({key.key_size} bit)",
            *("        Modulus:", *_hex_lines(_magnitude(public.n), 15, 12)),
            f"        Exponent: {public.e} ({public.e:#x})",
        ]
    if isinstance(key, ed25519.Ed25519PublicKey):
        raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return [
            *(*head, "    Public Key Algorithm: Ed25519", "        Public-Key: (32 bit)"),
            *_hex_lines(raw, 15, 12),
        ]
    return [*head, f"    Public Key Algorithm: {describe_key(key)}"]


def _extension_lines(extensions: x509.Extensions) -> list[str]:
    lines = []
    for extension in extensions:
        title, values = _extension(extensions, extension)
        lines.append(f"{title}:{' critical' if extension.critical else ''}")
        lines += _indented(4, values)
    return lines


def _extension(extensions: x509.Extensions, extension: x509.Extension[x509.ExtensionType]) -> tuple[str, list[str]]:
    value = extension.value
    if extension.oid == PROVISIONER_OID:
        return _provisioner(extensions, value)
    match value:
        case x509.KeyUsage():
            return "X509v3 Key Usage", [", ".join(USAGE_NAMES[name] for name in usage_names(value))]
        case x509.ExtendedKeyUsage():
            purposes = [PURPOSE_NAMES.get(oid, oid.dotted_string) for oid in value]
            return "X509v3 Extended Key Usage", [", ".join(purposes)]
        case x509.BasicConstraints():
            length = "" if value.path_length is None else f", pathlen:{value.path_length}"
            return "X509v3 Basic Constraints", [f"CA:{str(value.ca).upper()}{length}"]
        case x509.SubjectKeyIdentifier():
            return "X509v3 Subject Key Identifier", [_colons(value.digest)]
        case x509.AuthorityKeyIdentifier():
            return "X509v3 Authority Key Identifier", [_colons(value.key_identifier or b"")]
        case x509.SubjectAlternativeName():
            return "X509v3 Subject Alternative Name", [_general_name(name) for name in value]
        case x509.CRLDistributionPoints():
            names = [_general_name(name) for point in value for name in point.full_name or ()]
            return "X509v3 CRL Distribution Points", ["Full Name:", *_indented(4, names)]
        case x509.AuthorityInformationAccess():
            return "Authority Information Access", [_access(description) for description in value]
        case x509.CertificatePolicies():
            policies = [f"Policy: {policy.policy_identifier.dotted_string}" for policy in value]
            return "X509v3 Certificate Policies", policies
    return extension.oid.dotted_string, [_colons(value.public_bytes())]


def _provisioner(extensions: x509.Extensions, value: x509.ExtensionType) -> tuple[str, list[str]]:
    granted = provisioned_by(extensions)
    if granted is None:
        return "X509v3 Step Provisioner", [_colons(value.public_bytes())]
    lines = [f"Type: {granted.kind}", f"Name: {granted.name}"]
    lines += [f"CredentialID: {granted.credential_id}"] if granted.credential_id else []
    return "X509v3 Step Provisioner", lines + [f"{key}: {text}" for key, text in granted.pairs]


def _colons(data: bytes) -> str:
    return ":".join(f"{octet:02X}" for octet in data)


def _access(description: x509.AccessDescription) -> str:
    known = {AuthorityInformationAccessOID.OCSP: "OCSP", AuthorityInformationAccessOID.CA_ISSUERS: "CA Issuers"}
    method = known.get(description.access_method, description.access_method.dotted_string)
    return f"{method} - {_general_name(description.access_location)}"


def _general_name(name: x509.GeneralName) -> str:
    kinds = (
        (x509.DNSName, "DNS"),
        (x509.RFC822Name, "email"),
        (x509.IPAddress, "IP Address"),
        (x509.UniformResourceIdentifier, "URI"),
    )
    label = next((label for kind, label in kinds if isinstance(name, kind)), type(name).__name__)
    return f"{label}:{name.value}"
