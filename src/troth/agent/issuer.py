"""Where certificates come from: the authority of an identity, reached through ``troth.client``."""

from datetime import datetime
from pathlib import Path
from typing import Protocol

from troth.agent import AgentError
from troth.agent.checks import read_facts
from troth.agent.config import Identity, Source
from troth.client import ClientError
from troth.client.authority import Authority, Chain, fetch_root
from troth.client.enroll import enroll, renew
from troth.host.files import read_file
from troth.host.generations import Material
from troth.host.steppath import StepPath, authority_base
from troth.x509.keys import PrivateKey, generate_key, parse_private_key, private_key_to_pem
from troth.x509.pem import bundle_to_pem, to_pem
from troth.x509.requests import create_request, request_to_pem


class CredentialError(AgentError):
    """A certificate is needed and there is nothing to ask for it with."""


class Issuer(Protocol):
    """Obtains certificates; tests use a simulated one."""

    def obtain(self, identity: Identity, previous: Material | None, now: datetime) -> Material:
        """A fresh certificate for an identity; `previous` is what it has now.

        Raises:
            TrothError: none could be had.
        """
        ...


class AuthorityIssuer:
    """Renews over mutual TLS while a certificate lives; enrols again when it cannot, if there is a credential."""

    def obtain(self, identity: Identity, previous: Material | None, now: datetime) -> Material:
        source = identity.source
        if source is None:
            raise CredentialError(f"identity {identity.name} is kept by its owner and not renewed here")
        authority = connect(source)
        key, chain = self._chain(authority, identity, source, previous, now)
        trust = bundle_to_pem(list(authority.root_certificates()))
        return Material(chain.pem.encode(), private_key_to_pem(key), trust.encode())

    def _chain(
        self, authority: Authority, identity: Identity, source: Source, previous: Material | None, now: datetime
    ) -> tuple[PrivateKey, Chain]:
        if previous is None:
            return self._enroll(authority, identity, source, now)
        expired = now > read_facts(previous.certificate).not_after
        if expired and source.password_file is not None:
            return self._enroll(authority, identity, source, now)
        key = parse_private_key(previous.key, None, f"key of {identity.name}")
        try:
            return key, renew(authority, previous.certificate, key, now=now)
        except ClientError:
            if source.password_file is None:
                raise
            return self._enroll(authority, identity, source, now)

    def _enroll(
        self, authority: Authority, identity: Identity, source: Source, now: datetime
    ) -> tuple[PrivateKey, Chain]:
        names = identity.sans or (identity.subject,)
        key = generate_key(identity.kty)
        if source.password_file is not None:
            password = read_file(source.password_file, limit=65_536).rstrip()
            return enroll(
                authority, source.provisioner, password, identity.subject, names, source.not_after, key, now=now
            )
        if source.token_file is not None:
            token = read_file(source.token_file, limit=65_536).decode("ascii", "replace").strip()
            request = request_to_pem(create_request(key, identity.subject, names))
            return key, authority.sign(request, token, not_after=source.not_after)
        raise CredentialError(
            f"identity {identity.name} has no certificate that could be renewed and no credential to get one",
            hint=f"add password-file or token-file to ca of identity {identity.name}",
        )


def connect(source: Source) -> Authority:
    """The authority of a source, trusted by its root file, its fingerprint, or this account's bootstrap.

    Raises:
        ClientError: it cannot be reached, or its root is another.
        CredentialError: nothing says which root to trust.
    """
    if source.root is not None:
        return Authority.at(source.url, read_file(source.root).decode("utf-8", "replace"))
    if source.fingerprint:
        return Authority.at(source.url, to_pem(fetch_root(source.url, source.fingerprint)))
    bootstrapped = StepPath(authority_base()).root_certificate
    if not bootstrapped.exists():
        raise CredentialError(
            f"nothing says which root {source.url} must have",
            hint="add fingerprint or root to ca, or run: troth ca bootstrap",
        )
    return Authority.at(source.url, _text(bootstrapped))


def _text(path: Path) -> str:
    return read_file(path).decode("utf-8", "replace")
