"""Make a planned change real, or none of it: test on a copy, write down, swap, reload, see new workers serve, probe.

Whatever fails after the first file was replaced, the old bytes are put back and nginx is reloaded onto them.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from troth.agent import AgentError
from troth.agent.changes import APPLIED, FAILED, UNDONE, Change, Journal
from troth.agent.reading import read_config as read_config
from troth.agent.reading import read_unverified as read_unverified
from troth.agent.shadow import ShadowError, check_in_shadow
from troth.errors import TrothError
from troth.host import HostError, clock
from troth.host.files import (
    FileError,
    follow,
    make_directory,
    read_file,
    reason,
    remove_staged,
    sync_directory,
    write_file,
)
from troth.host.nginx import Generation, Nginx, NginxTestError
from troth.nginx.edits import revert_text
from troth.nginx.plan import Plan

Checkpoint = Callable[[str], None]
Probe = Callable[[], None]
FILE_MODE = 0o644


class ApplyError(AgentError):
    """A change could not be made; the configuration is as it was, unless the message says otherwise."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A change in effect: its id for `undo`, the files it touched, and the workers that serve now.

    `workers` is empty when nginx was not running, and so was not reloaded; `undone` is the id of what it took back.
    """

    identifier: str
    files: tuple[str, ...]
    workers: tuple[int, ...]
    undone: str = ""


def _nothing(_: str = "") -> None:
    pass


@dataclass(frozen=True, slots=True)
class Applier:
    """Changes one nginx's configuration.

    Args:
        nginx: which one.
        state: directory of the journal.
        reload_command: run instead of ``nginx -s reload``; empty for that.
        checkpoint: called with the name of each step once it is done, for crash tests.
        words: the options that mean this nginx and state, for the commands that hints name.
    """

    nginx: Nginx
    state: Path
    reload_command: Sequence[str] = ()
    checkpoint: Checkpoint = field(default=_nothing)
    words: str = ""

    @property
    def journal(self) -> Journal:
        return Journal(self.state / "changes")

    def apply(self, plan: Plan, now: datetime, probe: Probe = _nothing) -> Outcome:
        """Make a plan's changes.

        Args:
            plan: from `troth.nginx.plan.make_plan`.
            now: noted in the journal.
            probe: raises a TrothError when the new configuration does not do what it should.

        Raises:
            ApplyError: nothing was changed, or everything was put back; the message says why.
            ShadowError: nginx refuses the changed configuration; nothing was changed.
        """
        with self.journal.locked():
            self._recover()
            after: dict[str, bytes | None] = {**plan.after()}
            ordered = {name: after[name] for name in sorted(after, key=lambda name: (name in plan.before, name))}
            before = {name: _read(name) for name in ordered}
            _unchanged(plan.before, before)
            check_in_shadow(self.nginx, {**plan.before, **plan.after()})
            return self._change(before, ordered, now, probe)

    def undo(self, name: str, now: datetime) -> Outcome:
        """Take a change back; without a name the last one in effect.

        Files edited by others since keep their edits where those do not touch our lines.

        Raises:
            ApplyError: there is nothing to undo, or someone else changed the same lines.
            ShadowError: nginx would refuse the result; nothing was changed.
        """
        with self.journal.locked():
            self._recover()
            change = self.journal.read(name) if name else self.journal.last_applied()
            if change is None or change.state != APPLIED:
                what = f"change {name} is {change.state}" if change is not None else "no change is in effect"
                raise ApplyError(f"there is nothing to undo: {what}")
            present = {file: _read(file) for file in change.files}
            later = self.journal.later(change)
            wanted = _taken_back(change, present, later, self.words)
            changed = {file: data for file, data in reversed(wanted.items()) if data != present[file]}
            try:
                self._check_result(changed)
            except ShadowError as error:
                raise ShadowError(
                    f"cannot undo {change.id}: {error.message}", hint=_first(later, self.words)
                ) from error
            outcome = self._change({file: present[file] for file in changed}, changed, now, _nothing, undoes=change.id)
            self.journal.mark(change, UNDONE)
            if change.undoes:
                # What it had taken back is in effect again.
                self.journal.mark(self.journal.read(change.undoes), APPLIED)
            return outcome

    def recover(self) -> list[str]:
        """Take back what an interrupted run left half made; the ids of those changes.

        Raises:
            ApplyError: someone else edited the files in between.
        """
        with self.journal.locked():
            return self._recover()

    def _recover(self) -> list[str]:
        found = self.journal.interrupted()
        for change in found:
            for file in change.files:
                remove_staged(Path(file))
            _restore(change, {file: _read(file) for file in change.files})
            self._reload_if_running()
            self.journal.mark(change, FAILED, "interrupted")
        return [change.id for change in found]

    def _check_result(self, changed: Mapping[str, bytes | None]) -> None:
        """The configuration as nginx would read it with these files; a broken one cannot be dumped and is not worse."""
        try:
            files = read_config(self.nginx).files
        except NginxTestError:
            return
        kept = {name: data for name, data in files.items() if changed.get(name, data) is not None}
        check_in_shadow(self.nginx, {**kept, **{name: data for name, data in changed.items() if data is not None}})

    def _change(
        self,
        before: Mapping[str, bytes | None],
        after: Mapping[str, bytes | None],
        now: datetime,
        probe: Probe,
        undoes: str = "",
    ) -> Outcome:
        """Journal, swap, reload, probe; put back when anything fails. The journal is locked by the caller."""
        made = _make_directories(after)
        change = self.journal.begin(now, before, after)
        if undoes:
            change = self.journal.undoing(change, undoes)
        self.checkpoint("journaled")
        serving = self._generation()
        try:
            for name, data in after.items():
                _put(name, data)
                self.checkpoint(f"swapped {name}")
            self.nginx.test()
            self.checkpoint("tested")
            generation = self._reload_if_running()
            self.checkpoint("reloaded")
            probe()
        except (TrothError, OSError) as error:
            self._put_back(change, error, serving)
            _remove_directories(made)
            raise ApplyError(f"nothing was changed: {_text(error)}", hint=getattr(error, "hint", None)) from error
        _remove_directories({Path(name).parent for name, data in after.items() if data is None})
        self.journal.mark(change, APPLIED)
        return Outcome(change.id, tuple(after), tuple(sorted(generation.workers)) if generation else (), undoes)

    def _put_back(self, change: Change, cause: Exception, serving: Generation | None) -> None:
        try:
            _restore(change, {file: _read(file) for file in change.files})
            try:
                self.nginx.test()
                self._reload_if_running()
            except HostError:
                # Workers that never gave way serve the old configuration already.
                if self._generation() != serving:
                    raise
            self.journal.mark(change, FAILED, _text(cause))
        except (TrothError, OSError) as error:
            hint = f"the old files are in {self.state / 'changes' / change.id / 'before'}"
            raise ApplyError(
                f"{_text(cause)}; and putting the old files back failed: {_text(error)}", hint=hint
            ) from error

    def _generation(self) -> Generation | None:
        try:
            return self.nginx.generation()
        except HostError:
            return None

    def _reload_if_running(self) -> Generation | None:
        return self.nginx.reload(self.reload_command) if self._generation() is not None else None


def _text(error: Exception) -> str:
    return (
        error.message if isinstance(error, TrothError) else reason(error) if isinstance(error, OSError) else str(error)
    )


def _read(name: str) -> bytes | None:
    path = Path(name)
    return read_file(path) if follow(path).exists() else None


def _unchanged(planned: Mapping[str, bytes], present: Mapping[str, bytes | None]) -> None:
    """Nobody edited a file since it was planned on, and no file is meant twice.

    Raises:
        ApplyError: it is not so.
    """
    targets: dict[Path, str] = {}
    for name, data in present.items():
        if name in planned and data != planned[name]:
            raise ApplyError(f"{name} was edited while the change was planned", hint="plan again: troth nginx plan")
        same = targets.setdefault(Path(name).resolve(), name)
        if same != name:
            raise ApplyError(
                f"{name} and {same} are the same file, included twice", hint="include it once, then plan again"
            )


def _taken_back(
    change: Change, present: Mapping[str, bytes | None], later: Sequence[Change], words: str
) -> dict[str, bytes | None]:
    """What every file shall hold: the old bytes, or today's without our change.

    Raises:
        ApplyError: someone else, or a later change of ours, is in the same lines, or the file was removed.
    """
    wanted: dict[str, bytes | None] = {}
    for file, before, after in zip(change.files, change.before, change.after, strict=True):
        now = present[file]
        after_it = [one for one in later if file in one.files]
        if now in (after, before) or (before is None and now is None):
            wanted[file] = before
        elif now is None or after is None:
            raise ApplyError(f"cannot undo {change.id}: {file} was {'removed' if now is None else 'made'} since")
        else:
            text = revert_text(now, before, after) if before is not None else None
            if text is None:
                hint = _first(after_it, words) or _by_hand(file, before)
                raise ApplyError(_conflict(change, file, before, after_it), hint=hint)
            wanted[file] = text
    return wanted


def _conflict(change: Change, file: str, before: bytes | None, later: Sequence[Change]) -> str:
    what = "the same lines of " if before is not None else ""
    by = f"changed by {later[0].id}, which is in effect" if later else "edited since"
    return f"cannot undo {change.id}: {what}{file} {'were' if what else 'was'} {by}"


def _first(later: Sequence[Change], words: str) -> str | None:
    """The newest of the changes that came after, which is to be taken back first."""
    return f"undo the later change first: troth nginx undo {later[0].id}{words}" if later else None


def _by_hand(file: str, before: bytes | None) -> str:
    if before is None:
        return f"put what you added to {file} elsewhere, write it anew with troth nginx apply, then undo again"
    return f"take our lines out by hand, or edit {file} back and undo again"


def _restore(change: Change, present: Mapping[str, bytes | None]) -> None:
    """Put the old bytes back, last file first.

    Raises:
        ApplyError: a file holds neither the old nor the new bytes.
    """
    for file, before, after in reversed(list(zip(change.files, change.before, change.after, strict=True))):
        if present[file] not in (before, after):
            raise ApplyError(f"{file} was edited after change {change.id} was interrupted", hint="check it by hand")
        if present[file] != before:
            _put(file, before)
    _remove_directories(
        {Path(f).parent for f, before in zip(change.files, change.before, strict=True) if before is None}
    )


def _put(name: str, data: bytes | None) -> None:
    path = Path(name)
    if data is not None:
        make_directory(path.parent, 0o755)
        write_file(path, data, FILE_MODE)
        return
    try:
        path.unlink(missing_ok=True)
        sync_directory(path.parent)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise FileError(f"cannot remove {path}: {reason(error)}") from error


def _make_directories(after: Mapping[str, bytes | None]) -> set[Path]:
    """Make the directories of new files; those that did not exist."""
    made = {Path(name).parent for name, data in after.items() if data is not None and not Path(name).parent.exists()}
    for directory in made:
        make_directory(directory, 0o755)
    return made


def _remove_directories(directories: set[Path]) -> None:
    """Those that are empty."""
    for directory in directories:
        with contextlib.suppress(OSError):
            directory.rmdir()


def apply_plan(
    plan: Plan,
    nginx: Nginx,
    state: Path,
    reload_command: Sequence[str] = (),
    *,
    now: datetime | None = None,
    probe: Probe = _nothing,
) -> Outcome:
    """Make a plan's changes to one nginx's configuration; `state` is the directory of the journal.

    Raises:
        ApplyError: nothing was changed, or everything was put back; the message says why.
        ShadowError: nginx refuses the changed configuration; nothing was changed.
    """
    return Applier(nginx, state, tuple(reload_command)).apply(plan, now or clock.now(), probe)


def undo(
    nginx: Nginx,
    state: Path,
    identifier: str = "",
    reload_command: Sequence[str] = (),
    *,
    now: datetime | None = None,
    words: str = "",
) -> Outcome:
    """Take a change back, the last one when none is named.

    Raises:
        ApplyError: there is nothing to undo, or someone else or a later change is in the same lines.
        ShadowError: nginx would refuse the result; nothing was changed.
    """
    return Applier(nginx, state, tuple(reload_command), words=words).undo(identifier, now or clock.now())


def recover(nginx: Nginx, state: Path) -> list[str]:
    """Take back what an interrupted run left half made; the ids of those changes.

    Raises:
        ApplyError: someone else edited the files in between.
    """
    return Applier(nginx, state).recover()
