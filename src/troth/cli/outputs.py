"""Files a command is about to write: asked about before anything happens, so that a refusal costs nothing."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from troth.errors import UsageError
from troth.host.files import follow, write_file
from troth.host.permissions import KEPT, OTHERS, Permissions, check_permitted, parse_permissions
from troth.host.streams import holds_data, is_stream
from troth.host.terminal import confirm, note


def permissions_of(given: Mapping[str, Any]) -> tuple[Permissions, Permissions]:
    """What ``--cert-mode``, ``--key-mode``, ``--owner`` and ``--group`` ask for: the certificate's, the key's.

    Raises:
        PermissionsError: one of them is not usable.
    """
    whose = given["owner"], given["group"]
    return (
        parse_permissions(given["cert_mode"], *whose),
        parse_permissions(given.get("key_mode", ""), *whose, secret=True),
    )


def file_permissions(given: Mapping[str, Any], *, secret: bool = False) -> Permissions:
    """What ``--mode``, ``--owner`` and ``--group`` ask for, of one file; a `secret` one holds a private key.

    Raises:
        PermissionsError: one of them is not usable.
    """
    return parse_permissions(given["mode"], given["owner"], given["group"], secret=secret)


def may_write(*paths: str | Path, force: bool, wanted: Permissions = KEPT, secret: str = "") -> None:
    """Check that files can be written, with the owner that is wanted, and ask before overwriting any.

    Args:
        paths: what will be written; devices, pipes and descriptors are written into and not asked about.
        force: whether it was said already that files may be overwritten.
        wanted: of all files.
        secret: which of the paths gets a private key, where `wanted` does not say so of the only one.

    Raises:
        PermissionsError: they cannot be given to that owner.
        UsageError: a directory is missing or not writable, a path is a directory, two are the same file, or the answer
            was no.
        TerminalError: a file exists, there is no ``--force`` and nobody to ask.
    """
    targets: dict[Path, Path] = {}
    for path in map(Path, paths):
        if is_stream(path):
            _may_pour(path, force=force)
            continue
        target = follow(path)
        directory = target.absolute().parent
        other = targets.setdefault(directory.resolve() / target.name, path)
        if other is not path:
            raise UsageError(f"{other} and {path} are the same file: expected one for each")
        if target.is_dir():
            raise UsageError(f"cannot write {path}: is a directory")
        if not directory.is_dir():
            raise UsageError(f"cannot write {path}: directory {directory} does not exist", hint=f"mkdir -p {directory}")
        if not os.access(directory, os.W_OK | os.X_OK):
            raise UsageError(f"cannot write {path}: directory {directory} is not writable")
        check_permitted(wanted, directory)
        if target.exists():
            _may_replace(path, force=force)
            if (wanted.secret or str(path) == secret) and target.stat().st_mode & OTHERS:
                note(f"everybody has rights to {path}: they are taken away, as it gets a private key")


def _may_pour(path: Path, *, force: bool) -> None:
    if not os.access(path, os.W_OK):
        raise UsageError(f"cannot write {path}: expected a device or pipe that you may write to")
    if holds_data(path):
        _may_replace(path, force=force)


def _may_replace(path: Path, *, force: bool) -> None:
    question = f"Would you like to overwrite {path}"
    if not force and not confirm(question, otherwise="run it again with --force to overwrite"):
        raise UsageError(f"file {path} exists and is kept")


def put(text: str, path: str, wanted: Permissions = KEPT) -> None:
    """Write a public text: to stdout, or to a file born 0600 and replaced whole."""
    if path:
        write_file(Path(path), text.encode(), wanted=wanted)
    else:
        print(text, end="" if text.endswith("\n") else "\n")
