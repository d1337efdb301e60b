"""``python -m tests.interop [--only TEXT]``: run the matrix and the upstreams; exit 1 when a cell failed.

In CI a missing program is a failure too.
"""

import argparse
import contextlib
import importlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.interop.matrix import run, write
from tests.interop.stage import Side, free_port, initialise, serving, troth_program
from tests.interop.upstreams.table import failures, missing_programs, run_upstreams

SECTIONS = (
    "http",
    "bootstrap",
    "tokens",
    "renewal",
    "rekeying",
    "revocation",
    "contents",
    "provisioners",
    "commands",
    "founding",
    "configured",
    "handmade",
    "contexts",
    "acme",
    "crypto",
    "external",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="run only operations whose title contains this text")
    parser.add_argument("--reference", action="store_true", help="drive step-ca with step itself, to check the checks")
    options = parser.parse_args()
    for section in SECTIONS:
        importlib.import_module(f"tests.interop.{section}")
    step, step_ca = shutil.which("step"), shutil.which("step-ca")
    base = Path(tempfile.mkdtemp(prefix="interop-"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, base, ignore_errors=True)
        ours = theirs = None
        if step and not options.reference:
            ours = started(stack, base / "ours", troth_program(), [*troth_program(), "ca", "serve"], [step])
        if step and step_ca:
            driver = [step] if options.reference else troth_program()
            theirs = started(stack, base / "theirs", [step], [step_ca], driver)
        print(f"{'':<5} {'operation':<66} {'step -> troth':<24} troth -> step-ca")
        rows = run(ours, theirs, options.only)
    write(rows, Path("build/interop.json"))
    upstreams = [] if options.reference else run_upstreams(options.only)
    failed = sum(not cell.good for _, *cells in rows for cell in cells) + failures(upstreams)
    missing = [name for name, path in (("step", step), ("step-ca", step_ca)) if path is None]
    for name in missing:
        print(f"skipped: {name} is not installed; `make programs` builds it")
    for name, install in missing_programs(upstreams):
        print(f"skipped: {name} is not installed; {install}")
        missing.append(name)
    print(f"{len(rows)} operations, {len(upstreams)} upstreams, {failed} cells failed")
    return 1 if failed or (missing and os.environ.get("TROTH_REQUIRE_PROGRAMS")) else 0


def started(stack: contextlib.ExitStack, directory: Path, init: list[str], serve: list[str], driver: list[str]) -> Side:
    port = free_port()
    initialise(init, directory, port)
    stack.enter_context(serving(serve, directory, port))
    return Side(driver, directory, port, serve=serve)


if __name__ == "__main__":
    sys.exit(main())
