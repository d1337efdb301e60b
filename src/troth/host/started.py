"""When a process began, and as whom it runs, from ``/proc``."""

import os
from pathlib import Path

from troth.host import HostError


def started(pid: int) -> float:
    """The start of a process in seconds since the epoch, to a hundredth or so.

    Raises:
        HostError: there is no such process.
    """
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
        boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
    except (OSError, ValueError, IndexError, StopIteration) as error:
        raise HostError(f"process {pid} does not run") from error
    return int(boot.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")
