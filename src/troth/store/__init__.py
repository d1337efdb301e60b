"""Durable records: issued certificates, spent tokens and revocations, in SQLite behind one interface.

Everything that contains SQL lives here; nothing here decides whether a request is allowed.
"""

from troth.errors import TrothError


class StoreError(TrothError):
    """The database cannot be opened, read or written."""
