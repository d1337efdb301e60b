"""RFC 7468 text encoding: split a text into blocks, and blocks into certificates."""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from troth.x509 import X509Error

MAX_PEM_BYTES = 4 * 1024 * 1024
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\s*(.*?)-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """One PEM block: its label (``CERTIFICATE``), its full text, and the decoded body (None when encrypted)."""

    label: str
    text: bytes
    der: bytes | None


def parse_blocks(data: bytes) -> list[Block]:
    """Every PEM block of a text, in order; text between blocks is ignored, as RFC 7468 §2 allows.

    Raises:
        X509Error: a block's body is not base64, or the text is larger than `MAX_PEM_BYTES`.
    """
    if len(data) > MAX_PEM_BYTES:
        raise X509Error(f"PEM text is too large: expected at most {MAX_PEM_BYTES} bytes, got {len(data)}")
    blocks = []
    for match in _BLOCK.finditer(data):
        body = match[2]
        der = None
        if b"Proc-Type:" not in body:
            try:
                der = base64.b64decode(b"".join(body.split()), validate=True)
            except binascii.Error as error:
                raise X509Error(f"PEM block {match[1].decode()} is not valid base64") from error
        blocks.append(Block(match[1].decode(), match[0] + b"\n", der))
    return blocks


def parse_certificates(data: bytes, what: str = "input") -> list[x509.Certificate]:
    """The certificates of a PEM bundle, or of one DER certificate; at least one.

    Args:
        data: PEM or DER bytes.
        what: how to name the input in an error, for instance a path.

    Raises:
        X509Error: nothing in it is a certificate, or one of them cannot be read.
    """
    if data[:1] == b"\x30":
        return [parse_certificate_der(data, what)]
    blocks = parse_blocks(data)
    ders = [block.der for block in blocks if block.label in ("CERTIFICATE", "X509 CERTIFICATE")]
    if not ders:
        raise X509Error(f"{what} contains no certificate: expected a PEM CERTIFICATE block{instead(data, blocks)}")
    return [parse_certificate_der(der or b"", what) for der in ders]


def instead(data: bytes, blocks: Sequence[Block]) -> str:
    """What a text holds where something else was expected, for the end of an error: ``, got EC PRIVATE KEY``."""
    if blocks:
        return f", got {blocks[0].label}"
    return "" if data.strip() else ", got nothing"


def parse_certificate_der(der: bytes, what: str = "input") -> x509.Certificate:
    """One DER certificate, with its extensions decoded so that a broken one fails here and not later.

    Raises:
        X509Error: the bytes are not a certificate.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        _ = certificate.extensions
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise X509Error(f"{what} is not a readable certificate: {error}") from error
    return certificate


def to_pem(certificate: x509.Certificate) -> str:
    """One certificate as a PEM block with a final newline."""
    return certificate.public_bytes(Encoding.PEM).decode()


def bundle_to_pem(certificates: list[x509.Certificate]) -> str:
    """Certificates one after another, leaf first as the caller ordered them."""
    return "".join(to_pem(certificate) for certificate in certificates)


def der_to_pem(der: bytes, label: str) -> str:
    """DER bytes as a PEM block with 64 characters a line."""
    text = base64.b64encode(der).decode()
    lines = [text[i : i + 64] for i in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])
