"""Why a certificate is revoked: RFC 5280 §5.3.1 reason codes by number and by name."""

from troth.x509 import X509Error

REASONS = {
    0: "unspecified",
    1: "keyCompromise",
    2: "cACompromise",
    3: "affiliationChanged",
    4: "superseded",
    5: "cessationOfOperation",
    6: "certificateHold",
    8: "removeFromCRL",
    9: "privilegeWithdrawn",
    10: "aACompromise",
}


class ReasonError(X509Error):
    """A text is not a revocation reason."""


def parse_reason(text: str) -> int:
    """A reason code from its number or its name in any case, blanks ignored; empty is 0.

    Raises:
        ReasonError: RFC 5280 has no such reason (7 is not used).
    """
    plain = text.replace(" ", "").lower()
    if not plain:
        return 0
    for number, name in REASONS.items():
        if plain in (str(number), name.lower()):
            return number
    known = ", ".join(f"{number} {name}" for number, name in REASONS.items())
    raise ReasonError(f"unknown revocation reason {text!r}: expected one of {known}")
