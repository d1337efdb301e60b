"""The one base of every error a person may see.

Voice: lower case, no full stop; it names the thing, says "expected X, got Y"; the hint is the next command to type.
"""


class TrothError(Exception):
    """An error with a message for people, an optional hint, and the exit code a command ends with.

    Each room derives its own base from this one; nothing else may reach the terminal or the wire with detail.
    """

    exit_code: int = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(TrothError):
    """The command line, a configuration file or a value in one is not usable as given."""
