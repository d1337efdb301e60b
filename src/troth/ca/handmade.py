"""Certificates and requests that a person makes with a key at hand: step's profiles, or a template of one's own.

No authority's configuration, provisioner or policy is involved; the issuer's certificate alone says what it may sign.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from troth.ca import CAError
from troth.ca.gotemplate import TemplateError
from troth.ca.gotemplate.template import parse_template
from troth.ca.profile import NO_NAME, Issuer, Myself, Prepared, issuer_of, sign_der, signer_of
from troth.ca.template_data import as_go_reads, template_data
from troth.ca.templated import extensions_of, requested_extensions, subject_of
from troth.ca.templates import CertificateTemplate
from troth.ca.validity import Window
from troth.x509.chains import check_dates, may_sign_certificates
from troth.x509.constraints import NameConstraintError, constraints_of
from troth.x509.domains import DNSSyntaxError, ascii_domain
from troth.x509.keys import PrivateKey, PublicKey, key_matches, public_der
from troth.x509.names import alternative_names, split_names
from troth.x509.requests import assemble_request
from troth.x509.serials import SerialError, parse_serial

DAY, TEN_YEARS = timedelta(days=1), timedelta(days=3650)
_LEAF_USAGES = """
{{- if typeIs "*rsa.PublicKey" .Insecure.CR.PublicKey }}
  "keyUsage": ["keyEncipherment", "digitalSignature"],
{{- else }}
  "keyUsage": ["digitalSignature"],
{{- end }}
  "extKeyUsage": ["serverAuth", "clientAuth"]"""
_AUTHORITY_USAGES = """
  "keyUsage": ["certSign", "crlSign"],
  "basicConstraints": {"isCA": true, "maxPathLen": {{ .MaxPathLen }}}"""
LEAF = '{"subject": {{ toJson .Subject }}, "sans": {{ toJson .SANs }},' + _LEAF_USAGES + "}"
# A request's subject is taken over byte by byte.
REQUESTED_LEAF = '{"rawSubject": {{ toJson .Insecure.CR.RawSubject }}, "sans": {{ toJson .SANs }},' + _LEAF_USAGES + "}"
AUTHORITY = '{"subject": {{ toJson .Subject }},' + _AUTHORITY_USAGES + "}"
REQUEST = '{"subject": {{ toJson .Subject }}, "sans": {{ toJson .SANs }}}'
AS_REQUESTED = "{{ toJson .Insecure.CR }}"


class HandmadeError(CAError):
    """The certificate cannot be made as asked."""


def fresh_data(subject: str, names: Sequence[str], key: PublicKey) -> dict[str, Any]:
    """What templates see of a certificate that is made from nothing: subject, names, key.

    Raises:
        CAError: a name cannot be in a certificate.
    """
    for name in names:
        _check_ascii(name)
    described = {"subject": subject, "sans": [{"value": name} for name in names]}
    extensions = requested_extensions(described, critical_names=False)
    request = assemble_request(subject_of(described, {}), public_der(key), extensions)
    return template_data(subject, split_names(names), {}, request, key)


def _check_ascii(name: str) -> None:
    if name.isascii():
        return
    try:
        hint = f"write it in its ASCII form: --san {ascii_domain(name)}"
    except DNSSyntaxError:
        hint = "name the certificate's ASCII names with --san"
    raise HandmadeError(f"name {name!r} cannot be a subject alternative name: expected ASCII", hint=hint)


def requested_data(
    request: x509.CertificateSigningRequest, key: PublicKey, *, omit_common_name: bool
) -> dict[str, Any]:
    """What templates see of a request: its subject and its names, else its common name as the one name."""
    names = alternative_names(request.extensions)
    commons = [str(one.value) for one in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if not names and commons and commons[-1] and not omit_common_name:
        names = split_names(commons[-1:])
    data = template_data("", names, {}, request, key)
    data["Subject"] = data["Insecure"]["CR"].fields["Subject"]
    return data


def describe(template: str, name: str, data: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """What a template makes of its data; its name is for messages.

    Raises:
        CAError: the template is malformed, calls what is not supported, refused, or makes no JSON object.
    """
    try:
        parsed = parse_template(name, template)
    except TemplateError as error:
        raise HandmadeError(error.message) from error
    return CertificateTemplate(parsed, {}).render(data, now)


def with_user_data(data: dict[str, Any], user: Mapping[str, Any], path_length: int) -> dict[str, Any]:
    """The data with ``--set`` and ``--set-file`` as ``.Insecure.User``, and the path length of an authority."""
    data["Insecure"]["User"] = as_go_reads(dict(user))
    return {**data, "MaxPathLen": path_length}


def myself(described: Mapping[str, Any], key: PrivateKey) -> Myself:
    """What signs a certificate that is its own issuer, under its own name."""
    return Myself(subject_of(described, {}), *signer_of(key))


def checked_issuer(certificate: x509.Certificate, key: PrivateKey, now: datetime) -> Issuer:
    """An issuer that may sign certificates now.

    Raises:
        HandmadeError: it is no authority, or the key is another's.
        ChainError: it is not in force.
    """
    if not key_matches(certificate, key):
        raise HandmadeError("the issuer's key does not belong to its certificate")
    try:
        authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        authority = False
    if not authority:
        raise HandmadeError("the issuer's certificate is not a certificate authority: expected CA:TRUE")
    if not may_sign_certificates(certificate):
        raise HandmadeError("the issuer's certificate may not sign certificates: expected key usage certSign")
    check_dates(certificate, now)
    return issuer_of(certificate, key)


def certify(
    described: Mapping[str, Any], key: PublicKey, issuer: Issuer | Myself, serial: int, window: Window
) -> x509.Certificate:
    """Sign what a template described.

    Raises:
        CAError: a member is malformed, or the issuer may not sign such a certificate.
    """
    subject = subject_of(described, {})
    spki = public_der(key)
    issuer_key_id = issuer.key_id if isinstance(issuer, Issuer) else b""
    extensions = extensions_of(described, spki, issuer_key_id, None, critical_names=subject == NO_NAME)
    prepared = Prepared(subject, _serial(described, serial), window, spki, extensions)
    try:
        made = x509.load_der_x509_certificate(sign_der(prepared, issuer))
        _ = made.extensions
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise HandmadeError(f"the template made an unreadable certificate: {error}") from error
    if isinstance(issuer, Issuer):
        _check_permitted(made, issuer.certificate)
    return made


def _serial(described: Mapping[str, Any], otherwise: int) -> int:
    given = described.get("serialNumber")
    if given is None or given == "":
        return otherwise
    try:
        if isinstance(given, bool | list | dict):
            raise SerialError("serial number is no number")
        number = parse_serial(given if isinstance(given, str) else f"{given:.0f}")
        if not 0 < number < 2**159:
            raise SerialError("serial number is out of range")
    except SerialError as error:
        raise HandmadeError(f"template: serialNumber {given!r}: expected a positive number of 20 octets") from error
    return number


def _check_permitted(made: x509.Certificate, issuer: x509.Certificate) -> None:
    """What verifiers would refuse in this issuer's name is not signed (RFC 5280 §4.2.1.9, §4.2.1.10)."""
    above = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
    try:
        below = made.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        below = x509.BasicConstraints(ca=False, path_length=None)
    if below.ca and above is not None and (below.path_length is None or below.path_length >= above):
        wish = "no limit" if below.path_length is None else str(below.path_length)
        most = f"at most {above - 1}" if above else "a certificate that is no authority"
        raise HandmadeError(f"the issuer's path length {above} does not allow path length {wish}: expected {most}")
    try:
        for constraints in constraints_of([issuer]):
            constraints.check(alternative_names(made.extensions))
    except NameConstraintError as error:
        raise HandmadeError(error.message) from error


