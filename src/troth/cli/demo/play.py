"""The play: acts in order, each printing what it saw; everything started is stopped again, whatever happens."""

import asyncio
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from troth.cli.demo import acts
from troth.cli.demo.rows import Section, as_json, as_text
from troth.cli.demo.stage import Stage, authority, prepare
from troth.host.nginx import Nginx, bundled, find_nginx


@dataclass(frozen=True, slots=True)
class Wish:
    """The options of the command."""

    binary: str
    rotations: int
    requests: int
    connections: int
    keep: bool
    as_json: bool


class _Teller:
    """Prints as things happen, or nothing for machines."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._colour = sys.stdout.isatty()
        self.sections: list[Section] = []

    def say(self, text: str = "") -> None:
        if not self._quiet:
            print(text, flush=True)

    def show(self, section: Section) -> None:
        self.sections.append(section)
        self.say(as_text(section, self._colour))


def play(wish: Wish) -> int:
    """Run the demo; 0 only if every row holds.

    Raises:
        TrothError: something could not be started.
    """
    started = time.monotonic()
    # Stopped like by Ctrl-C: everything that was started is stopped again.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    program = _program(wish.binary)
    base = Path(tempfile.mkdtemp(prefix="troth-demo-"))
    # nginx's workers run as another user when this is root, and reach the witness's socket below.
    base.chmod(0o755)
    stage = prepare(base)
    teller = _Teller(wish.as_json)
    version = Nginx(program).capabilities().version_text
    teller.say(f"troth demo: nginx {version} ({program}), everything in {base}")
    with contextlib.ExitStack() as stack:
        _perform(wish, stage, program, teller, stack)
        seconds = time.monotonic() - started
        good = all(section.ok for section in teller.sections)
        if wish.as_json:
            print(as_json(teller.sections, directory=str(base), nginx=version, seconds=round(seconds, 1)))
        _farewell(stage, teller, good, seconds)
        if wish.keep:
            _wait(stage, teller)
    return 0 if good else 1


def _perform(wish: Wish, stage: Stage, program: Path, teller: _Teller, stack: contextlib.ExitStack) -> None:
    acts.found(stage)
    stack.enter_context(authority(stage))
    wrong = acts.upstream_files(stage)
    stack.enter_context(running(acts.upstream_nginx(stage, program, wrong)))
    teller.say("\nThe guide, step by step")
    proxy = acts.guide(stage, program, teller.say)
    with_proxy = stack.enter_context(running(proxy))
    teller.show(acts.as_it_stands(stage))
    acts.harden(stage, program, teller.say)
    teller.show(acts.accepted(stage))
    stack.enter_context(running(acts.trials_nginx(stage, program, wrong)))
    teller.show(acts.refused_clients(stage))
    teller.show(acts.refused_upstreams(stage))
    teller.show(acts.authority_refuses(stage))
    teller.say(f"\n{wish.rotations} rotations by the agent under {wish.connections} kept-alive connections ...")
    teller.show(asyncio.run(acts.rotations(stage, with_proxy, wish.rotations, wish.connections, wish.requests)))


@contextlib.contextmanager
def running(nginx: Nginx) -> Iterator[Nginx]:
    """Start an nginx and stop it at the end."""
    nginx.start()
    try:
        yield nginx
    finally:
        nginx.stop()


def _program(binary: str) -> Path:
    if binary:
        return find_nginx(Path(binary)).binary
    chosen = bundled()
    return chosen if chosen is not None else find_nginx().binary


def _farewell(stage: Stage, teller: _Teller, good: bool, seconds: float) -> None:
    teller.say()
    verdict = "every row holds" if good else "NOT every row holds"
    teller.say(f"{verdict}, {seconds:.0f} s. Everything is in {stage.base}:")
    for name, path in (
        ("authority", stage.authority),
        ("proxy", stage.proxy / "nginx.conf"),
        ("declaration", stage.declaration),
        ("identity", stage.proxy / "mtls" / "myuser" / "current"),
    ):
        teller.say(f"  {name:<12} {path}")
    teller.say("\nNext:")
    for command in (
        f"troth certificate inspect --short {stage.proxy}/mtls/myuser/current/client.crt",
        f"troth agent status --config {stage.declaration}",
        f"diff -ru {stage.proxy}/nginx.conf.guide {stage.proxy}/nginx.conf",
    ):
        teller.say(f"  {command}")


def _wait(stage: Stage, teller: _Teller) -> None:
    teller.say(
        f"\nKept running: proxy {stage.proxy_url} (Host: proxy.internal.net), authority {stage.ca_url}. Ctrl-C ends it."
    )
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            signal.pause()
