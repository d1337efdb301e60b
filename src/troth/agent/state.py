"""What the agent knows of each identity, in one file that ``agent status`` reads and that survives everything."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from troth.agent import AgentError
from troth.host.files import make_directory, read_file, reason, write_file


class AgentBusyError(AgentError):
    """Another agent works with the state directory."""


FILE, LOCK, JOURNAL = "state.json", "lock", "journal"


@dataclass(frozen=True, slots=True)
class IdentityState:
    """Times are RFC 3339 texts, empty when not known; `proof` is how the present certificate was last proven."""

    name: str
    subject: str = ""
    serial: str = ""
    not_after: str = ""
    next_action: str = ""
    next_at: str = ""
    last_result: str = ""
    last_at: str = ""
    proof: str = ""
    proof_detail: str = ""
    failures: int = 0
    last_error: str = ""
    last_hint: str = ""


def read_states(directory: Path) -> dict[str, IdentityState]:
    """The states on disk, by identity; empty before the first.

    Raises:
        AgentError: the file is damaged.
    """
    path = directory / FILE
    if not path.exists():
        return {}
    try:
        raw = json.loads(read_file(path))
        return {one["name"]: IdentityState(**one) for one in raw["identities"]}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise AgentError(
            f"state file {path} is damaged", hint=f"remove it, the agent writes it anew: rm {path}"
        ) from error


def write_states(directory: Path, states: Mapping[str, IdentityState]) -> None:
    """Replace the file whole. Raises: FileError: it cannot be written."""
    make_directory(directory, 0o755)
    text = json.dumps({"version": 1, "identities": [asdict(one) for one in states.values()]}, indent=2)
    write_file(directory / FILE, text.encode() + b"\n", 0o644)


@dataclass(frozen=True, slots=True)
class Pending:
    """A rotation under way: the generation that was current and the one that shall be."""

    name: str
    old: int | None
    new: int


def write_pending(directory: Path, pending: Pending) -> None:
    """Record a rotation before anything visible changes."""
    make_directory(directory / JOURNAL, 0o755)
    write_file(directory / JOURNAL / f"{pending.name}.json", json.dumps(asdict(pending)).encode(), 0o644)


def read_pending(directory: Path, name: str) -> Pending | None:
    """The rotation that was interrupted, if one was; a damaged record is as none, the files still match."""
    path = directory / JOURNAL / f"{name}.json"
    if not path.exists():
        return None
    try:
        raw = json.loads(read_file(path))
        old, new = raw["old"], raw["new"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return Pending(name, old, new) if _is_number(new) and (old is None or _is_number(old)) else None


def _is_number(value: object) -> bool:
    return type(value) is int and value > 0


def clear_pending(directory: Path, name: str) -> None:
    """The rotation is over; a record that cannot be removed only makes the next start prove once more."""
    with contextlib.suppress(OSError):
        (directory / JOURNAL / f"{name}.json").unlink(missing_ok=True)


def running_agent(directory: Path) -> int | None:
    """The process that holds the lock of a state directory, or None.

    Looked up in /proc/locks: trying the lock would be in the way of an agent that starts at this moment.
    """
    try:
        inode = (directory / LOCK).stat().st_ino
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    fields = (line.split() for line in lines)
    return next((int(f[4]) for f in fields if f[1:2] == ["FLOCK"] and f[5].rpartition(":")[2] == str(inode)), None)


@contextlib.contextmanager
def only_agent(directory: Path) -> Iterator[None]:
    """Hold the lock of a state directory; it goes with the process, however that ends.

    Raises:
        AgentBusyError: another agent holds it.
        AgentError: it cannot be written.
    """
    make_directory(directory, 0o755)
    make_directory(directory / "witness", 0o755)
    try:
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise _unwritable(directory, error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            who = f" (process {pid})" if pid else ""
            raise AgentBusyError(
                f"another agent works with {directory}{who}", hint="stop it, or give this one another [agent] state"
            ) from error
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            raise _unwritable(directory, error) from error
        yield
    finally:
        os.close(descriptor)


def _unwritable(directory: Path, error: OSError) -> AgentError:
    return AgentError(
        f"cannot write {directory / LOCK}: {reason(error)}", hint="make room, or name another place: [agent] state"
    )
