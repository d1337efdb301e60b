"""Section 6: what the certificates say."""

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from tests.interop import material
from tests.interop.matrix import operation
from tests.interop.stage import PROVISIONER, Side

PROVISIONER_EXTENSION = x509.ObjectIdentifier("1.3.6.1.4.1.37476.9000.64.1")


@operation("6.1", "the default certificate, extension by extension")
def default_leaf(side: Side) -> None:
    crt, _ = side.certificate("leaf.example")
    leaf, issuer = material.load(crt)
    order = [extension.oid for extension in leaf.extensions]
    assert order == [
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        PROVISIONER_EXTENSION,
    ]
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical and usage.value.digital_signature and not usage.value.key_encipherment
    purposes = list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    assert purposes == [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    ski = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == ski
    assert leaf.subject.rfc4514_string() == "CN=leaf.example"
    leaf.verify_directly_issued_by(issuer)


@operation("6.1", "the default lifetime is 24 h with a minute of backdate")
def default_lifetime(side: Side) -> None:
    leaf = material.load(side.certificate("leaf.example")[0])[0]
    assert abs(material.lifetime(leaf) - 86_460) <= 1 and 86_390 < material.remaining(leaf) <= 86_400


@operation("6.2", "the provisioner extension names provisioner and key")
def provisioner_extension(side: Side) -> None:
    leaf = material.load(side.certificate("leaf.example")[0])[0]
    value = leaf.extensions.get_extension_for_oid(PROVISIONER_EXTENSION)
    kid = side.http("GET", "/provisioners").json["provisioners"][0]["key"]["kid"].encode()
    name = PROVISIONER.encode()
    body = b"\x02\x01\x01\x04" + bytes([len(name)]) + name + b"\x04" + bytes([len(kid)]) + kid
    assert not value.critical and value.value.public_bytes() == b"\x30" + bytes([len(body)]) + body


@operation("6.1", "an RSA key: keyEncipherment as well")
def rsa_key(side: Side) -> None:
    leaf = material.load(side.certificate("leaf.example", "--kty", "RSA", "--size", "2048")[0])[0]
    assert isinstance(leaf.public_key(), rsa.RSAPublicKey)
    assert leaf.extensions.get_extension_for_class(x509.KeyUsage).value.key_encipherment


@operation("6.1", "an Ed25519 key")
def ed25519_key(side: Side) -> None:
    leaf = material.load(side.certificate("leaf.example", "--kty", "OKP", "--curve", "Ed25519")[0])[0]
    assert isinstance(leaf.public_key(), ed25519.Ed25519PublicKey)


@operation("6.1", "a P-384 key")
def p384_key(side: Side) -> None:
    key = material.load(side.certificate("leaf.example", "--kty", "EC", "--curve", "P-384")[0])[0].public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp384r1"


@operation("6.1", "names of every kind, DNS, IP, email and URI")
def kinds_of_names(side: Side) -> None:
    names = ("a.example", "10.0.0.1", "fd00::1", "me@a.example", "spiffe://a.example/web")
    flags = [flag for name in names for flag in ("--san", name)]
    leaf = material.load(side.certificate("a.example", *flags)[0])[0]
    value = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [type(name).__name__ for name in value] == [
        "DNSName",
        "RFC822Name",
        "IPAddress",
        "IPAddress",
        "UniformResourceIdentifier",
    ]
    assert material.names_of(leaf) == set(names)


@operation("6.1", "a wildcard name")
def wildcard(side: Side) -> None:
    assert material.names_of(material.load(side.certificate("*.a.example")[0])[0]) == {"*.a.example"}


@operation("6.1", "requested extensions do not count")
def requested_extensions(side: Side) -> None:
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf.example")])
    builder = x509.CertificateSigningRequestBuilder(subject)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    csr = material.pem(builder.sign(material.new_key(), hashes.SHA256()))
    answer = side.http("POST", "/sign", {"csr": csr, "ott": side.token("leaf.example")})
    leaf = x509.load_pem_x509_certificate(answer.json["crt"].encode())
    assert ExtensionOID.BASIC_CONSTRAINTS not in {e.oid for e in leaf.extensions}


@operation("6.1", "the authority's own certificate chain")
def server_chain(side: Side) -> None:
    text = material.openssl(
        *("s_client", "-connect", f"localhost:{side.port}", "-servername", "localhost", "-CAfile", str(side.root)),
        *("-verify_return_error", "-verify_hostname", "localhost", "-showcerts"),
    )
    assert text.count("BEGIN CERTIFICATE") == 2 and "Verify return code: 0 (ok)" in text


@operation("6.1", "openssl verifies leaf, intermediate and root")
def openssl_verify(side: Side) -> None:
    crt, _ = side.certificate("leaf.example")
    for purpose in ("sslclient", "sslserver"):
        flags = ("-x509_strict", "-purpose", purpose, "-CAfile", str(side.root), "-untrusted", str(crt))
        assert ": OK" in material.openssl("verify", *flags, str(crt))
