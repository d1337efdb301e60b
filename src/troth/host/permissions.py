"""Who may read a file that is written: the mode and owner a person asks for, else those of the file it replaces.

A new file is its owner's alone (0600) until its mode is set, and has its owner and mode before it has content.
"""

import contextlib
import grp
import os
import pwd
import re
from dataclasses import dataclass
from pathlib import Path

from troth.host import HostError

ACCESS_LIST = "system.posix_acl_access"
OTHERS, GROUP = 0o007, 0o070


class PermissionsError(HostError):
    """A mode, user or group is none, or may not be given."""


@dataclass(frozen=True, slots=True)
class Permissions:
    """What a file shall have; None is left as it is (of a new file: 0600, the writer's own).

    Args:
        mode: permission bits.
        user: numeric id of the owner.
        group: numeric id of the group.
        secret: it holds a private key: rights of everybody are not kept from the file that it replaces.
    """

    mode: int | None = None
    user: int | None = None
    group: int | None = None
    secret: bool = False

    @property
    def gives_away(self) -> bool:
        """Whether the file shall be somebody else's than the writer's."""
        return self.user is not None or self.group is not None


KEPT = Permissions()
KEPT_SECRET = Permissions(secret=True)


def parse_permissions(mode: str = "", owner: str = "", group: str = "", *, secret: bool = False) -> Permissions:
    """Read ``--mode``, ``--owner`` and ``--group``; empty texts leave things as they are.

    Args:
        mode: octal digits, such as 640.
        owner: a user's name or number.
        group: a group's name or number.
        secret: the file holds a private key, which nobody else may read.

    Raises:
        PermissionsError: one of them is not usable; the message names it.
    """
    return Permissions(_mode(mode, secret=secret), _user(owner), _group(group), secret)


def _mode(text: str, *, secret: bool) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"0?[0-7]{3}", text):
        raise PermissionsError(f"invalid file mode {text!r}: expected three octal digits such as 640")
    value = int(text, 8)
    if secret and value & OTHERS:
        hint = "let a group read it instead: 640 and --group"
        raise PermissionsError(f"file mode {text} opens a private key to everybody: expected 0 at its end", hint=hint)
    return value


def _user(name: str) -> int | None:
    if not name or name.isdecimal():
        return int(name) if name else None
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError as error:
        raise PermissionsError(f"there is no user {name!r} on this machine") from error


def _group(name: str) -> int | None:
    if not name or name.isdecimal():
        return int(name) if name else None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as error:
        raise PermissionsError(f"there is no group {name!r} on this machine") from error


def apply(descriptor: int, wanted: Permissions, mode: int, replaced: Path | None) -> None:
    """Give an open new file its owner and mode.

    Args:
        descriptor: the file.
        wanted: what was asked for.
        mode: for a file that replaces none.
        replaced: the file whose owner, mode and access list count where nothing was asked for.

    Raises:
        OSError: what was asked for is not permitted. What is only kept is kept as far as the system lets us.
    """
    if wanted.gives_away:
        os.fchown(descriptor, _id(wanted.user), _id(wanted.group))
    before = replaced.stat() if replaced is not None else None
    if before is None or replaced is None:
        os.fchmod(descriptor, mode if wanted.mode is None else wanted.mode)
        return
    bits = before.st_mode & 0o7777 if wanted.mode is None else wanted.mode
    # Rights of a group that could not be kept are not another group's.
    if not _keep_owner(descriptor, wanted, before) and wanted.mode is None:
        bits &= ~GROUP | (bits & OTHERS) << 3
    os.fchmod(descriptor, bits & ~OTHERS if wanted.secret else bits)
    if wanted.mode is None:
        with contextlib.suppress(OSError):  # most files have none, some file systems know none
            os.setxattr(descriptor, ACCESS_LIST, os.getxattr(replaced, ACCESS_LIST))
    if wanted.secret:  # the list has an entry for others too
        os.fchmod(descriptor, os.fstat(descriptor).st_mode & 0o7777 & ~OTHERS)


def _keep_owner(descriptor: int, wanted: Permissions, before: os.stat_result) -> bool:
    """Whether the group is the one it was, or the one that was asked for."""
    user = before.st_uid if wanted.user is None else wanted.user
    group = before.st_gid if wanted.group is None else wanted.group
    for identity in ((user, group), (-1, group)):
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, *identity)
            break
    return os.fstat(descriptor).st_gid == group


def _id(number: int | None) -> int:
    return -1 if number is None else number


def check_permitted(wanted: Permissions, directory: Path) -> None:
    """Find out on a nameless file whether the owner asked for can be given, before anything is done.

    Raises:
        PermissionsError: it cannot.
    """
    if not wanted.gives_away:
        return
    try:
        descriptor = os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError:
        return  # the file system has no nameless files; the write itself will tell
    try:
        os.fchown(descriptor, _id(wanted.user), _id(wanted.group))
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        hint = "run it as root, or choose a group that you belong to"
        raise PermissionsError(f"cannot give files in {directory} this owner or group: {why}", hint=hint) from error
    finally:
        os.close(descriptor)
