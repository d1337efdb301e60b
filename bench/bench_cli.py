"""Cold start of the command line, measured as a person waits for it: a new process each time, the median of many."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

TIMES = 21
TROTH = Path(sys.executable).with_name("troth")


def median_ms(command: list[str]) -> float:
    """Median wall time of a command in milliseconds, output thrown away."""
    taken = []
    for _ in range(TIMES):
        started = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True, timeout=20)
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken)


def run() -> dict[str, object]:
    """Milliseconds of ``troth --help``, a command's help, and the bare interpreter for comparison."""
    return {
        "help_ms": median_ms([str(TROTH), "--help"]),
        "ca_certificate_help_ms": median_ms([str(TROTH), "ca", "certificate", "--help"]),
        "python_ms": median_ms([sys.executable, "-c", "pass"]),
    }
