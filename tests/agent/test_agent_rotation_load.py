"""Fifty rotations by the agent's own code under sixteen kept-alive clients and ten thousand requests."""

import asyncio
import json
from collections import Counter

import pytest

from tests.agent.sites import Site, site
from tests.rig.nginx import programs
from troth.agent.agent import Agent
from troth.agent.config import load
from troth.agent.issuer import AuthorityIssuer
from troth.agent.log import Log
from troth.agent.measured import Measured, measure
from troth.agent.proxy import proxy_for
from troth.agent.state import only_agent
from troth.cli.demo.stage import PROXY_NAME
from troth.host.load import Target

ROTATIONS, CLIENTS, REQUESTS = 50, 16, 10_000


async def rotations(visited: Site, proofs: Counter[str]) -> Measured:
    """The agent's own rotation, again and again, while clients ask through the proxy for whom the upstream saw."""
    config = load(visited.stage.declaration)
    with only_agent(config.state):
        agent = Agent(config, AuthorityIssuer(), proxy_for(config), Log(quiet=True))
        await agent.start()

        async def rotate() -> str:
            result = (await agent.rotate_now(config.identity("myuser")))[0]
            assert result.ok, result.error
            assert result.facts is not None
            proofs[result.proof.kind] += 1
            return str(result.facts.serial)

        target = Target(visited.stage.proxy_port, "/upstream", PROXY_NAME)
        return await measure(rotate, target, serial_in, rotations=ROTATIONS, connections=CLIENTS, requests=REQUESTS)


def serial_in(body: bytes) -> str:
    return str(int(json.loads(body)["serial"], 16))


@pytest.mark.timeout(170)
@pytest.mark.parametrize("nginx", list(programs()))
def test_no_request_is_lost_and_old_identities_go(nginx: str) -> None:
    proofs: Counter[str] = Counter()
    with site(nginx) as found:
        raceless = found.proxy.capabilities().keepalive_min_timeout
        measured = asyncio.run(rotations(found, proofs))
    tally = measured.tally
    assert proofs == {"witness": ROTATIONS}, "each new certificate was seen on the wire"
    assert tally.requests >= REQUESTS
    assert measured.serials_seen > ROTATIONS / 2, "the clients were there while it happened"
    assert not tally.failures, "what nginx took in it answers"
    assert tally.answered == tally.requests - tally.races
    if raceless:
        # Below 1.27.4 nginx closes kept-alive connections on reload without warning: a client may lose the race.
        assert tally.races == 0
        assert measured.latest_old <= measured.bound
        assert measured.latest_old <= 10
