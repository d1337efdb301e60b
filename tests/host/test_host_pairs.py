"""Whatever interrupts the writing of a pair, the next command finds or makes two files that belong together."""

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from troth.host.files import FileError
from troth.host.pairs import finish_interrupted, journal_path, write_pair

OLD, NEW = (b"old certificate", b"old key"), (b"new certificate", b"new key")
STEPS = ("staged", "journaled", "key", "certificate", "done")
CRASHING = """
import os, sys
from pathlib import Path
from troth.host.pairs import write_pair
def stop(step):
    if step == sys.argv[3]:
        os._exit(9)
write_pair(Path(sys.argv[1]), b"new certificate", Path(sys.argv[2]), b"new key", checkpoint=stop)
"""


def contents(crt: Path, key: Path) -> tuple[bytes | None, bytes | None]:
    first, second = (path.read_bytes() if path.exists() else None for path in (crt, key))
    return first, second


def names(*directories: Path) -> list[str]:
    return sorted(path.name for directory in set(directories) for path in directory.iterdir() if path.is_file())


@pytest.fixture(params=["one directory", "two directories"])
def paths(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    if request.param == "one directory":
        return tmp_path / "a.crt", tmp_path / "a.key"
    for name in ("certs", "keys"):
        (tmp_path / name).mkdir()
    return tmp_path / "certs" / "a.crt", tmp_path / "keys" / "a.key"


def put(crt: Path, key: Path, pair: tuple[bytes, bytes]) -> None:
    crt.write_bytes(pair[0])
    key.write_bytes(pair[1])


@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("step", STEPS)
def test_after_a_kill_at_any_step_the_next_command_has_a_pair(
    paths: tuple[Path, Path], step: str, existing: bool
) -> None:
    crt, key = paths
    if existing:
        put(crt, key, OLD)
    command = [sys.executable, "-c", CRASHING, str(crt), str(key), step]
    assert subprocess.run(command, check=False).returncode == 9
    completed = finish_interrupted(crt, key)
    before = OLD if existing else (None, None)
    assert contents(crt, key) == (before if step == "staged" else NEW)
    assert completed == (step not in ("staged", "done"))
    assert names(crt.parent, key.parent) == ([] if contents(crt, key) == (None, None) else ["a.crt", "a.key"])
    assert not finish_interrupted(crt, key), "once is enough"


@pytest.mark.parametrize("step", STEPS)
def test_writing_again_after_a_kill_needs_no_help(paths: tuple[Path, Path], step: str) -> None:
    crt, key = paths
    put(crt, key, OLD)
    subprocess.run([sys.executable, "-c", CRASHING, str(crt), str(key), step], check=False)
    write_pair(crt, b"third certificate", key, b"third key")
    assert contents(crt, key) == (b"third certificate", b"third key")
    assert names(crt.parent, key.parent) == ["a.crt", "a.key"]


def test_new_files_are_private_and_old_ones_keep_their_mode(paths: tuple[Path, Path]) -> None:
    crt, key = paths
    write_pair(crt, NEW[0], key, NEW[1])
    assert [path.stat().st_mode & 0o777 for path in paths] == [0o600, 0o600]
    crt.chmod(0o644)
    key.chmod(0o640)
    write_pair(crt, OLD[0], key, OLD[1])
    assert [path.stat().st_mode & 0o777 for path in paths] == [0o644, 0o640]


def test_symlinks_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    crt, key = tmp_path / "a.crt", tmp_path / "a.key"
    crt.symlink_to("real/x.crt")
    key.symlink_to("real/x.key")
    write_pair(crt, NEW[0], key, NEW[1])
    assert crt.is_symlink() and key.is_symlink()
    assert contents(tmp_path / "real" / "x.crt", tmp_path / "real" / "x.key") == NEW


def test_a_key_that_cannot_be_staged_leaves_both(tmp_path: Path) -> None:
    crt = tmp_path / "a.crt"
    crt.write_bytes(OLD[0])
    with pytest.raises(FileError, match="no such file or directory"):
        write_pair(crt, NEW[0], tmp_path / "absent" / "a.key", NEW[1])
    assert crt.read_bytes() == OLD[0] and names(tmp_path) == ["a.crt"]


def test_a_full_disk_leaves_both(paths: tuple[Path, Path]) -> None:
    """The kernel refuses to let a file grow beyond RLIMIT_FSIZE, as it does on a full disk, after some bytes."""
    crt, key = paths
    put(crt, key, OLD)
    script = (
        "import resource, signal, sys; from pathlib import Path; from troth.host.pairs import write_pair;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        "write_pair(Path(sys.argv[1]), b'c' * 10000, Path(sys.argv[2]), b'k' * 100)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(crt), str(key)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and os.strerror(errno.EFBIG).lower() in done.stderr
    assert contents(crt, key) == OLD and names(crt.parent, key.parent) == ["a.crt", "a.key"]


@pytest.mark.parametrize("existing", [True, False])
def test_a_second_rename_that_fails_takes_the_first_back(tmp_path: Path, existing: bool) -> None:
    crt, key = tmp_path / "a.crt", tmp_path / "a.key"
    if existing:
        put(crt, key, OLD)

    def block(step: str) -> None:
        if step == "key":
            crt.unlink(missing_ok=True)
            crt.mkdir()

    with pytest.raises(FileError, match=r"cannot replace .*a\.crt"):
        write_pair(crt, NEW[0], key, NEW[1], checkpoint=block)
    assert key.exists() == existing and (not existing or key.read_bytes() == OLD[1])
    assert names(tmp_path) == (["a.key"] if existing else [])


def test_one_file_cannot_be_both(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("a")
    for other in ("a", "link"):
        with pytest.raises(FileError, match="same file"):
            write_pair(tmp_path / "a", NEW[0], tmp_path / other, NEW[1])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"key": {}, "certificate": {}}',
        json.dumps(
            {
                part: {"staged": "../.x.0123456789ab.tmp", "target": "/x", "sha256": ""}
                for part in ("key", "certificate")
            }
        ),
        json.dumps({part: {"staged": "/etc/passwd", "target": "/x", "sha256": ""} for part in ("key", "certificate")}),
    ],
)
def test_a_journal_that_is_none_is_not_obeyed(tmp_path: Path, text: str) -> None:
    crt, key = tmp_path / "a.crt", tmp_path / "a.key"
    put(crt, key, OLD)
    journal_path(crt).write_text(text)
    with pytest.raises(FileError) as caught:
        finish_interrupted(crt, key)
    assert str(journal_path(crt)) in f"{caught.value.message} {caught.value.hint}"
    assert contents(crt, key) == OLD


