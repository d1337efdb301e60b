"""The journal of applied changes: what every touched file held before and after, kept so that undo gives bytes back.

One directory per change: ``change.json`` says what happened and how far it got, ``before/N`` and ``after/N`` hold the
bytes. It is complete on disk before the first file of the user is replaced.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from troth.agent import AgentError
from troth.host.files import make_directory, read_file, remove_staged, sync_directory, write_file

APPLYING, APPLIED, FAILED, UNDONE = "applying", "applied", "failed", "undone"
_NAME = re.compile(r"\d{8}-\d{6}(-\d+)?")


class JournalError(AgentError):
    """The journal of changes cannot be used, or another program is changing the configuration."""


@dataclass(frozen=True, slots=True)
class Change:
    """One applied plan, or the undoing of one (`undoes` names it).

    `files` are absolute paths in the order in which they are replaced; `before` and `after` their bytes, None where the
    file does not exist.
    """

    id: str
    state: str
    when: str
    files: tuple[str, ...]
    before: tuple[bytes | None, ...]
    after: tuple[bytes | None, ...]
    undoes: str = ""
    reason: str = ""


class Journal:
    """The changes kept in a directory.

    Args:
        directory: made 0700 when it does not exist: configurations may hold secrets.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other programs that change the configuration away.

        Raises:
            JournalError: one is at it.
        """
        make_directory(self._directory)
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise JournalError("another troth is changing this configuration", hint="wait until it ends") from None
            self._tidy()
            yield
        finally:
            os.close(descriptor)

    def _tidy(self) -> None:
        """Remove what killed programs left: changes that were never begun, and half-written records of the others."""
        for name in self.names():
            place = self._directory / name
            if (place / "change.json").exists():
                remove_staged(place / "change.json")
            else:
                shutil.rmtree(place, ignore_errors=True)

    def names(self) -> list[str]:
        """The ids of all changes, oldest first."""
        if not self._directory.is_dir():
            return []
        return sorted((e.name for e in self._directory.iterdir() if _NAME.fullmatch(e.name)), key=_order)

    def begin(self, now: datetime, before: Mapping[str, bytes | None], after: Mapping[str, bytes | None]) -> Change:
        """Write down a change that is about to be made.

        Args:
            now: when.
            before: what each file holds.
            after: what it is to hold; its order is that in which they are replaced.
        """
        base = name = now.strftime("%Y%m%d-%H%M%S")
        count = 1
        while (self._directory / name).exists():
            count += 1
            name = f"{base}-{count}"
        files = tuple(after)
        change = Change(
            name,
            APPLYING,
            now.isoformat(timespec="seconds"),
            files,
            tuple(before[file] for file in files),
            tuple(after.values()),
        )
        place = self._directory / name
        for kind, contents in (("before", change.before), ("after", change.after)):
            make_directory(place / kind)
            for number, data in enumerate(contents):
                if data is not None:
                    write_file(place / kind / str(number), data)
        self._write(change)
        sync_directory(self._directory)
        return change

    def mark(self, change: Change, state: str, reason: str = "") -> Change:
        """Write down how far a change got."""
        marked = replace(change, state=state, reason=reason)
        self._write(marked)
        return marked

    def undoing(self, change: Change, name: str) -> Change:
        """Note that `change` takes back the change `name`."""
        noted = replace(change, undoes=name)
        self._write(noted)
        return noted

    def _write(self, change: Change) -> None:
        facts = {key: value for key, value in asdict(change).items() if key not in ("before", "after", "files")}
        facts["files"] = [
            {"path": path, "before": before is not None, "after": after is not None}
            for path, before, after in zip(change.files, change.before, change.after, strict=True)
        ]
        place = self._directory / change.id / "change.json"
        write_file(place, json.dumps({"version": 1, **facts}, indent=1, ensure_ascii=True).encode())

    def read(self, name: str) -> Change:
        """One change.

        Raises:
            JournalError: there is none of this name, or it cannot be read.
        """
        if not _NAME.fullmatch(name) or not (self._directory / name).is_dir():
            known = ", ".join(self.names()[-5:]) or "none"
            raise JournalError(f"there is no change {name!r}; the last ones: {known}")
        place = self._directory / name
        try:
            facts = json.loads(read_file(place / "change.json"))
            rows = [(row["path"], bool(row["before"]), bool(row["after"])) for row in facts["files"]]
            texts = [str(facts[key]) for key in ("state", "when", "undoes", "reason")]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise JournalError(f"{place}/change.json is not a journal of a change") from error
        before = tuple(read_file(place / "before" / str(n)) if row[1] else None for n, row in enumerate(rows))
        after = tuple(read_file(place / "after" / str(n)) if row[2] else None for n, row in enumerate(rows))
        return Change(name, texts[0], texts[1], tuple(row[0] for row in rows), before, after, texts[2], texts[3])

    def all(self) -> list[Change]:
        """Every change, newest first. A directory without ``change.json`` was never begun: nothing was touched yet.

        Raises:
            JournalError: one cannot be read.
        """
        complete = [name for name in self.names() if (self._directory / name / "change.json").exists()]
        return [self.read(name) for name in reversed(complete)]

    def interrupted(self) -> list[Change]:
        """Changes that were begun and neither completed nor taken back; newest first."""
        return [change for change in self.all() if change.state == APPLYING]

    def later(self, than: Change) -> list[Change]:
        """Changes in effect that were made after this one and are no undoings; newest first."""
        known = self.all()
        newer = known[: [change.id for change in known].index(than.id)]
        return [change for change in newer if change.state == APPLIED and not change.undoes]

    def last_applied(self) -> Change | None:
        """The newest change that is in effect and is not itself an undoing."""
        return next((change for change in self.all() if change.state == APPLIED and not change.undoes), None)


def _order(name: str) -> tuple[str, int]:
    parts = name.split("-")
    return "-".join(parts[:2]), int(parts[2]) if len(parts) > 2 else 1
