"""Name constraints of authorities (RFC 5280 §4.2.1.10): which names may be in certificates below them.

Every authority of a path counts by itself: a name must be permitted by each that speaks of its kind, and excluded by
none. DNS names, addresses, mailboxes and URIs are judged; other forms are `understood` by nobody here.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from cryptography import x509

from troth.x509 import X509Error
from troth.x509.domains import DNSSyntaxError, labels_of, parse_mailbox
from troth.x509.names import SubjectNames, parse_ip

_FORMS = (x509.DNSName, x509.IPAddress, x509.RFC822Name, x509.UniformResourceIdentifier)
_KINDS = ("DNS name", "IP address", "email address", "URI")


class NameConstraintError(X509Error):
    """A name lies outside of what an authority may certify."""


@dataclass(frozen=True, slots=True)
class Constraints:
    """What one authority's certificate says; `forms` are the values of one kind of name in the order of `_KINDS`."""

    authority: str
    permitted: tuple[tuple[object, ...], ...]
    excluded: tuple[tuple[object, ...], ...]
    understood: bool

    def check(self, names: SubjectNames) -> None:
        """Raises: NameConstraintError: a name is excluded, not permitted, or cannot be judged."""
        for index, values in enumerate((names.dns, names.ips, names.emails, names.uris)):
            permitted, excluded = self.permitted[index], self.excluded[index]
            for value in values if permitted or excluded else ():
                if any(_matches(index, value, one) for one in excluded):
                    raise NameConstraintError(f"{_KINDS[index]} {value!r} is excluded by {self.authority}")
                if permitted and not any(_matches(index, value, one) for one in permitted):
                    raise NameConstraintError(f"{_KINDS[index]} {value!r} is not permitted by {self.authority}")


def constraints_of(certificates: Iterable[x509.Certificate]) -> tuple[Constraints, ...]:
    """The name constraints of those authorities that have any."""
    found = []
    for certificate in certificates:
        try:
            value = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
        except x509.ExtensionNotFound:
            continue
        trees = [*(value.permitted_subtrees or []), *(value.excluded_subtrees or [])]
        found.append(
            Constraints(
                repr(certificate.subject.rfc4514_string()),
                _by_form(value.permitted_subtrees or []),
                _by_form(value.excluded_subtrees or []),
                all(isinstance(tree, _FORMS) for tree in trees),
            )
        )
    return tuple(found)


def _by_form(trees: Sequence[x509.GeneralName]) -> tuple[tuple[object, ...], ...]:
    return tuple(tuple(tree.value for tree in trees if isinstance(tree, form)) for form in _FORMS)


def _matches(index: int, name: str, constraint: object) -> bool:
    if index == 1:
        return _within(name, constraint)
    text = str(constraint)
    try:
        if index == 0:
            return _below(labels_of(name), text)
        if index == 2:
            return _of_mailbox(name, text)
        return _below(_host_labels(name), text)
    except DNSSyntaxError as error:
        raise NameConstraintError(f"{_KINDS[index]} {name!r} cannot be held against name constraints") from error


def _below(labels: Sequence[str], constraint: str) -> bool:
    """The domain itself or any name below it; with a leading period only those below. Empty matches all."""
    if not constraint:
        return True
    wanted = labels_of(constraint.removeprefix("."))
    longer = len(labels) > len(wanted)
    return tuple(labels[-len(wanted) :]) == wanted and (longer or not constraint.startswith("."))


def _within(name: str, network: object) -> bool:
    address = parse_ip(name)
    if not isinstance(network, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return False
    return address.version == network.version and address in network


def _of_mailbox(name: str, constraint: str) -> bool:
    """A mailbox exactly, all of a host, or with a leading period all of the hosts below a domain."""
    mailbox = parse_mailbox(name)
    if mailbox is None:
        raise DNSSyntaxError(f"{name!r} is not a mailbox")
    if "@" in constraint:
        return mailbox == parse_mailbox(constraint)
    if constraint and not constraint.startswith("."):
        return mailbox.domain == labels_of(constraint)
    return _below(mailbox.domain, constraint)


def _host_labels(uri: str) -> tuple[str, ...]:
    """A URI without a host name is refused where there are constraints for URIs."""
    try:
        host = urlsplit(uri).hostname or ""
    except ValueError:
        host = ""
    labels = labels_of(host)
    if labels[-1].isdigit() or ":" in host:
        raise DNSSyntaxError(f"{uri!r} names an address")
    return labels
