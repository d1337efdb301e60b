"""Serial numbers as people write them (RFC 5280 §4.1.2.2: a positive integer of at most 20 octets)."""

from cryptography import x509

from troth.x509 import X509Error

MAX_SERIAL = 2**160


class SerialError(X509Error):
    """A text is not a certificate serial number."""


def parse_serial(text: str) -> int:
    """Read a decimal serial number, or one prefixed ``0x``, ``0o`` or ``0b``.

    Raises:
        SerialError: it is none, or out of range.
    """
    plain = text.strip()
    try:
        number = int(plain, 0) if plain[:2].lower() in ("0x", "0o", "0b") else int(plain)
    except ValueError:
        number = -1
    if not plain.isascii() or "_" in plain or plain[:1] in "+-" or not 0 <= number < MAX_SERIAL:
        raise SerialError(f"invalid serial number {text!r}: expected decimal digits, or 0x and hexadecimal digits")
    return number


def format_serial_hex(certificate: x509.Certificate) -> str:
    """The serial in hexadecimal with colons, two digits an octet."""
    digits = f"{certificate.serial_number:x}"
    digits = digits.zfill(len(digits) + len(digits) % 2)
    return ":".join(digits[i : i + 2] for i in range(0, len(digits), 2))
