"""The operations of a step-compatible authority, each one HTTPS request, each answer checked before it is believed."""

import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509

from troth.client.provisioners import Provisioner, parse_provisioner
from troth.client.transport import (
    TIMEOUT_SECONDS,
    Address,
    ClientCertificate,
    NotAnAuthorityError,
    RefusedError,
    UntrustedError,
    call,
    parse_address,
    present,
    trusting,
    trusting_nobody,
)
from troth.x509 import X509Error
from troth.x509.keys import fingerprint
from troth.x509.pem import bundle_to_pem, parse_certificates

MAX_PAGES = 1000
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Chain:
    """What the authority issued: leaf first, then its issuers, never the root."""

    certificates: tuple[x509.Certificate, ...]

    @property
    def leaf(self) -> x509.Certificate:
        return self.certificates[0]

    @property
    def pem(self) -> str:
        """The certificates one after another, as a certificate file holds them."""
        return bundle_to_pem(list(self.certificates))


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority at an address, trusted through its roots; safe to share between threads.

    Args:
        address: from `parse_address`.
        roots: PEM text of the trusted root certificates.
        timeout: seconds per request.
    """

    address: Address
    roots: str
    timeout: float = TIMEOUT_SECONDS

    @classmethod
    def at(cls, url: str, roots: str, timeout: float = TIMEOUT_SECONDS) -> "Authority":
        """An authority by its URL.

        Raises:
            AddressError: the URL is not usable.
        """
        return cls(parse_address(url), roots, timeout)

    @property
    def url(self) -> str:
        return self.address.url

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        context: ssl.SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        return call(self.address, context or trusting(self.roots), method, path, body, headers, self.timeout)

    def health(self) -> str:
        """What the authority says of itself: ``ok``."""
        return str(self._call("GET", "/health").get("status", ""))

    def version(self) -> str:
        """The version the server reports."""
        return str(self._call("GET", "/version").get("version", ""))

    def root_certificates(self) -> tuple[x509.Certificate, ...]:
        """The authority's roots; they are as trustworthy as the root this connection was verified with."""
        return self._certificates("/roots")

    def federation(self) -> tuple[x509.Certificate, ...]:
        """The roots of this authority and of those it federates with."""
        return self._certificates("/federation")

    def _certificates(self, path: str) -> tuple[x509.Certificate, ...]:
        texts = self._call("GET", path).get("crts")
        return _parse_all(self.url, texts)

    def provisioners(self) -> list[dict[str, Any]]:
        """All provisioners as the authority shows them, every page.

        Raises:
            NotAnAuthorityError: the listing is malformed or never ends.
        """
        found: list[dict[str, Any]] = []
        cursor = ""
        for _ in range(MAX_PAGES):
            query = f"?cursor={cursor}&limit=100" if cursor else "?limit=100"
            answer = self._call("GET", "/provisioners" + query)
            page = answer.get("provisioners") or []
            if not isinstance(page, list) or not all(isinstance(entry, dict) for entry in page):
                break
            found += page
            cursor = str(answer.get("nextCursor") or "")
            if not re.fullmatch(r"[0-9A-Za-z._~-]*", cursor):
                break
            if not cursor:
                return found
        raise NotAnAuthorityError(f"{self.url} answered with a malformed list of provisioners")

    def token_provisioners(self) -> list[Provisioner]:
        """The provisioners that sign one-time tokens with a key of their own (kind JWK), in the authority's order."""
        parsed = (parse_provisioner(entry) for entry in self.provisioners())
        return [provisioner for provisioner in parsed if provisioner is not None]

    def encrypted_key(self, kid: str) -> str:
        """The encrypted private key of a JWK provisioner, a compact JWE."""
        from urllib.parse import quote

        return str(self._call("GET", f"/provisioners/{quote(kid, safe='')}/encrypted-key").get("key", ""))

    def sign(
        self,
        csr_pem: str,
        token: str,
        *,
        not_before: str = "",
        not_after: str = "",
        template_data: Mapping[str, Any] | None = None,
    ) -> Chain:
        """Have a request signed.

        Args:
            csr_pem: the certificate request.
            token: one-time token with the sign audience.
            not_before: empty, RFC 3339, or a Go duration from the authority's now.
            not_after: empty, RFC 3339, or a Go duration from `not_before`.
            template_data: data for the provisioner's template.

        Raises:
            RefusedError: token or request were not acceptable.
        """
        body: dict[str, Any] = {"csr": csr_pem, "ott": token, "notBefore": not_before, "notAfter": not_after}
        if template_data:
            body["templateData"] = dict(template_data)
        return self._issued(self._call("POST", "/sign", body))

    def renew(self, certificate: ClientCertificate) -> Chain:
        """Renew over mutual TLS: the certificate presented is the request.

        Raises:
            UntrustedError: the handshake was refused (expired, foreign).
            RefusedError: the certificate may not be renewed (revoked, renewal disabled).
        """
        return self._issued(self._call("POST", "/renew", context=self._presenting(certificate)))

    def renew_with_token(self, token: str) -> Chain:
        """Renew with a bearer token that the certificate's key signed; for expired certificates and behind proxies."""
        return self._issued(self._call("POST", "/renew", headers={"Authorization": f"Bearer {token}"}))

    def rekey(self, certificate: ClientCertificate, csr_pem: str) -> Chain:
        """Renew over mutual TLS with the public key of a request."""
        return self._issued(self._call("POST", "/rekey", {"csr": csr_pem}, context=self._presenting(certificate)))

    def revoke(
        self,
        serial: int,
        *,
        token: str = "",
        certificate: ClientCertificate | None = None,
        reason: str = "",
        reason_code: int = 0,
    ) -> None:
        """Revoke passively (no more renewals), by a token with the revoke audience or by the certificate itself."""
        body: dict[str, Any] = {"serial": str(serial), "passive": True, "reason": reason, "reasonCode": reason_code}
        body["ott"] = token
        self._revoke(body, certificate)

    def _revoke(self, body: Mapping[str, Any], certificate: ClientCertificate | None) -> None:
        self._call("POST", "/revoke", body, context=self._presenting(certificate) if certificate else None)

    def _presenting(self, certificate: ClientCertificate) -> ssl.SSLContext:
        context = trusting(self.roots)
        present(context, certificate)
        return context

    def _issued(self, answer: Mapping[str, Any]) -> Chain:
        texts = answer.get("certChain") or [text for text in (answer.get("crt"), answer.get("ca")) if text]
        return Chain(_parse_all(self.url, texts))


