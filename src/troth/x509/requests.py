"""RFC 2986 certificate requests: make one as step's clients do, and read one strictly."""

from collections.abc import Callable, Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID, SignatureAlgorithmOID

from troth.x509 import X509Error, der
from troth.x509.keys import PrivateKey
from troth.x509.names import split_names
from troth.x509.pem import instead, parse_blocks

_ECDSA = {
    SignatureAlgorithmOID.ECDSA_WITH_SHA256: ec.ECDSA(hashes.SHA256()),
    SignatureAlgorithmOID.ECDSA_WITH_SHA384: ec.ECDSA(hashes.SHA384()),
    SignatureAlgorithmOID.ECDSA_WITH_SHA512: ec.ECDSA(hashes.SHA512()),
}
_EXTENSION_REQUEST = x509.ObjectIdentifier("1.2.840.113549.1.9.14")  # RFC 2985 §5.4.2
_ALTERNATIVE_NAMES = der.object_id(x509.SubjectAlternativeName.oid.dotted_string)
_ATTRIBUTES_TAG = 0xA0
_NO_ALGORITHM = der.sequence(der.object_id("1.2.840.10045.4.3.2"))
LABELS = ("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")


class RequestError(X509Error):
    """A certificate request cannot be read, or its signature does not hold."""


def create_request(key: PrivateKey, common_name: str, names: Sequence[str]) -> x509.CertificateSigningRequest:
    """A request for a subject with one common name and the given alternative names (empty ones leave both out)."""
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    builder = x509.CertificateSigningRequestBuilder(subject_name=x509.Name(subject))
    general = split_names(names).general_names()
    if general:
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=not common_name)
    return builder.sign(key, None if isinstance(key, Ed25519PrivateKey) else hashes.SHA256())


def assemble_request(
    subject: bytes,
    key: bytes,
    extensions: Sequence[bytes],
    algorithm: bytes = _NO_ALGORITHM,
    signature: Callable[[bytes], bytes] = lambda _: b"",
) -> x509.CertificateSigningRequest:
    """A CertificationRequest (RFC 2986 §4.1, RFC 2985 §5.4.2) of encoded parts; unsigned unless told how.

    Raises:
        ValueError: the parts do not make a request that can be read.
    """
    asked = der.sequence(der.object_id(_EXTENSION_REQUEST.dotted_string), der.tlv(der.SET, der.sequence(*extensions)))
    attributes = der.tlv(_ATTRIBUTES_TAG, asked if extensions else b"")
    body = der.sequence(der.integer(0), subject, key, attributes)
    return x509.load_der_x509_csr(der.sequence(body, algorithm, der.bit_string(signature(body))))


def parse_request(data: bytes, what: str = "certificate request") -> x509.CertificateSigningRequest:
    """The first request of a PEM text, or a DER one; the signature is *not* checked here.

    Raises:
        RequestError: there is none, or it cannot be read.
    """
    try:
        if data[:1] == b"\x30":
            return x509.load_der_x509_csr(data)
        if data.startswith(b"-----BEGIN CERTIFICATE REQUEST-----"):
            return x509.load_pem_x509_csr(data)
        blocks = parse_blocks(data)
        block = next((block for block in blocks if block.label in LABELS), None)
        if block is None or block.der is None:
            raise RequestError(
                f"{what} contains no certificate request: "
                f"expected a PEM CERTIFICATE REQUEST block{instead(data, blocks)}",
                hint="make one: troth certificate create NAME new.csr new.key --csr",
            )
        return x509.load_der_x509_csr(block.der)
    except ValueError as error:
        raise RequestError(f"{what} is not a readable certificate request: {error}") from error


def check_possession(request: x509.CertificateSigningRequest) -> CertificatePublicKeyTypes:
    """Check the request's self-signature, the proof that its maker holds the key (RFC 2986 §3); the result is the key.

    Raises:
        RequestError: the signature does not hold or its algorithm is not supported.
    """
    try:
        key = request.public_key()
        digest = _ECDSA.get(request.signature_algorithm_oid)
        if digest is not None and isinstance(key, ec.EllipticCurvePublicKey):
            # What `is_signature_valid` does, without its reading the key a second time.
            key.verify(request.signature, request.tbs_certrequest_bytes, digest)
        elif not request.is_signature_valid:
            raise InvalidSignature
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError) as error:
        raise RequestError("certificate request has an invalid signature") from error
    return key


def raw_alternative_names(request: x509.CertificateSigningRequest) -> bytes:
    """The encoded GeneralNames of a request that asks for this one extension and no other; else nothing.

    Far cheaper than reading the extensions, and enough to see that a request asks for exactly what was granted.
    """
    try:
        asked = request.attributes.get_attribute_for_oid(_EXTENSION_REQUEST).value  # what is in the SEQUENCE
        extension, rest = der.expect(asked, der.SEQUENCE)
        if rest or not extension.startswith(_ALTERNATIVE_NAMES):
            return b""
        value = extension[len(_ALTERNATIVE_NAMES) :].removeprefix(der.TRUE)
        return der.expect(value, der.OCTET_STRING)[0]
    except (x509.AttributeNotFound, ValueError, IndexError):
        return b""


def request_to_pem(request: x509.CertificateSigningRequest) -> str:
    """A request as a PEM block."""
    return request.public_bytes(Encoding.PEM).decode()
