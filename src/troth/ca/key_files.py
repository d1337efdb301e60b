"""A key in whatever form a file may hold it: PEM, DER, OpenSSH's, a JSON web key, a certificate, a request."""

from collections.abc import Callable
from contextlib import suppress

from troth.ca.key_forms import KeyFormError, Password, as_compact_jwe, from_jwk, held_key, parse_key_pem, read_jwk
from troth.x509 import X509Error
from troth.x509.keys import PrivateKey, PublicKey, parse_private_key, parse_public_key
from troth.x509.openssh import is_public_line, parse_public_line
from troth.x509.pem import parse_certificate_der
from troth.x509.requests import parse_request


def parse_key(data: bytes, password: Password, what: str) -> PrivateKey | PublicKey:
    """A key in any form that `read_jwk` knows, or OpenSSH's, or DER; the public one of a certificate or request.

    Args:
        data: the file's content.
        password: asked only when the key turns out to be encrypted.
        what: how to name it in an error.

    Raises:
        CAError, X509Error: it is none of these, or the password is wrong.
    """
    if data[:1] == b"\x30":
        return _of_der(data, what)
    if is_public_line(data):
        return parse_public_line(data, what)
    if as_compact_jwe(data) is not None or data.lstrip().startswith(b"{"):
        return from_jwk(read_jwk(data, password, what))
    return parse_key_pem(data, password, what)


def _of_der(data: bytes, what: str) -> PrivateKey | PublicKey:
    parsers: tuple[Callable[[bytes, str], PrivateKey | PublicKey], ...] = (
        lambda der, name: parse_private_key(der, None, name),
        parse_public_key,
        lambda der, name: held_key(parse_certificate_der(der, name), name),
        lambda der, name: held_key(parse_request(der, name), name),
    )
    for parse in parsers:
        with suppress(X509Error):
            return parse(data, what)
    raise KeyFormError(f"{what} is DER but not readable: expected an unencrypted key, a certificate or a request")
