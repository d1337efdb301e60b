"""When a certificate is renewed and when a failure is tried again. Pure: the moment and the dice are arguments."""

from dataclasses import dataclass
from datetime import datetime, timedelta

SHORTEST = timedelta(seconds=1)
FIRST_RETRY = timedelta(seconds=5)
LONGEST_RETRY = timedelta(minutes=30)
JITTER = 0.05


@dataclass(frozen=True, slots=True)
class Due:
    """When to act next, and why then."""

    at: datetime
    why: str


def renewal(
    not_before: datetime, not_after: datetime, now: datetime, share: float, dice: float, *, renewed: bool = False
) -> Due:
    """The moment a certificate has lived its share, up to a twentieth of its life earlier.

    Args:
        not_before: start of its life, UTC.
        not_after: end of its life, UTC.
        now: the present.
        share: of its life, in (0, 1); two thirds is the custom.
        dice: uniform in [0, 1); spreads certificates issued together.
        renewed: whether the certificate was issued just now. Then at least a second passes, and a third of what
            remains: authorities backdate, and a life shorter than that is past its share when it begins.

    Otherwise a moment gone by is due at once, and so is a certificate whose life has not begun: the clock went back.
    """
    if now < not_before and not renewed:
        return Due(now, "its life has not begun")
    life = not_after - not_before
    at = not_before + life * share - life * JITTER * dice
    if renewed:
        at = max(at, now + max((not_after - now) / 3, SHORTEST))
    if at <= now:
        return Due(now, "expired" if now >= not_after else f"more than {share:.0%} of its life is over")
    return Due(at, f"at {share:.0%} of its life")


def retry(failures: int, now: datetime, not_after: datetime | None, dice: float) -> Due:
    """After so many failures in a row: doubling from 5 s to 30 min, with jitter, and never later than is useful.

    While the certificate lives, at least ten more attempts fit into what is left of it; after its end the longest
    pause is a minute, because every moment is an outage.
    """
    pause = min(FIRST_RETRY * 2 ** min(max(failures, 1) - 1, 20), LONGEST_RETRY)
    if not_after is not None:
        left = not_after - now
        pause = min(pause, max(left / 10, FIRST_RETRY)) if left > timedelta(0) else min(pause, timedelta(minutes=1))
    pause = pause * (0.75 + dice / 2)
    return Due(now + max(pause, SHORTEST), f"attempt {failures + 1} after {failures} failures")
