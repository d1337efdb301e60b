"""A rotation ends with the new certificate proven, or with the old one in place and shown and the reason on record."""

from datetime import timedelta
from pathlib import Path

import pytest

from tests.agent.rig import Bench, kept, material, owned, serial_of
from tests.rig.pki import HOUR, SERVER, Pki
from troth.agent.agent import Agent
from troth.agent.config import Identity
from troth.agent.proxy import NoProxy
from troth.agent.rotation import Result, Rotator
from troth.host.generations import Material


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def rotate(agent: Agent, *names: str) -> dict[str, Result]:
    results = await agent.rotate_now(*(agent.config.identity(name) for name in names))
    assert sorted(result.name for result in results) == sorted(names), "one result for each identity"
    return {result.name: result for result in results}


async def assert_old_stays(bench: Bench, agent: Agent, why: str) -> None:
    """Rotate ``app``; it must fail, and nothing that anybody sees may have changed but the state."""
    old, number, generations = bench.serial(), bench.generations().current(), bench.generations().numbers()
    result = (await rotate(agent, "app"))["app"]
    assert not result.ok
    assert why in result.error
    assert bench.serial() == old
    assert bench.generations().current() == number
    assert bench.generations().numbers() == generations, "the refused generation is removed"
    assert bench.proxy.shown["app"] == old, "nginx shows the old certificate"
    assert bench.records() == []
    state = bench.state()
    assert why in state.last_error
    assert (state.last_result, state.failures, state.serial) == ("failed", 1, str(old))
    assert state.next_action.startswith("try again")


async def test_a_first_certificate_is_obtained_deployed_and_proven(bench: Bench) -> None:
    agent = bench.agent()
    await agent.start()
    results = await agent.act()
    assert [(result.name, result.ok) for result in results] == [("app", True), ("db", True)]
    for name in ("app", "db"):
        assert bench.proxy.shown[name] == bench.serial(name)
        state = bench.state(name)
        assert (state.serial, state.proof, state.last_result) == (str(bench.serial(name)), "witness", "ok")
        assert (state.last_error, state.failures) == ("", 0)
        assert state.subject == f"{name}.test"
        assert state.next_action.startswith("renew")
    assert bench.records() == []


async def test_a_rotation_ends_with_the_new_certificate_shown(bench: Bench) -> None:
    agent = await bench.started()
    old, other = bench.serial(), bench.serial("db")
    result = (await rotate(agent, "app"))["app"]
    assert result.ok
    assert result.facts is not None
    assert result.facts.serial == bench.serial() == bench.proxy.shown["app"] != old
    assert bench.proxy.calls == ["test", "reload", "prove"]
    assert bench.issuer.asked == ["app"]
    assert bench.serial("db") == other


async def test_identities_due_together_share_one_test_and_one_reload(bench: Bench) -> None:
    agent = await bench.started()
    await rotate(agent, "app", "db")
    assert bench.proxy.calls == ["test", "reload", "prove", "prove"]


async def test_what_is_not_due_is_left_alone(bench: Bench) -> None:
    agent = await bench.started()
    assert await agent.act() == []
    assert bench.issuer.asked == []
    assert bench.proxy.calls == []
    assert agent.seconds_until_due() > 3600


async def test_two_older_generations_are_kept(bench: Bench) -> None:
    agent = await bench.started()
    for _ in range(5):
        await rotate(agent, "app")
    assert bench.generations().numbers() == [4, 5, 6]
    assert bench.generations().current() == 6


async def test_an_authority_that_refuses_changes_nothing(bench: Bench) -> None:
    agent = await bench.started()
    bench.issuer.refusals["app"] = "authority says no"
    await assert_old_stays(bench, agent, "authority says no")
    assert bench.proxy.calls == [], "nginx is not bothered"


async def test_one_identity_that_fails_does_not_hold_up_the_others(bench: Bench) -> None:
    agent = await bench.started()
    old = {name: bench.serial(name) for name in ("app", "db")}
    bench.issuer.refusals["app"] = "authority says no"
    results = await rotate(agent, "app", "db")
    assert not results["app"].ok
    assert bench.serial() == old["app"]
    assert results["db"].ok
    assert bench.proxy.shown["db"] == bench.serial("db") != old["db"]


def of_another_name(bench: Bench, _: Identity) -> Material:
    return material(bench.pki.leaf("else.test"), bench.pki.trust)


def with_another_key(bench: Bench, identity: Identity) -> Material:
    one, other = bench.pki.leaf(identity.subject, file="one"), bench.pki.leaf(identity.subject, file="other")
    return Material(one.certificate.read_bytes(), other.key.read_bytes(), bench.pki.trust.read_bytes())


