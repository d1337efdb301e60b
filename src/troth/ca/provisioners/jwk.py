"""JWK provisioners: tokens signed with the provisioner's own key, which clients fetch encrypted."""

from collections.abc import Mapping
from typing import Any

from joserfc import jwk
from joserfc.errors import JoseError

from troth.ca import ConfigurationError, UnauthorizedError
from troth.ca.claims import Claims
from troth.ca.extension import ProvisionerExtension
from troth.ca.jwk import signature_algorithm, thumbprint
from troth.ca.provisioners.base import Provisioner
from troth.ca.tokens import Token, verify_signature


class JWKProvisioner(Provisioner):
    """``key`` is the public JWK, ``encryptedKey`` the private one as a compact JWE (optional)."""

    kind = "JWK"

    def __init__(self, raw: Mapping[str, Any], claims: Claims) -> None:
        super().__init__(raw, claims)
        key = raw.get("key")
        if not isinstance(key, dict):
            raise ConfigurationError(f"provisioner {self.name}: expected a JSON web key in 'key'")
        self.kid = str(key.get("kid") or thumbprint(key))
        self.encrypted_key = str(raw.get("encryptedKey") or "")
        self._algorithm = signature_algorithm(key)
        try:
            members = {name: key[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in key}
            self._key = jwk.import_key(members)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(f"provisioner {self.name}: its key is not a usable JSON web key") from error

    @property
    def identifier(self) -> str:
        return f"{self.name}:{self.kid}"

    @property
    def token_fragment(self) -> str:
        return ""

    @property
    def extension(self) -> ProvisionerExtension:
        return ProvisionerExtension(self.kind, self.name, self.kid)

    def verify(self, token: Token) -> None:
        if token.header.get("alg") != self._algorithm:
            raise UnauthorizedError(f"token algorithm is not {self._algorithm}, the one of the provisioner's key")
        verify_signature(token, self._key)
