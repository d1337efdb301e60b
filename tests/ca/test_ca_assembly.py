"""The assembly of certificates, held byte for byte to cryptography's builder."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from troth.ca.extension import OID, ProvisionerExtension
from troth.ca.init import create_root
from troth.ca.profile import Prepared, issuer_of, leaf_extensions, renewed_extensions, sign, subject_name
from troth.ca.validity import Window
from troth.x509 import der
from troth.x509.keys import PrivateKey, public_der
from troth.x509.names import NameSyntaxError, split_names

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ISSUER_KEYS: dict[str, PrivateKey] = {
    "P-256": ec.generate_private_key(ec.SECP256R1()),
    "P-384": ec.generate_private_key(ec.SECP384R1()),
    "P-521": ec.generate_private_key(ec.SECP521R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
    "RSA": rsa.generate_private_key(65537, 2048),
}
ISSUERS = {name: issuer_of(create_root(f"Prüf {name}", key, 7, NOW), key) for name, key in ISSUER_KEYS.items()}
SUBJECT_KEYS = {name: key.public_key() for name, key in ISSUER_KEYS.items()}

labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
dns = st.lists(labels, min_size=1, max_size=4).map(".".join) | labels.map(lambda name: f"*.{name}.test")
names = st.lists(
    dns
    | st.ip_addresses().map(str)
    | dns.map(lambda host: f"someone@{host}")
    | dns.map(lambda host: f"spiffe://{host}/workload"),
    max_size=12,
)
moments = st.datetimes(datetime(1990, 1, 1), datetime(2120, 1, 1)).map(lambda m: m.replace(microsecond=0, tzinfo=UTC))


def built(
    subject: str, serial: int, window: Window, subject_key: str, sans: list[str], issuer: str, marker: bytes
) -> x509.Certificate:
    """The same certificate by the builder."""
    key, signer = SUBJECT_KEYS[subject_key], ISSUERS[issuer]
    encipher = isinstance(key, rsa.RSAPublicKey)
    identifier = signer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    builder = (
        x509.CertificateBuilder()
        .issuer_name(signer.certificate.subject)
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject, _validate=False)]))
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(window.not_before)
        .not_valid_after(window.not_after)
        .add_extension(x509.KeyUsage(True, False, encipher, False, False, False, False, False, False), True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), False)
        .add_extension(x509.AuthorityKeyIdentifier(identifier, None, None), False)
    )
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName(split_names(sans).general_names()), False)
    builder = builder.add_extension(x509.UnrecognizedExtension(OID, marker), False)
    digests: dict[str, hashes.HashAlgorithm | None] = {
        "Ed25519": None,
        "P-384": hashes.SHA384(),
        "P-521": hashes.SHA512(),
    }
    return builder.sign(signer.key, digests.get(issuer, hashes.SHA256()))  # type: ignore[arg-type]


@settings(max_examples=150, deadline=None)
@given(
    subject=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=200),
    serial=st.integers(1, 2**159 - 1),
    start=moments,
    length=st.integers(1, 50 * 365 * 86400),
    subject_key=st.sampled_from(sorted(SUBJECT_KEYS)),
    sans=names,
    issuer=st.sampled_from(sorted(ISSUERS)),
    provisioner=st.text(st.characters(codec="utf-8"), max_size=300),
)
def test_assembled_bytes_are_the_builders(
    subject: str,
    serial: int,
    start: datetime,
    length: int,
    subject_key: str,
    sans: list[str],
    issuer: str,
    provisioner: str,
) -> None:
    window = Window(start, start + timedelta(seconds=length))
    mark = ProvisionerExtension("JWK", provisioner, "kid")
    key = public_der(SUBJECT_KEYS[subject_key])
    signer = ISSUERS[issuer]
    extensions = leaf_extensions(key, signer.key_id, split_names(sans), mark.to_extension())
    ours = sign(Prepared(subject_name(subject, {}), serial, window, key, extensions), signer)
    theirs = built(subject, serial, window, subject_key, sans, issuer, mark.to_der())
    assert ours.tbs_certificate_bytes == theirs.tbs_certificate_bytes
    assert ours.signature_algorithm_oid == theirs.signature_algorithm_oid
    ours.verify_directly_issued_by(signer.certificate)


@pytest.mark.parametrize("issuer", ISSUERS)
def test_a_renewed_certificate_keeps_every_extension(issuer: str) -> None:
    signer, key = ISSUERS[issuer], public_der(SUBJECT_KEYS["P-256"])
    window = Window(NOW, NOW + timedelta(days=1))
    leaf = leaf_extensions(key, signer.key_id, split_names(["a.test", "::1"]), None)
    critical = der.extension("1.2.3.4.5", b"\x04\x02hi", critical=True)
    old = sign(Prepared(subject_name("a", {}), 5, window, key, (*leaf, critical)), signer)
    again = sign(Prepared(subject_name("a", {}), 6, window, key, renewed_extensions(old, signer.key_id, None)), signer)
    assert {e.oid: e for e in old.extensions} == {e.oid: e for e in again.extensions}
    other = public_der(SUBJECT_KEYS["P-384"])
    rekeyed = sign(
        Prepared(subject_name("a", {}), 7, window, other, renewed_extensions(old, signer.key_id, other)), signer
    )
    expected = x509.SubjectKeyIdentifier.from_public_key(SUBJECT_KEYS["P-384"])
    assert rekeyed.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value == expected


def test_subject_defaults_are_filled_in() -> None:
    encoded = subject_name("leaf", {"country": "DE", "organization": ["A", "B"]})
    theirs = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "A"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "B"),
            x509.NameAttribute(NameOID.COMMON_NAME, "leaf"),
        ]
    )
    assert encoded == theirs.public_bytes()


def test_a_name_that_is_not_ascii_is_refused() -> None:
    key = public_der(SUBJECT_KEYS["P-256"])
    with pytest.raises(NameSyntaxError, match=r"subject alternative name 'bücher\.test' is not valid: expected ASCII"):
        leaf_extensions(key, b"", split_names(["bücher.test"]), None)


@given(st.integers(0, 2**200))
def test_integers_are_shortest(value: int) -> None:
    body, rest = der.expect(der.integer(value), der.INTEGER)
    assert (int.from_bytes(body, signed=True), rest) == (value, b"")
    assert len(body) == 1 or not (body[0] == 0 and body[1] < 0x80)


@given(st.binary(max_size=70000))
def test_lengths_are_read_back(value: bytes) -> None:
    assert der.expect(der.tlv(der.OCTET_STRING, value) + b"x", der.OCTET_STRING) == (value, b"x")
