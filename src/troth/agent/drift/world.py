"""What is there: the configuration on disk, the workers that serve, and when each file last became what it is."""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from troth.agent.reading import read_config, read_unverified
from troth.host import HostError
from troth.host.nginx import Generation, Nginx, NginxTestError
from troth.host.started import started
from troth.nginx.tree import Config, include_pattern, is_pattern

MOST_LINKS = 40


@dataclass(frozen=True, slots=True)
class World:
    """An nginx as it is now.

    `config` is what is on disk, by our own reading where nginx refuses it (`refused` quotes it); `since` is when the
    oldest serving worker began, in seconds since the epoch: later ones may only replace workers that died. `generation`
    and `since` are None where nginx does not run.
    """

    nginx: Nginx
    config: Config
    refused: str
    generation: Generation | None
    since: float | None

    def newer(self, paths: Iterable[str]) -> list[tuple[str, float]]:
        """Which of these files changed after the workers began, and when; the newest first."""
        if self.since is None:
            return []
        moments = [(path, changed_at(Path(path))) for path in dict.fromkeys(paths)]
        found = [(path, at) for path, at in moments if at is not None and at > self.since]
        return sorted(found, key=lambda one: -one[1])

    def place(self, where: str) -> str:
        """A file and line, from the directory of the main file where it is below that."""
        return where.removeprefix(f"{Path(self.config.main).parent}/")

    def sources(self) -> list[str]:
        """Every file of the configuration, and the directories in which a pattern looks for files."""
        base = str(Path(self.config.main).parent)
        included = [one for one in self.config.root.walk() if one.name == "include" and one.arguments]
        patterns = [pattern for one in included if is_pattern(pattern := include_pattern(one, base))]
        directories = [str(Path(pattern).parent) for pattern in patterns]
        return [*self.config.files, *(one for one in directories if not is_pattern(one))]


def observe(nginx: Nginx) -> World:
    """Look at an nginx.

    Raises:
        TrothError: its configuration cannot be read, by itself or by us, or not as who asks.
    """
    refused = ""
    try:
        config = read_config(nginx)
    except NginxTestError as error:
        if os.geteuid() != 0 and "permission denied" in error.message.lower():
            raise NginxTestError(error.message, hint="run it as root, as nginx's master runs") from error
        refused = error.message.removeprefix("nginx refuses the configuration: ")
        config = read_unverified(nginx)
    generation = since = None
    with contextlib.suppress(HostError):
        generation = nginx.generation()
        since = min((started(worker) for worker in generation.workers), default=None)
    return World(nginx, config, refused, generation, since)


def changed_at(path: Path, links: int = 0) -> float | None:
    """When what a path leads to last changed, in seconds since the epoch; None where it leads nowhere.

    The inode's own time, which nobody can set back, of the file and of every symlink on the way to it.
    """
    try:
        moments = [path.stat().st_ctime]
        for step in (path, *path.parents):
            if step.is_symlink() and links < MOST_LINKS:
                moments.append(step.lstat().st_ctime)
                moments.append(changed_at(step.parent / step.readlink(), links + 1) or 0.0)
    except OSError:
        return None
    return max(moments)
