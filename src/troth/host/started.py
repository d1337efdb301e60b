"""When a process began, and as whom it runs, from ``/proc``."""

import os
import time
from pathlib import Path

from troth.host import HostError

CLOCK_READINGS = 5


def started(pid: int) -> float:
    """The start of a process in seconds since the epoch, to a hundredth or so.

    The kernel counts from its own start; ``btime`` of /proc/stat would do, but is cut to whole seconds.

    Raises:
        HostError: there is no such process.
    """
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError) as error:
        raise HostError(f"process {pid} does not run") from error
    return _boot() + ticks / os.sysconf("SC_CLK_TCK")


def _boot() -> float:
    """When the kernel began; of several readings the one in which least time passed between its two clocks."""
    readings = []
    for _ in range(CLOCK_READINGS):
        before, since, after = time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), time.time()
        readings.append((after - before, (before + after) / 2 - since))
    return min(readings)[1]
