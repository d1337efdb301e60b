"""step-ca's databases as its own libraries write them: every shape is read whole, and damage is never less data.

The archives were made by ``main.go`` beside them, each with the records it should hold.
"""

import hashlib
import json
import random
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.rig import archives
from troth.store.step import Entry, SourceError
from troth.store.step.badger import Directory, read_backup
from troth.store.step.bbolt import Tree
from troth.store.step.crc32c import crc32c
from troth.store.step.protobuf import WireError, fields, varint

DATABASES = Path(__file__).parent / "databases"
DAMAGES = 150
Records = dict[str, str]


def unpacked(name: str, directory: Path) -> Path:
    archives.unpack(DATABASES / f"{name}.tar.xz", directory)
    return directory / name


def expected(path: Path) -> Records:
    content: Records = json.loads(path.with_name(path.name + ".json").read_text())
    return content


def records(entries: Iterable[Entry]) -> Records:
    """As the archives list them: table/key to the beginning of the value's SHA-256."""
    return {f"{e.table}/{e.key.decode()}": hashlib.sha256(e.value).hexdigest()[:16] for e in entries}


def bolt(path: Path) -> Tree:
    return Tree(path.read_bytes(), str(path))


@pytest.mark.parametrize(
    "shape",
    [
        "default",  # as step-ca opens it, closed
        "levelskilled",  # tables on several levels, overwritten and deleted keys; ended without closing
        "gckilled",  # values moved between logs by garbage collection; ended without closing
    ],
)
def test_every_shape_of_badger_is_read_whole(shape: str, tmp_path: Path) -> None:
    path = unpacked(shape, tmp_path)
    directory = Directory(path)
    assert records(directory.entries()) == expected(path)
    assert directory.problems == []


def test_values_may_lie_in_a_directory_of_their_own(tmp_path: Path) -> None:
    path = unpacked("valuedir", tmp_path)
    assert records(Directory(path, tmp_path / "valuedir-values").entries()) == expected(path)
    with pytest.raises(SourceError, match=r"value log 0+\.vlog is missing"):
        list(Directory(path).entries())


@pytest.mark.parametrize(
    ("shape", "reason"), [("encrypted", "encrypted"), ("snappy", "compressed"), ("v1", "of badger's format 4")]
)
def test_what_is_not_read_says_so_and_what_to_do(shape: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=reason) as refusal:
        list(Directory(unpacked(shape, tmp_path)).entries())
    assert "badger backup" in str(refusal.value.hint)


