"""Revocation lists and OCSP answers: which are believed, and what they say. The builders' defaults are all correct."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from troth.ca.init import create_intermediate, create_root
from troth.x509.keys import PrivateKey, generate_key
from troth.x509.status import RevokedError, StatusError, ask, check_answer, check_list

NOW = datetime(2030, 6, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
ROOT_KEY, KEY, OTHER_KEY, LEAF_KEY, RSA_KEY = (
    generate_key(),
    generate_key(),
    generate_key(),
    generate_key(),
    generate_key("RSA", "", 2048),
)
ROOT = create_root("Test", ROOT_KEY, 1, NOW - HOUR)
ISSUER = create_intermediate("Test", KEY, ROOT, ROOT_KEY, 2, NOW - HOUR)
OTHER = create_intermediate("Other", OTHER_KEY, ROOT, ROOT_KEY, 3, NOW - HOUR)
IMPOSTOR = create_intermediate("Test", OTHER_KEY, ROOT, ROOT_KEY, 4, NOW - HOUR)


def leaf(
    serial: int = 4711,
    issuer: x509.Certificate = ISSUER,
    key: PrivateKey = KEY,
    own: PrivateKey = LEAF_KEY,
    purpose: x509.ObjectIdentifier | None = None,
    start: datetime = NOW - HOUR,
    usage: bool = True,
) -> x509.Certificate:
    builder = x509.CertificateBuilder(
        issuer.subject,
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf")]),
        own.public_key(),
        serial,
        start.replace(tzinfo=None),
        (start + 24 * HOUR).replace(tzinfo=None),
    )
    if purpose is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    if not usage:
        builder = builder.add_extension(
            x509.KeyUsage(True, False, False, False, False, True, False, False, False), critical=True
        )
    return builder.sign(key, hashes.SHA256())


LEAF = leaf()


def crl(
    *serials: int,
    issuer: x509.Certificate = ISSUER,
    key: PrivateKey = KEY,
    start: datetime = NOW - HOUR,
    extensions: tuple[tuple[Any, bool], ...] = (),
    reason: x509.ReasonFlags | None = None,
) -> x509.CertificateRevocationList:
    builder = x509.CertificateRevocationListBuilder(issuer.subject, start, start + 2 * HOUR)
    for serial in serials:
        entry = x509.RevokedCertificateBuilder(serial, NOW - HOUR)
        if reason is not None:
            entry = entry.add_extension(x509.CRLReason(reason), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(key, hashes.SHA256())


def point(**members: Any) -> tuple[x509.IssuingDistributionPoint, bool]:
    defaults = dict.fromkeys(
        ("only_contains_user_certs", "only_contains_ca_certs", "indirect_crl", "only_contains_attribute_certs"), False
    )
    rest: dict[str, Any] = {"full_name": None, "relative_name": None, "only_some_reasons": None}
    return x509.IssuingDistributionPoint(**{**rest, **defaults, **members}), True


URL = [x509.UniformResourceIdentifier("https://ca.example/crl")]


@pytest.mark.parametrize(
    "found",
    [
        crl(),
        crl(1, 2, 3),
        crl(extensions=((x509.CRLNumber(7), False), point(full_name=URL))),
        crl(extensions=(point(only_contains_user_certs=True),)),
    ],
    ids=["empty", "others", "named point", "user certificates"],
)
@pytest.mark.parametrize("encoding", [Encoding.DER, Encoding.PEM])
def test_a_list_in_force_without_the_certificate_passes(
    found: x509.CertificateRevocationList, encoding: Encoding
) -> None:
    check_list(found.public_bytes(encoding), LEAF, ISSUER, NOW)


def test_a_revoked_certificate_is_found_with_day_and_reason() -> None:
    data = crl(1, 4711, reason=x509.ReasonFlags.key_compromise).public_bytes(Encoding.DER)
    with pytest.raises(RevokedError, match=r"revoked on 2030-06-01T11:00:00\+00:00 \(keyCompromise\)"):
        check_list(data, LEAF, ISSUER, NOW)
    with pytest.raises(RevokedError):
        check_list(crl(4711).public_bytes(Encoding.PEM), LEAF, ISSUER, NOW)


def test_of_several_lists_the_issuer_s_counts() -> None:
    text = crl(key=OTHER_KEY, issuer=OTHER).public_bytes(Encoding.PEM)
    with pytest.raises(RevokedError):
        check_list(text + crl(4711).public_bytes(Encoding.PEM), LEAF, ISSUER, NOW)


FREE = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (crl(key=OTHER_KEY), "was not signed by"),
        (crl(issuer=OTHER, key=OTHER_KEY), "did not issue"),
        (crl(start=NOW - 3 * HOUR), "ended on"),
        (crl(start=NOW + HOUR), "not in force before"),
        (crl(extensions=((FREE, True),)), "not understood"),
        (crl(extensions=((x509.DeltaCRLIndicator(1), True),)), "not understood"),
        (crl(extensions=(point(indirect_crl=True),)), "does not speak of all"),
        (crl(extensions=(point(only_contains_ca_certs=True),)), "does not speak of all"),
        (crl(extensions=(point(only_contains_attribute_certs=True),)), "does not speak of all"),
        (crl(extensions=(point(only_some_reasons=frozenset([x509.ReasonFlags.superseded])),)), "does not speak of all"),
    ],
)
def test_a_list_that_proves_nothing_is_not_believed(found: x509.CertificateRevocationList, says: str) -> None:
    with pytest.raises(StatusError, match=says):
        check_list(found.public_bytes(Encoding.DER), LEAF, ISSUER, NOW)


@pytest.mark.parametrize(
    "data", [b"", b"\x30\x03abc", b"<html>", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----"]
)
def test_what_is_no_list_is_refused(data: bytes) -> None:
    with pytest.raises(StatusError, match="cannot be read"):
        check_list(data, LEAF, ISSUER, NOW)


def test_a_namesake_of_the_issuer_cannot_sign_its_list() -> None:
    with pytest.raises(StatusError, match="was not signed"):
        check_list(crl(issuer=IMPOSTOR, key=OTHER_KEY).public_bytes(Encoding.DER), LEAF, ISSUER, NOW)


def test_who_may_sign_certificates_only_may_not_sign_lists() -> None:
    weak = leaf(9, ROOT, ROOT_KEY, KEY, usage=False)
    below = leaf(4711, weak, KEY)
    with pytest.raises(StatusError, match="may not sign revocation lists"):
        check_list(crl(issuer=weak).public_bytes(Encoding.DER), below, weak, NOW)


def answer(
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    certificate: x509.Certificate = LEAF,
    issuer: x509.Certificate = ISSUER,
    key: PrivateKey = KEY,
    responder: x509.Certificate = ISSUER,
    start: datetime = NOW - HOUR,
    attach: tuple[x509.Certificate, ...] = (),
    digest: Any = None,
) -> bytes:
    gone = status == ocsp.OCSPCertStatus.REVOKED
    builder = ocsp.OCSPResponseBuilder().add_response(
        certificate,
        issuer,
        digest or hashes.SHA1(),
        status,
        start,
        start + 2 * HOUR,
        NOW - HOUR if gone else None,
        x509.ReasonFlags.superseded if gone else None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, responder)
    if attach:
        builder = builder.certificates(list(attach))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


CHARGED = leaf(50, own=OTHER_KEY, purpose=ExtendedKeyUsageOID.OCSP_SIGNING)
CHARGED_RSA = leaf(51, own=RSA_KEY, purpose=ExtendedKeyUsageOID.OCSP_SIGNING)
UNCHARGED = leaf(52, own=OTHER_KEY)
CLIENT = leaf(53, own=OTHER_KEY, purpose=ExtendedKeyUsageOID.CLIENT_AUTH)
ENDED = leaf(54, own=OTHER_KEY, purpose=ExtendedKeyUsageOID.OCSP_SIGNING, start=NOW - 48 * HOUR)
FOREIGN = leaf(55, OTHER, OTHER_KEY, OTHER_KEY, ExtendedKeyUsageOID.OCSP_SIGNING)


@pytest.mark.parametrize(
    "data",
    [
        answer(),
        answer(digest=hashes.SHA256()),
        answer(key=OTHER_KEY, responder=CHARGED, attach=(CHARGED,)),
        answer(key=RSA_KEY, responder=CHARGED_RSA, attach=(CHARGED_RSA,)),
    ],
    ids=["issuer", "SHA-256", "charged", "charged, RSA"],
)
def test_a_good_answer_of_the_issuer_or_of_one_it_charged_passes(data: bytes) -> None:
    check_answer(data, LEAF, ISSUER, NOW)


def test_a_revoked_certificate_is_told_with_day_and_reason() -> None:
    with pytest.raises(RevokedError, match=r"revoked on 2030-06-01T11:00:00\+00:00 \(superseded\)"):
        check_answer(answer(ocsp.OCSPCertStatus.REVOKED), LEAF, ISSUER, NOW)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (answer(ocsp.OCSPCertStatus.UNKNOWN), "does not know"),
        (answer(key=OTHER_KEY, responder=IMPOSTOR, attach=(IMPOSTOR,)), "was not signed"),
        (answer(key=OTHER_KEY, responder=UNCHARGED, attach=(UNCHARGED,)), "was not signed"),
        (answer(key=OTHER_KEY, responder=CLIENT, attach=(CLIENT,)), "was not signed"),
        (answer(key=OTHER_KEY, responder=ENDED, attach=(ENDED,)), "was not signed"),
        (answer(key=OTHER_KEY, responder=FOREIGN, attach=(FOREIGN,)), "was not signed"),
        (answer(certificate=leaf(1)), "not about this"),
        (answer(issuer=OTHER), "not about this"),
        (answer(start=NOW - 3 * HOUR), "ended on"),
        (answer(start=NOW + HOUR), "not in force before"),
        (
            ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(Encoding.DER),
            "try later",
        ),
        (b"", "cannot be read"),
        (b"<html>", "cannot be read"),
    ],
)
def test_an_answer_that_proves_nothing_is_not_believed(data: bytes, says: str) -> None:
    with pytest.raises(StatusError, match=says):
        check_answer(data, LEAF, ISSUER, NOW)


def test_the_question_is_about_the_certificate() -> None:
    question = ocsp.load_der_ocsp_request(ask(LEAF, ISSUER))
    assert question.serial_number == 4711
