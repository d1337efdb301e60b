"""K8sSA provisioners: the tokens of Kubernetes service accounts, the kind that lies in a secret and never ends.

They are no one-time tokens and name neither the authority nor a subject, so the certificate is what the request asks
for. There can be one such provisioner: nothing in the tokens would tell two apart.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from joserfc.errors import JoseError

from troth.ca import ConfigurationError, UnauthorizedError
from troth.ca.audiences import Audiences
from troth.ca.certified import key_of
from troth.ca.claims import Claims
from troth.ca.provisioners.base import Grant, Naming, Provisioner
from troth.ca.tokens import MAX_LIFETIME, Token, check_moment, verify_signature
from troth.x509 import X509Error
from troth.x509.keys import PublicKey, parse_public_keys

ISSUER = "kubernetes/serviceaccount"


class K8sSAProvisioner(Provisioner):
    """``publicKeys`` are those that the cluster signs with, PEM in base64; asking the cluster is not supported."""

    kind = "K8sSA"

    def __init__(self, raw: Mapping[str, Any], claims: Claims) -> None:
        super().__init__(raw, claims)
        self._keys = [key_of(key) for key in self._public_keys()]

    def _public_keys(self) -> list[PublicKey]:
        data = self.pem("publicKeys")
        try:
            return parse_public_keys(data, "publicKeys")
        except (X509Error, JoseError, ValueError) as error:
            raise ConfigurationError(f"provisioner {self.name}: publicKeys cannot be read: {error}") from error

    @property
    def identifier(self) -> str:
        return "k8ssa/k8sSA-default"

    @property
    def token_fragment(self) -> str:
        return ""

    def verify(self, token: Token) -> None:
        for key, algorithms in self._keys:
            if token.header.get("alg") in algorithms:
                try:
                    return verify_signature(token, key)
                except UnauthorizedError:
                    continue
        raise UnauthorizedError("token signature is valid for none of the provisioner's public keys")

    def authorize(self, token: Token, audiences: Audiences, purpose: str, now: datetime) -> Grant:
        """Signature, issuer and a subject are all there is to check, and the times where the token has any."""
        self.verify(token)
        if token.issuer != ISSUER:
            raise UnauthorizedError(f"token issuer is {token.issuer!r}, expected {ISSUER!r}")
        end = check_moment(token, now)
        if not token.subject:
            raise UnauthorizedError("token has no subject")
        return Grant(
            self,
            "",
            end or now + MAX_LIFETIME,
            token.subject,
            claims=token.claims,
            naming=Naming.REQUESTED,
            any_serial=True,
        )