def test_a_journal_of_another_key_names_the_files_to_finish_with(tmp_path: Path) -> None:
    crt, key = tmp_path / "a.crt", tmp_path / "a.key"
    subprocess.run([sys.executable, "-c", CRASHING, str(crt), str(key), "journaled"], check=False)
    with pytest.raises(FileError, match="belongs to another key file") as caught:
        finish_interrupted(crt, tmp_path / "b.key")
    assert caught.value.hint == f"finish it with the files it names: {crt} {key}"
    assert finish_interrupted(crt, key) and contents(crt, key) == NEW


def test_new_files_that_vanished_are_reported_not_guessed(tmp_path: Path) -> None:
    crt, key = tmp_path / "a.crt", tmp_path / "a.key"
    put(crt, key, OLD)
    subprocess.run([sys.executable, "-c", CRASHING, str(crt), str(key), "key"], check=False)
    for staged in tmp_path.glob(".a.crt.*.tmp"):
        staged.unlink()
    with pytest.raises(FileError, match="cannot be completed"):
        finish_interrupted(crt, key)


def test_writers_of_one_pair_take_turns(tmp_path: Path) -> None:
    crt, key = tmp_path / "a.crt", tmp_path / "a.key"

    def write(number: int) -> None:
        for _ in range(10):
            write_pair(crt, b"certificate %d" % number, key, b"key %d" % number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    certificate, secret = contents(crt, key)
    assert certificate is not None and secret is not None and certificate.split()[1] == secret.split()[1]
    assert names(tmp_path) == ["a.crt", "a.key"]


def test_a_pair_in_no_directory_has_nothing_to_finish(tmp_path: Path) -> None:
    assert not finish_interrupted(tmp_path / "absent" / "a.crt", tmp_path / "absent" / "a.key")
