"""The server's own TLS: an optional client certificate on every connection, and a certificate that renews itself."""

import os
import secrets
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509

from troth.ca.authority import Authority, serial_from
from troth.ca.config import Configuration
from troth.ca.profile import Prepared, leaf_extensions, sign, subject_name
from troth.ca.validity import Window
from troth.x509.keys import PrivateKey, generate_key, private_key_to_pem, public_der
from troth.x509.names import split_names
from troth.x509.pem import bundle_to_pem

LIFETIME = timedelta(hours=24)
BACKDATE = timedelta(minutes=1)
_VERSIONS = {1.2: ssl.TLSVersion.TLSv1_2, 1.3: ssl.TLSVersion.TLSv1_3}
_SUITES = {
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
}
_FALLBACK = ("ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-GCM-SHA256")


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """The authority's own certificate chain and key."""

    chain: tuple[x509.Certificate, ...]
    key: PrivateKey

    @property
    def not_after(self) -> datetime:
        return self.chain[0].not_valid_after_utc

    def renew_at(self, jitter: float) -> datetime:
        """Two thirds into its life, at most a twentieth earlier; `jitter` is in [0, 1)."""
        life = self.not_after - self.chain[0].not_valid_before_utc - BACKDATE
        return self.not_after - life / 3 - life / 20 * jitter


def issue_server_certificate(authority: Authority, configuration: Configuration, now: datetime) -> ServerCertificate:
    """A fresh P-256 certificate for the configured names, signed by the authority's intermediate.

    Raises:
        ForbiddenError: name constraints above do not permit one of the names.
    """
    names = split_names(configuration.names)
    authority.own_signer.check_names(names)
    key = generate_key()
    window = Window((now - BACKDATE).replace(microsecond=0), (now + LIFETIME).replace(microsecond=0))
    public = public_der(key.public_key())
    extensions = leaf_extensions(public, authority.issuer.key_id, names, None)
    serial = serial_from(secrets.token_bytes(12), now)
    subject = subject_name(configuration.common_name, {})
    leaf = sign(Prepared(subject, serial, window, public, extensions), authority.issuer)
    return ServerCertificate((leaf, *authority.intermediates), key)


def create_context(authority: Authority, options: dict[str, Any]) -> ssl.SSLContext:
    """A server context that asks for a client certificate and verifies it when one is given.

    The intermediates are trusted too, so that a bare leaf verifies; OpenSSL demands the clientAuth purpose.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    set_options(context, options)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=bundle_to_pem([*authority.roots, *authority.all_intermediates]))
    return context


def telling(refused: Callable[[str], None]) -> type[ssl.SSLObject]:
    """Ends of connections whose clients hear by an alert why their certificate was refused; `refused` is told too.

    asyncio closes at the first error, and the alert that OpenSSL has ready would never be sent. It sends what there is
    when the handshake wants to read on, so that is said once. Then the client ends it, or the handshake's time is up.
    """

    class Telling(ssl.SSLObject):
        failure: ssl.SSLCertVerificationError | None = None

        def do_handshake(self) -> None:
            if self.failure is not None:
                raise self.failure
            try:
                super().do_handshake()
            except ssl.SSLCertVerificationError as error:
                self.failure = error
                refused(error.verify_message)
                raise ssl.SSLWantReadError from error

    return Telling


def create_client_context(authority: Authority, certificate: ServerCertificate | None) -> ssl.SSLContext:
    """To ask others over TLS: trusted are the system's roots (or those of SSL_CERT_FILE) and the authority's own.

    The certificate, if any, is shown to servers that ask for one.
    """
    context = ssl.create_default_context()
    context.load_verify_locations(cadata=bundle_to_pem(list(authority.roots)))
    if certificate is not None:
        install(context, certificate)
    return context


def set_options(context: ssl.SSLContext, options: dict[str, Any]) -> None:
    """Versions and cipher suites for the connections to come."""
    context.minimum_version = _VERSIONS[options["minVersion"]]
    context.maximum_version = _VERSIONS[options["maxVersion"]]
    suites = [_SUITES[name] for name in options["cipherSuites"] if name in _SUITES] or list(_FALLBACK)
    context.set_ciphers(":".join(suites))


def install(context: ssl.SSLContext, certificate: ServerCertificate) -> None:
    """Show this certificate from the next handshake on; the key never touches a disk."""
    text = bundle_to_pem(list(certificate.chain)).encode() + private_key_to_pem(certificate.key)
    descriptor = os.memfd_create("server-certificate", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, text)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
