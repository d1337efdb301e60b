"""``make bench``: run every benchmark and write ``build/bench.json``.

A figure is only comparable within one run; judge the ratios. Exit 1 when a stated limit is exceeded.
"""

import argparse
import json
import platform
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

OUTPUT = Path(__file__).parent.parent / "build" / "bench.json"


def ca() -> dict[str, object]:
    """Certificates a second, server CPU a certificate, and its ratio to the crypto floor of the same run."""
    import bench_ca

    return bench_ca.run()


def cli() -> dict[str, object]:
    """Cold start of ``troth --help`` in milliseconds."""
    import bench_cli

    return bench_cli.run()


def nginx() -> dict[str, object]:
    """Requests a second of a location as troth writes it, against the best written by hand and plain HTTP."""
    import bench_nginx

    return bench_nginx.run()


BENCHMARKS: dict[str, Callable[[], dict[str, object]]] = {"ca": ca, "cli": cli, "nginx": nginx}
LIMITS = (("ca", "ratio", 3.0), ("cli", "help_ms", 60.0))
FLOORS = (
    ("nginx", "ours_to_hand_1_31", 0.97),
    ("nginx", "ours_to_hand_1_22", 0.97),
    ("nginx", "page_ours_to_plain_1_22", 0.9),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help="run only these")
    chosen = parser.parse_args().only or list(BENCHMARKS)
    results: dict[str, dict[str, object]] = {}
    for name in chosen:
        print(f"{name}: {(BENCHMARKS[name].__doc__ or '').strip()}", flush=True)
        results[name] = BENCHMARKS[name]()
        for key, value in results[name].items():
            print(f"  {key:<28} {value:.3f}" if isinstance(value, float) else f"  {key:<28} {value}", flush=True)
    report = {"when": datetime.now(UTC).isoformat(timespec="seconds"), "python": platform.python_version(), **results}
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(report, indent=2) + "\n")
    print(f"written: {OUTPUT.relative_to(Path.cwd()) if OUTPUT.is_relative_to(Path.cwd()) else OUTPUT}")
    return 1 if exceeded(results) else 0


def exceeded(results: dict[str, dict[str, object]]) -> list[str]:
    """The limits that were not kept, each also printed."""
    over = []
    for name, key, limit in LIMITS:
        value = results.get(name, {}).get(key)
        if isinstance(value, int | float) and value > limit:
            over.append(f"{name} {key} is {value:.2f}, the limit is {limit}")
    for name, key, floor in FLOORS:
        value = results.get(name, {}).get(key)
        error = results.get(name, {}).get(f"{key}_error", 0.0)
        if isinstance(value, int | float) and isinstance(error, int | float) and value + error < floor:
            over.append(f"{name} {key} is {value:.3f} (give or take {error:.3f}), at least {floor} is expected")
    for line in over:
        print(line)
    return over


if __name__ == "__main__":
    sys.exit(main())
