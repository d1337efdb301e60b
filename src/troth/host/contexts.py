"""step's contexts: several authorities below one step path, one of them current.

``contexts.json`` says which authority's and which profile's directory a name stands for, ``current-context.json`` which
name is meant when none is given. Both are step's files, in step's form. Writers hold a lock on the directory.
"""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from troth.host import HostError
from troth.host.files import FileError, locked, make_directory, read_file, reason, write_file

MAX_BYTES = 1024 * 1024
# One directory below authorities/ or profiles/: a name that leads elsewhere must not be followed, let alone removed.
_DIRECTORY = re.compile(r"(?!\.{1,2}$)[^/\\\x00-\x1f]{1,255}")


class ContextError(HostError):
    """There is no such context, or its files are not what they should be."""


@dataclass(frozen=True, slots=True)
class Context:
    """A name, and the directories that it stands for."""

    name: str
    profile: str
    authority: str

    def __post_init__(self) -> None:
        for what, text in (("profile", self.profile), ("authority", self.authority)):
            if not _DIRECTORY.fullmatch(text):
                raise ContextError(f"{what} {text!r} of context {self.name!r}: expected the name of a directory")
        if not self.name or not self.name.isprintable():
            raise ContextError(f"context {self.name!r} cannot be named so: expected text")

    def authority_path(self, base: Path) -> Path:
        return base / "authorities" / self.authority

    def profile_path(self, base: Path) -> Path:
        return base / "profiles" / self.profile


@dataclass(frozen=True, slots=True)
class Contexts:
    """All contexts of a step path as they are written; `current` is a name that need not be among them, or nothing.

    A member is judged when it is asked for: one that is broken does not keep the others from being used.
    """

    base: Path
    members: Mapping[str, Any]
    current: str

    def named(self, name: str) -> Context:
        """Raises: ContextError: there is no such context, or it is not what step writes."""
        if name not in self.members:
            known = ", ".join(sorted(self.members)) or "none"
            hint = "make it: troth ca bootstrap --context NAME, or see: troth context list"
            raise ContextError(f"context {name!r} not found in {_file(self.base)}: there is {known}", hint=hint)
        profile, authority = self._member(name, "profile"), self._member(name, "authority")
        if not profile or not authority:
            hint = "correct the file, or make the context anew: troth ca bootstrap --context NAME"
            what = f"{_file(self.base)}: context {name!r}"
            raise ContextError(f"{what}: expected an object of profile and authority", hint=hint)
        return Context(name, profile, authority)

    def _member(self, name: str, member: str) -> str:
        raw = self.members[name]
        value = raw.get(member) if isinstance(raw, dict) else None
        return value if isinstance(value, str) else ""

    def sharing(self, name: str, member: str) -> bool:
        """Whether another context has the same profile or authority."""
        return self._member(name, member) in {self._member(other, member) for other in self.members if other != name}

    def chosen(self, name: str = "") -> Context | None:
        """The context of a name, or the current one, or the only one; None where contexts are not used.

        Raises:
            ContextError: there is no such context, or it is open which one is meant.
        """
        if name or self.current:
            return self.named(name or self.current)
        if len(self.members) > 1:
            known = ", ".join(sorted(self.members))
            hint = f"troth context select {min(self.members)}"
            raise ContextError(f"no context is selected: expected --context, one of {known}", hint=hint)
        return self.named(next(iter(self.members))) if self.members else None


def _file(base: Path) -> Path:
    return base / "contexts.json"


def _current_file(base: Path) -> Path:
    return base / "current-context.json"


def read_contexts(base: Path) -> Contexts:
    """The contexts of a step path; none where there are no files.

    Raises:
        ContextError: a file is not what step writes.
        FileError: a file cannot be read.
    """
    current = _object(_current_file(base)).get("context", "")
    if not isinstance(current, str):
        raise ContextError(f"{_current_file(base)}: expected the name of a context", hint="troth context select NAME")
    return Contexts(base, _object(_file(base)), current)


def _object(path: Path) -> dict[str, Any]:
    """A JSON object, empty where there is no file."""
    if not path.exists():
        return {}
    try:
        data = json.loads(read_file(path, limit=MAX_BYTES))
    except (ValueError, RecursionError) as error:
        raise ContextError(f"{path} is not JSON", hint="correct or remove the file") from error
    if not isinstance(data, dict):
        raise ContextError(f"{path}: expected a JSON object", hint="correct or remove the file")
    return data


def add_context(base: Path, context: Context) -> None:
    """Put a context into ``contexts.json`` and make it the current one.

    Raises:
        HostError: the files cannot be read or written.
    """
    make_directory(base)
    with locked(_file(base)):
        known = read_contexts(base)
        _write(base, {**known.members, context.name: {"profile": context.profile, "authority": context.authority}})
        _write_current(base, context.name)


def select_context(base: Path, name: str) -> None:
    """Make a context the current one.

    Raises:
        HostError: there is no such context, or the file cannot be written.
    """
    read_contexts(base).named(name)
    with locked(_file(base)):
        _write_current(base, name)


def directories_of(contexts: Contexts, name: str) -> list[Path]:
    """The directories that belong to a context alone, so that they go when it goes.

    Raises:
        ContextError: there is no such context, it is the current one, or an authority lives in it with its keys.
    """
    target = contexts.named(name)
    if name == contexts.current:
        raise ContextError(f"context {name!r} is the current one", hint="select another: troth context select NAME")
    alone = [
        *([] if contexts.sharing(name, "authority") else [target.authority_path(contexts.base)]),
        *([] if contexts.sharing(name, "profile") else [target.profile_path(contexts.base)]),
    ]
    for directory in alone:
        if (directory / "secrets").exists():
            hint = f"move its keys away first, or remove them yourself: rm -r {directory / 'secrets'}"
            raise ContextError(f"an authority lives in {directory}, with its keys: it is not removed", hint=hint)
    return [directory for directory in alone if directory.exists() or directory.is_symlink()]


def remove_context(base: Path, name: str) -> None:
    """Remove a context and what belongs to it alone.

    Raises:
        HostError: it may not be removed, or a file cannot be.
    """
    with locked(_file(base)):
        contexts = read_contexts(base)
        directories = directories_of(contexts, name)
        # The name goes first: a context whose directory is gone would break every command.
        _write(base, {other: one for other, one in contexts.members.items() if other != name})
        for directory in directories:
            try:
                directory.unlink() if directory.is_symlink() else shutil.rmtree(directory)
            except OSError as error:
                raise FileError(f"cannot remove {directory}: {reason(error)}") from error


def _write(base: Path, members: Mapping[str, Any]) -> None:
    write_file(_file(base), json.dumps(dict(sorted(members.items())), indent=4, ensure_ascii=False).encode())


def _write_current(base: Path, name: str) -> None:
    text = json.dumps({"context": name}, separators=(",", ":"), ensure_ascii=False)
    write_file(_current_file(base), text.encode(), 0o644)
