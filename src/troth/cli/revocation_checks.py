"""What ``certificate verify`` does to learn whether a certificate is revoked: lists and responders, asked in turn."""

from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from troth.errors import TrothError, UsageError
from troth.host.clock import now
from troth.host.download import DownloadError, download
from troth.host.files import read_file
from troth.x509.pem import parse_certificates
from troth.x509.status import (
    RevokedError,
    ask,
    check_answer,
    check_list,
    issuer_urls,
    list_urls,
    responder_urls,
)

Roots = Sequence[x509.Certificate] | None


def issuer_for(
    certificate: x509.Certificate, file: str, path: Sequence[x509.Certificate], roots: Roots
) -> x509.Certificate:
    """The issuer: from the file given, else from the verified path, else from where the certificate says.

    Raises:
        TrothError: it cannot be read or fetched, or is not known.
    """
    if file:
        issuer, what = parse_certificates(read_file(Path(file)), file)[0], file
    elif len(path) > 1:
        return path[1]
    else:
        urls = issuer_urls(certificate)
        if not urls:
            raise UsageError("the issuer of the certificate is not known", hint="name its file: --issuing-ca FILE")
        issuer, what = parse_certificates(download(urls[0], roots=roots), urls[0])[0], urls[0]
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError) as error:
        raise TrothError(f"{what} did not issue the certificate") from error
    return issuer


def by_list(certificate: x509.Certificate, issuer: x509.Certificate, endpoint: str, roots: Roots) -> str:
    """Check against the first revocation list that can be had and believed; its URL.

    Raises:
        RevokedError: the certificate is on it.
        TrothError: there is no such list.
    """
    urls = [endpoint] if endpoint else list_urls(certificate)
    if not urls:
        raise UsageError("the certificate names no revocation list", hint="name one: --crl-endpoint URL")
    return _first(urls, lambda url: check_list(download(url, roots=roots), certificate, issuer, now()))


def by_responder(certificate: x509.Certificate, issuer: x509.Certificate, endpoint: str, roots: Roots) -> str:
    """Check with the first OCSP responder that answers and can be believed; its URL.

    Raises:
        RevokedError: it says that the certificate is revoked.
        TrothError: there is no such responder.
    """
    urls = [endpoint] if endpoint else responder_urls(certificate)
    if not urls:
        raise UsageError("the certificate names no OCSP responder", hint="name one: --ocsp-endpoint URL")
    question = ask(certificate, issuer)

    def check(url: str) -> None:
        answer = download(url, body=question, content_type="application/ocsp-request", roots=roots)
        check_answer(answer, certificate, issuer, now())

    return _first(urls, check)


def _first(urls: Sequence[str], check: Callable[[str], None]) -> str:
    problems = []
    for url in urls:
        try:
            check(url)
        except RevokedError as error:
            raise RevokedError(f"{error.message}, says {url}") from error
        except DownloadError as error:
            problems.append(error.message)
        except TrothError as error:
            problems.append(f"{url}: {error.message}")
        else:
            return url
    raise TrothError("; ".join(problems))
