"""What the status of an object means for who waits on it (RFC 8555 §7.1.6), as tables.

``*_NEXT`` are the statuses that a server may answer later; ``*_STEP`` is what a client does now.
"""

from enum import Enum

from troth.acme import AcmeError


class Step(Enum):
    """What a client does about an object in a status."""

    PROVE = "prove"  # publish key authorizations, tell the server
    WAIT = "wait"
    FINALIZE = "finalize"
    FETCH = "fetch"
    DONE = "done"
    FAIL = "fail"


ORDER_NEXT = {
    "pending": ("ready", "invalid"),
    "ready": ("processing", "valid", "invalid"),
    "processing": ("valid", "invalid"),
    "valid": (),
    "invalid": (),
}
AUTHORIZATION_NEXT = {
    "pending": ("valid", "invalid"),
    "valid": ("expired", "deactivated", "revoked"),
    "invalid": (),
    "expired": (),
    "deactivated": (),
    "revoked": (),
}
CHALLENGE_NEXT = {
    "pending": ("processing", "valid", "invalid"),
    "processing": ("valid", "invalid"),
    "valid": (),
    "invalid": (),
}

ORDER_STEP = {
    "pending": Step.PROVE,
    "ready": Step.FINALIZE,
    "processing": Step.WAIT,
    "valid": Step.FETCH,
    "invalid": Step.FAIL,
}
AUTHORIZATION_STEP = {
    "pending": Step.PROVE,
    "valid": Step.DONE,
    "invalid": Step.FAIL,
    "expired": Step.FAIL,
    "deactivated": Step.FAIL,
    "revoked": Step.FAIL,
}
CHALLENGE_STEP = {
    "pending": Step.PROVE,
    "processing": Step.WAIT,
    "valid": Step.DONE,
    "invalid": Step.FAIL,
}


def step_of(table: dict[str, Step], status: str, what: str) -> Step:
    """What to do about an object.

    Raises:
        AcmeError: the RFC knows no such status.
    """
    if status not in table:
        raise AcmeError(f"{what} has status {status!r}: expected one of {', '.join(table)}")
    return table[status]
