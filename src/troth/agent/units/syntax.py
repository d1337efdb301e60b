"""systemd's syntax (systemd.syntax(7), systemd.service(5)): words, paths and accounts as a unit can hold them."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from troth.agent import AgentError

_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,30}\$?")
_PLAIN = re.compile(r"[A-Za-z0-9_./:=@+,-]+")
_STATE = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
STATE_BASE = Path("/var/lib")
HOMES = (Path("/home"), Path("/root"), Path("/run/user"))


class UnitError(AgentError):
    """A value cannot be written into a unit."""


def word(text: str) -> str:
    """One word of a list or a command that is not expanded by variables: quoted where it must be, ``%`` doubled."""
    doubled = text.replace("%", "%%")
    if _PLAIN.fullmatch(doubled):
        return doubled
    escaped = doubled.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def command(words: Sequence[str]) -> str:
    """A command line for ``ExecStart=`` and its kin: no variable of the environment is put in anywhere.

    The program's own path knows no variables, so that a dollar sign in it stays one.
    """
    return " ".join([word(words[0]), *(word(one.replace("$", "$$")) for one in words[1:])])


def line(path: Path) -> str:
    """A path that a setting takes as the whole rest of its line, where quotes would be part of it."""
    return str(path).replace("%", "%%")


def absolute(path: Path, what: str) -> Path:
    """The path, which a unit can name.

    Raises:
        UnitError: it is relative, or has characters or blanks at its ends that a line of a unit cannot hold.
    """
    text = str(path)
    if not path.is_absolute():
        raise UnitError(f"{what} {text!r} is not absolute: expected a path that begins with /")
    if ".." in path.parts or any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise UnitError(f"{what} {text!r} is not usable in a unit: expected no .. and no control characters")
    if text != text.strip():
        raise UnitError(f"{what} {text!r} is not usable in a unit: expected no blank at its end")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UnitError(f"{what} {text!r} is not usable in a unit: expected UTF-8") from None
    return path


def executable(path: Path, what: str) -> Path:
    """The path of a program, which systemd takes without quotes and backslashes only.

    Raises:
        UnitError: it is relative, or has other characters.
    """
    if any(character in str(path) for character in "\"'\\"):
        raise UnitError(f"{what} {str(path)!r} is not usable in a unit: expected no quotes and no backslashes")
    return absolute(path, what)


def account(name: str, what: str) -> str:
    """The name of a user or group. Raises: UnitError: systemd would not take it."""
    if not _ACCOUNT.fullmatch(name):
        raise UnitError(f"{what} {name!r} is not usable: expected letters, digits, dashes, underscores, in lower case")
    return name


def state_directory(path: Path) -> str:
    """What ``StateDirectory=`` says for a path below /var/lib; empty where it cannot say it."""
    if not path.is_relative_to(STATE_BASE) or path == STATE_BASE:
        return ""
    name = str(path.relative_to(STATE_BASE))
    return name if _STATE.fullmatch(name) else ""


def protect_home(paths: Iterable[Path]) -> str:
    """Homes are out of sight unless something that is needed lies there."""
    needed = any(path.is_relative_to(home) for path in paths for home in HOMES)
    return "read-only" if needed else "yes"
