"""Rules about one file at a time, whichever setting names it."""

from collections.abc import Callable, Iterator

from cryptography import x509

from troth.nginx.findings.rule import Hit, Subject
from troth.nginx.material import FileFacts
from troth.x509.names import common_name

Judge = Callable[[FileFacts, Subject], str]
OWN = ("ssl_certificate", "ssl_certificate_key")
_PLACES = (*OWN, "ssl_trusted_certificate", "ssl_crl")
_GUARDS = ("certificate", "certificate_key", "client_certificate", "trusted_certificate", "crl")
# Settings as `each` names them: those of servers that ask for client certificates begin with "guard".
SHOWN = ("ssl_certificate", "guard certificate")
KEYS = ("ssl_certificate_key", "guard certificate_key")
AUTHORITIES = ("ssl_trusted_certificate", "guard client_certificate", "guard trusted_certificate")
LISTS = ("ssl_crl", "guard crl")


def each(judge: Judge, *settings: str, unusable: bool = False) -> Callable[[Subject], Iterator[Hit]]:
    """A rule about the files of some settings: the judge says what is wrong with one, or nothing.

    `unusable` is for a judge of files that cannot be read.
    """

    def check(subject: Subject) -> Iterator[Hit]:
        for setting, where, family, file in _named(subject):
            if setting in settings and bool(file.problem) == unusable:
                what = judge(file, subject)
                if what:
                    yield Hit(where, what, family)

    return check


def label(certificate: x509.Certificate) -> str:
    """A certificate's name in a sentence."""
    return common_name(certificate.subject) or certificate.subject.rfc4514_string() or "(no subject)"


def _named(subject: Subject) -> Iterator[tuple[str, str, str, FileFacts]]:
    for place in subject.places:
        for name in _PLACES:
            for file in subject.files(place.value(name)):
                yield name, place.where_of(name), place.family, file
    for guard in subject.guards:
        for name in _GUARDS:
            for file in subject.files(guard.value(name)):
                yield f"guard {name}", guard.where_of(name), "", file