def ended(bench: Bench, identity: Identity) -> Material:
    return material(bench.pki.leaf(identity.subject, file="ended", ended=True), bench.pki.trust)


def of_tomorrow(bench: Bench, identity: Identity) -> Material:
    return material(bench.pki.leaf(identity.subject, file="tomorrow", shift=24 * HOUR), bench.pki.trust)


def for_servers_only(bench: Bench, identity: Identity) -> Material:
    return material(bench.pki.leaf(identity.subject, file="server", purposes=(SERVER,)), bench.pki.trust)


def of_another_authority(bench: Bench, identity: Identity) -> Material:
    foreign = Pki(bench.directory / "foreign", "Foreign")
    return material(foreign.leaf(identity.subject), bench.pki.trust)


def without_intermediate(bench: Bench, identity: Identity) -> Material:
    return material(bench.pki.leaf(identity.subject, file="leaf", leaf_only=True), bench.pki.trust)


def garbage(bench: Bench, _: Identity) -> Material:
    return Material(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"", b"")


@pytest.mark.parametrize(
    ("faulty", "why"),
    [
        (of_another_name, "certificate is for else.test, expected 'app.test'"),
        (with_another_key, "key does not belong to the certificate"),
        (ended, "expired"),
        (of_tomorrow, "is not valid before"),
        (for_servers_only, "clientAuth"),
        (of_another_authority, "Foreign"),
        (without_intermediate, "Intermediate"),
        (garbage, "certificate"),
    ],
)
async def test_material_that_is_not_fit_never_becomes_current(bench: Bench, faulty: object, why: str) -> None:
    agent = await bench.started()
    assert callable(faulty)
    bench.issuer.faulty = lambda identity: faulty(bench, identity)
    await assert_old_stays(bench, agent, why)
    assert bench.proxy.calls == []


async def test_nginx_that_refuses_the_files_keeps_the_old_generation(bench: Bench) -> None:
    agent = await bench.started()
    bench.proxy.fail("test", "cannot load certificate")
    await assert_old_stays(bench, agent, "cannot load certificate")


async def test_a_reload_that_fails_puts_the_old_generation_back(bench: Bench) -> None:
    agent = await bench.started()
    bench.proxy.fail("reload", "no new workers within 20 s")
    await assert_old_stays(bench, agent, "no new workers within 20 s")


async def test_a_proof_that_fails_puts_the_old_generation_back_and_reloads_it(bench: Bench) -> None:
    agent = await bench.started()
    bench.proxy.fail("prove", "nginx shows no certificate")
    await assert_old_stays(bench, agent, "nginx shows no certificate")
    assert bench.proxy.calls == ["test", "reload", "prove", "test", "reload"]


async def test_of_two_in_one_reload_the_proven_one_stays_and_the_other_goes_back(bench: Bench) -> None:
    agent = await bench.started()
    old = {name: bench.serial(name) for name in ("app", "db")}
    bench.proxy.fail("prove", "", "nginx shows no certificate")
    results = await rotate(agent, "app", "db")
    assert results["app"].ok
    assert not results["db"].ok
    assert bench.serial() != old["app"]
    assert bench.serial("db") == old["db"]
    assert bench.proxy.shown == {name: bench.serial(name) for name in ("app", "db")}


async def test_every_identity_of_a_refused_reload_goes_back(bench: Bench) -> None:
    agent = await bench.started()
    old = {name: bench.serial(name) for name in ("app", "db")}
    bench.proxy.fail("test", "unknown directive")
    results = await rotate(agent, "app", "db")
    assert [results[name].error for name in old] == ["unknown directive"] * 2
    assert {name: bench.serial(name) for name in old} == bench.proxy.shown == old


async def test_when_even_the_old_generation_cannot_be_reloaded_the_files_are_back(bench: Bench) -> None:
    agent = await bench.started()
    old = bench.serial()
    bench.proxy.fail("reload", "first", "second")
    assert (await rotate(agent, "app"))["app"].error == "first"
    assert bench.serial() == old


async def test_a_first_certificate_that_nginx_does_not_show_stays_as_there_is_no_older(bench: Bench) -> None:
    bench.proxy.fail("prove", "nginx shows no certificate")
    agent = bench.agent()
    await agent.start()
    await agent.act()
    assert bench.generations().current() == 1
    assert bench.state().last_error == "nginx shows no certificate"
    assert bench.records() == []
    assert (await rotate(agent, "app"))["app"].ok
    assert bench.proxy.shown["app"] == bench.serial()


