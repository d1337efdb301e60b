"""``make rotations``: so many rotations under load in each mode, on each nginx here; writes ``build/rotations.json``.

Two loads at once: kept connections that tell a lost request from a connection closed in time and read from each answer
whom the upstream saw, and wrk, which counts its errors. Exit 1 when a nginx from 1.27.4 on lost a request or showed an
old identity later than stated; what an older one does at a reload is printed beside it.
"""

import argparse
import asyncio
import contextlib
import grp
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.agent.sites import Site, site
from tests.rig.nginx import programs
from troth.agent.agent import Agent
from troth.agent.config import load
from troth.agent.issuer import AuthorityIssuer
from troth.agent.log import Log
from troth.agent.measured import Bound, Measured, bound_of, measure, serial_finder
from troth.agent.proxy import follows, proxy_for
from troth.agent.reading import read_config
from troth.agent.state import only_agent
from troth.cli.demo.stage import PROXY_NAME, troth
from troth.host.load import Target

OUTPUT = Path(__file__).parent.parent / "build" / "rotations.json"
PROOFS = ("witness", "upstream")
CLIENTS, WRK_CLIENTS = 8, 8
MOST_SECONDS = 3 * 3_600
_WRK_ERRORS = re.compile(r"(Non-2xx[^\n]*|Socket errors[^\n]*)")
_WRK_REQUESTS = re.compile(r"(\d+) requests in")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=1_000, help="rotations in each mode [1000]")
    parser.add_argument(
        "--only", default="", help="run only the rows whose name contains this: bundled, system, static"
    )
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed: apt-get install wrk")
    rows = []
    for build, binary in programs().items():
        for mode in ("static", "variable"):
            if binary is not None and options.only in f"{build} {mode}":
                row = one_row(build, mode, options.times)
                rows += [row] if row else []
                if row:
                    print(line(row), flush=True)
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(
        json.dumps({"when": datetime.now(UTC).isoformat(timespec="seconds"), "rows": rows}, indent=2) + "\n"
    )
    bad = [row for row in rows if row["judged"] and not row["good"]]
    print(f"{len(rows)} rows, {len(bad)} failed; written: build/rotations.json")
    return 1 if bad or not rows else 0


def one_row(build: str, mode: str, times: int) -> dict[str, object] | None:
    """All rotations in one mode on one nginx; None where that nginx falls back to the other mode."""
    with site(build) as visited:
        capabilities = visited.proxy.capabilities()
        if mode == "variable":
            in_variable_mode(visited)
            if not follows(visited.proxy.main.parent / "troth", "myuser"):
                print(
                    f"{capabilities.version_text} variable: reloads stay, see the note of troth nginx plan", flush=True
                )
                return None
        limit = bound_of(read_config(visited.proxy), capabilities, variable=mode == "variable")
        print(f"{capabilities.version_text} {mode}: {times} rotations ...", flush=True)
        with wrk(visited) as seen:
            found = asyncio.run(rotations(visited, times, limit))
        return row_of(capabilities.version_text, mode, found, seen, judged=capabilities.keepalive_min_timeout)


def in_variable_mode(visited: Site) -> None:
    """Declare it, with the workers' group for the key, and apply it."""
    path = visited.stage.declaration
    worker = min(visited.proxy.generation().workers)
    fields = Path(f"/proc/{worker}/status").read_text().partition("Gid:")[2].split()
    text = path.read_text().replace('path = "/upstream"', 'path = "/upstream"\nmode = "variable"', 1)
    group = grp.getgrgid(int(fields[1])).gr_name
    path.write_text(text.replace('name = "myuser"', f'name = "myuser"\ngroup = "{group}"', 1))
    for words in (("agent", "run", "--once"), ("nginx", "apply", "--yes")):
        troth(visited.stage, *words, "--config", str(path))


async def rotations(visited: Site, times: int, limit: Bound) -> Measured:
    """The agent's own rotation, again and again."""
    config = load(visited.stage.declaration)
    serials: set[int] = set()
    with only_agent(config.state):
        agent = Agent(config, AuthorityIssuer(), proxy_for(config), Log(quiet=True))
        await agent.start()
        told = time.monotonic()
        done = 0

        async def rotate() -> str:
            nonlocal told, done
            result = (await agent.rotate_now(config.identity("myuser")))[0]
            if not result.ok or result.facts is None or result.proof.kind not in PROOFS:
                raise SystemExit(f"rotation {done + 1} failed: {result.error or result.proof}")
            done += 1
            if time.monotonic() - told > 30:
                told = time.monotonic()
                print(f"  {done} of {times}", flush=True)
            serials.add(result.facts.serial)
            return str(result.facts.serial)

        await rotate()
        target = Target(visited.stage.proxy_port, "/upstream", PROXY_NAME)
        finder = serial_finder(serials)
        return await measure(
            rotate, target, finder, rotations=times, connections=CLIENTS, linger=limit.seconds(0.0), limit=limit
        )


@contextlib.contextmanager
def wrk(visited: Site) -> Iterator[dict[str, object]]:
    """wrk asks until the block ends; what it counted is in the result then."""
    seen: dict[str, object] = {}
    command = ["wrk", "-t1", f"-c{WRK_CLIENTS}", f"-d{MOST_SECONDS}s", "-H", f"Host: {PROXY_NAME}"]
    command.append(f"http://127.0.0.1:{visited.stage.proxy_port}/upstream")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield seen
    finally:
        process.terminate() if sys.exc_info()[0] else process.send_signal(2)
        said, _ = process.communicate(timeout=60)
    errors, requests = _WRK_ERRORS.findall(said), _WRK_REQUESTS.search(said)
    seen.update(wrk_requests=int(requests[1]) if requests else 0, wrk_errors="; ".join(errors))


def row_of(version: str, mode: str, found: Measured, seen: dict[str, object], *, judged: bool) -> dict[str, object]:
    tally = found.tally
    good = not tally.lost and found.latest_old <= found.bound and not seen["wrk_errors"] and bool(seen["wrk_requests"])
    return {
        "nginx": version,
        "mode": mode,
        "rotations": found.rotations,
        "seconds": round(found.seconds, 1),
        "requests": tally.requests,
        "failed": tally.failed,
        "failures": dict(tally.failures),
        "races": tally.races,
        "last_old": round(found.latest_old, 2),
        "bound": round(found.bound, 2),
        "bounded_by": found.bounded_by,
        **seen,
        "judged": judged,
        "good": good,
    }


def line(row: dict[str, object]) -> str:
    late = f"last old serial {row['last_old']} s after its rotation began (bound {row['bound']} s)"
    lost = f"{row['requests']} requests, {row['failed']} failed, {row['races']} lost to a closing connection"
    other = f"wrk: {row['wrk_requests']} requests, {row['wrk_errors'] or 'no errors'}"
    return f"{row['nginx']:<8} {row['mode']:<9} {row['rotations']} rotations: {lost}; {other}; {late}"


if __name__ == "__main__":
    sys.exit(main())
