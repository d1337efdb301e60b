"""nginx refuses the upstream's certificate: 502, and the line says which check failed."""

import re

from cryptography import x509

from troth.nginx.diagnosis.rule import LOG, Rule
from troth.nginx.diagnosis.situation import Situation
from troth.nginx.material import is_root
from troth.nginx.target import is_address


def _code(number: int) -> str:
    return rf"upstream SSL certificate verify error: \({number}:"


_ANY = r"upstream SSL certificate verify error: \(\d+:"


def _ends(one: x509.Certificate) -> str:
    return f"{one.subject.rfc4514_string()} ended at {one.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"


def _leaf_ended(_: "re.Match[str]", situation: Situation) -> str | None:
    if not situation.presented:
        return ""
    leaf = situation.presented[0]
    return _ends(leaf) if leaf.not_valid_after_utc < situation.now else None


def _authority_ended(_: "re.Match[str]", situation: Situation) -> str | None:
    trusted = situation.subject.trust(situation.place) if situation.subject and situation.place else []
    known = [*situation.presented[1:], *trusted]
    if situation.presented and situation.presented[0].not_valid_after_utc < situation.now:
        return None
    ended = [one for one in known if one.not_valid_after_utc < situation.now]
    return _ends(ended[0]) if ended else None if situation.presented else ""


def _too_deep(_: "re.Match[str]", situation: Situation) -> str | None:
    if situation.verified is None or situation.place is None:
        return ""
    depth = situation.place.value("ssl_verify_depth", "1")
    if situation.verified != 0 or not depth.isdigit() or int(depth) >= situation.intermediates:
        return None
    return f"its chain verifies with {situation.intermediates} intermediates, and the depth allows {depth}"


def _poisoned(_: "re.Match[str]", situation: Situation) -> str | None:
    shared = situation.findings.get("shared-trust") if situation.verified == 0 else None
    return f"a handshake of ours finds it good; {shared}" if shared else None


def _older(_: "re.Match[str]", situation: Situation) -> str | None:
    return situation.findings.get("reload-pending") if situation.verified == 0 else None


def _stranger(_: "re.Match[str]", situation: Situation) -> str | None:
    if situation.verified is None:
        return ""
    if situation.verified == 0 or not situation.presented:
        return None
    issuer = situation.presented[-1].issuer.rfc4514_string()
    return f"its chain ends at {issuer}, which is not among the trusted"


def _one_only(said: "re.Match[str]", situation: Situation) -> str | None:
    chain = situation.presented
    if not chain:
        return "" if "(21:" in said[0] else None
    alone = len(chain) == 1 and not is_root(chain[0])
    return f"it sends one certificate, issued by {chain[0].issuer.rfc4514_string()}" if alone else None


def _address(said: "re.Match[str]", _: Situation) -> str | None:
    return f"{said['name']} is an address" if is_address(said["name"]) else None


def _group(said: "re.Match[str]", situation: Situation) -> str | None:
    place = situation.place
    if place is None or not place.group or "ssl_name" in place.settings:
        return None
    same = place.group.lower() == said["name"].lower()
    return f"{said['name']} is the name of an upstream group" if same else None


def _other_name(_: "re.Match[str]", situation: Situation) -> str | None:
    if not situation.presented:
        return ""
    return f"its certificate is for {', '.join(names_of(situation.presented[0])) or 'no DNS name'}"


def names_of(leaf: x509.Certificate) -> list[str]:
    """The DNS names of a certificate, which nginx compares; IP addresses it does not."""
    try:
        value = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return value.get_values_for_type(x509.DNSName)


_NAME = r'upstream SSL certificate does not match "(?P<name>[^"]*)"'

