"""Generations of an identity: a reader meets a whole pair at any moment, whatever is killed; the current one stays."""

import errno
import grp
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from troth.host.files import FileError
from troth.host.generations import CERTIFICATE, KEPT, KEY, TRUST, Generations, Material

FILES = (CERTIFICATE, KEY, TRUST)
# Ends the process before its n-th change to the disk, as a power cut would, and counts them when n is never reached.
CRASHING = """
import os, sys
from pathlib import Path
from troth.host.generations import Generations, Material
left = int(sys.argv[2])
names = ("open", "fsync", "rename", "symlink", "unlink", "rmdir", "mkdir", "fchmod", "chmod")
def counted(real):
    def call(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            os._exit(9)
        return real(*arguments, **options)
    return call
for name in names:
    setattr(os, name, counted(getattr(os, name)))
generations = Generations(Path(sys.argv[1]))
generations.switch(generations.stage(Material(b"cert 2", b"key 2", b"trust 2")))
generations.tidy()
"""


def numbered(number: int) -> Material:
    return Material(*(f"{kind} {number}".encode() for kind in ("cert", "key", "trust")))


def deploy(generations: Generations, number: int) -> int:
    staged = generations.stage(numbered(number))
    generations.switch(staged)
    return staged


def read(generations: Generations) -> Material:
    """As an nginx that reloads: each file through the link."""
    return Material(*((generations.link / name).read_bytes() for name in FILES))


def left_over(generations: Generations) -> list[Path]:
    return [path for path in generations.directory.rglob("*") if path.name.startswith(".")]


@pytest.fixture
def generations(tmp_path: Path) -> Generations:
    return Generations(tmp_path / "app")


def test_before_the_first_there_is_none(generations: Generations) -> None:
    assert generations.current() is None
    assert generations.numbers() == []
    generations.tidy()


def test_a_staged_generation_is_complete_and_not_yet_current(generations: Generations) -> None:
    deploy(generations, 1)
    second = generations.stage(numbered(2))
    assert read(generations) == numbered(1)
    assert {path.name for path in generations.path(second).iterdir()} == set(FILES)
    generations.switch(second)
    assert read(generations) == numbered(2)
    assert generations.current() == second


def test_the_link_is_relative_so_that_the_directory_can_be_moved(generations: Generations) -> None:
    deploy(generations, 1)
    moved = generations.directory.with_name("moved")
    generations.directory.rename(moved)
    assert read(Generations(moved)) == numbered(1)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o660])
def test_keys_have_their_mode_whatever_the_umask(tmp_path: Path, mode: int) -> None:
    generations = Generations(tmp_path / "app", mode)
    before = os.umask(0o077)
    try:
        number = deploy(generations, 1)
    finally:
        os.umask(before)
    modes = {name: (generations.path(number) / name).stat().st_mode & 0o7777 for name in FILES}
    assert modes == {CERTIFICATE: 0o644, KEY: mode, TRUST: 0o644}


def test_a_worker_of_another_user_may_pass_to_the_certificate_whatever_the_umask(generations: Generations) -> None:
    before = os.umask(0o077)
    try:
        number = deploy(generations, 1)
    finally:
        os.umask(before)
    for directory in (generations.directory, generations.path(number).parent, generations.path(number)):
        assert directory.stat().st_mode & 0o055 == 0o055, directory


def test_a_generation_that_does_not_exist_never_becomes_current(generations: Generations) -> None:
    deploy(generations, 1)
    with pytest.raises(FileError, match="no generation 7"):
        generations.switch(7)
    assert read(generations) == numbered(1)


def test_the_current_generation_is_never_discarded(generations: Generations) -> None:
    number = deploy(generations, 1)
    generations.discard(number)
    assert read(generations) == numbered(1)


def test_numbers_go_on_after_a_discard_and_after_the_newest_was_removed(generations: Generations) -> None:
    deploy(generations, 1)
    second = generations.stage(numbered(2))
    generations.discard(second)
    assert generations.numbers() == [1]
    assert deploy(generations, 3) > 1
    assert read(generations) == numbered(3)


def test_what_is_no_generation_is_left_alone(generations: Generations) -> None:
    deploy(generations, 1)
    note = generations.path(1).with_name("README")
    note.write_text("ours")
    for number in range(2, 8):
        deploy(generations, number)
        generations.tidy()
    assert note.read_text() == "ours"


