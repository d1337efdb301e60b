"""Execute a plan on the real files: test a full copy, swap, reload, verify; keep all of it or none of it.

Every change is journaled before the first file moves, so that it can be undone, and finished or reverted after a crash.
"""

import base64
import json
import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from troth.agent import AgentError
from troth.errors import TrothError
from troth.host import HostError, clock
from troth.host.files import make_directory, read_file, write_file
from troth.host.nginx import Nginx
from troth.nginx.edits import revert_text
from troth.nginx.plan import Plan
from troth.nginx.tree import Config, Directive, parse_config, parse_dump

_APPLIED = "applied"
_ID = re.compile(r"^\d{8}-\d{6}-[0-9a-f]{4}$")


class ApplyError(AgentError):
    """A change was not made, or was put back; the message says why."""


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file of a change; `before` is None for a file that did not exist. Bytes are base64."""

    path: str
    before: str | None
    after: str


@dataclass(frozen=True, slots=True)
class Change:
    """A change that was made, or is being made (`done` False)."""

    identifier: str
    when: str
    done: bool
    files: tuple[FileChange, ...] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: the change's id, the files, and the workers that serve now (empty: nginx does not run)."""

    identifier: str
    files: tuple[str, ...]
    workers: tuple[int, ...]


def read_config(nginx: Nginx) -> Config:
    """The configuration as nginx itself sees it (``-T``), with the bytes that are on disk.

    Raises:
        NginxTestError: nginx refuses it.
        SyntaxProblem: we read it differently.
    """
    seen = parse_dump(nginx.dump())
    files = {name: read_file(Path(name)) for name in seen}
    main = str(nginx.main)
    return parse_config(files, main if main in files else next(iter(files), main))


def read_unverified(nginx: Nginx) -> Config:
    """The configuration read by us alone, for when nginx refuses it.

    Raises:
        HostError: a file cannot be read.
        SyntaxProblem: it is broken for us too.
    """
    main = nginx.main
    files: dict[str, bytes] = {str(main): read_file(main)}
    while True:
        config = parse_config(files, str(main))
        wanted = {p for d in config.root.walk() if d.name == "include" for p in _matches(d, main.parent)} - set(files)
        if not wanted:
            return config
        files |= {name: read_file(Path(name)) for name in wanted}


def _matches(include: Directive, base: Path) -> list[str]:
    if not include.arguments:
        return []
    pattern = base / include.arguments[0]
    if any(character in str(pattern) for character in "*?["):
        root = Path(pattern.anchor)
        return [str(p) for p in root.glob(str(pattern.relative_to(root))) if p.is_file()]
    return [str(pattern)] if pattern.is_file() else []


def apply_plan(plan: Plan, nginx: Nginx, state: Path, reload_command: tuple[str, ...] = ()) -> Outcome:
    """Make a plan's changes.

    Raises:
        ApplyError: nginx refuses the result or does not serve it; every file is as it was.
        FileError: a file cannot be written; likewise.
    """
    after = plan.after()
    try:
        check_copy(plan, nginx)
    except HostError as error:
        raise ApplyError(f"nothing was changed: {error.message}", hint=error.hint) from error
    files = tuple(
        FileChange(name, _encode(plan.before[name]) if name in plan.before else None, _encode(data))
        for name, data in sorted(after.items(), key=lambda item: (item[0] in plan.before, item[0]))
    )
    moment = clock.now()
    change = Change(
        f"{moment:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}", moment.isoformat(timespec="seconds"), False, files
    )
    return _carry_out(change, nginx, state, reload_command)


def _carry_out(change: Change, nginx: Nginx, state: Path, reload_command: tuple[str, ...]) -> Outcome:
    _write_journal(state, change)
    try:
        for one in change.files:
            path = Path(one.path)
            make_directory(path.parent, 0o755)
            write_file(path, base64.b64decode(one.after), 0o644)
        workers = _activate(nginx, reload_command)
    except TrothError as error:
        _restore(change, nginx, reload_command)
        _remove_journal(state, change)
        raise ApplyError(f"everything is as it was: {error.message}", hint=error.hint) from error
    _write_journal(state, Change(change.identifier, change.when, True, change.files))
    return Outcome(change.identifier, tuple(one.path for one in change.files), workers)


def _activate(nginx: Nginx, reload_command: tuple[str, ...]) -> tuple[int, ...]:
    nginx.test()
    try:
        nginx.generation()
    except HostError:
        return ()
    return tuple(sorted(nginx.reload(reload_command).workers))


def _restore(change: Change, nginx: Nginx, reload_command: tuple[str, ...]) -> None:
    for one in reversed(change.files):
        path = Path(one.path)
        if one.before is None:
            path.unlink(missing_ok=True)
        else:
            write_file(path, base64.b64decode(one.before), 0o644)
    try:
        _activate(nginx, reload_command)
    except TrothError:
        return