def window_of(
    start: datetime | timedelta | None,
    end: datetime | timedelta | None,
    length: timedelta,
    now: datetime,
    ceiling: datetime | None,
) -> Window:
    """Both ends, durations counted from now, as step does; the default end is never beyond the issuer's.

    Raises:
        HandmadeError: the end is before the start, or outside the calendar.
    """
    try:
        begin = _moment(start, now) or now
        until = _moment(end, now) or begin + length
    except OverflowError as error:
        raise HandmadeError("--not-before and --not-after lie outside the calendar") from error
    if end is None and ceiling is not None:
        until = min(until, ceiling)
    window = Window(begin.replace(microsecond=0), until.replace(microsecond=0))
    if window.not_after < window.not_before:
        raise HandmadeError(f"--not-after {until.isoformat()} is before --not-before {begin.isoformat()}")
    return window


def _moment(wish: datetime | timedelta | None, now: datetime) -> datetime | None:
    return now + wish if isinstance(wish, timedelta) else wish


def certificate_request(described: Mapping[str, Any], key: PrivateKey) -> x509.CertificateSigningRequest:
    """A request for what a template described, signed with its key.

    Raises:
        CAError: a member is malformed.
    """
    subject = subject_of(described, {})
    extensions = requested_extensions(described, critical_names=subject == NO_NAME)
    algorithm, signature = signer_of(key)
    try:
        return assemble_request(subject, public_der(key.public_key()), extensions, algorithm, signature)
    except ValueError as error:
        raise HandmadeError(f"the template made an unreadable request: {error}") from error