async def test_an_old_generation_that_was_deleted_meanwhile_is_not_put_back(bench: Bench) -> None:
    """A link to nowhere would break the nginx of tomorrow; the unproven files are better."""
    agent = await bench.started()
    generations = bench.generations()
    old = generations.path(generations.current() or 0)
    bench.proxy.fail("prove", "nginx shows no certificate")

    def delete_old(step: str) -> None:
        if step == "reloaded":
            for path in old.iterdir():
                path.unlink()
            old.rmdir()

    rotator = Rotator(bench.config.state, bench.issuer, bench.proxy, 1.0, delete_old)
    result = rotator.rotate([bench.app])[0]
    assert "the old generation could not be put back" in result.error
    assert bench.serial() == int(result.facts.serial if result.facts else 0)
    assert (await agent.rotate_now(bench.app))[0].ok


async def test_a_directory_that_cannot_be_written_is_a_failure_of_that_identity_only(tmp_path: Path) -> None:
    (tmp_path / "app").write_text("a file where the directory should be")
    bench = Bench(tmp_path)
    agent = bench.agent()
    await agent.start()
    results = {result.name: result for result in await agent.act()}
    assert str(tmp_path / "app") in results["app"].error
    assert results["db"].ok
    assert str(tmp_path / "app") in bench.state().last_error


async def test_without_a_running_nginx_files_are_kept_and_nothing_is_claimed(bench: Bench) -> None:
    agent = await bench.started()
    old = bench.serial()
    bench.proxy.up = False
    result = (await rotate(agent, "app"))["app"]
    assert result.ok
    assert (result.proof.kind, result.proof.detail) == ("", "nginx does not run")
    assert bench.serial() != old
    assert bench.proxy.calls == []
    assert bench.state().proof == ""


async def test_identities_that_no_nginx_shows_are_rotated_all_the_same(bench: Bench) -> None:
    results = Rotator(bench.config.state, bench.issuer, NoProxy(), 1.0).rotate([bench.app])
    assert results[0].ok
    assert bench.serial() == int(results[0].facts.serial if results[0].facts else 0)


async def test_a_failure_is_forgotten_after_the_next_success(bench: Bench) -> None:
    agent = await bench.started()
    bench.issuer.refusals["app"] = "authority is away"
    for count in (1, 2, 3):
        await rotate(agent, "app")
        assert bench.state().failures == count
    bench.issuer.refusals.clear()
    await rotate(agent, "app")
    state = bench.state()
    assert (state.failures, state.last_error, state.last_result) == (0, "", "ok")


async def test_failures_are_counted_across_restarts(bench: Bench) -> None:
    await bench.started()
    bench.issuer.refusals["app"] = "authority is away"
    for count in (1, 2):
        agent = bench.agent()
        await agent.start()
        await rotate(agent, "app")
        assert bench.state().failures == count


async def test_keys_are_for_their_owner_and_the_mode_is_configurable(tmp_path: Path) -> None:
    for name, mode in (("app", 0o600), ("db", 0o640)):
        identity = kept(tmp_path, name)
        shared = Identity(name, identity.subject, (), identity.directory, identity.source, key_mode=mode)
        bench = Bench(tmp_path, (shared,))
        await bench.started()
        assert shared.key.stat().st_mode & 0o7777 == mode
        assert shared.certificate.stat().st_mode & 0o7777 == 0o644


# Identities whose files belong to somebody else: watched, reloaded, proven; never written, never renewed.


class Owned:
    """An identity of the user's own, with a way to replace its files."""

    def __init__(self, directory: Path) -> None:
        self.pki = Pki(directory / "theirs", "Theirs")
        self.pair = self.pki.leaf("own.test")
        self.identity = owned(self.pair, self.pki.trust)
        self.bench = Bench(directory, (self.identity,))

    def replace(self, shift: timedelta = timedelta(0)) -> int:
        return self.pki.leaf("own.test", shift=shift).serial

    def bytes(self) -> tuple[bytes, ...]:
        return tuple(p.read_bytes() for p in (self.identity.certificate, self.identity.key, self.identity.trust))


@pytest.fixture
def theirs(tmp_path: Path) -> Owned:
    return Owned(tmp_path)


async def look(bench: Bench, agent: Agent) -> list[Result]:
    """As the daemon does when the moment to look at the files has come."""
    bench.wait(timedelta(seconds=agent.seconds_until_due()))
    return await agent.act()


async def test_own_files_are_proven_at_first_sight(theirs: Owned) -> None:
    await theirs.bench.started()
    state = theirs.bench.state("own")
    assert theirs.bench.proxy.shown == {"own": theirs.pair.serial}
    assert (state.serial, state.proof, state.subject) == (str(theirs.pair.serial), "witness", "own.test")
    assert state.next_action.startswith("look at the files")


