"""Where nginx reads an identity at each handshake no rotation reloads it, and a bad one goes back just the same."""

from pathlib import Path

import pytest

from tests.agent.rig import Bench, material
from tests.agent.test_agent_rotation import assert_old_stays, rotate
from tests.rig.pki import Pki


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    found = Bench(tmp_path)
    found.proxy.following = {"app"}
    return found


async def test_no_reload_and_the_new_certificate_is_proven(bench: Bench) -> None:
    agent = await bench.started()
    result = (await rotate(agent, "app"))["app"]
    assert result.ok, result.error
    assert bench.proxy.calls == ["prove"]
    assert bench.proxy.shown["app"] == bench.serial()


async def test_a_proof_that_fails_puts_the_old_generation_back_without_a_reload(bench: Bench) -> None:
    agent = await bench.started()
    bench.proxy.fail("prove", "nginx shows no certificate")
    old = bench.serial()
    result = (await rotate(agent, "app"))["app"]
    assert not result.ok
    assert bench.serial() == old
    assert bench.proxy.calls == ["prove"]
    assert bench.records() == []


async def test_a_key_that_the_workers_may_not_read_is_refused_before_they_meet_it(bench: Bench) -> None:
    agent = await bench.started()
    bench.proxy.closed = "nginx's workers (www-data) may not read the key"
    await assert_old_stays(bench, agent, "may not read the key")
    assert bench.proxy.calls == []


async def test_another_trust_is_reloaded(bench: Bench) -> None:
    agent = await bench.started()
    other = Pki(bench.directory / "other")
    both = bench.pki.trust.read_bytes() + other.trust.read_bytes()

    def faulty(identity: object) -> object:
        made = material(bench.pki.leaf("app.test", file="app-new"), bench.pki.trust)
        return type(made)(made.certificate, made.key, both)

    bench.issuer.faulty = faulty  # type: ignore[assignment]
    assert (await rotate(agent, "app"))["app"].ok
    assert bench.proxy.calls == ["test", "reload", "prove"]


async def test_beside_an_identity_that_needs_a_reload_there_is_one(bench: Bench) -> None:
    agent = await bench.started()
    results = await rotate(agent, "app", "db")
    assert all(result.ok for result in results.values())
    assert bench.proxy.calls == ["test", "reload", "prove", "prove"]


async def test_generations_rest_a_while_so_that_no_inode_comes_back_at_once(bench: Bench) -> None:
    agent = await bench.started()
    for _ in range(5):
        await rotate(agent, "app", "db")
    assert len(bench.generations("app").numbers()) == 6
    assert len(bench.generations("db").numbers()) == 3
