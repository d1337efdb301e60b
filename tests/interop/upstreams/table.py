"""Each program on each nginx: a plain location is applied and proven; the doctor names what the upstream refuses."""

import contextlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.interop.matrix import Cell
from tests.interop.stage import TIMEOUT, troth_program, wait_until_listening
from tests.interop.upstreams.programs import PROGRAMS, Program, Setting, python, python_ssl
from tests.interop.upstreams.refusals import refusals
from tests.rig.nginx import frame, programs, short_directory
from tests.rig.pki import Pair, Pki
from troth.host.ports import free_ports

LIVE_ROWS = 5


@dataclass(frozen=True)
class Row:
    """One program: its version as it says it, and a cell for each nginx."""

    program: str
    version: str
    cells: dict[str, Cell]


def run_upstreams(only: str = "") -> list[Row]:
    """Run and print all, or those whose name contains `only`; a missing program's cells say how to get it."""
    builds = {name: path for name, path in sorted(programs().items()) if path is not None}
    rows = []
    print(f"\n{'upstream':<72} " + " ".join(f"{f'through {name} nginx':<32}" for name in builds))
    for program in PROGRAMS:
        if only and only.lower() not in program.name.lower():
            continue
        found = program.find()
        if found is None:
            row = Row(program.name, "", {name: Cell(f"skipped: no {program.name}", program.install) for name in builds})
        else:
            row = Row(program.name, version(found, program), observe(program, found, builds))
        rows.append(row)
        verdicts = " ".join(f"{cell.verdict:<32.32}" for cell in row.cells.values())
        print(f"{row.program:<14} {row.version:<57.57} {verdicts}", flush=True)
        for cell in row.cells.values():
            if cell.detail:
                print(f"      {cell.detail}", flush=True)
    return rows


def version(found: str, program: Program) -> str:
    done = subprocess.run([found, *program.version], capture_output=True, text=True, timeout=TIMEOUT, check=False)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if any(c.isdigit() for c in line)]
    # What `go install` builds calls itself unknown, but its build information names the module's version.
    lines = [line.replace("\t", " ") for line in lines if line.startswith("mod\t")] or lines
    return lines[0].replace(found, "").strip(" :") if lines else "unknown"


def observe(program: Program, found: str, builds: dict[str, Path]) -> dict[str, Cell]:
    with short_directory("upstream") as directory:
        pki = Pki(directory / "pki")
        client = pki.leaf("client")
        port, behind, newest = free_ports(3)
        setting = Setting(directory, port, pki.leaf("up.test"), pki.trust, behind)
        (directory / "newest").mkdir()
        modern = replace(setting, directory=directory / "newest", port=newest, newest=True)
        try:
            with contextlib.ExitStack() as stack:
                if program.name == "stunnel":
                    plain = [*python_ssl(str(python()), setting)[:2], str(behind), "-", "-", "-"]
                    stack.enter_context(serving(plain, directory / "behind.log", behind))
                for one in (setting, modern):
                    stack.enter_context(serving(program.command(found, one), one.directory / "upstream.log", one.port))
                return {
                    name: both(
                        prove(directory / name, path, client, pki, port), name_refusals(path, pki, setting, newest)
                    )
                    for name, path in builds.items()
                }
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            return dict.fromkeys(builds, Cell("FAILED", str(error)))


def prove(directory: Path, nginx: Path, client: Pair, pki: Pki, upstream: int) -> Cell:
    """A site with one plain location; what ``prove --live`` says of it once applied."""
    directory.mkdir()
    body = (
        f"    server {{\n        listen 127.0.0.1:{free_ports(1)[0]};\n        server_name app.test;\n"
        f"        location / {{\n            proxy_pass https://127.0.0.1:{upstream};\n        }}\n    }}\n"
    )
    conf = directory / "nginx.conf"
    conf.write_text(frame(directory, body))
    which = ["--nginx", str(nginx), "-c", str(conf), "-p", str(directory), "--location", "/"]
    files = ["--cert", str(client.certificate), "--key", str(client.key), "--trust", str(pki.trust)]
    applied = troth("nginx", "apply", *which, *files, "--name", "up.test", "--yes")
    if applied.returncode != 0:
        return Cell("FAILED", f"apply: {applied.stdout}{applied.stderr}")
    done = troth("nginx", "prove", *which, "--live", "--json")
    try:
        (location,) = json.loads(done.stdout)["locations"]
    except (ValueError, KeyError):
        return Cell("FAILED", f"prove: {done.stdout}{done.stderr}")
    wrong = [f"{row['title']}: {row['observed']} {row['detail']}" for row in location["rows"] if not row["ok"]]
    live = sum(row["id"].startswith("live-") for row in location["rows"])
    if wrong or done.returncode != 0 or live != LIVE_ROWS:
        return Cell("FAILED", "; ".join(wrong) or f"exit {done.returncode}, {live} live rows")
    return Cell(f"proven, {len(location['rows'])} rows", "")


def name_refusals(nginx: Path, pki: Pki, setting: Setting, newest: int) -> Cell:
    """Whether the doctor names what this upstream refuses."""
    with short_directory("refusals") as directory:
        seen = list(refusals(directory, nginx, pki, (setting.port, newest)))
    wrong = [f"{one.kind}: {one.status}, named {', '.join(one.named) or 'nothing'}" for one in seen if not one.good]
    return Cell("FAILED", "; ".join(wrong)) if wrong else Cell(f"{len(seen)} refusals", "")


def both(one: Cell, other: Cell) -> Cell:
    failed = [cell for cell in (one, other) if not cell.good]
    return failed[0] if failed else Cell(f"{one.verdict}, {other.verdict}", "")


def troth(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [*troth_program(), *arguments]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )


@contextlib.contextmanager
def serving(command: Sequence[str], log: Path, port: int) -> Iterator[None]:
    """The program while the block runs; ended with its children's parent, killed when it does not go."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True, cwd=log.parent
        )
    try:
        wait_until_listening(process, port, log)
        yield
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        if process.poll() is None:
            process.kill()
            process.wait()


def missing_programs(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """The programs that are not installed, and how to get them."""
    cells = {row.program: next(iter(row.cells.values())) for row in rows if row.cells}
    return [(name, cell.detail) for name, cell in cells.items() if cell.verdict.startswith("skipped")]


def failures(rows: Sequence[Row]) -> int:
    return sum(not cell.good for row in rows for cell in row.cells.values())
