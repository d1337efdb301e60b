"""The provisioner extension of step-ca, OID 1.3.6.1.4.1.37476.9000.64.1: which provisioner granted a certificate.

DER: ``SEQUENCE { INTEGER kind, OCTET STRING name, OCTET STRING credential id, SEQUENCE OF UTF8String OPTIONAL }``.
"""

from dataclasses import dataclass

from cryptography import x509

from troth.ca import CAError

OID = x509.ObjectIdentifier("1.3.6.1.4.1.37476.9000.64.1")
KINDS = {
    1: "JWK",
    2: "OIDC",
    3: "GCP",
    4: "AWS",
    5: "Azure",
    6: "ACME",
    7: "X5C",
    8: "K8sSA",
    9: "SSHPOP",
    10: "SCEP",
    11: "Nebula",
}
NUMBERS = {name: number for number, name in KINDS.items()}
_INTEGER, _OCTETS, _SEQUENCE, _UTF8, _PRINTABLE = 0x02, 0x04, 0x30, 0x0C, 0x13


class ExtensionError(CAError):
    """The extension's bytes are not what step-ca writes."""


@dataclass(frozen=True, slots=True)
class ProvisionerExtension:
    """Kind (``JWK`` ...), provisioner name, credential id (for JWK the key id), and flat key-value pairs."""

    kind: str
    name: str
    credential_id: str = ""
    pairs: tuple[str, ...] = ()

    def to_der(self) -> bytes:
        """The extension value."""
        body = _tlv(_INTEGER, bytes([NUMBERS[self.kind]]))
        body += _tlv(_OCTETS, self.name.encode()) + _tlv(_OCTETS, self.credential_id.encode())
        if self.pairs:
            body += _tlv(_SEQUENCE, b"".join(_tlv(_UTF8, pair.encode()) for pair in self.pairs))
        return _tlv(_SEQUENCE, body)

    def to_extension(self) -> x509.Extension[x509.UnrecognizedExtension]:
        """As a non-critical certificate extension."""
        return x509.Extension(OID, False, x509.UnrecognizedExtension(OID, self.to_der()))


def parse(der: bytes) -> ProvisionerExtension:
    """Read the extension value.

    Raises:
        ExtensionError: it is not the structure above, or of an unknown kind.
    """
    try:
        body = _expect(der, _SEQUENCE)[0]
        number, body = _expect(body, _INTEGER)
        name, body = _expect(body, _OCTETS)
        credential, body = _expect(body, _OCTETS)
        pairs = []
        if body:
            strings = _expect(body, _SEQUENCE)[0]
            while strings:
                text, strings = _expect(strings, strings[0] if strings[0] in (_UTF8, _PRINTABLE) else _UTF8)
                pairs.append(text.decode())
        return ProvisionerExtension(KINDS[int.from_bytes(number)], name.decode(), credential.decode(), tuple(pairs))
    except (IndexError, KeyError, UnicodeDecodeError, ValueError) as error:
        raise ExtensionError("provisioner extension is malformed") from error


def of(certificate: x509.Certificate) -> ProvisionerExtension | None:
    """The extension of a certificate, or None when it has none.

    Raises:
        ExtensionError: it has one that cannot be read.
    """
    try:
        value = certificate.extensions.get_extension_for_oid(OID).value
    except x509.ExtensionNotFound:
        return None
    return parse(value.public_bytes())


def _tlv(tag: int, value: bytes) -> bytes:
    length = len(value)
    if length < 128:
        return bytes([tag, length]) + value
    size = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(size)]) + size + value


def _expect(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """Split the first element off: (its value, what follows)."""
    if data[0] != tag:
        raise ValueError(f"expected tag {tag}, got {data[0]}")
    length, start = data[1], 2
    if length & 0x80:
        count = length & 0x7F
        length, start = int.from_bytes(data[2 : 2 + count]), 2 + count
    if len(data) < start + length:
        raise ValueError("truncated")
    return data[start : start + length], data[start + length :]
