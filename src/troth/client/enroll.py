"""From a provisioner's password to a certificate, in one call."""

from collections.abc import Sequence
from datetime import datetime

from troth.client.authority import Authority, Chain
from troth.client.provisioners import SigningKey, matching, open_key
from troth.client.tokens import (
    Validity,
    renewal_token,
    request_claims,
    request_fingerprint,
    sign_audience,
    sign_token,
    validity,
)
from troth.client.transport import ClientCertificate
from troth.x509.keys import PrivateKey, fingerprint, generate_key, private_key_to_pem
from troth.x509.pem import parse_certificates
from troth.x509.requests import create_request, request_to_pem


def signing_key(authority: Authority, provisioner: str, password: bytes, kid: str = "") -> SigningKey:
    """Find a JWK provisioner by name (or the only one, when empty) and open its key.

    Raises:
        ProvisionerError: none or several fit, or the password is wrong.
    """
    from troth.client.provisioners import ProvisionerError

    found = matching(authority.token_provisioners(), provisioner, kid)
    if len(found) > 1:
        names = ", ".join(f"{one.name} ({one.kid})" for one in found)
        raise ProvisionerError(f"several provisioners fit: {names}", hint="choose one with --provisioner or --kid")
    one = found[0]
    return open_key(one, one.encrypted_key or authority.encrypted_key(one.kid), password)


def enroll(
    authority: Authority,
    provisioner: str,
    password: bytes,
    subject: str,
    sans: Sequence[str],
    not_after: str = "",
    key: PrivateKey | None = None,
    *,
    now: datetime,
) -> tuple[PrivateKey, Chain]:
    """Get a first certificate: open the provisioner's key, sign a token for one request, send both.

    Args:
        authority: where to ask.
        provisioner: a JWK provisioner's name; empty takes the only one.
        password: what opens the provisioner's key.
        subject: common name.
        sans: alternative names; empty means the subject.
        not_after: empty, RFC 3339 or a Go duration.
        key: None makes a new EC P-256 key.
        now: the present, UTC.

    Raises:
        ClientError: the authority refused or could not be reached.
    """
    own = key or generate_key()
    signer = signing_key(authority, provisioner, password)
    names = list(sans) or [subject]
    request = create_request(own, subject, names)
    claims = request_claims(
        subject, names, root_fingerprint(authority.roots), confirmation=request_fingerprint(request)
    )
    token = sign_token(signer, sign_audience(authority.url), subject, validity(now), claims)
    return own, authority.sign(request_to_pem(request), token, not_after=not_after)


def renew(authority: Authority, chain_pem: bytes, key: PrivateKey, *, now: datetime) -> Chain:
    """Renew a certificate with its key: over mutual TLS while it is valid, by a bearer token once it has expired.

    Raises:
        ClientError: the authority refused or could not be reached.
        X509Error: the chain cannot be read.
    """
    chain = parse_certificates(chain_pem, "certificate")
    if now > chain[0].not_valid_after_utc:
        return renew_by_token(authority, chain_pem, key, now=now)
    return authority.renew(ClientCertificate(chain_pem, private_key_to_pem(key)))


def renew_by_token(authority: Authority, chain_pem: bytes, key: PrivateKey, *, now: datetime) -> Chain:
    """Renew with a token that the certificate's own key signs; needs no handshake with the certificate."""
    chain = parse_certificates(chain_pem, "certificate")
    span: Validity = validity(now)
    return authority.renew_with_token(renewal_token(key, chain, authority.url, span))


def root_fingerprint(roots_pem: str) -> str:
    """The fingerprint of the first root of a bundle, which step puts into tokens."""
    return fingerprint(parse_certificates(roots_pem.encode(), "root certificates")[0])
