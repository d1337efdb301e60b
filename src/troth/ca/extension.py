"""The provisioner extension of step-ca, OID 1.3.6.1.4.1.37476.9000.64.1: which provisioner granted a certificate.

DER: ``SEQUENCE { INTEGER kind, OCTET STRING name, OCTET STRING credential id, SEQUENCE OF UTF8String OPTIONAL }``.
"""

from dataclasses import dataclass

from cryptography import x509

from troth.ca import CAError
from troth.x509 import der
from troth.x509.der import INTEGER, OCTET_STRING, PRINTABLE_STRING, SEQUENCE, UTF8_STRING, expect, tlv

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
        body = tlv(INTEGER, bytes([NUMBERS[self.kind]]))
        body += tlv(OCTET_STRING, self.name.encode()) + tlv(OCTET_STRING, self.credential_id.encode())
        if self.pairs:
            body += tlv(SEQUENCE, b"".join(tlv(UTF8_STRING, pair.encode()) for pair in self.pairs))
        return tlv(SEQUENCE, body)

    def to_extension(self) -> bytes:
        """As a non-critical certificate extension, encoded."""
        return der.extension(OID.dotted_string, self.to_der())


def parse(value: bytes) -> ProvisionerExtension:
    """Read the extension value.

    Raises:
        ExtensionError: it is not the structure above, or of an unknown kind.
    """
    try:
        body = expect(value, SEQUENCE)[0]
        number, body = expect(body, INTEGER)
        name, body = expect(body, OCTET_STRING)
        credential, body = expect(body, OCTET_STRING)
        pairs = []
        if body:
            strings = expect(body, SEQUENCE)[0]
            while strings:
                text, strings = expect(
                    strings, strings[0] if strings[0] in (UTF8_STRING, PRINTABLE_STRING) else UTF8_STRING
                )
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
