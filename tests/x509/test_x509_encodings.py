"""PEM, names, requests, serials, reasons and the provisioner extension: what is written reads back, what is not them is
refused by name."""

import string

import pytest
from cryptography import x509
from cryptography.x509.oid import ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from tests.x509.authorities import issue
from troth.x509 import X509Error
from troth.x509.keys import generate_key, key_matches, private_key_to_pem
from troth.x509.names import NameSyntaxError, SubjectNames, alternative_names, common_name, parse_ip, split_names
from troth.x509.pem import MAX_PEM_BYTES, bundle_to_pem, der_to_pem, parse_blocks, parse_certificates, to_pem
from troth.x509.provisioned import OID, ProvisionedBy, parse_extension, provisioned_by
from troth.x509.requests import RequestError, check_possession, create_request, parse_request, request_to_pem
from troth.x509.revocation import REASONS, ReasonError, parse_reason
from troth.x509.serials import MAX_SERIAL, SerialError, parse_serial

ONE, TWO = issue("one"), issue("two")
WORDS = st.text(alphabet=string.ascii_lowercase + string.digits, min_size=1, max_size=12)


@given(st.binary(min_size=1, max_size=300), st.sampled_from(["CERTIFICATE", "X509 CRL", "PRIVATE KEY"]))
def test_pem_reads_back(der: bytes, label: str) -> None:
    text = der_to_pem(der, label)
    assert max(map(len, text.splitlines()[1:-1])) <= 64
    (block,) = parse_blocks(b"leading text\n" + text.encode() + b"trailing")
    assert (block.label, block.der, block.text) == (label, der, text.encode())


def test_a_bundle_keeps_its_order_and_ignores_what_is_between() -> None:
    text = "subject=one\n" + to_pem(ONE.certificate) + "\n# two\r\n" + to_pem(TWO.certificate).replace("\n", "\r\n")
    assert parse_certificates(text.encode()) == [ONE.certificate, TWO.certificate]
    assert parse_certificates(bundle_to_pem([TWO.certificate, ONE.certificate]).encode())[0] == TWO.certificate


def test_der_is_read_too() -> None:
    from cryptography.hazmat.primitives.serialization import Encoding

    assert parse_certificates(ONE.certificate.public_bytes(Encoding.DER)) == [ONE.certificate]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "f.crt contains no certificate"),
        (private_key_to_pem(ONE.key), "f.crt contains no certificate"),
        (b"\x30\x00", "f.crt is not a readable certificate"),
        (der_to_pem(b"\x30\x01x", "CERTIFICATE").encode(), "f.crt is not a readable certificate"),
        (b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----", "not valid base64"),
        (b" " * (MAX_PEM_BYTES + 1), "too large"),
    ],
)
def test_what_is_no_certificate(data: bytes, reason: str) -> None:
    with pytest.raises(X509Error, match=reason):
        parse_certificates(data, "f.crt")


def test_an_encrypted_block_has_no_readable_body() -> None:
    (block,) = parse_blocks(private_key_to_pem(generate_key(), b"secret"))
    assert block.label == "EC PRIVATE KEY" and block.der is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.example", "dns"),
        ("*.Example", "dns"),
        ("localhost:80", "uri"),
        ("10.0.0.1", "ip"),
        ("::1", "ip"),
        ("me@a.example", "email"),
        ("spiffe://trust/domain", "uri"),
        ("urn:uuid:1", "uri"),
        ("https://me@host/", "uri"),
    ],
)
def test_kinds_of_names(name: str, kind: str) -> None:
    assert split_names([name]).as_set() == {(kind, name)}


def test_empty_names_are_skipped_and_order_is_kept() -> None:
    assert split_names(["b", "", "a"]) == SubjectNames(dns=("b", "a")) and not split_names([""])


