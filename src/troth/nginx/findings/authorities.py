"""Trusted authorities and revocation lists in files, as they are on disk now."""

from collections.abc import Iterator, Sequence

from cryptography import x509

from troth.nginx.findings.files import AUTHORITIES, LISTS, each, label
from troth.nginx.findings.rule import ERROR, WARNING, Hit, Rule, Subject
from troth.nginx.material import FileFacts, is_root


def _no_root(file: FileFacts, _: Subject) -> str:
    missing = file.certificates and not any(is_root(one) for one in file.certificates)
    return f"{file.path} holds no self-signed root" if missing else ""


def _old_root(file: FileFacts, subject: Subject) -> str:
    for one in file.certificates:
        if one.not_valid_after_utc < subject.now:
            return f"{label(one)} in {file.path} expired at {one.not_valid_after_utc:%Y-%m-%d}"
    return ""


def _old_list(file: FileFacts, subject: Subject) -> str:
    for one in file.crls:
        if one.next_update_utc is not None and one.next_update_utc < subject.now:
            due = f"{one.next_update_utc:%Y-%m-%d %H:%M} UTC"
            return f"the list of {one.issuer.rfc4514_string()} in {file.path} was to be replaced by {due}"
    return ""


def _depth(subject: Subject) -> Iterator[Hit]:
    for place in subject.places:
        depth = place.value("ssl_verify_depth", "1")
        roots = {one.subject for one in subject.trust(place) if is_root(one)}
        for file in subject.files(place.value("ssl_certificate")):
            between = [one for one in file.certificates[1:] if not is_root(one)]
            ours = bool(between) and between[-1].issuer in roots
            if place.is_on("ssl_verify") and ours and depth.isdigit() and int(depth) < len(between):
                what = f"verify depth {depth}, and this authority's certificates come with {len(between)} intermediates"
                yield Hit(place.where_of("ssl_verify_depth"), what, place.family)


def _incomplete(subject: Subject) -> Iterator[Hit]:
    for place in subject.places:
        trust = subject.trust(place)
        for what in _missing(subject, place.value("ssl_crl"), trust):
            yield Hit(place.where_of("ssl_crl"), what, place.family)
    for guard in subject.guards:
        names = ("client_certificate", "trusted_certificate")
        trust = [one for name in names for file in subject.files(guard.value(name)) for one in file.certificates]
        for what in _missing(subject, guard.value("crl"), trust):
            yield Hit(guard.where_of("crl"), what)


def _missing(subject: Subject, value: str, trust: Sequence[x509.Certificate]) -> Iterator[str]:
    for file in subject.files(value):
        have = {one.issuer for one in file.crls}
        missing = [label(one) for one in trust if one.subject not in have]
        if file.crls and missing:
            yield f"{file.path} has no list of {', '.join(missing)}"


RULES = (
    Rule(
        "no-root",
        ERROR,
        "no root is trusted",
        "a path must end at a self-signed root: unable to get issuer certificate, 502",
        "add the root to the file",
        each(_no_root, "ssl_trusted_certificate", "guard client_certificate"),
    ),
    Rule(
        "expired-authority",
        WARNING,
        "a trusted authority has expired",
        "what it issued is refused",
        "replace it in the file, and reload",
        each(_old_root, *AUTHORITIES),
    ),
    Rule(
        "depth-too-small",
        ERROR,
        "verify depth is smaller than the authority's chains",
        "the upstream is refused with what nginx says for a wrong authority: unable to get local issuer certificate",
        "{family}_ssl_verify_depth as high as the number of intermediates",
        _depth,
    ),
    Rule(
        "list-incomplete",
        ERROR,
        "revocation lists of some authorities are missing",
        "nginx checks the whole path: without the list of each authority, the root's too, everyone is refused",
        "the lists of all authorities in one file",
        _incomplete,
    ),
    Rule(
        "list-expired",
        ERROR,
        "a revocation list is out of date",
        "everyone is refused: CRL has expired",
        "fetch the list again and reload",
        each(_old_list, *LISTS),
    ),
)
