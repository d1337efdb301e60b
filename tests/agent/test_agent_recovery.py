"""An agent that ends at any moment, and whatever the next start meets: a pair in place, and on record what is true.

`test_agent_crash` does the same to a real process with a real authority and nginx; here every combination is tried.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.agent.rig import Bench, material
from troth.agent.rotation import STEPS, Rotator
from troth.agent.state import Pending, write_pending

NAMES = ("app", "db")


class KilledError(BaseException):
    """Not an error anybody may handle: the process is gone."""


class Kill:
    """Ends a rotation when a step is reached for the n-th time."""

    def __init__(self, step: str, count: int = 1) -> None:
        self.step = step
        self.left = count

    def __call__(self, reached: str) -> None:
        if reached == self.step:
            self.left -= 1
            if self.left == 0:
                raise KilledError


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def kill(bench: Bench, step: str, count: int = 1) -> None:
    """A rotation of all identities that ends there."""
    rotator = Rotator(bench.config.state, bench.issuer, bench.proxy, 1.0, Kill(step, count))
    with pytest.raises(KilledError):
        rotator.rotate(bench.config.identities)


def settled(bench: Bench) -> None:
    """What must hold after every start: matching pairs, shown by nginx, known to the state, nothing under way."""
    assert bench.records() == []
    for name in NAMES:
        assert bench.state(name).serial == str(bench.serial(name))
        assert bench.proxy.shown[name] == bench.serial(name)
        assert not list(bench.generations(name).directory.rglob("*.tmp"))
        assert len(bench.generations(name).numbers()) <= 3


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("step", STEPS)
async def test_the_next_start_settles_what_was_killed(bench: Bench, step: str, count: int) -> None:
    await bench.started()
    counts = 1 if step in ("tested", "reloaded") else count
    kill(bench, step, counts)
    for name in NAMES:
        assert bench.serial(name), "a matching pair is in place at any moment"
    agent = bench.agent()
    await agent.start()
    settled(bench)
    assert all(bench.state(name).last_error == "" for name in NAMES)
    assert all(result.ok for result in await agent.rotate_now(*bench.config.identities))
    settled(bench)


@pytest.mark.parametrize("refused", ["test", "reload", "prove"])
@pytest.mark.parametrize("step", ["switched", "tested", "reloaded"])
async def test_files_that_nginx_does_not_take_after_the_kill_go_back(bench: Bench, step: str, refused: str) -> None:
    await bench.started()
    old = {name: bench.serial(name) for name in NAMES}
    kill(bench, step, 2 if step == "switched" else 1)
    bench.proxy.fail(refused, "for a reason", "for a reason" if refused == "prove" else "")
    agent = bench.agent()
    await agent.start()
    assert {name: bench.serial(name) for name in NAMES} == old
    settled(bench)
    for name in NAMES:
        assert bench.state(name).last_error == "for a reason"
        assert bench.state(name).failures == 1


@pytest.mark.parametrize("file", ["client.crt", "client.key", "ca.crt"])
@pytest.mark.parametrize("damage", ["gone", "garbled"])
async def test_a_new_generation_damaged_meanwhile_goes_back(bench: Bench, file: str, damage: str) -> None:
    await bench.started()
    old = bench.serial()
    kill(bench, "reloaded")
    path = bench.generations().link / file
    path.unlink() if damage == "gone" else path.write_text("garbled")
    bench.config = replace(bench.config, identities=(bench.app,))
    agent = bench.agent()
    await agent.start()
    assert bench.serial() == old
    assert bench.state().last_error
    assert bench.proxy.shown["app"] == old, "nginx had loaded the new one"
    assert bench.records() == ["db.json"]


async def test_a_new_certificate_that_ended_while_no_agent_ran_is_replaced(bench: Bench) -> None:
    await bench.started()
    pair = bench.pki.leaf("app.test", ended=True)
    generations = bench.generations()
    new = generations.stage(material(pair, bench.pki.trust))
    write_pending(bench.config.state, Pending("app", generations.current(), new))
    generations.switch(new)
    agent = bench.agent()
    await agent.start()
    assert "expired" in bench.state().last_error
    agent.hurry()
    await agent.act()
    assert bench.state().last_error == ""
    settled(bench)


@pytest.mark.parametrize("step", STEPS)
async def test_a_first_enrolment_that_was_killed_is_finished(bench: Bench, step: str) -> None:
    kill(bench, step)
    agent = bench.agent()
    await agent.start()
    await agent.act()
    settled(bench)


@pytest.mark.parametrize("kind", ["test", "reload", "prove"])
async def test_killed_while_putting_back_is_put_back_by_the_next_start(bench: Bench, kind: str) -> None:
    """The reload of the old generation is where it ends: files are back, but nginx may still show the new ones."""
    await bench.started()
    old = {name: bench.serial(name) for name in NAMES}
    bench.proxy.fail(kind, "for a reason", *["for a reason"] * (kind == "prove"))
    bench.proxy.before = Kill("test", 2)
    with pytest.raises(KilledError):
        Rotator(bench.config.state, bench.issuer, bench.proxy, 1.0).rotate(bench.config.identities)
    bench.proxy.before = lambda _: None
    assert {name: bench.serial(name) for name in NAMES} == old
    agent = bench.agent()
    await agent.start()
    settled(bench)


async def test_old_files_that_nginx_could_not_reload_are_reloaded_by_the_next_start(bench: Bench) -> None:
    """The proof failed, and so did the reload of the old files: nginx shows what was refused until somebody reloads."""
    await bench.started()
    bench.proxy.fail("prove", "for a reason", "for a reason")
    bench.proxy.fail("reload", "", "no new workers")
    Rotator(bench.config.state, bench.issuer, bench.proxy, 1.0).rotate(bench.config.identities)
    assert bench.proxy.shown["app"] != bench.serial()
    bench.proxy.fail("reload", "no new workers")
    await bench.agent().start()
    assert bench.proxy.shown["app"] != bench.serial()
    await bench.agent().start()
    settled(bench)


async def test_killed_at_every_step_in_turn_without_a_good_end_in_between(bench: Bench) -> None:
    await bench.started()
    for step in STEPS * 2:
        kill(bench, step)
        assert all(bench.serial(name) for name in NAMES)
    agent = bench.agent()
    await agent.start()
    settled(bench)


async def test_a_damaged_record_is_as_none(bench: Bench) -> None:
    await bench.started()
    kill(bench, "switched", 2)
    for name in bench.records():
        (bench.config.state / "journal" / name).write_text('{"name": "app", "ol')
    agent = bench.agent()
    await agent.start()
    assert all(bench.serial(name) for name in NAMES)
    await agent.rotate_now(*bench.config.identities)
    settled(bench)


async def test_a_record_of_a_generation_that_is_gone_is_dropped(bench: Bench) -> None:
    await bench.started()
    kill(bench, "recorded", 2)
    shutil.rmtree(bench.generations().path(2))
    agent = bench.agent()
    await agent.start()
    settled(bench)


async def test_without_a_running_nginx_an_interrupted_rotation_is_finished(bench: Bench) -> None:
    await bench.started()
    kill(bench, "switched", 2)
    new = bench.serial()
    bench.proxy.up = False
    agent = bench.agent()
    await agent.start()
    assert bench.serial() == new
    assert bench.records() == []
    assert bench.state().proof == ""


async def test_a_start_with_nothing_to_settle_bothers_nobody(bench: Bench) -> None:
    await bench.started()
    agent = bench.agent()
    await agent.start()
    await agent.act()
    assert bench.proxy.calls == []
    assert bench.issuer.asked == []
