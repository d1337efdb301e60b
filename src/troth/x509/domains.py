"""Domain names and mailboxes taken apart, to be compared with the entries of policies and name constraints."""

import re
from typing import NamedTuple

from troth.x509 import X509Error

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_ATOM = re.compile(r"[0-9A-Za-z!#$%&'*+/=?^_`{|}~-]+(\.[0-9A-Za-z!#$%&'*+/=?^_`{|}~-]+)*")
_QUOTED = re.compile(r'"(?:[^"\\\x00\n\r\x80-\U0010ffff]|\\[^\x00\n\r\x80-\U0010ffff])*"')
_VISIBLE = re.compile(r"[!-~]+")


class DNSSyntaxError(X509Error):
    """A text is not a domain name."""


class Mailbox(NamedTuple):
    """An address of RFC 2821 §4.1.2: the local part exactly, the domain as lower-case labels, the host first."""

    local: str
    domain: tuple[str, ...]


def ascii_domain(text: str) -> str:
    """A domain name in lower case, international labels in their ASCII form (UTS 46, as for a look-up).

    Raises:
        DNSSyntaxError: a label is not letters, digits and hyphens.
    """
    plain = text.lower()
    if not plain.isascii() or "xn--" in plain:
        import idna

        try:
            plain = idna.encode(plain, uts46=True, std3_rules=True).decode()
        except idna.IDNAError as error:
            raise DNSSyntaxError(f"domain {text!r} has no ASCII form") from error
    for label in plain.split("."):
        if not _LABEL.fullmatch(label) or (label[2:4] == "--" and not label.startswith("xn--")):
            raise DNSSyntaxError(f"{text!r} is not a domain name")
    return plain


def labels_of(domain: str) -> tuple[str, ...]:
    """The labels of a domain name, lower case, in writing order.

    Raises:
        DNSSyntaxError: a label is empty or has a character that is not visible ASCII.
    """
    labels = tuple(domain.lower().split("."))
    if not all(_VISIBLE.fullmatch(label) for label in labels):
        raise DNSSyntaxError(f"{domain!r} is not a domain name")
    return labels


def parse_mailbox(text: str) -> Mailbox | None:
    """An email address taken apart; None when it is not one."""
    quoted = _QUOTED.match(text)
    local, at, domain = (
        (quoted[0], text[quoted.end() :][:1], text[quoted.end() + 1 :]) if quoted else text.partition("@")
    )
    if at != "@":
        return None
    if quoted:
        local = re.sub(r"\\(.)", r"\1", local[1:-1])
    elif not _ATOM.fullmatch(local):
        return None
    try:
        return Mailbox(local, labels_of(domain if domain.isascii() else ascii_domain(domain)))
    except DNSSyntaxError:
        return None