def _parse_all(url: str, texts: object) -> tuple[x509.Certificate, ...]:
    try:
        if not isinstance(texts, Sequence) or isinstance(texts, str) or not texts:
            raise X509Error("expected a list of certificates")
        return tuple(parse_certificates(str(text).encode())[0] for text in texts)
    except X509Error as error:
        raise NotAnAuthorityError(f"{url} answered without readable certificates: {error.message}") from error


def normalise_fingerprint(text: str) -> str:
    """A SHA-256 fingerprint as 64 lower-case hex digits; dashes and colons are dropped.

    Raises:
        UntrustedError: it is not one.
    """
    plain = text.strip().replace("-", "").replace(":", "").lower()
    if not _FINGERPRINT.fullmatch(plain):
        hint = "the CA's operator gets it with: troth certificate fingerprint root_ca.crt"
        raise UntrustedError(
            f"invalid fingerprint {text!r}: expected 64 hexadecimal digits, got {len(plain)} characters", hint=hint
        )
    return plain


def fetch_root(url: str, wanted: str, timeout: float = TIMEOUT_SECONDS) -> x509.Certificate:
    """Fetch a root over an unverified connection and accept it only if its fingerprint is the wanted one.

    Raises:
        UntrustedError: another certificate came back, or the authority has no root with this fingerprint.
        UnreachableError, NotAnAuthorityError: see each.
    """
    sha = normalise_fingerprint(wanted)
    address = parse_address(url)
    hint = "compare with: troth certificate fingerprint root_ca.crt (on the CA's machine)"
    try:
        answer = call(address, trusting_nobody(), "GET", f"/root/{sha}", timeout=timeout)
    except RefusedError as error:
        if error.status != 404:
            raise
        raise UntrustedError(f"{address.url} has no root certificate with fingerprint {sha}", hint=hint) from error
    certificate = _parse_all(address.url, [answer.get("ca") or ""])[0]
    if fingerprint(certificate) != sha:
        got = fingerprint(certificate)
        raise UntrustedError(f"the root of {address.url} has another fingerprint: expected {sha}, got {got}", hint=hint)
    return certificate