RULES = (
    Rule(
        "upstream-expired",
        LOG,
        _code(10),
        "the upstream's certificate has expired",
        "renew it at the upstream, and reload it there",
        502,
        True,
        _leaf_ended,
    ),
    Rule(
        "upstream-authority-expired",
        LOG,
        _code(10),
        "an authority in the upstream's chain has expired, its own certificate has not",
        "a chain with a valid intermediate at the upstream, or a valid root in {family}_ssl_trusted_certificate",
        502,
        True,
        _authority_ended,
    ),
    Rule(
        "upstream-future",
        LOG,
        _code(9),
        "the upstream's certificate is not valid yet: the clocks differ, or it was issued ahead",
        "set the clocks (NTP); issue with a start some minutes ago",
    ),
    Rule(
        "depth-too-small",
        LOG,
        _code(20),
        "{family}_ssl_verify_depth is smaller than the upstream's number of intermediates, and nginx says "
        "the same as for "
        "a wrong authority",
        "{family}_ssl_verify_depth as high as the number of intermediates",
        502,
        True,
        _too_deep,
    ),
    Rule(
        "session-poisoned",
        LOG,
        _ANY,
        "the upstream's certificate is good; another location that trusts others failed with it, and nginx resumes the "
        "session with that outcome (TLS 1.2)",
        "an upstream group for each kind of trust; {family}_ssl_session_reuse off;",
        502,
        True,
        _poisoned,
    ),
    Rule(
        "trust-in-memory",
        LOG,
        _ANY,
        "the upstream's certificate is good by the trusted file; nginx still goes by the older one that it has in "
        "memory",
        "nginx -s reload",
        502,
        True,
        _older,
    ),
    Rule(
        "upstream-leaf-only",
        LOG,
        r"upstream SSL certificate verify error: \((?:20|21):",
        "the upstream sends its certificate without the intermediate that issued it",
        "the intermediate after the leaf in the upstream's certificate file",
        502,
        True,
        _one_only,
    ),
    Rule(
        "authority-unknown",
        LOG,
        _code(20),
        "the upstream's certificate was issued by an authority that the location does not trust",
        "the root of that authority in {family}_ssl_trusted_certificate, and a reload",
        502,
        True,
        _stranger,
    ),
    Rule(
        "root-missing",
        LOG,
        _code(2),
        "the trusted file has the intermediate and not its root: nginx takes no partial chain",
        "the self-signed root in {family}_ssl_trusted_certificate",
    ),
    Rule(
        "upstream-self-signed",
        LOG,
        _code(18),
        "the upstream's certificate is self-signed",
        "issue one by your authority, or trust that very certificate: {family}_ssl_trusted_certificate",
    ),
    Rule(
        "root-untrusted",
        LOG,
        _code(19),
        "the upstream's chain brings its own root, which the location does not trust",
        "that root in {family}_ssl_trusted_certificate, if it is the right one",
    ),
    Rule(
        "upstream-purpose",
        LOG,
        _code(26),
        "the upstream's certificate is not for servers: it lacks serverAuth",
        "issue it with the extended key usage serverAuth",
    ),
    Rule(
        "list-incomplete",
        LOG,
        _code(3),
        "the revocation list of one authority is missing: nginx asks for that of every authority of the "
        "chain, the root's too",
        "the lists of all authorities in {family}_ssl_crl, and a reload",
    ),
    Rule(
        "list-expired",
        LOG,
        _code(12),
        "a revocation list is out of date: every upstream is refused",
        "fetch the list again and reload",
    ),
    Rule(
        "upstream-revoked",
        LOG,
        _code(23),
        "the upstream's certificate, or its intermediate, is revoked",
        "a new certificate at the upstream",
    ),
    Rule(
        "name-is-address",
        LOG,
        _NAME,
        "nginx compares DNS names only, and the expected name is an IP address",
        "{family}_ssl_name with a DNS name of the upstream's certificate",
        502,
        True,
        _address,
    ),
    Rule(
        "name-is-group",
        LOG,
        _NAME,
        "the expected name is that of the upstream group, for want of {family}_ssl_name",
        "{family}_ssl_name with a DNS name of the upstream's certificate",
        502,
        True,
        _group,
    ),
    Rule(
        "name-wrong",
        LOG,
        _NAME,
        "the upstream's certificate is not for the expected name {name}",
        "{family}_ssl_name with a name of its certificate if that is the right upstream, else a certificate for {name}",
        502,
        True,
        _other_name,
    ),
)
