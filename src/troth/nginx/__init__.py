"""nginx configurations as values: capabilities, reading, the identity map, rendering, planning, diagnosis.

Pure: it never runs nginx and never touches a file; ``troth.host`` does both.
"""

from troth.errors import TrothError


class NginxError(TrothError):
    """A configuration, version text or declaration cannot be read or rendered."""
