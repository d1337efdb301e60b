"""The authority itself: request to grant to prepared certificate to signature; renewal and revocation rules.

It decides and signs; recording and answering are the caller's, in that order.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from troth.ca import (
    CAError,
    ConfigurationError,
    ForbiddenError,
    MalformedError,
    RenewalRefusedError,
    UnauthorizedError,
    extension,
    jwk,
)
from troth.ca.audiences import Audiences
from troth.ca.policy import Policy
from troth.ca.profile import (
    NO_NAME,
    Issuer,
    Prepared,
    check_key,
    general_names,
    leaf_extensions,
    renewed_extensions,
    requested_subject,
    sign_der,
    subject_name,
)
from troth.ca.provisioners import Grant, Naming, Provisioner, Provisioners
from troth.ca.template_data import as_go_reads, certificate_data, template_data
from troth.ca.templated import extensions_of, subject_of
from troth.ca.templates import CertificateTemplate, moment
from troth.ca.tokens import parse_token
from troth.ca.validity import Window, Wish, decide
from troth.x509.constraints import Constraints, NameConstraintError, constraints_of
from troth.x509.keys import PublicKey, fingerprint, key_matches, public_der
from troth.x509.names import SubjectNames, alternative_names, common_name, split_names
from troth.x509.pem import to_pem
from troth.x509.requests import raw_alternative_names


class Issued(NamedTuple):
    """A signed certificate that nobody has seen yet, the provisioner it is recorded under, and who signed it."""

    serial: int
    not_after: datetime
    der: bytes
    provisioner: Provisioner | None
    signer: str = ""


@dataclass(frozen=True)
class Signer:
    """An intermediate that signs for some provisioners; `name` is empty for the one that signs for all others."""

    name: str
    issuer: Issuer
    chain: tuple[x509.Certificate, ...]
    roots: tuple[x509.Certificate, ...] = ()

    @cached_property
    def constraints(self) -> tuple[Constraints, ...]:
        """The name constraints of the chain and of the root above it."""
        above = (root for root in self.roots if root.subject == self.chain[-1].issuer)
        return constraints_of(dict.fromkeys((*self.chain, *above)))

    def check_names(self, names: SubjectNames) -> None:
        """Raises: ForbiddenError: the name constraints above do not permit a name; nobody would accept it."""
        for constraints in self.constraints:
            try:
                constraints.check(names)
            except NameConstraintError as error:
                raise ForbiddenError(error.message) from error

    @property
    def chain_pem(self) -> list[str]:
        """The signing certificate and those above it as PEM, the signing one first; never the root."""
        return [to_pem(certificate) for certificate in self.chain]


class Request(NamedTuple):
    """A certificate request whose self-signature was checked, and its key, read once."""

    csr: x509.CertificateSigningRequest
    key: object


@dataclass(frozen=True)
class Authority:
    """One issuing authority as configured; replaced as a whole when the configuration is read again."""

    roots: tuple[x509.Certificate, ...]
    intermediates: tuple[x509.Certificate, ...]
    issuer: Issuer
    provisioners: Provisioners
    audiences: Audiences
    backdate: timedelta
    started: datetime
    federated: tuple[x509.Certificate, ...] = ()
    subject_defaults: Mapping[str, Any] = field(default_factory=dict)
    check_issued_at: bool = True
    policies: tuple[Policy, ...] = ()
    provisioner_policies: Mapping[str, Policy] = field(default_factory=dict)
    further: Mapping[str, Signer] = field(default_factory=dict)
    assigned: Mapping[str, str] = field(default_factory=dict)
    templates: Mapping[str, CertificateTemplate] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not key_matches(self.issuer.certificate, self.issuer.key):
            raise ConfigurationError("intermediate key does not belong to the intermediate certificate")

    def signer_of(self, provisioner: Provisioner | None) -> Signer:
        """Who signs for a provisioner: the intermediate ``troth.json`` names, else the authority's own."""
        name = self.assigned.get(provisioner.name, "") if self.assigned and provisioner is not None else ""
        return self.further[name] if name else self.own_signer

    @cached_property
    def own_signer(self) -> Signer:
        """The authority's own intermediate, which signs for whom no other is named."""
        return Signer("", self.issuer, self.intermediates, self.roots)

    @property
    def signers(self) -> tuple[Signer, ...]:
        """Every signing intermediate, the authority's own first."""
        return (self.own_signer, *self.further.values())

    @property
    def all_intermediates(self) -> tuple[x509.Certificate, ...]:
        """The certificates below the roots that certificates of this authority lead through, each once."""
        return tuple(dict.fromkeys(certificate for signer in self.signers for certificate in signer.chain))

    def check_policies(self, provisioner: Provisioner, common_name: str, names: SubjectNames) -> None:
        """The policies of the provisioner and of the authority; every one of them must allow every name.

        Raises:
            ForbiddenError: one does not, or a name holds what readers of C strings and of logs stumble over.
        """
        for name in (common_name, *names.dns, *names.emails, *names.uris):
            if not name.isprintable():
                raise ForbiddenError(f"name {name!r} holds characters that cannot be printed")
        own = self.provisioner_policies.get(provisioner.name)
        for policy in (own, *self.policies) if own is not None else self.policies:
            policy.check(common_name, names)

    def authorize(self, text: str, purpose: str, now: datetime) -> Grant:
        """Verify a one-time token for ``sign`` or ``revoke``; the caller spends it.

        Raises:
            UnauthorizedError: anything about the token is not right.
        """
        token = parse_token(text)
        provisioner = self.provisioners.of_token(token, self.audiences)
        issued = token.moment("iat")
        if self.check_issued_at and issued is not None and issued < self.started.replace(microsecond=0):
            raise UnauthorizedError(f"token was issued at {issued.isoformat()}, before this authority was started")
        return provisioner.authorize(token, self.audiences, purpose, now)

    def issue(
        self,
        grant: Grant,
        request: Request,
        wish: Wish,
        serial: int,
        now: datetime,
        said: Mapping[str, Any] | None = None,
    ) -> Issued:
        """Check a request against its grant and sign the default leaf, or what the provisioner's template makes.

        Args:
            grant: what the token allows.
            request: whose possession of its key was checked.
            wish: the validity asked for.
            serial: the serial number.
            now: the moment of the request.
            said: for a template: ``User``, what the request's ``templateData`` holds, and ``Webhooks``.

        Raises:
            ForbiddenError: the request asks for more than the grant allows.
            MalformedError: its key or validity cannot be certified, or the template refused.
            CAError: the template does not make a certificate.
        """
        check_confirmation(grant, request.csr)
        common, names, subject = self.named(grant, request.csr)
        key = public_der(check_key(request.key))
        template = self.templates.get(grant.provisioner.name) if self.templates else None
        if template is not None:
            described = self.described(template, grant, names, request, now, said or {})
            return self._issue_described(described, grant, key, wish, serial, now)
        claims = grant.provisioner.claims
        window = decide(wish, claims, self.backdate, now, grant.ceiling, grant.floor)
        marker = None if claims.disable_extensions else grant.provisioner.marker
        self.check_policies(grant.provisioner, common or str(self.subject_defaults.get("commonName") or ""), names)
        if grant.naming is Naming.REQUESTED:
            # A subject that is taken whole may have several common names.
            for other in request.csr.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[1:]:
                self.check_policies(grant.provisioner, str(other.value), SubjectNames())
        signer = self.signer_of(grant.provisioner)
        signer.check_names(names)
        extensions = leaf_extensions(key, signer.issuer.key_id, names, marker, critical_names=subject == NO_NAME)
        der = sign_der(Prepared(subject, serial, window, key, extensions), signer.issuer)
        return Issued(serial, window.not_after, der, grant.provisioner, signer.name)

    def described(
        self,
        template: CertificateTemplate,
        grant: Grant,
        names: SubjectNames,
        request: Request,
        now: datetime,
        said: Mapping[str, Any],
    ) -> dict[str, Any]:
        """What a provisioner's template makes of a request.

        Raises:
            MalformedError: the template refused.
            CAError: it makes no JSON object.
        """
        data = template_data(grant.subject, names, grant.claims, request.csr, request.key)
        if said.get("User") is not None:
            data["Insecure"]["User"] = as_go_reads(said["User"])
        if said.get("Webhooks"):
            data["Webhooks"] = as_go_reads(said["Webhooks"])
        if grant.certificate is not None:
            data["AuthorizationCrt"] = certificate_data(grant.certificate)
        return template.render(data, now)

    def _issue_described(
        self, described: Mapping[str, Any], grant: Grant, key: bytes, wish: Wish, serial: int, now: datetime
    ) -> Issued:
        """Sign what a template described; policies judge the names it ended up with, whoever put them there."""
        claims = grant.provisioner.claims
        wanted = wish.or_else(moment(described, "notBefore"), moment(described, "notAfter"))
        window = decide(wanted, claims, self.backdate, now, grant.ceiling, grant.floor)
        marker = None if claims.disable_extensions else grant.provisioner.marker
        signer = self.signer_of(grant.provisioner)
        subject = subject_of(described, self.subject_defaults)
        critical = subject == NO_NAME
        extensions = extensions_of(described, key, signer.issuer.key_id, marker, critical_names=critical)
        der = sign_der(Prepared(subject, serial, window, key, extensions), signer.issuer)
        try:
            made = x509.load_der_x509_certificate(der)
            names = alternative_names(made.extensions)
            commons = [str(one.value) for one in made.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
        except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
            raise CAError(f"certificate template made an unreadable certificate: {error}") from error
        for common in commons or [""]:
            self.check_policies(grant.provisioner, common, names)
        signer.check_names(names)
        return Issued(serial, window.not_after, der, grant.provisioner, signer.name)

    def named(self, grant: Grant, request: x509.CertificateSigningRequest) -> tuple[str, SubjectNames, bytes]:
        """The common name, the alternative names and the encoded subject of what a grant gives to a request.

        Raises:
            ForbiddenError: the request names what the grant does not allow.
            MalformedError: the names cannot be read or certified.
        """
        if grant.naming is Naming.REQUESTED:
            names = requested_names(request)
            return common_name(request.subject), names, requested_subject(request.subject, self.subject_defaults)
        names = split_names(grant.names)
        if grant.naming is Naming.CHECKED:
            check_request(grant, names, request)
        return grant.subject, names, subject_name(grant.subject, self.subject_defaults)

    def renew(
        self,
        old: x509.Certificate,
        recorded: str,
        revoked: bool,
        serial: int,
        now: datetime,
        new_key: PublicKey | None = None,
    ) -> Issued:
        """The successor of a certificate whose holder has proven possession of its key.

        Args:
            old: the certificate presented; its path to us was verified.
            recorded: the provisioner id the database holds for its serial, or empty.
            revoked: whether its serial is revoked.
            serial: the new serial number.
            now: the moment of the request.
            new_key: another public key (rekey), already proven.

        Raises:
            RenewalRefusedError: it may not be renewed.
            ForbiddenError: the issuer of today may not certify its names.
        """
        provisioner = self.check_renewal(old, recorded, revoked, now)
        length = old.not_valid_after_utc - old.not_valid_before_utc
        start = (now - self.backdate).replace(microsecond=0)
        key = public_der(new_key if new_key is not None else check_key(old.public_key()))
        signer = self.signer_of(provisioner)
        if signer.constraints:
            signer.check_names(alternative_names(old.extensions))
        extensions = renewed_extensions(old, signer.issuer.key_id, key if new_key is not None else None)
        prepared = Prepared(old.subject.public_bytes(), serial, Window(start, start + length), key, extensions)
        der = sign_der(prepared, signer.issuer)
        return Issued(serial, prepared.window.not_after, der, provisioner, signer.name)

    def check_renewal(self, old: x509.Certificate, recorded: str, revoked: bool, now: datetime) -> Provisioner | None:
        """The provisioner to record a renewal under; None for a certificate that names none.

        Raises:
            RenewalRefusedError: revoked, its provisioner is gone or forbids it, not yet valid, or expired.
        """
        if revoked:
            raise RenewalRefusedError("certificate is revoked and cannot be renewed")
        named = extension.of(old)
        provisioner = self.provisioners.by_id(recorded) if recorded else None
        if provisioner is None and named is not None:
            provisioner = self.provisioners.by_name(named.name)
            if provisioner is None:
                raise RenewalRefusedError(f"provisioner {named.name!r} of the certificate does not exist any more")
        claims = provisioner.claims if provisioner is not None else None
        if claims is not None and claims.disable_renewal:
            raise RenewalRefusedError(f"renewal is disabled for provisioner {provisioner and provisioner.name!r}")
        if now < old.not_valid_before_utc:
            raise RenewalRefusedError(f"certificate is not valid before {old.not_valid_before_utc.isoformat()}")
        if now > old.not_valid_after_utc and not (claims is not None and claims.allow_renewal_after_expiry):
            raise RenewalRefusedError(f"certificate expired on {old.not_valid_after_utc.isoformat()}")
        return provisioner

    def root_by_fingerprint(self, sha: str) -> x509.Certificate | None:
        """A root or federated root by its SHA-256, in any case and with or without dashes."""
        wanted = sha.lower().replace("-", "")
        return next((c for c in (*self.roots, *self.federated) if fingerprint(c) == wanted), None)


def check_confirmation(grant: Grant, request: x509.CertificateSigningRequest) -> None:
    """``cnf.x5rt#S256`` binds a token to one request (RFC 7800; step's member).

    Raises:
        ForbiddenError: the token is bound to another request.
    """
    if grant.confirmation:
        digest = jwk.b64encode(hashlib.sha256(request.public_bytes(Encoding.DER)).digest())
        if not hmac.compare_digest(digest, grant.confirmation.rstrip("=")):
            raise ForbiddenError("certificate request is not the one the token was made for (cnf)")


def check_request(grant: Grant, names: SubjectNames, request: x509.CertificateSigningRequest) -> None:
    """The request's names must be the token's: the common name one of them, each kind of name present the same set.

    Raises:
        ForbiddenError: they are not.
        MalformedError: the request's extensions cannot be read.
    """
    asked = common_name(request.subject)
    if asked and asked not in grant.common_names:
        allowed = ", ".join(dict.fromkeys(grant.common_names))
        raise ForbiddenError(f"certificate request has common name {asked!r}, the token allows {allowed}")
    try:
        if general_names(names) == raw_alternative_names(request):
            return
    except ValueError as error:
        raise MalformedError("certificate request has unreadable extensions") from error
    wanted = requested_names(request)
    if wanted == names:
        return
    pairs: Sequence[tuple[str, tuple[str, ...], tuple[str, ...]]] = (
        ("DNS names", wanted.dns, names.dns),
        ("email addresses", wanted.emails, names.emails),
        ("IP addresses", wanted.ips, names.ips),
        ("URIs", wanted.uris, names.uris),
    )
    for kind, have, allow in pairs:
        if have and set(have) != set(allow):
            raise ForbiddenError(
                f"certificate request does not contain the valid {kind}: got {', '.join(have)}, "
                f"the token allows {', '.join(allow) or 'none'}"
            )


def requested_names(request: x509.CertificateSigningRequest) -> SubjectNames:
    """The alternative names of a request, those of kinds that certificates of ours have.

    Raises:
        MalformedError: its extensions cannot be read.
    """
    try:
        return alternative_names(request.extensions)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise MalformedError("certificate request has unreadable extensions") from error


def serial_from(entropy: bytes, now: datetime) -> int:
    """A serial number of at most 128 bits: the second of issuance, then 96 random bits.

    Ordered serials keep the database's index growing at one end; 96 random bits are more than the 64 that the CA/B
    Forum's baseline asks for (§7.1).
    """
    return (int(now.timestamp()) & 0x7FFFFFFF) << 96 | int.from_bytes(entropy[:12])
