"""A certificate for the witness from the authority that the location itself trusts, where we may ask that for one."""

from dataclasses import replace
from datetime import datetime

from troth.agent.config import Config, Identity
from troth.agent.issuer import AuthorityIssuer
from troth.agent.prove.subject import Subject
from troth.errors import TrothError
from troth.host.files import read_file
from troth.host.witness import Shown
from troth.x509 import X509Error
from troth.x509.chains import SERVER_AUTH, verify_path
from troth.x509.keys import parse_private_key
from troth.x509.pem import parse_certificates

SHORTEST = "5m"
OWN = "trust: the location's own; the witness has a certificate of its CA, for five minutes"
SUBSTITUTED = "trust: substituted by a throw-away CA, the rest is the location's own"


def vouch(subject: Subject, declared: Config | None, now: datetime) -> tuple[Shown | None, str]:
    """A certificate for the name that the location checks, and a sentence for the row.

    There is none when the location checks nothing, when its identity is not renewed with a password, when the
    authority cannot be asked, or when the location trusts another one.
    """
    trusted = subject.place.value("ssl_trusted_certificate")
    identity = _declared(subject, declared)
    if identity is None or identity.source is None or identity.source.password_file is None:
        return None, SUBSTITUTED
    if not trusted or not subject.place.is_on("ssl_verify") or subject.place.value("ssl_crl"):
        return None, SUBSTITUTED
    wanted = Identity(identity.name, subject.name, (subject.name,), source=replace(identity.source, not_after=SHORTEST))
    try:
        material = AuthorityIssuer().obtain(wanted, None, now)
        chain = parse_certificates(material.certificate)
        roots = parse_certificates(read_file(subject.path_of(trusted)), trusted)
        verify_path(chain[0], chain[1:], roots, now, purpose=SERVER_AUTH)
    except X509Error:
        return None, f"{SUBSTITUTED}; it trusts another authority than that of its identity"
    except TrothError as error:
        return None, f"{SUBSTITUTED}; {identity.source.url} gives no certificate: {error.message}"
    return Shown(tuple(chain), parse_private_key(material.key)), OWN


def _declared(subject: Subject, declared: Config | None) -> Identity | None:
    """The declared identity whose file the location shows."""
    path = subject.path_of(subject.place.value("ssl_certificate"))
    found = (one for one in (declared.identities if declared is not None else ()) if one.certificate == path)
    return next(found, None)
