"""The authority's HTTPS face: parse, call ``troth.ca`` and ``troth.store``, render. No rules and no SQL."""

from troth.errors import TrothError


class ServerError(TrothError):
    """The server cannot start or go on."""
