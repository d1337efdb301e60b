"""Keeps identities fresh: wanted and observed state, schedule, deploy, prove, roll back, journal."""

from troth.errors import TrothError


class AgentError(TrothError):
    """The agent's configuration cannot be used, or a rotation could not be completed."""
