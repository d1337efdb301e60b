"""What our certificate authority decides: provisioners, tokens, profiles, and the path from request to signature.

Pure: the clock, randomness and identities are arguments. No HTTP, no SQL, no files. The rules are step-ca's
(0.30) where nothing else is said; `docs/divergences.md` lists where they are not.
"""

from troth.errors import TrothError


class CAError(TrothError):
    """The authority refuses, or cannot be configured as asked."""


class MalformedError(CAError):
    """The request cannot be understood: bad JSON, PEM, duration or number, or something is missing."""


class UnauthorizedError(CAError):
    """The token or certificate does not authorize the request; the reason is for the operator's log."""


class RenewalRefusedError(UnauthorizedError):
    """A certificate may not be renewed; unlike other reasons, its holder may be told why."""


class ForbiddenError(CAError):
    """The request is understood and its maker is known, but it asks for something not allowed."""


class NotFoundError(CAError):
    """There is no such root, key or list."""


class UnsupportedError(CAError):
    """The authority does not do this."""


class ConfigurationError(CAError):
    """``ca.json`` or a file it names cannot be used."""
