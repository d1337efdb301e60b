"""An agent that is killed at one step of a rotation, as by a power cut: ``python -m tests.agent.victim TOML STEP``."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from troth.agent.agent import Agent
from troth.agent.config import load
from troth.agent.issuer import AuthorityIssuer
from troth.agent.log import Log
from troth.agent.proxy import proxy_for
from troth.agent.state import only_agent


async def main(declaration: Path, step: str) -> None:
    config = load(declaration)

    def checkpoint(reached: str) -> None:
        if reached == step:
            os.kill(os.getpid(), signal.SIGKILL)

    with only_agent(config.state):
        agent = Agent(config, AuthorityIssuer(), proxy_for(config), Log(quiet=True), checkpoint=checkpoint)
        await agent.start()
        await agent.rotate_now(config.identity("myuser"))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
