"""``troth agent run``: the agent as a service, under systemd or alone, until SIGTERM; SIGHUP reads troth.toml again.

While it runs, ``troth nginx rotate`` asks it to rotate (`troth.agent.control`).
"""

import asyncio
import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from troth.agent.agent import Agent, failed
from troth.agent.config import Config, load
from troth.agent.control import asked_over
from troth.agent.issuer import AuthorityIssuer, Issuer
from troth.agent.log import Log
from troth.agent.proxy import Proxy, proxy_for
from troth.agent.rotation import Result
from troth.agent.state import only_agent
from troth.errors import TrothError
from troth.host.systemd import Manager, watchdog_seconds

LONGEST_SLEEP = 60.0
# Everything in a round ends by itself sooner; one that does not is ended from outside, and the next start settles it.
LONGEST_ROUND = 900.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What an agent is made of; tests hand in simulated ones."""

    issuer: Issuer
    proxy: Proxy


def run(path: Path, *, once: bool) -> int:
    """Run until stopped, or do everything due once; the exit code.

    Raises:
        TrothError: the configuration cannot be used, or another agent runs.
    """
    config = load(path)
    with only_agent(config.state):
        return asyncio.run(_once(config) if once else _Daemon(path, config).run())


def create(config: Config, parts: Parts | None = None) -> Agent:
    """An agent with the real authority and the real nginx, unless others are handed in.

    Raises:
        TrothError: there is no nginx, or the state is damaged.
    """
    chosen = parts or Parts(AuthorityIssuer(), proxy_for(config))
    return Agent(config, chosen.issuer, chosen.proxy, Log(config.log))


async def _once(config: Config) -> int:
    agent = create(config)
    await agent.start()
    agent.hurry()
    await agent.act()
    return 1 if any(state.last_error for state in agent.states.values()) else 0


class _Daemon:
    def __init__(self, path: Path, config: Config) -> None:
        self._path = path
        self._agent = create(config)
        self._log = Log(config.log)
        self._wake = asyncio.Event()
        # Held by a round, by a reading of the configuration, and by a rotation that was asked for.
        self._busy = asyncio.Lock()
        self._stopping = False
        self._reloading = False
        self._manager = Manager()
        # When the round under way began; None while it waits for the next.
        self._since: float | None = time.monotonic()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._hup)
        watchdog = asyncio.create_task(self._watchdog())
        await self._agent.start()
        self._manager.ready()
        async with contextlib.AsyncExitStack() as listening:
            try:
                await listening.enter_async_context(asked_over(self._agent.config.state, self._rotate))
            except TrothError as error:
                self._log.error("this agent cannot be asked to rotate", error=error.message)
            self._log.info("agent started", identities=len(self._agent.config.identities), config=self._path)
            while not self._stopping:
                await self._step()
            self._manager.stopping()
        watchdog.cancel()
        self._log.info("agent stopped")
        return 0

    async def _step(self) -> None:
        async with self._busy:
            if self._reloading:
                await self._reload()
            results = await self._agent.act()
        problems = len(failed(results))
        self._manager.status(f"{len(self._agent.states)} identities, {problems} problems in the last round")
        self._since = None
        timeout = min(self._agent.seconds_until_due(), LONGEST_SLEEP)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        self._wake.clear()
        self._since = time.monotonic()

    async def _rotate(self, name: str) -> Result:
        """Now, because somebody asks. Raises: TrothError: it is none of ours to rotate, as the file was last read."""
        async with self._busy:
            identity = next((one for one in self._agent.config.identities if one.name == name), None)
            if identity is None or not identity.renewed:
                raise TrothError(
                    f"it rotates no identity {name!r}, as it last read {self._path}",
                    hint=f"make it read the file again: kill -HUP {os.getpid()}",
                )
            return (await self._agent.rotate_now(identity))[0]

    async def _watchdog(self) -> None:
        """Tell systemd twice in its interval (WatchdogSec) that the loop turns and no round goes on for ever."""
        seconds = watchdog_seconds()
        while seconds is not None:
            if self._since is None or time.monotonic() - self._since < LONGEST_ROUND:
                self._manager.alive()
            await asyncio.sleep(seconds / 2)

    def _stop(self) -> None:
        """A rotation under way is finished first: the loop looks at this between rounds only."""
        self._stopping = True
        self._wake.set()

    def _hup(self) -> None:
        self._reloading = True
        self._wake.set()

    async def _reload(self) -> None:
        """Read troth.toml again; when it is not usable, go on with the old one."""
        self._reloading = False
        self._manager.reloading()
        try:
            config = load(self._path)
            if config.state != self._agent.config.state:
                raise TrothError("[agent] state cannot change while the agent runs", hint="restart it")
            agent = create(config)
            await agent.start()
            self._agent, self._log = agent, Log(config.log)
            self._log.info("configuration read again", identities=len(config.identities))
        except TrothError as error:
            self._log.error("configuration not read again, the old one stays", error=error.message)
        self._manager.ready()
