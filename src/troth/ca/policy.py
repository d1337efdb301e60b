"""Name policies: which names an authority, or one provisioner, may put into a certificate.

The form and the rules are step-ca's (``authority.policy`` of ca.json): a name that a deny entry matches is refused;
once there is an allow entry of any kind, every other name is refused too, also of kinds without an allow entry. A
policy without entries restricts nothing. Where step-ca forgets its own rules we do not; `docs/divergences.md` says
where.
"""

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import urlsplit

from troth.ca import ConfigurationError, ForbiddenError
from troth.x509.domains import DNSSyntaxError, Mailbox, ascii_domain, labels_of, parse_mailbox
from troth.x509.names import SubjectNames, parse_ip, split_names

KINDS = ("cn", "dns", "ip", "email", "uri")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


@dataclass(frozen=True, slots=True)
class Domain:
    """Matches a domain name label by label, or, with a leading ``*.``, exactly one more label."""

    labels: tuple[str, ...]
    deeper: bool = False

    def matches(self, labels: Sequence[str]) -> bool:
        return tuple(labels[self.deeper :]) == self.labels


@dataclass(frozen=True, slots=True)
class Rules:
    """The entries of one side, ``allow`` or ``deny``."""

    cn: frozenset[str] = frozenset()
    dns: tuple[Domain, ...] = ()
    ip: tuple[Network, ...] = ()
    email: tuple[Domain | Mailbox, ...] = ()
    uri: tuple[Domain, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.cn or self.dns or self.ip or self.email or self.uri)

    def matches_dns(self, labels: Sequence[str]) -> bool:
        return any(entry.matches(labels) for entry in self.dns)

    def matches_ip(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        return any(address.version == network.version and address in network for network in self.ip)

    def matches_email(self, mailbox: Mailbox) -> bool:
        return any(
            entry == mailbox if isinstance(entry, Mailbox) else entry.matches(mailbox.domain) for entry in self.email
        )

    def matches_uri(self, labels: Sequence[str]) -> bool:
        return any(entry.matches(labels) for entry in self.uri)


@dataclass(frozen=True, slots=True)
class Policy:
    """What one level says; `what` names the level in a refusal."""

    what: str
    allow: Rules
    deny: Rules
    wildcards: bool = False

    def check(self, common_name: str, names: SubjectNames) -> None:
        """Judge the names a certificate shall have; an empty common name is none.

        Raises:
            ForbiddenError: one of them is not allowed; the message names it, its kind and the level.
        """
        if not (self.allow or self.deny):
            return
        self.check_names(names)
        if common_name:
            self._common_name(common_name)

    def check_names(self, names: SubjectNames) -> None:
        """As `check`, for subject alternative names alone (orders have no subject).

        Raises:
            ForbiddenError: one of them is not allowed.
        """
        if not (self.allow or self.deny):
            return
        for kind, values in zip(
            ("dns", "ip", "email", "uri"), (names.dns, names.ips, names.emails, names.uris), strict=True
        ):
            for value in values:
                self._judge(kind, kind, value)

    def _common_name(self, name: str) -> None:
        """A common name has entries of its own; one they do not speak of is judged as the name it looks like."""
        plain = name.lower()
        if plain in self.deny.cn:
            self._refuse("cn", name, "denied")
        if plain in self.allow.cn:
            return
        names = split_names([name])
        kinds = {"dns": names.dns, "ip": names.ips, "email": names.emails, "uri": names.uris}
        for kind, values in kinds.items():
            for value in values:
                self._judge(kind, "cn", value)

    def _judge(self, kind: str, shown: str, name: str) -> None:
        matches = _MATCHERS[kind](self, shown, name)
        if matches(self.deny):
            self._refuse(shown, name, "denied")
        if self.allow and not matches(self.allow):
            self._refuse(shown, name, "not among the allowed names")

    def _refuse(self, kind: str, name: str, why: str) -> NoReturn:
        raise ForbiddenError(f"{kind} name {name!r} is not allowed by the policy of {self.what}: {why}")


def _match_dns(policy: Policy, shown: str, name: str) -> Callable[[Rules], bool]:
    wildcard = name.startswith("*.")
    if wildcard and not policy.wildcards:
        policy._refuse(shown, name, "wildcard names are not allowed")
    try:
        labels = labels_of(ascii_domain(name[2:] if wildcard else name))
    except DNSSyntaxError as error:
        policy._refuse(shown, name, error.message)
    asked = ("*", *labels) if wildcard else labels
    return lambda rules: rules.matches_dns(asked)


def _match_ip(policy: Policy, shown: str, name: str) -> Callable[[Rules], bool]:
    address = parse_ip(name)
    return lambda rules: rules.matches_ip(address)


def _match_email(policy: Policy, shown: str, name: str) -> Callable[[Rules], bool]:
    mailbox = parse_mailbox(name)
    if mailbox is None:
        policy._refuse(shown, name, "it is not a mailbox that can be judged")
    return lambda rules: rules.matches_email(mailbox)


def _match_uri(policy: Policy, shown: str, name: str) -> Callable[[Rules], bool]:
    """Only the host of a URI is judged (RFC 5280 §4.2.1.10); one without a host name matches nothing and is refused."""
    if not (policy.allow.uri or policy.deny.uri):
        return lambda _: False
    try:
        host = urlsplit(name).hostname or ""
        labels = labels_of(host)
        if not host or "*" in host or _is_address(host):
            raise DNSSyntaxError("it names no host that can be judged")
    except (ValueError, DNSSyntaxError):
        policy._refuse(shown, name, "it names no host that can be judged")
    return lambda rules: rules.matches_uri(labels)


_MATCHERS = {"dns": _match_dns, "ip": _match_ip, "email": _match_email, "uri": _match_uri}


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def parse_policy(raw: object, what: str, where: str, *, strict: bool = False) -> Policy | None:
    """A policy object, ``{"x509": {"allow": {...}, "deny": {...}, "allowWildcardNames": false}}``.

    Args:
        raw: the object; None is no policy.
        what: whose policy it is, for refusals (``the authority``).
        where: where it stands, for errors (``ca.json: authority.policy``).
        strict: refuse members nobody knows; ca.json's are ignored, as step-ca does.

    Raises:
        ConfigurationError: it is malformed; the message names the entry.
    """
    if raw is None:
        return None
    known = ("x509", "ssh")
    x509 = _members(_members(raw, where, known, strict).get("x509"), f"{where}.x509", _X509_MEMBERS, strict)
    wildcards = x509.get("allowWildcardNames") or False
    if not isinstance(wildcards, bool):
        raise ConfigurationError(f"{where}.x509.allowWildcardNames: expected true or false, got {wildcards!r}")
    allow = _rules(x509.get("allow"), f"{where}.x509.allow", strict)
    deny = _rules(x509.get("deny"), f"{where}.x509.deny", strict)
    return Policy(what, allow, deny, wildcards) if allow or deny else None


_X509_MEMBERS = ("allow", "deny", "allowWildcardNames")


def _members(raw: object, where: str, known: Sequence[str], strict: bool) -> Mapping[str, Any]:
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{where}: expected an object, got {raw!r}")
    foreign = [name for name in raw if name not in known]
    if foreign and strict:
        raise ConfigurationError(f"{where}: unknown member {foreign[0]!r}, expected {', '.join(known)}")
    return raw


def _rules(raw: object, where: str, strict: bool) -> Rules:
    sides = _members(raw, where, KINDS, strict)
    entries: dict[str, list[str]] = {}
    for kind in KINDS:
        values = sides.get(kind) or []
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise ConfigurationError(f"{where}.{kind}: expected a list of texts, got {values!r}")
        entries[kind] = values
    return Rules(
        frozenset(_each(entries["cn"], f"{where}.cn", parse_common_name)),
        tuple(_each(entries["dns"], f"{where}.dns", parse_domain)),
        tuple(_each(entries["ip"], f"{where}.ip", parse_network)),
        tuple(_each(entries["email"], f"{where}.email", parse_email)),
        tuple(_each(entries["uri"], f"{where}.uri", parse_uri)),
    )


def _each(values: Sequence[str], where: str, parse: Callable[[str], Any]) -> list[Any]:
    parsed = []
    for value in values:
        try:
            parsed.append(parse(value))
        except (ValueError, DNSSyntaxError) as error:
            reason = error.message if isinstance(error, DNSSyntaxError) else str(error)
            raise ConfigurationError(f"{where}: {value!r} cannot be used: {reason}") from error
    return parsed


def parse_common_name(text: str) -> str:
    """A common name, compared without case. Raises: ValueError: it is empty, or the wildcard alone."""
    plain = text.strip().lower()
    if not plain or plain == "*":
        raise ValueError("expected a common name, written out")
    return plain


def parse_domain(text: str) -> Domain:
    """``name.example`` or ``*.example``. Raises: ValueError, DNSSyntaxError: it is something else."""
    plain = text.strip().lower()
    wildcard = plain.startswith("*.")
    rest = plain[2:] if wildcard else plain
    if "*" in rest:
        raise ValueError("a wildcard is one whole label in front, as in *.example.com")
    if not rest or rest.startswith("."):
        raise ValueError("expected a domain such as www.example.com or *.example.com")
    return Domain(labels_of(ascii_domain(rest)), wildcard)


def parse_network(text: str) -> Network:
    """An address or a range such as ``10.0.0.0/8``. Raises: ValueError: it is neither."""
    _, slash, prefix = text.partition("/")
    if "%" in text or (slash and not (prefix.isascii() and prefix.isdigit())):
        raise ValueError("expected an IP address or a range such as 10.0.0.0/8")
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise ValueError("expected an IP address or a range such as 10.0.0.0/8") from error
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        inner = network.network_address.ipv4_mapped
        assert inner is not None
        return ipaddress.IPv4Network((inner, network.prefixlen - 96))
    return network


def parse_email(text: str) -> Domain | Mailbox:
    """``jane@example.com`` or ``@example.com``. Raises: ValueError, DNSSyntaxError: it is something else."""
    plain = text.strip().lower()
    if "*" in plain or plain.count("@") > 1:
        raise ValueError("expected jane@example.com, or @example.com for all of a domain")
    if "@" in plain.removeprefix("@"):
        mailbox = parse_mailbox(plain)
        if mailbox is None:
            raise ValueError("expected a mailbox such as jane@example.com")
        return mailbox
    if not plain.removeprefix("@") or plain.removeprefix("@").startswith("."):
        raise ValueError("expected jane@example.com, or @example.com for all of a domain")
    return Domain(labels_of(ascii_domain(plain.removeprefix("@"))))


def parse_uri(text: str) -> Domain:
    """The host of URIs, as a domain. Raises: ValueError, DNSSyntaxError: it has a scheme or port, or is an address."""
    if "://" in text:
        raise ValueError("expected the host alone, without a scheme")
    if ":" in text or "[" in text or "]" in text or _is_address(text.strip()):
        raise ValueError("expected the name of a host, without a port; addresses cannot be matched")
    return parse_domain(text)
