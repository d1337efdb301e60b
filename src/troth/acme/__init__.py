"""ACME's vocabulary, for whoever speaks it: objects, states as tables, problems, signatures, key authorizations.

RFC 8555 (the protocol), RFC 8738 (identifiers of type ``ip``). Pure: no sockets, no files, no clock; who waits, asks
and answers lives in ``troth.client``, ``troth.host`` and ``troth.server``.
"""

from troth.errors import TrothError


class AcmeError(TrothError):
    """Something said in ACME cannot be used."""
