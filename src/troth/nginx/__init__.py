"""nginx configurations as values: capabilities, reading, the identity map, rendering, planning, diagnosis.

Pure: it never runs nginx and never touches a file; ``troth.host`` does both. Behaviour described here was observed on
nginx 1.22.1 and 1.31.3; version limits are from nginx's CHANGES.
"""

from troth.errors import TrothError


class NginxError(TrothError):
    """A configuration, version text or declaration cannot be read or rendered."""