@given(st.lists(st.sampled_from(["stage", "deploy", "back", "discard", "tidy"]), max_size=25))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
def test_whatever_is_done_the_current_generation_is_whole_and_few_are_kept(
    tmp_path_factory: pytest.TempPathFactory, actions: list[str]
) -> None:
    generations = Generations(tmp_path_factory.mktemp("generations"))
    wanted = {deploy(generations, 0): 0}
    for count, action in enumerate(actions, 1):
        if action == "stage":
            wanted[generations.stage(numbered(count))] = count
        elif action == "deploy":
            wanted[deploy(generations, count)] = count
        elif action == "back":
            generations.switch(generations.numbers()[0])
        elif action == "discard":
            generations.discard(generations.numbers()[-1])
        else:
            before, current = generations.numbers(), generations.current()
            generations.tidy()
            others = [number for number in before if number != current]
            assert generations.numbers() == sorted([*others[-(KEPT - 1) :], current or 0])
        number = generations.current()
        assert number in generations.numbers()
        assert read(generations) == numbered(wanted[number or 0])
    assert left_over(generations) == []


def test_after_a_kill_before_any_change_to_the_disk_the_pair_is_whole_and_the_next_deploys(tmp_path: Path) -> None:
    seen: set[bytes] = set()
    for point in range(1, 200):
        generations = Generations(tmp_path / str(point))
        deploy(generations, 1)
        command = [sys.executable, "-c", CRASHING, str(generations.directory), str(point)]
        done = subprocess.run(command, capture_output=True, timeout=30, check=False)
        found = read(generations)
        assert found in (numbered(1), numbered(2)), f"killed before change {point}"
        seen.add(found.certificate)
        for number in generations.numbers():
            assert {path.name for path in generations.path(number).iterdir()} == set(FILES), "all are complete"
        deploy(generations, 3)
        generations.tidy()
        assert read(generations) == numbered(3)
        assert left_over(generations) == []
        if done.returncode == 0:
            break
        assert done.returncode == 9, done.stderr.decode()
    assert point > 15, "so many changes are made to the disk"
    assert seen == {b"cert 1", b"cert 2"}


def test_readers_never_see_one_of_each(generations: Generations) -> None:
    """Through one look at the link, as a reader that opens the directory; through the path, file by file, nginx -t."""
    deploy(generations, 0)
    stop, mixed = threading.Event(), []

    def look() -> None:
        while not stop.is_set():
            directory = generations.link.resolve()
            found = [(directory / name).read_bytes().split()[1] for name in FILES]
            if len(set(found)) != 1:
                mixed.append(found)

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(1, 60):
        deploy(generations, number)
    stop.set()
    for reader in readers:
        reader.join(10)
    assert mixed == []


@pytest.mark.parametrize("name", [KEY, CERTIFICATE, TRUST])
def test_a_disk_that_is_full_leaves_the_old_generation_and_nothing_else(
    generations: Generations, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    deploy(generations, 1)
    real = os.fsync

    def full(descriptor: int) -> None:
        if f"/.{name}." in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match="no space left on device"):
        generations.stage(numbered(2))
    monkeypatch.undo()
    assert read(generations) == numbered(1)
    assert generations.numbers() == [1]
    assert left_over(generations) == []


def test_a_directory_in_the_way_of_the_link_is_an_error_with_its_path(generations: Generations) -> None:
    number = generations.stage(numbered(1))
    generations.link.mkdir()
    with pytest.raises(FileError, match=str(generations.link)):
        generations.switch(number)
    assert left_over(generations) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives keys to any group")
def test_keys_get_their_group_and_a_current_one_is_mended(tmp_path: Path) -> None:
    plain = Generations(tmp_path)
    plain.switch(plain.stage(Material(b"c", b"k", b"t")))
    shared = Generations(tmp_path, 0o640, "daemon")
    group = grp.getgrnam("daemon").gr_gid
    shared.settle()
    status = (shared.link / KEY).stat()
    assert (status.st_gid, status.st_mode & 0o777) == (group, 0o640)
    status = (shared.path(shared.stage(Material(b"c", b"k", b"t"))) / KEY).stat()
    assert (status.st_gid, status.st_mode & 0o777) == (group, 0o640)


def test_a_group_that_does_not_exist_is_named(tmp_path: Path) -> None:
    generations = Generations(tmp_path, 0o640, "no-such-group")
    with pytest.raises(FileError, match="there is no group 'no-such-group'"):
        generations.stage(Material(b"c", b"k", b"t"))
    assert generations.numbers() == []


def test_young_generations_may_rest(tmp_path: Path) -> None:
    generations = Generations(tmp_path)
    for _ in range(KEPT + 3):
        generations.switch(generations.stage(Material(b"c", b"k", b"t")))
    generations.tidy(resting=60)
    assert len(generations.numbers()) == KEPT + 3
    generations.tidy()
    assert len(generations.numbers()) == KEPT


def test_trust_that_stays_keeps_its_date(tmp_path: Path) -> None:
    generations = Generations(tmp_path)
    generations.switch(generations.stage(Material(b"c", b"k", b"t")))
    os.utime(generations.link / TRUST, (1_000_000, 1_000_000))
    same, other = (generations.path(generations.stage(Material(b"c", b"k", trust))) for trust in (b"t", b"u"))
    assert (same / TRUST).stat().st_mtime == 1_000_000
    assert (other / TRUST).stat().st_mtime > 1_000_000