@given(
    st.lists(WORDS.map(lambda w: f"{w}.example"), max_size=4, unique=True),
    st.lists(st.ip_addresses().map(str), max_size=3, unique=True),
)
def test_requests_carry_their_names(dns: list[str], ips: list[str]) -> None:
    request = parse_request(request_to_pem(create_request(ONE.key, "cn", [*ips, *dns])).encode())
    check_possession(request)
    assert alternative_names(request.extensions) == SubjectNames(
        dns=tuple(dns), ips=tuple(str(parse_ip(ip)) for ip in ips)
    )
    assert common_name(request.subject) == "cn"


def test_names_that_cannot_be_written() -> None:
    with pytest.raises(NameSyntaxError):
        create_request(ONE.key, "cn", ["bücher.example"])


@pytest.mark.parametrize("kty", ["EC", "RSA", "OKP"])
def test_a_request_for_nobody_is_possible(kty: str) -> None:
    key = generate_key(kty)
    request = create_request(key, "", [])
    check_possession(request)
    assert common_name(request.subject) == "" and not alternative_names(request.extensions)
    assert not key_matches(ONE.certificate, key)


def test_a_request_whose_signature_does_not_hold() -> None:
    from cryptography.hazmat.primitives.serialization import Encoding

    der = bytearray(create_request(ONE.key, "cn", []).public_bytes(Encoding.DER))
    der[-1] ^= 1
    with pytest.raises(RequestError, match="invalid signature"):
        check_possession(parse_request(bytes(der)))


@pytest.mark.parametrize(
    "data", [b"", to_pem(ONE.certificate).encode(), b"\x30\x00", der_to_pem(b"x", "CERTIFICATE REQUEST").encode()]
)
def test_what_is_no_request(data: bytes) -> None:
    with pytest.raises(RequestError, match=r"f\.csr (contains no|is not a readable) certificate request"):
        parse_request(data, "f.csr")


@given(st.integers(min_value=0, max_value=MAX_SERIAL - 1))
def test_serials_in_both_writings(number: int) -> None:
    assert parse_serial(str(number)) == parse_serial(hex(number)) == parse_serial(f" 0X{number:X} ") == number


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", "1_0", "0x", "abc", "0x_1", "١", str(MAX_SERIAL)])
def test_what_is_no_serial(text: str) -> None:
    with pytest.raises(SerialError, match="invalid serial number"):
        parse_serial(text)


def test_reasons_by_number_and_name() -> None:
    for number, name in REASONS.items():
        assert parse_reason(str(number)) == parse_reason(name) == parse_reason(name.upper()) == number
    assert parse_reason("") == 0 and parse_reason("Key Compromise") == 1
    for text in ("7", "11", "-1", "because"):
        with pytest.raises(ReasonError):
            parse_reason(text)


# SEQUENCE { INTEGER 1, OCTET STRING "admin", OCTET STRING "kid" }
EXTENSION = bytes.fromhex("300f 020101 0405 61646d696e 0403 6b6964".replace(" ", ""))


def test_the_provisioner_extension() -> None:
    assert parse_extension(EXTENSION) == ProvisionedBy("JWK", "admin", "kid")
    holder = issue("x", extra=x509.UnrecognizedExtension(OID, EXTENSION))
    assert provisioned_by(holder.certificate.extensions) == ProvisionedBy("JWK", "admin", "kid")
    assert provisioned_by(ONE.certificate.extensions) is None
    other = issue("x", extra=x509.UnrecognizedExtension(ObjectIdentifier("1.2.3"), EXTENSION))
    assert provisioned_by(other.certificate.extensions) is None


@given(st.binary(max_size=60))
def test_garbage_is_no_provisioner_extension(data: bytes) -> None:
    try:
        parse_extension(data)
    except X509Error:
        return
    assert data[:1] == b"\x30"


@pytest.mark.parametrize("cut", range(len(EXTENSION)))
def test_a_cut_extension_is_malformed(cut: int) -> None:
    with pytest.raises(X509Error):
        parse_extension(EXTENSION[:cut])
    broken = issue("x", extra=x509.UnrecognizedExtension(OID, EXTENSION[:cut]))
    assert provisioned_by(broken.certificate.extensions) is None
