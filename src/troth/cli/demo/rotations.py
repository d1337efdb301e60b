"""Rotations made by the agent's own code while keep-alive clients ask through the proxy, and what that cost them."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from troth.host.load import Load, Tally, Target

LOAD_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Superseded:
    """An identity that was replaced, and the moment its replacement began (seconds of the monotonic clock)."""

    serial: str
    since: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What the clients saw over all rotations; times are seconds."""

    rotations: int
    seconds: float
    tally: Tally
    latest_old: float
    serials_seen: int

    @property
    def bound(self) -> float:
        """How long an old identity may still be seen: a kept client connection, plus the longest request."""
        return min(10.0, KEEPALIVE_MIN_TIMEOUT + self.tally.longest)


KEEPALIVE_MIN_TIMEOUT = 5.0

Rotate = Callable[[], Awaitable[str]]


async def measure(
    rotate: Rotate, target: Target, identify: Callable[[bytes], str], *, rotations: int, connections: int, requests: int
) -> Measured:
    """Rotate so many times under load; `rotate` makes one rotation and returns the new serial.

    The lateness of an old identity is counted from the moment its replacement *began*, so it is never understated.
    """
    gone: list[Superseded] = []
    started = time.monotonic()
    load = Load(target, connections, identify, pause=0.002)
    async with load:
        await load.reached(connections, LOAD_TIMEOUT)
        current = next(iter(load.tally.last_seen), "")
        for _ in range(rotations):
            began = time.monotonic()
            fresh = await rotate()
            gone.append(Superseded(current, began))
            current = fresh
        await load.reached(requests, LOAD_TIMEOUT)
    return Measured(
        rotations, time.monotonic() - started, load.tally, _latest(gone, load.tally), len(load.tally.last_seen)
    )


def _latest(gone: list[Superseded], tally: Tally) -> float:
    late = [tally.last_seen[old.serial] - old.since for old in gone if old.serial in tally.last_seen]
    return max(late, default=0.0)