def check_copy(plan: Plan, nginx: Nginx) -> None:
    """``nginx -t`` on a full copy with the changes made.

    The copied main file lies beside the real one, because relative paths count from there; everything it includes is
    copied elsewhere and the includes point to the copies.

    Raises:
        NginxTestError: nginx refuses it.
        FileError: the copy cannot be written.
    """
    main = nginx.main
    files = {**plan.before, **plan.after()}
    config = parse_config(files, str(main))
    token = secrets.token_hex(4)
    shadow = main.parent / f".troth-{token}"
    copy = main.with_name(f".troth-{token}.conf")
    try:
        make_directory(shadow)
        for name, data in rewritten(config, str(shadow)).items():
            path = copy if name == str(main) else Path(f"{shadow}{name}")
            make_directory(path.parent)
            write_file(path, data)
        nginx.test(copy)
    except HostError as error:
        raise type(error)(
            error.message.replace(str(shadow), "").replace(str(copy), str(main)), hint=error.hint
        ) from error
    finally:
        shutil.rmtree(shadow, ignore_errors=True)
        copy.unlink(missing_ok=True)


def rewritten(config: Config, shadow: str) -> dict[str, bytes]:
    """The files with every include pointing below `shadow`."""
    files = dict(config.files)
    includes = {(d.file, d.start): d for d in config.root.walk() if d.name == "include" and len(d.tokens) == 2}
    base = str(Path(config.main).parent)
    for (name, _), directive in sorted(includes.items(), reverse=True):
        token = directive.tokens[1]
        target = f"{shadow}{Path(base) / directive.arguments[0]}"
        quoted = '"' + target.replace("\\", "\\\\").replace('"', '\\"') + '"'
        data = files[name]
        files[name] = data[: token.start] + quoted.encode("utf-8", "surrogateescape") + data[token.end :]
    return files


def undo(nginx: Nginx, state: Path, identifier: str = "", reload_command: tuple[str, ...] = ()) -> Outcome:
    """Take a change back: the last one, or the one named. Edits made since by others stay.

    Raises:
        ApplyError: there is no such change, or our lines are not to be found as we left them.
    """
    change = _find(state, identifier)
    files = []
    for one in change.files:
        path = Path(one.path)
        now = read_file(path) if path.exists() else None
        before = base64.b64decode(one.before) if one.before is not None else None
        target = _reverted(path, now, before, base64.b64decode(one.after))
        if target != now:
            files.append((path, now, target))
    try:
        for path, _, target in sorted(files, key=lambda item: item[2] is None):
            if target is None:
                path.unlink(missing_ok=True)
            else:
                write_file(path, target, 0o644)
        workers = _activate(nginx, reload_command)
    except TrothError as error:
        for path, now, _ in files:
            if now is not None:
                write_file(path, now, 0o644)
        raise ApplyError(f"not undone, everything is as it was: {error.message}", hint=error.hint) from error
    _remove_journal(state, change)
    for path, _, target in files:
        if target is None and not any(path.parent.iterdir()):
            path.parent.rmdir()
    return Outcome(change.identifier, tuple(str(path) for path, _, _ in files), workers)


def _reverted(path: Path, now: bytes | None, before: bytes | None, after: bytes) -> bytes | None:
    if now == after or now is None or before is None:
        return before
    text = revert_text(now, before, after)
    if text is None:
        raise ApplyError(
            f"{path} was edited since and our lines are not as we left them",
            hint="take them out by hand, or restore the file",
        )
    return text


def recover(nginx: Nginx, state: Path) -> list[str]:
    """Revert changes that a crash left half made; their ids."""
    reverted = []
    for change in _changes(state):
        if not change.done:
            _restore(change, nginx, ())
            _remove_journal(state, change)
            reverted.append(change.identifier)
    return reverted


def _find(state: Path, identifier: str) -> Change:
    changes = [change for change in _changes(state) if change.done]
    found = [change for change in changes if not identifier or change.identifier == identifier]
    if not found:
        known = ", ".join(change.identifier for change in changes) or "none"
        raise ApplyError(f"there is no change {identifier or 'to undo'}; there are: {known}")
    return found[-1]


def _changes(state: Path) -> list[Change]:
    directory = state / _APPLIED
    names = sorted(p.name for p in directory.iterdir()) if directory.is_dir() else []
    changes = []
    for name in names:
        if _ID.match(name.removesuffix(".json")):
            raw: Mapping[str, object] = json.loads(read_file(directory / name))
            files = tuple(FileChange(**one) for one in raw["files"])  # type: ignore[attr-defined]
            changes.append(Change(str(raw["identifier"]), str(raw["when"]), bool(raw["done"]), files))
    return changes


def _write_journal(state: Path, change: Change) -> None:
    make_directory(state / _APPLIED, 0o755)
    write_file(state / _APPLIED / f"{change.identifier}.json", json.dumps(asdict(change)).encode(), 0o600)


def _remove_journal(state: Path, change: Change) -> None:
    (state / _APPLIED / f"{change.identifier}.json").unlink(missing_ok=True)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
