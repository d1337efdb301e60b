"""The operations behind the routes: parse, decide, record, answer. Nothing is answered before it is durable."""

import json
import secrets
import ssl
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cryptography import x509

from troth.ca import (
    CAError,
    ForbiddenError,
    MalformedError,
    NotFoundError,
    RenewalRefusedError,
    UnauthorizedError,
)
from troth.ca.authority import Authority, Issued, Request, serial_from
from troth.ca.certified import RENEWAL_ISSUER, authorize_renewal
from troth.ca.profile import check_key
from troth.ca.provisioners import Grant
from troth.host import clock
from troth.server.identity import Identity
from troth.server.lists import list_name, publish
from troth.server.log import Log
from troth.server.messages import parse_rekey, parse_revoke, parse_sign
from troth.server.providers import Providers
from troth.server.state import Loaded
from troth.server.webhooks import Asking
from troth.store.group import GroupCommit
from troth.store.records import Change, IssuedCertificate, PublishedList, Revocation, SpentToken, Store
from troth.x509.pem import der_to_pem, parse_certificate_der, to_pem
from troth.x509.requests import RequestError, check_possession, parse_request

SERIAL_ENTROPY_BYTES = 12
SERIALS_AT_ONCE = 64


class Service:
    """One authority with its database; the authority is replaced when the configuration is read again."""

    def __init__(self, loaded: Loaded, store: Store, log: Log | None = None, identity: Identity | None = None) -> None:
        self.store = store
        self._commit = GroupCommit(store)
        self._random = b""
        self._identity = identity
        self._log = log
        self._providers = Providers(log)
        self.replace(loaded)

    def replace(self, loaded: Loaded) -> None:
        """Serve another configuration from the next request on."""
        self.loaded = loaded
        self.authority: Authority = loaded.authority
        self.chain_pem = [to_pem(certificate) for certificate in loaded.authority.all_intermediates]
        options = _compact(dict(loaded.configuration.tls_options))
        self._frames = {signer.name: _frame(signer.chain_pem, options) for signer in loaded.authority.signers}

    async def sign(self, body: bytes) -> bytes:
        """``POST /sign``: a token and a request become a certificate.

        Raises:
            CAError: the request is refused. A verified token is spent even then.
            StoreError: the token was used before, or nothing could be recorded.
        """
        message = parse_sign(body)
        request = _request(message.csr)
        now = clock.now()
        grant = await self._authorize(message.ott, "sign", now)
        token = _spent(grant)
        hooks = self.loaded.webhooks.get(grant.provisioner.name, ()) if self.loaded.webhooks else ()
        try:
            serial = serial_from(self._entropy(), now)
            said: dict[str, Any] = {"User": message.template_data}
            if not hooks:
                issued = self.authority.issue(grant, request, message.wish, serial, now, said)
            else:
                asking = Asking(hooks, grant, request.csr, now, self._log, self._outward)
                authority, said["Webhooks"] = self.authority, await asking.enrich()
                issued = authority.issue(grant, request, message.wish, serial, now, said)
                await asking.authorize(issued.der)
        except CAError:
            await self._commit.record(Change(token=token))
            raise
        return await self._deliver(issued, token)

    def _outward(self, shows_certificate: bool) -> ssl.SSLContext:
        if self._identity is None:  # nothing is served here, and nobody was shown a certificate yet
            self._identity = Identity(self.loaded)
        return self._identity.outward(shows_certificate)

    async def _authorize(self, text: str, purpose: str, now: datetime) -> Grant:
        """As `Authority.authorize`, with what others publish at hand, and no revoked certificate speaking for a token.

        Raises:
            UnauthorizedError: anything about the token is not right.
        """
        authority = self.authority
        if authority.provisioners.remote:
            await self._providers.prepare(authority, text)
        grant = authority.authorize(text, purpose, now)
        signed_by = grant.certificate
        issuers = [one.issuer.certificate.subject for one in authority.signers] if signed_by is not None else []
        if signed_by is not None and signed_by.issuer in issuers and self.store.is_revoked(signed_by.serial_number):
            raise UnauthorizedError(f"certificate {signed_by.serial_number} of the token is revoked")
        return grant

    async def renew(self, peer: bytes) -> bytes:
        """``POST /renew`` over mutual TLS; `peer` is the DER certificate the handshake verified.

        Raises:
            CAError: it may not be renewed.
            StoreError: nothing could be recorded.
        """
        return await self._deliver(self._renewed(peer, None), None)

    async def rekey(self, peer: bytes, body: bytes) -> bytes:
        """``POST /rekey`` over mutual TLS: as renewal, with the key of a request."""
        return await self._deliver(self._renewed(peer, _request(parse_rekey(body))), None)

    async def renew_by_token(self, text: str) -> bytes:
        """``POST /renew`` with a bearer token signed by the certificate's own key, which may have expired.

        Raises:
            CAError: the token does not hold, or the certificate may not be renewed; a verified token is spent.
            StoreError: the token was used before, or nothing could be recorded.
        """
        now = clock.now()
        asked = authorize_renewal(text, self.authority.roots, self.authority.audiences, now)
        token = SpentToken(asked.identifier, asked.end)
        try:
            issued = self._successor(asked.certificate, None)
            if issued.provisioner is None:
                raise RenewalRefusedError("certificate names no provisioner: it can be renewed over mutual TLS only")
            if asked.issuer not in (RENEWAL_ISSUER, issued.provisioner.name):
                raise UnauthorizedError(f"issuer of the renewal token is {asked.issuer!r}, expected {RENEWAL_ISSUER!r}")
        except CAError:
            await self._commit.record(Change(token=token))
            raise
        return await self._deliver(issued, token)

    def _renewed(self, peer: bytes, request: Request | None) -> Issued:
        return self._successor(parse_certificate_der(peer, "client certificate"), request)

    def _successor(self, old: x509.Certificate, request: Request | None) -> Issued:
        now = clock.now()
        key = check_key(request.key) if request is not None else None
        recorded, revoked = self.store.provisioner_of(old.serial_number), self.store.is_revoked(old.serial_number)
        serial = serial_from(self._entropy(), now)
        return self.authority.renew(old, recorded, revoked, serial, now, key)

    def _entropy(self) -> bytes:
        """Twelve bytes nobody has seen, from the system's source, fetched for many serials at once."""
        if not self._random:
            self._random = secrets.token_bytes(SERIAL_ENTROPY_BYTES * SERIALS_AT_ONCE)
        fresh, self._random = self._random[:SERIAL_ENTROPY_BYTES], self._random[SERIAL_ENTROPY_BYTES:]
        return fresh

    async def revoke(self, body: bytes, peer: bytes | None) -> Mapping[str, Any]:
        """``POST /revoke`` by token, or by the certificate itself.

        Raises:
            CAError: it is refused.
            StoreError: the token was used, the serial is revoked already, or nothing could be recorded.
        """
        message = parse_revoke(body)
        now = clock.now()
        token, provisioner = None, ""
        if message.ott:
            grant = await self._authorize(message.ott, "revoke", now)
            token, provisioner = _spent(grant), grant.provisioner.identifier
            if not grant.any_serial and grant.subject != str(message.serial):
                await self._commit.record(Change(token=token))
                raise ForbiddenError(f"token is for serial {grant.subject}, the request names {message.serial}")
        elif peer is None:
            raise MalformedError("missing ott: expected a token or a client certificate")
        elif parse_certificate_der(peer, "client certificate").serial_number != message.serial:
            raise ForbiddenError("serial number of the client certificate is not the one to revoke")
        revocation = Revocation(
            message.serial,
            now,
            message.reason_code,
            message.reason,
            provisioner,
            token.identifier if token else "",
            not message.ott,
        )
        await self._commit.record(Change(token=token, revocation=revocation))
        lists = self.loaded.configuration.lists
        if lists is not None and lists.on_revoke:
            self.publish_lists()
        return {"status": "ok"}

    def publish_lists(self, older_than: datetime | None = None) -> int:
        """Make the revocation lists that were made before a moment, or all; how many. None are made unless enabled.

        Raises:
            StoreError: the database cannot be read or written.
        """
        lists = self.loaded.configuration.lists
        return publish(self.store, self.authority, lists, clock.now(), older_than) if lists is not None else 0

    def revocation_list(self, signer: str, *, scoped: bool = True) -> PublishedList:
        """The revocation list of an issuer, with or without its distribution point; no name is the authority's own.

        Raises:
            NotFoundError: lists are not enabled, or there is no such issuer.
        """
        if self.loaded.configuration.lists is None:
            raise NotFoundError("certificate revocation lists are not enabled")
        found = self.store.published(list_name(signer, scoped=scoped)) if signer in self._frames else None
        if found is None:
            raise NotFoundError("there is no revocation list of this issuer")
        return found

    async def _deliver(self, issued: Issued, token: SpentToken | None) -> bytes:
        """Record, then the answer as JSON."""
        provisioner = issued.provisioner
        record = IssuedCertificate(
            issued.serial,
            issued.der,
            issued.not_after,
            clock.now(),
            provisioner.identifier if provisioner else "",
            provisioner.name if provisioner else "",
            provisioner.kind if provisioner else "",
        )
        await self._commit.record(Change(token=token, certificate=record))
        leaf = b'"' + der_to_pem(issued.der, "CERTIFICATE").replace("\n", "\\n").encode() + b'"'
        before, after = self._frames[issued.signer]
        return b'{"crt":' + leaf + before + leaf + after


def _frame(chain: list[str], options: str) -> tuple[bytes, bytes]:
    """The answer's parts before and after the second leaf that are the same for every certificate, encoded once."""
    rest = _compact(chain)[1:]
    before = f',"ca":{_compact(chain[0])},"certChain":['
    return before.encode(), f',{rest},"tlsOptions":{options}}}\n'.encode()


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _spent(grant: Grant) -> SpentToken | None:
    """The token to spend; none for tokens that may be used again."""
    return SpentToken(grant.token_id, grant.token_end) if grant.token_id else None


def _request(text: str) -> Request:
    """A request with proof of possession.

    Raises:
        MalformedError: it cannot be read, or its signature does not hold.
    """
    try:
        request = parse_request(text.encode())
        return Request(request, check_possession(request))
    except RequestError as error:
        raise MalformedError(error.message) from error
