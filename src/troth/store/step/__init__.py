"""step-ca's databases, read as they lie on disk: badger and bbolt without their programs, SQL through its client.

Nothing here writes to a step-ca database. What cannot be read is an error that names the file and the place, never less
data.
"""

from typing import NamedTuple

from troth.store import StoreError

BACKUP_HINT = "let badger read it, and import what it writes: badger backup --dir DB -f step.bak"


class SourceError(StoreError):
    """A step-ca database cannot be read; the message names the file and what is wrong there."""


class Entry(NamedTuple):
    """One record of a key-value table, as every kind of step-ca database holds it."""

    table: str
    key: bytes
    value: bytes