async def test_own_files_that_did_not_change_cost_no_reload(theirs: Owned) -> None:
    agent = await theirs.bench.started()
    assert await look(theirs.bench, agent) == []
    assert theirs.bench.proxy.calls == []
    assert 20 < agent.seconds_until_due() <= 30


async def test_own_files_replaced_by_their_owner_are_reloaded_and_proven(theirs: Owned) -> None:
    agent = await theirs.bench.started()
    serial = theirs.replace()
    assert [result.ok for result in await look(theirs.bench, agent)] == [True]
    assert theirs.bench.proxy.shown == {"own": serial}
    assert theirs.bench.state("own").serial == str(serial)


async def test_own_files_are_never_renewed_however_near_their_end(theirs: Owned) -> None:
    agent = await theirs.bench.started()
    theirs.replace(shift=-24 * HOUR + timedelta(seconds=30))
    before = theirs.bytes()
    await look(theirs.bench, agent)
    await agent.act()
    assert theirs.bench.issuer.asked == []
    assert theirs.bytes() == before


@pytest.mark.parametrize("kind", ["test", "reload", "prove"])
async def test_own_files_that_nginx_does_not_take_stay_where_they_are(theirs: Owned, kind: str) -> None:
    agent = await theirs.bench.started()
    theirs.replace()
    before = theirs.bytes()
    theirs.bench.proxy.fail(kind, "for a reason")
    assert [result.ok for result in await look(theirs.bench, agent)] == [False]
    assert theirs.bytes() == before
    assert theirs.bench.state("own").last_error == "for a reason"
    assert [result.ok for result in await look(theirs.bench, agent)] == [True], "it is tried again"
    assert theirs.bench.state("own").last_error == ""


async def test_own_files_half_replaced_are_refused_before_nginx_reads_them(theirs: Owned) -> None:
    agent = await theirs.bench.started()
    shown = dict(theirs.bench.proxy.shown)
    key = theirs.identity.key.read_bytes()
    theirs.replace()
    theirs.identity.key.write_bytes(key)
    await look(theirs.bench, agent)
    assert theirs.bench.state("own").last_error == "key does not belong to the certificate"
    assert theirs.bench.proxy.calls == []
    assert theirs.bench.proxy.shown == shown


async def test_own_files_that_go_on_failing_reload_nginx_less_and_less_often(theirs: Owned) -> None:
    agent = await theirs.bench.started()
    theirs.replace()
    theirs.bench.proxy.fail("prove", *["for a reason"] * 1000)
    for _ in range(2 * 60 * 4):
        await look(theirs.bench, agent)
    assert theirs.bench.passed > 3 * HOUR
    assert 5 < theirs.bench.proxy.calls.count("reload") < 25
    theirs.bench.proxy.fail("prove")
    serial = theirs.replace()
    await look(theirs.bench, agent)
    assert theirs.bench.proxy.shown == {"own": serial}, "changed files do not wait for the next attempt"


async def test_an_own_key_corrected_after_a_failure_is_noticed_at_the_next_look(theirs: Owned) -> None:
    agent = await theirs.bench.started()
    old = theirs.identity.key.read_bytes()
    serial = theirs.replace()
    new = theirs.identity.key.read_bytes()
    theirs.identity.key.write_bytes(old)
    for _ in range(20):
        await look(theirs.bench, agent)
    theirs.identity.key.write_bytes(new)
    assert [result.ok for result in await look(theirs.bench, agent)] == [True]
    assert theirs.bench.proxy.shown == {"own": serial}


async def test_another_trust_bundle_of_the_owner_is_reloaded_too(theirs: Owned) -> None:
    agent = await theirs.bench.started()
    theirs.identity.trust.write_bytes(theirs.identity.trust.read_bytes() * 2)
    assert [result.ok for result in await look(theirs.bench, agent)] == [True]
    assert "reload" in theirs.bench.proxy.calls


async def test_own_files_that_are_missing_are_said_to_be(theirs: Owned) -> None:
    agent = await theirs.bench.started()
    theirs.identity.key.unlink()
    theirs.replace()
    theirs.identity.key.unlink()
    await look(theirs.bench, agent)
    assert theirs.bench.state("own").last_error == "files of identity own are missing"


async def test_own_files_are_looked_at_when_an_agent_starts(theirs: Owned) -> None:
    """``agent run --once`` after the owner's deploy hook must not wait for the next look."""
    await theirs.bench.started()
    serial = theirs.replace()
    agent = theirs.bench.agent()
    await agent.start()
    await agent.act()
    assert theirs.bench.proxy.shown == {"own": serial} == {"own": serial_of(theirs.identity.certificate)}
