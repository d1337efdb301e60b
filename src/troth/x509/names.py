"""Subjects and subject alternative names, sorted into kinds the way step does it."""

import ipaddress
from collections.abc import Callable, Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from troth.x509 import X509Error


class NameSyntaxError(X509Error):
    """A name cannot be put into a certificate."""


class SubjectNames(NamedTuple):
    """Subject alternative names by kind, each kind in the order given."""

    dns: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()

    def as_set(self) -> frozenset[tuple[str, str]]:
        """All names as (kind, value), for comparing without order."""
        kinds = (("dns", self.dns), ("email", self.emails), ("ip", self.ips), ("uri", self.uris))
        return frozenset((kind, value) for kind, values in kinds for value in values)

    def general_names(self) -> list[x509.GeneralName]:
        """RFC 5280 GeneralNames in the order DNS, email, IP, URI.

        Raises:
            NameSyntaxError: a name is not encodable (for instance not ASCII).
        """
        return [
            *(_general_name(x509.DNSName, name) for name in self.dns),
            *(_general_name(x509.RFC822Name, name) for name in self.emails),
            *(_general_name(_ip_address, name) for name in self.ips),
            *(_general_name(x509.UniformResourceIdentifier, name) for name in self.uris),
        ]

    def __bool__(self) -> bool:
        return bool(self.dns or self.emails or self.ips or self.uris)


def _general_name(make: Callable[[str], x509.GeneralName], name: str) -> x509.GeneralName:
    try:
        return make(name)
    except ValueError as error:
        if name.isascii():
            raise NameSyntaxError(f"subject alternative name {name!r} is not valid: {error}") from error
        raise NameSyntaxError(
            f"subject alternative name {name!r} is not valid: expected ASCII, for a DNS name its xn-- form"
        ) from error


def parse_ip(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address as Go takes it: an IPv4 address written in IPv6's form (``::ffff:10.0.0.1``) is the IPv4 address.

    Raises:
        ValueError: it is no address.
    """
    address = ipaddress.ip_address(name)
    return getattr(address, "ipv4_mapped", None) or address


def _ip_address(name: str) -> x509.IPAddress:
    return x509.IPAddress(parse_ip(name))


def split_names(names: Iterable[str]) -> SubjectNames:
    """Sort names into kinds: IP literal, URI with a scheme, anything with ``@``, else DNS; empty ones are skipped.

    The rule is step's (``SplitSANs``): DNS names are not checked for syntax.
    """
    dns: list[str] = []
    emails: list[str] = []
    ips: list[str] = []
    uris: list[str] = []
    for name in names:
        if not name:
            continue
        address = _as_ip(name)
        if address is not None:
            ips.append(address)
        elif _is_uri(name):
            uris.append(name)
        elif "@" in name:
            emails.append(name)
        else:
            dns.append(name)
    return SubjectNames(tuple(dns), tuple(emails), tuple(ips), tuple(uris))


def _as_ip(name: str) -> str | None:
    if ":" not in name and not name[-1].isdigit():
        return None  # the cheap answer for most names: an IPv4 address ends in a digit
    try:
        return str(parse_ip(name))
    except ValueError:
        return None


def _is_uri(name: str) -> bool:
    try:
        return ":" in name and bool(urlsplit(name).scheme)
    except ValueError:
        return False


def common_name(name: x509.Name) -> str:
    """The first common name of a subject, or an empty text."""
    values = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(values[0].value) if values else ""


def alternative_names(extensions: x509.Extensions) -> SubjectNames:
    """The subject alternative names of a certificate or request; empty when there is no such extension."""
    try:
        value = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return SubjectNames()
    return SubjectNames(
        tuple(name.value for name in value if isinstance(name, x509.DNSName)),
        tuple(name.value for name in value if isinstance(name, x509.RFC822Name)),
        tuple(str(parse_ip(str(name.value))) for name in value if isinstance(name, x509.IPAddress)),
        tuple(name.value for name in value if isinstance(name, x509.UniformResourceIdentifier)),
    )
