"""Requests, tokens and certificates that the operations need besides what the programs make."""

import base64
import hashlib
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.interop.stage import Side

Key = ec.EllipticCurvePrivateKey


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def request(key: Any, subject: str = "", names: tuple[str, ...] = ()) -> x509.CertificateSigningRequest:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, subject)] if subject else []
    builder = x509.CertificateSigningRequestBuilder(x509.Name(attributes))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), False)
    return builder.sign(key, hashes.SHA256())


def pem(request_: x509.CertificateSigningRequest) -> str:
    return request_.public_bytes(Encoding.PEM).decode()


def write_request(side: Side, subject: str, names: tuple[str, ...] = ()) -> tuple[Path, Path]:
    """A key and request as files ``own.key`` and ``own.csr`` in the operation's directory."""
    key = new_key()
    key_file, csr_file = side.work / "own.key", side.work / "own.csr"
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    csr_file.write_text(pem(request(key, subject, names)))
    return key_file, csr_file


def load(path: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(path.read_bytes())


def load_text(text: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(text.encode())


def serial_of(path: Path) -> int:
    return load(path)[0].serial_number


def names_of(certificate: x509.Certificate) -> set[str]:
    value = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in value}


def lifetime(certificate: x509.Certificate) -> float:
    """Seconds from notBefore to notAfter."""
    return (certificate.not_valid_after_utc - certificate.not_valid_before_utc).total_seconds()


def remaining(certificate: x509.Certificate) -> float:
    return (certificate.not_valid_after_utc - datetime.now(UTC)).total_seconds()


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def claims_of(token: str) -> dict[str, Any]:
    return dict(json.loads(unb64(token.split(".")[1])))


def header_of(token: str) -> dict[str, Any]:
    return dict(json.loads(unb64(token.split(".")[0])))


def thumbprint(jwk: dict[str, Any]) -> str:
    canonical = {name: jwk[name] for name in ("crv", "kty", "x", "y")}
    return b64(hashlib.sha256(json.dumps(canonical, separators=(",", ":"), sort_keys=True).encode()).digest())


def jws(key: Key, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """A hand-made ES256 token, so that a mutation is exactly what the test says."""
    signing_input = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
    r, s = utils.decode_dss_signature(key.sign(signing_input.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signing_input}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def openssl(*args: str) -> str:
    done = subprocess.run(["openssl", *args], capture_output=True, text=True, timeout=20, check=True)
    return done.stdout
