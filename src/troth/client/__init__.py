"""A certificate authority seen from outside, ours or step-ca: bootstrap, tokens, sign, renew, revoke.

It speaks the step protocol over HTTPS and returns values; writing files is the caller's business (``troth.host``).
"""

from troth.errors import TrothError


class ClientError(TrothError):
    """The authority could not be reached, or refused."""
