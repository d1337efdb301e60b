"""Runs the ExecStart of a unit as systemd would, without systemd: ``python as_unit.py UNIT CREDENTIALS``, as root.

What is applied of the unit: account, environment, credentials, umask, the read-only file system with its exceptions,
hidden homes, private /tmp, /proc's options, the capability bound, no new privileges, no writable code, the filters of
system calls and address families. Standard library only, and libseccomp, which systemd itself uses.
"""

import ctypes
import grp
import os
import pwd
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
NEW_NAMESPACE = 0x00020000
READ_ONLY, RECURSIVE, HERE, BIND, PRIVATE, REC = 1, 0x8000, -100, 4096, 1 << 18, 16384
NO_NEW_PRIVILEGES, BOUND_DROP, NO_WRITABLE_CODE = 38, 24, 65
MOUNT_SETATTR = 442
REFUSE = 0x00050001  # SCMP_ACT_ERRNO(EPERM)
ALLOW = 0x7FFF0000
EQUAL = 4
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}
CAPABILITIES = {"CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_FOWNER": 3, "CAP_NET_BIND_SERVICE": 10}
LAST_CAPABILITY = 40
CHECKOUT = Path(__file__).resolve().parents[2]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

Unit = dict[str, list[str]]


def parse(text: str) -> Unit:
    """The settings of all sections, each a list of its lines."""
    found: Unit = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith(("#", "[")):
            found.setdefault(name, []).append(value)
    return found


def words(value: str, credentials: str) -> list[str]:
    """A command or list as systemd reads it: quotes, then specifiers, then doubled dollar signs."""
    found = []
    for word in shlex.split(value):
        parts = word.split("%%")
        found.append("%".join(part.replace("%d", credentials) for part in parts))
    return found[:1] + [word.replace("$$", "$") for word in found[1:]]


class _Attributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "namespace")]


def _check(result: int, what: str) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    strings = [one.encode() if one is not None else None for one in (source, target, kind)]
    _check(LIBC.mount(*strings, flags, data.encode() if data else None), f"mount {target}")


def _attributes(path: str, *, read_only: bool) -> None:
    one = _Attributes(READ_ONLY if read_only else 0, 0 if read_only else READ_ONLY, 0, 0)
    size = ctypes.sizeof(one)
    _check(LIBC.syscall(MOUNT_SETATTR, HERE, path.encode(), RECURSIVE, ctypes.byref(one), size), f"attributes {path}")


def file_system(unit: Unit) -> None:
    """A mount namespace in which only what the unit names can be written."""
    _check(LIBC.unshare(NEW_NAMESPACE), "unshare")
    _mount("none", "/", None, PRIVATE | REC)
    writable = [path for value in unit.get("ReadWritePaths", []) for path in words(value, "")]
    writable += [f"/var/lib/{name}" for value in unit.get("StateDirectory", []) for name in value.split()]
    chosen = [path.removeprefix("-") for path in writable if not path.startswith("-") or Path(path[1:]).exists()]
    for path in chosen:
        _mount(path, path, None, BIND | REC)
    for home in ("/home", "/root", "/run/user") if unit["ProtectHome"] == ["yes"] else ():
        if Path(home).is_dir():
            _mount("none", home, "tmpfs", 0, "mode=000")
    for temporary in ("/tmp", "/var/tmp"):
        # An installed program is elsewhere; a checkout of it may be here, and is put back.
        checkout = os.open(CHECKOUT, os.O_PATH) if CHECKOUT.is_relative_to(temporary) else None
        _mount("none", temporary, "tmpfs", 0, "mode=1777")
        if checkout is not None:
            CHECKOUT.mkdir(parents=True)
            _mount(f"/proc/self/fd/{checkout}", str(CHECKOUT), None, BIND | REC)
            os.close(checkout)
    if "ProcSubset" in unit:
        _mount("proc", "/proc", "proc", 0, "subset=pid,hidepid=invisible")
    _attributes("/", read_only=True)
    for path in (*chosen, "/dev", "/proc", "/sys", "/tmp", "/var/tmp"):
        _attributes(path, read_only=False)


def account(unit: Unit) -> None:
    """The unit's user and group, and what is left of its capabilities."""
    kept = {CAPABILITIES[name] for value in unit.get("CapabilityBoundingSet", []) for name in value.split()}
    for number in range(LAST_CAPABILITY + 1):
        if number not in kept:
            _check(LIBC.prctl(BOUND_DROP, number, 0, 0, 0), f"capability {number}")
    os.umask(int(unit["UMask"][0], 8))
    user = pwd.getpwnam(unit["User"][0])
    if user.pw_uid:
        os.setgroups([])
        os.setgid(grp.getgrnam(unit["Group"][0]).gr_gid)
        os.setuid(user.pw_uid)


def allowed(filters: Sequence[str]) -> set[str]:
    """The names of the system calls that the lines of a filter leave, as systemd-analyze lists their sets."""
    names: set[str] = set()
    for value in filters:
        found = {name for one in value.removeprefix("~").split() for name in _set(one)}
        names = names - found if value.startswith("~") else names | found
    return names


def _set(name: str) -> set[str]:
    if not name.startswith("@"):
        return {name}
    done = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True)
    lines = [line.strip() for line in done.stdout.splitlines()[1:]]
    return {name for line in lines if line and line[0] != "#" for name in _set(line)}


class _Comparison(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def load_filter(names: set[str], families: Sequence[str]) -> None:
    """What is not allowed fails with EPERM; sockets only of these families."""
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(REFUSE)))
    for name in names - {"socket"}:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:
            _check(library.seccomp_rule_add(context, ctypes.c_uint32(ALLOW), number, 0), name)
    number = library.seccomp_syscall_resolve_name(b"socket")
    for family in families:
        one = (_Comparison * 1)(_Comparison(0, EQUAL, FAMILIES[family], 0))
        _check(library.seccomp_rule_add_array(context, ctypes.c_uint32(ALLOW), number, 1, one), family)
    _check(library.seccomp_load(context), "seccomp")


def main(path: str, credentials: str) -> None:
    """Become the service."""
    unit = parse(Path(path).read_text())
    for value in unit.get("ExecStartPre", []):
        subprocess.run(words(value.removeprefix("+"), credentials), check=True)
    names = allowed(unit["SystemCallFilter"])
    command = words(unit["ExecStart"][0], credentials)
    handed = {name: os.environ[name] for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC") if name in os.environ}
    environment = dict(word.partition("=")[::2] for value in unit.get("Environment", []) for word in words(value, ""))
    os.chdir("/")
    file_system(unit)
    account(unit)
    _check(LIBC.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0), "no new privileges")
    _check(LIBC.prctl(NO_WRITABLE_CODE, 1, 0, 0, 0), "no writable code")
    load_filter(names, unit["RestrictAddressFamilies"][0].split())
    os.execve(
        command[0],
        command,
        {"PATH": PATH, "LANG": "C.UTF-8", "CREDENTIALS_DIRECTORY": credentials, **environment, **handed},
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
