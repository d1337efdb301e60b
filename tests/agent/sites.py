"""The demo's site for tests: an authority, an upstream that reports whom it saw, a hardened proxy and its agent."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.rig.nginx import get, program
from troth.cli.demo import acts
from troth.cli.demo.play import running
from troth.cli.demo.stage import PROXY_NAME, Stage, authority, prepare
from troth.host.nginx import Nginx


@dataclass(frozen=True)
class Site:
    """What runs, and where its files are."""

    stage: Stage
    proxy: Nginx

    @property
    def identity(self) -> Path:
        return self.stage.proxy / "mtls" / "myuser"

    def ask(self) -> tuple[int, bytes]:
        """One request through the proxy: the status, and what the upstream reported."""
        return get(self.stage.proxy_port, "/upstream", PROXY_NAME)


@contextlib.contextmanager
def site(nginx: str) -> Iterator[Site]:
    """Everything up to and including step 6 of the guide, with the nginx of this name in `tests.rig.nginx`."""
    binary = program(nginx)
    with tempfile.TemporaryDirectory(prefix="troth-site-") as name, contextlib.ExitStack() as stack:
        base = Path(name)
        base.chmod(0o755)
        stage = prepare(base)
        acts.found(stage)
        stack.enter_context(authority(stage))
        pairs = acts.upstream_files(stage)
        stack.enter_context(running(acts.upstream_nginx(stage, binary, pairs)))
        proxy = stack.enter_context(running(acts.guide(stage, binary, lambda _: None)))
        acts.harden(stage, binary, lambda _: None)
        yield Site(stage, proxy)
