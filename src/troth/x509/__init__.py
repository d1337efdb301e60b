"""RFC 5280 vocabulary over pyca/cryptography: PEM, keys, names, requests, certificates and chains.

Bytes in, values out. What *our* authority wants of them is decided in ``troth.ca``; nothing here reads a clock,
a file or a socket. RFC 5280 (certificates), 2986 (requests), 7468 (PEM), 5958 and 1423 (keys), 6125 (names).
"""

from troth.errors import TrothError


class X509Error(TrothError):
    """A PEM block, key, request, certificate or chain is not what it must be."""
