"""What our certificate authority decides: provisioners, tokens, profiles, and the path from request to signature.

Pure: the clock, randomness and identities are arguments. No HTTP, no SQL, no files.
"""

from troth.errors import TrothError


class CAError(TrothError):
    """The authority refuses, or cannot be configured as asked."""
