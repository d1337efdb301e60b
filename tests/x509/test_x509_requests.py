"""What a request asks for, seen without reading its extensions: only when that is the whole of it."""

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from troth.ca.profile import general_names
from troth.x509.names import split_names
from troth.x509.requests import create_request, raw_alternative_names

KEY = ec.generate_private_key(ec.SECP256R1())
NAMES = ["a.test", "10.0.0.1", "::1", "me@a.test", "spiffe://a.test/x"]


def test_the_names_are_seen_as_they_would_be_granted() -> None:
    for names in (NAMES, NAMES[:1], NAMES[1:3]):
        expected = general_names(split_names(names))
        assert raw_alternative_names(create_request(KEY, "a.test", names)) == expected
        assert raw_alternative_names(create_request(KEY, "", names)) == expected, "critical, for there is no subject"


def test_other_names_differ() -> None:
    granted = general_names(split_names(["a.test"]))
    for names in (["b.test"], ["a.test", "b.test"], ["A.test"]):
        assert raw_alternative_names(create_request(KEY, "a.test", names)) != granted


def test_nothing_is_seen_of_anything_else() -> None:
    assert raw_alternative_names(create_request(KEY, "a.test", [])) == b""
    builder = x509.CertificateSigningRequestBuilder(x509.Name([]))
    names = x509.SubjectAlternativeName([x509.DNSName("a.test")])
    limits = x509.BasicConstraints(ca=True, path_length=None)
    for request in (
        builder.add_extension(names, False).add_extension(limits, True),
        builder.add_extension(limits, True).add_extension(names, False),
        builder.add_extension(limits, True),
    ):
        assert raw_alternative_names(request.sign(KEY, hashes.SHA256())) == b""
