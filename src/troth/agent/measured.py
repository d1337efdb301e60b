"""Rotations made by the agent's own code while keep-alive clients ask through the proxy, and what that cost them."""

import time
from collections.abc import Awaitable, Callable, Set
from dataclasses import dataclass

from troth.agent.proxy import SERIAL
from troth.host.load import Load, Tally, Target
from troth.nginx.capabilities import Capabilities
from troth.nginx.findings.rotation import seconds
from troth.nginx.render import (
    CACHE_VALID_SECONDS,
    KEEPALIVE_MIN_TIMEOUT_SECONDS,
    VARIABLE_IDLE_SECONDS,
    VARIABLE_KEEPALIVE_SECONDS,
)
from troth.nginx.tree import Config

LOAD_TIMEOUT = 60.0
LONGEST_STATIC_SECONDS = 10.0
# For what is not in nginx's times, which it looks at in whole seconds: above all the rotation itself, from its
# beginning until nginx has read the files.
SLACK_SECONDS = 5.0

MOST_READ_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Bound:
    """How long an old identity may still be seen after its rotation began; seconds.

    `kept` is ``keepalive_min_timeout`` in mode static and ``keepalive_time`` in mode variable; only there count `idle`,
    the ``keepalive_timeout`` that a connection may lie until its last request, and `cached`, how long a worker trusts
    what it read of the files.
    """

    variable: bool = False
    kept: float = float(KEEPALIVE_MIN_TIMEOUT_SECONDS)
    cached: float = 0.0
    idle: float = 0.0

    def seconds(self, longest: float) -> float:
        """The bound, with the longest request that was seen."""
        if self.variable:
            return self.cached + self.kept + self.idle + longest + SLACK_SECONDS
        return min(LONGEST_STATIC_SECONDS, (self.kept or SLACK_SECONDS) + longest)

    def words(self, latest: float, longest: float) -> str:
        """What kept the old identity as long as it was seen."""
        if latest <= 0:
            return "nothing: it was not seen once its rotation had begun"
        if self.variable:
            if latest <= self.cached + longest:
                return f"valid={self.cached:.0f}s of the certificate cache: workers look at the files that often"
            return f"keepalive_time {self.kept:.0f}s of the upstream group: a kept connection stays as it was opened"
        if not self.kept:
            return "the reload itself: workers are asked to end, and their clients' connections closed"
        if latest <= longest:
            return "the longest request: an old worker finishes what it has begun"
        return f"keepalive_min_timeout {self.kept:.0f}s: an old worker may serve an open connection once more"


def bound_of(config: Config, capabilities: Capabilities, *, variable: bool) -> Bound:
    """The bound of an identity's rotations on an nginx, by what its configuration says."""
    if variable:
        return VARIABLE_BOUND
    line = config.http.first("keepalive_min_timeout") if config.http is not None else None
    if line is None or not capabilities.keepalive_min_timeout:
        return Bound(kept=0.0)
    return Bound(kept=float(seconds(" ".join(line.arguments))))


def serial_finder(known: Set[int]) -> Callable[[bytes], str]:
    """What tells which of the known serials an answer reports, in decimal; an empty text when it reports none."""

    def find(body: bytes) -> str:
        for word in SERIAL.findall(body[:MOST_READ_BYTES].decode("utf-8", "replace")):
            for base in (16, 10) if word.isdigit() else (16,):
                if int(word, base) in known:
                    return str(int(word, base))
        return ""

    return find


STATIC_BOUND = Bound()
VARIABLE_BOUND = Bound(
    True, float(VARIABLE_KEEPALIVE_SECONDS), float(CACHE_VALID_SECONDS), float(VARIABLE_IDLE_SECONDS)
)


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
    limit: Bound = STATIC_BOUND

    @property
    def bound(self) -> float:
        """How long an old identity may still be seen."""
        return self.limit.seconds(self.tally.longest)

    @property
    def bounded_by(self) -> str:
        return self.limit.words(self.latest_old, self.tally.longest)


Rotate = Callable[[], Awaitable[str]]


async def measure(
    rotate: Rotate,
    target: Target,
    identify: Callable[[bytes], str],
    *,
    rotations: int,
    connections: int,
    requests: int = 0,
    linger: float = 0.0,
    limit: Bound = STATIC_BOUND,
    pause: float = 0.002,
) -> Measured:
    """Rotate so many times under load; `rotate` makes one rotation and returns the new serial.

    The lateness of an old identity is counted from the moment its replacement *began*, so it is never understated. The
    load goes on until there were `requests`, and for `linger` seconds after the last rotation.
    """
    gone: list[Superseded] = []
    started = time.monotonic()
    load = Load(target, connections, identify, pause=pause)
    async with load:
        await load.reached(connections, LOAD_TIMEOUT)
        current = next(iter(load.tally.last_seen), "")
        for _ in range(rotations):
            began = time.monotonic()
            fresh = await rotate()
            gone.append(Superseded(current, began))
            current = fresh
        await load.lasting(linger)
        await load.reached(requests, LOAD_TIMEOUT)
    return Measured(
        rotations, time.monotonic() - started, load.tally, _latest(gone, load.tally), len(load.tally.last_seen), limit
    )


def _latest(gone: list[Superseded], tally: Tally) -> float:
    late = [tally.last_seen[old.serial] - old.since for old in gone if old.serial in tally.last_seen]
    return max(0.0, *late) if late else 0.0
