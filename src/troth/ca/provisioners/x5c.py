"""X5C provisioners: tokens signed with the key of a certificate below the provisioner's own roots."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from cryptography import x509

from troth.ca import ConfigurationError, UnauthorizedError
from troth.ca.audiences import Audiences
from troth.ca.certified import certificates_of, verify_by_certificate
from troth.ca.claims import Claims
from troth.ca.provisioners.base import Grant, Provisioner
from troth.ca.tokens import Token
from troth.x509 import X509Error
from troth.x509.chains import CLIENT_AUTH, verify_path
from troth.x509.pem import parse_certificates

HEADER = "x5c"


class X5CProvisioner(Provisioner):
    """``roots`` are the certificates that those of the tokens must lead to, PEM in base64."""

    kind = "X5C"

    def __init__(self, raw: Mapping[str, Any], claims: Claims) -> None:
        super().__init__(raw, claims)
        try:
            self._roots = parse_certificates(self.pem("roots"), "roots")
        except X509Error as error:
            raise ConfigurationError(f"provisioner {self.name}: {error.message}") from error

    def authorize(self, token: Token, audiences: Audiences, purpose: str, now: datetime) -> Grant:
        """The certificate must be valid now and for clients; what it asks for cannot outlive it.

        Raises:
            UnauthorizedError: anything about the token or its certificate is not right.
        """
        chain = certificates_of(token, HEADER)
        leaf = chain[0]
        try:
            verify_path(leaf, chain[1:], self._roots, now, purpose=CLIENT_AUTH)
        except X509Error as error:
            raise UnauthorizedError(f"certificate of the token: {error.message}") from error
        _check_usage(leaf)
        grant = super().authorize(token, audiences, purpose, now)
        return replace(
            grant,
            common_names=(grant.subject,),
            floor=leaf.not_valid_before_utc,
            ceiling=leaf.not_valid_after_utc,
            certificate=leaf,
        )

    def verify(self, token: Token) -> None:
        verify_by_certificate(token, certificates_of(token, HEADER)[0])


def _check_usage(leaf: x509.Certificate) -> None:
    """Unlike a renewal's, this certificate must say that it may sign: step-ca wants the key usage to be there."""
    try:
        leaf.extensions.get_extension_for_class(x509.KeyUsage)
    except x509.ExtensionNotFound:
        raise UnauthorizedError("certificate of the token has no keyUsage: expected digitalSignature") from None