@pytest.mark.parametrize("shape", ["default", "v1", "encrypted"])
def test_the_stream_of_badger_backup_is_read_whole(shape: str, tmp_path: Path) -> None:
    path = unpacked(shape, tmp_path)
    data = path.with_name(f"{shape}.bak").read_bytes()
    assert records(read_backup(data, "stream")) == expected(path)
    for cut in (1, 7, len(data) // 2, len(data) - 1):
        with pytest.raises(SourceError):
            list(read_backup(data[:cut], "stream"))
    with pytest.raises(SourceError):
        list(read_backup(b"\x05" + b"\0" * 7 + b"hello", "stream"))


def test_bbolt_is_read_whole(tmp_path: Path) -> None:
    path = unpacked("bbolt", tmp_path)
    assert records(bolt(path).entries()) == expected(path)


@pytest.mark.parametrize("shape", ["default", "levelskilled", "gckilled"])
def test_damage_to_badger_is_an_error_or_harmless_but_never_other_data(shape: str, tmp_path: Path) -> None:
    path, dice = unpacked(shape, tmp_path), random.Random(shape)
    wanted = expected(path)
    files = [file for file in path.iterdir() if file.name != "KEYREGISTRY"]
    seen = 0
    for _ in range(DAMAGES // 3):
        file = dice.choice(files)
        whole = file.read_bytes()
        damaged = bytearray(whole)
        damaged[dice.randrange(len(whole))] ^= 1 << dice.randrange(8)
        file.write_bytes(damaged)
        assert outcome(lambda: Directory(path)) in (wanted, None)
        seen += outcome(lambda: Directory(path)) is None
        file.write_bytes(whole)
    assert seen > 0


def outcome(opened: Callable[[], Directory]) -> Records | None:
    """The records, or None when the reader refused or said that something is missing."""
    try:
        directory = opened()
        found = records(directory.entries())
    except SourceError:
        return None
    return None if directory.problems else found


@pytest.mark.parametrize("shape", ["default", "levelskilled", "gckilled"])
def test_a_missing_file_of_badger_is_an_error(shape: str, tmp_path: Path) -> None:
    path = unpacked(shape, tmp_path)
    wanted = expected(path)
    last = max(path.glob("*.vlog"))
    for file in sorted(path.iterdir()):
        if file.name == "KEYREGISTRY" or (file == last and shape != "default"):
            continue
        hidden = file.rename(tmp_path / "hidden")
        assert outcome(lambda: Directory(path)) in (None, wanted), file
        if file.name == "MANIFEST" or file.suffix == ".sst":
            assert outcome(lambda: Directory(path)) is None, file
        hidden.rename(file)


def test_a_log_that_ends_in_half_a_transaction_is_read_up_to_it_and_named(tmp_path: Path) -> None:
    path = unpacked("levelskilled", tmp_path)
    last = max(path.glob("*.vlog"))
    last.write_bytes(last.read_bytes()[:-5])
    directory = Directory(path)
    found, wanted = records(directory.entries()), expected(path)
    assert len(directory.problems) == 1 and f"{last} is cut off or damaged" in directory.problems[0]
    # The half transaction of at most three records counts for nothing: they are as they were before it.
    differing = {name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)}
    assert 1 <= len(differing) <= 3


def test_a_log_cut_before_what_the_tables_know_of_it_is_an_error(tmp_path: Path) -> None:
    path = unpacked("default", tmp_path)
    log = next(path.glob("*.vlog"))
    log.write_bytes(log.read_bytes()[: log.stat().st_size // 2])
    with pytest.raises(SourceError, match="is cut off"):
        list(Directory(path).entries())


def test_damage_to_bbolt_is_never_a_crash(tmp_path: Path) -> None:
    path, dice = unpacked("bbolt", tmp_path), random.Random("bbolt")
    whole = path.read_bytes()
    refused = 0
    for _ in range(DAMAGES):
        damaged = bytearray(whole)
        for _ in range(20):
            damaged[dice.randrange(len(whole))] ^= 1 << dice.randrange(8)
        # The pages' headers are where it hurts.
        page = dice.randrange(len(whole) // 4096) * 4096
        damaged[page + dice.randrange(64)] ^= 1 << dice.randrange(8)
        try:
            list(Tree(bytes(damaged), "db").entries())
        except SourceError:
            refused += 1
    assert refused > 0


def test_a_bbolt_file_that_is_cut_off_is_an_error(tmp_path: Path) -> None:
    whole = unpacked("bbolt", tmp_path).read_bytes()
    for size in (0, 10, 4096, 8192, len(whole) // 2):
        with pytest.raises(SourceError):
            list(Tree(whole[:size], "db").entries())
    with pytest.raises(SourceError, match="not a bbolt database"):
        Tree(b"SQLite format 3\0" * 1000, "db")


def test_one_damaged_meta_page_of_bbolt_is_named(tmp_path: Path) -> None:
    path = unpacked("bbolt", tmp_path)
    for page in (0, 4096):
        damaged = bytearray(path.read_bytes())
        damaged[page + 40] ^= 1
        tree = Tree(bytes(damaged), "db")
        assert tree.problems == ["db: one of the two meta pages is damaged, the last commit may be missing"]
        assert len(records(tree.entries())) > 900


def test_a_bbolt_page_that_contains_itself_is_an_error(tmp_path: Path) -> None:
    path = unpacked("bbolt", tmp_path)
    damaged = bytearray(path.read_bytes())
    branches = [at for at in range(8192, len(damaged), 4096) if struct.unpack_from("<H", damaged, at + 8)[0] == 1]
    assert branches
    for at in branches:
        struct.pack_into("<Q", damaged, at + 16 + 8, at // 4096)
    with pytest.raises(SourceError, match="contains itself"):
        list(Tree(bytes(damaged), "db").entries())


def test_the_checksum_is_castagnoli_s() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(b"") == 0
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"a" * 33) != crc32c(b"a" * 32)


@pytest.mark.parametrize("data", [b"\x80", b"\x80" * 11, b"\xff" * 9 + b"\x7f", b"\x0a\x05ab", b"\x0d\0\0\0\0"])
def test_a_message_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        list(fields(data))


def test_numbers_of_64_bits_are_read() -> None:
    assert varint(b"\xff" * 9 + b"\x01", 0) == ((1 << 64) - 1, 10)
    assert varint(b"\xac\x02", 0) == (300, 2)
