"""Reading step's provisioner extension: which provisioner granted a certificate (OID 1.3.6.1.4.1.37476.9000.64.1)."""

from dataclasses import dataclass

from cryptography import x509

from troth.x509 import X509Error

OID = x509.ObjectIdentifier("1.3.6.1.4.1.37476.9000.64.1")
KINDS = ("", "JWK", "OIDC", "GCP", "AWS", "Azure", "ACME", "X5C", "K8sSA", "SSHPOP", "SCEP", "Nebula")
_SEQUENCE, _INTEGER, _OCTETS = 0x30, 0x02, 0x04


@dataclass(frozen=True, slots=True)
class ProvisionedBy:
    """The provisioner that granted a certificate; `pairs` is what cloud provisioners add."""

    kind: str
    name: str
    credential_id: str
    pairs: tuple[tuple[str, str], ...] = ()


def provisioned_by(extensions: x509.Extensions) -> ProvisionedBy | None:
    """What the extension says; None when there is none, or it is not as step writes it."""
    try:
        value = extensions.get_extension_for_oid(OID).value
    except x509.ExtensionNotFound:
        return None
    try:
        return parse_extension(value.public_bytes())
    except X509Error:
        return None


def parse_extension(der: bytes) -> ProvisionedBy:
    """``SEQUENCE { INTEGER kind, OCTET STRING name, OCTET STRING credential, SEQUENCE OF string OPTIONAL }``.

    Raises:
        X509Error: the bytes are something else.
    """
    fields = _split(_only(der, _SEQUENCE))
    tags = [tag for tag, _ in fields]
    if tags[:3] != [_INTEGER, _OCTETS, _OCTETS]:
        raise X509Error("provisioner extension is malformed")
    number = int.from_bytes(fields[0][1], "big")
    strings = [_text(body) for _, body in _split(fields[3][1])] if len(fields) > 3 else []
    kind = KINDS[number] if 0 < number < len(KINDS) else f"unknown ({number})"
    pairs = tuple(zip(strings[::2], strings[1::2], strict=False))
    return ProvisionedBy(kind, _text(fields[1][1]), _text(fields[2][1]), pairs)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _only(der: bytes, tag: int) -> bytes:
    items = _split(der)
    if len(items) != 1 or items[0][0] != tag:
        raise X509Error("provisioner extension is malformed")
    return items[0][1]


def _split(der: bytes) -> list[tuple[int, bytes]]:
    """The DER items side by side in a text (X.690 §8.1: tag, length, content; lengths up to two octets)."""
    items = []
    at = 0
    while at < len(der):
        if at + 2 > len(der):
            raise X509Error("provisioner extension is cut off")
        tag, length = der[at], der[at + 1]
        at += 2
        if length in (0x81, 0x82):
            octets = length & 0x7F
            length = int.from_bytes(der[at : at + octets], "big")
            at += octets
        elif length > 0x7F:
            raise X509Error("provisioner extension is too long")
        if at + length > len(der):
            raise X509Error("provisioner extension is cut off")
        items.append((tag, der[at : at + length]))
        at += length
    return items
