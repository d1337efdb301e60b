"""Fifty rotations by the agent's own code under sixteen kept-alive clients and ten thousand requests."""

import asyncio

import pytest

from tests.agent.sites import site
from tests.rig.nginx import programs
from troth.cli.demo import acts


@pytest.mark.timeout(170)
@pytest.mark.parametrize("nginx", list(programs()))
def test_no_request_is_lost_and_old_identities_go(nginx: str) -> None:
    with site(nginx) as found:
        section = asyncio.run(acts.rotations(found.stage, found.proxy, 50, 16, 10_000))
    rows = {row.title: row for row in section.rows}
    raceless = found.proxy.capabilities().keepalive_min_timeout
    assert ("requests lost" in rows) == raceless
    assert section.ok, "\n".join(f"{row.title}: {row.observed} (expected {row.expected})" for row in section.rows)
