"""Files have the mode and owner that was asked for before they have content; what is replaced lends its own."""

import os
import subprocess
from pathlib import Path

import pytest

from troth.host.files import FileError, write_file
from troth.host.permissions import (
    ACCESS_LIST,
    KEPT_SECRET,
    Permissions,
    PermissionsError,
    check_permitted,
    parse_permissions,
)

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def state(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_mode & 0o7777, found.st_uid, found.st_gid


@ROOT
def test_owner_and_mode_are_set_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    write_file(path, b"1", wanted=parse_permissions("640", "12", "34", secret=True))
    assert state(path) == (0o640, 12, 34)
    write_file(path, b"2")
    assert state(path) == (0o640, 12, 34) and path.read_bytes() == b"2"
    write_file(path, b"3", wanted=Permissions(group=35))
    assert state(path) == (0o640, 12, 35)
    write_file(path, b"4", wanted=Permissions(mode=0o600))
    assert state(path) == (0o600, 12, 35)


def test_rights_of_everybody_are_not_kept_for_a_private_key(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    path.write_bytes(b"old")
    for before, after in ((0o666, 0o660), (0o644, 0o640), (0o640, 0o640), (0o607, 0o600)):
        path.chmod(before)
        write_file(path, b"a key", wanted=KEPT_SECRET)
        assert path.stat().st_mode & 0o777 == after
    path.chmod(0o644)
    write_file(path, b"a certificate")
    assert path.stat().st_mode & 0o777 == 0o644


@ROOT
def test_rights_of_a_group_that_cannot_be_kept_are_nobody_elses(tmp_path: Path) -> None:
    """Somebody who is not root replaces a file of another user and group in a directory he may write to."""
    path = tmp_path / "a.key"
    path.write_bytes(b"old")
    path.chmod(0o640)
    os.chown(path, 12, 34)
    for directory in (tmp_path, *tmp_path.parents[:-2]):
        directory.chmod(0o777 if directory == tmp_path else 0o755)
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        try:
            write_file(path, b"new")
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert state(path) == (0o600, 65534, 65534) and path.read_bytes() == b"new"


def test_an_access_list_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    path.write_bytes(b"old")
    try:
        done = subprocess.run(["setfacl", "-m", "u:1:r", str(path)], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("setfacl is not installed")
    if done.returncode:
        pytest.skip("this file system has no access lists")
    before = os.getxattr(path, ACCESS_LIST)
    write_file(path, b"new")
    assert os.getxattr(path, ACCESS_LIST) == before
    path.chmod(0o644)
    write_file(path, b"a key", wanted=KEPT_SECRET)
    assert path.stat().st_mode & 0o777 == 0o640 and len(os.getxattr(path, ACCESS_LIST)) == len(before)


def test_what_cannot_be_given_is_refused_before_and_at_the_write(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    path.write_bytes(b"old")
    for directory in (tmp_path, *tmp_path.parents[:-2]):
        directory.chmod(0o777 if directory == tmp_path else 0o755)
    child = os.fork()
    if child == 0:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setuid(65534)
        try:
            wanted = Permissions(user=1)
            with pytest.raises(PermissionsError, match="operation not permitted"):
                check_permitted(wanted, tmp_path)
            with pytest.raises(FileError, match="operation not permitted"):
                write_file(path, b"new", wanted=wanted)
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert path.read_bytes() == b"old" and [one.name for one in tmp_path.iterdir()] == ["a.key"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("999", "", ""), "invalid file mode '999'"),
        (("1777", "", ""), "invalid file mode '1777'"),
        (("u=rw", "", ""), "expected three octal digits"),
        (("", "nobody-of-this-name", ""), "there is no user"),
        (("", "", "no-such-group"), "there is no group"),
    ],
)
def test_what_is_no_mode_and_nobody(arguments: tuple[str, str, str], reason: str) -> None:
    with pytest.raises(PermissionsError, match=reason):
        parse_permissions(*arguments)


def test_a_private_key_is_not_opened_to_everybody() -> None:
    with pytest.raises(PermissionsError, match="opens a private key to everybody"):
        parse_permissions("644", secret=True)
    assert parse_permissions("640", secret=True) == Permissions(0o640, secret=True)
