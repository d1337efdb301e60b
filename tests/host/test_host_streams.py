"""What is no regular file is written into: devices and pipes stay what they are."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from troth.host.files import FileError, write_file
from troth.host.pairs import finish_interrupted, write_pair
from troth.host.permissions import KEPT_SECRET
from troth.host.streams import holds_data, is_stream


class Reader:
    """Somebody who reads a named pipe to its end."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path, self.got = path, b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        self.got = self.path.read_bytes()

    def result(self) -> bytes:
        self._thread.join(20)
        return self.got


def test_a_pipe_gets_the_data_and_stays_a_pipe(tmp_path: Path) -> None:
    reader = Reader(tmp_path / "pipe")
    link = tmp_path / "link"
    link.symlink_to("pipe")
    assert is_stream(link) and not holds_data(link)
    write_file(link, b"some bytes")
    assert reader.result() == b"some bytes"
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link", "pipe"]


def test_a_device_stays_a_device() -> None:
    before = Path("/dev/null").stat()
    write_file(Path("/dev/null"), b"gone", wanted=KEPT_SECRET)
    after = Path("/dev/null").stat()
    assert (before.st_ino, before.st_mode, before.st_rdev) == (after.st_ino, after.st_mode, after.st_rdev)


def test_half_a_pair_may_be_a_pipe(tmp_path: Path) -> None:
    reader = Reader(tmp_path / "pipe")
    write_pair(tmp_path / "a.crt", b"certificate", tmp_path / "pipe", b"key")
    assert reader.result() == b"key" and (tmp_path / "a.crt").read_bytes() == b"certificate"
    assert not finish_interrupted(tmp_path / "a.crt", tmp_path / "pipe")
    write_pair(Path("/dev/null"), b"certificate", tmp_path / "a.key", b"key")
    assert (tmp_path / "a.key").read_bytes() == b"key" and (tmp_path / "a.key").stat().st_mode & 0o777 == 0o600
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.crt", "a.key", "pipe"]


def test_files_and_what_is_not_there_are_no_streams(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "circle").symlink_to("circle")
    for path in (tmp_path, tmp_path / "file", tmp_path / "none", tmp_path / "circle", Path("/dev/fd/999")):
        assert not is_stream(path)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_a_descriptor_is_written_after_what_was_printed(name: str, tmp_path: Path) -> None:
    code = "from pathlib import Path; from troth.host.files import write_file; print('a'); "
    code += f"write_file(Path({name!r}), b'b')"
    piped = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)
    assert piped.stdout == b"a\nb"
    with (tmp_path / "out").open("wb") as out:
        out.write(b"before ")
        out.flush()
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True, timeout=60)
    assert (tmp_path / "out").read_bytes() == b"before a\nb"


def test_a_closed_pipe_is_an_error_that_names_it() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with pytest.raises(FileError, match=rf"^cannot write /dev/fd/{writing}: broken pipe$"):
            write_file(Path(f"/dev/fd/{writing}"), b"x")
    finally:
        os.close(writing)
