"""A certificate and its key, replaced together on two free paths, and put right after an interruption.

Two paths cannot be renamed at once. Both files are staged and synced beside their targets, a small journal says what is
about to happen, then one rename follows the other. An interruption before the journal leaves the old pair; after it,
`finish_interrupted` completes the new pair. The journal is ``.NAME.pair`` beside the certificate; writers of one pair
are kept apart by a lock on the certificate's directory.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from troth.host.files import FileError, commit_file, follow, locked, read_file, stage_file, sync_directory, write_file
from troth.host.permissions import KEPT, KEPT_SECRET, Permissions
from troth.host.streams import is_stream

Checkpoint = Callable[[str], None]
_MAX_JOURNAL_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Move:
    """One half of the pair: the staged file's name, the target it goes over, and what it holds."""

    staged: Path
    target: Path
    digest: str

    def done(self) -> bool:
        """Whether the target already holds the new content."""
        return not self.staged.exists() and _digest_of(self.target) == self.digest


def _nothing(_: str) -> None:
    pass


def write_pair(
    certificate_path: Path,
    certificate: bytes,
    key_path: Path,
    key: bytes,
    *,
    permissions: tuple[Permissions, Permissions] = (KEPT, KEPT_SECRET),
    checkpoint: Checkpoint = _nothing,
) -> None:
    """Replace a certificate and its key; new files are 0600, existing ones keep mode and owner, symlinks are followed.

    Where one of them is a device, a pipe or a descriptor there is no pair to keep together: each is written by itself.

    Args:
        certificate_path: where the chain goes.
        certificate: PEM bytes.
        key_path: where the key goes.
        key: PEM bytes.
        permissions: what was asked for, the certificate's first.
        checkpoint: called with the name of each step once it is done, for crash tests.

    Raises:
        FileError: a file cannot be written; both old files are still in place.
    """
    if is_stream(certificate_path) or is_stream(key_path):
        write_file(key_path, key, wanted=permissions[1])
        write_file(certificate_path, certificate, wanted=permissions[0])
        return
    if follow(certificate_path).absolute() == follow(key_path).absolute():
        raise FileError(f"certificate and key are the same file: {certificate_path}")
    with locked(certificate_path):
        _finish(certificate_path, key_path)
        staged: list[Path] = []
        try:
            staged.append(stage_file(key_path, key, wanted=permissions[1]))
            staged.append(stage_file(certificate_path, certificate, wanted=permissions[0]))
            checkpoint("staged")
            moves = [
                _Move(staged[0], follow(key_path).absolute(), hashlib.sha256(key).hexdigest()),
                _Move(staged[1], follow(certificate_path).absolute(), hashlib.sha256(certificate).hexdigest()),
            ]
            write_file(journal_path(certificate_path), _journal_text(moves))
        except BaseException:
            _remove(*staged)
            raise
        checkpoint("journaled")
        _swap(moves, certificate_path, checkpoint)


def _swap(moves: list[_Move], certificate_path: Path, checkpoint: Checkpoint) -> None:
    """Rename key, then certificate; when the second fails, the first is taken back."""
    key, certificate = moves
    backup = key.target.with_name(key.staged.name + ".old")
    with contextlib.suppress(OSError):
        os.link(key.target, backup)
    try:
        commit_file(key.staged, key.target)
        checkpoint("key")
        commit_file(certificate.staged, certificate.target)
        checkpoint("certificate")
    except FileError:
        if not key.staged.exists():
            with contextlib.suppress(OSError):
                if backup.exists():
                    backup.replace(key.target)
                else:
                    key.target.unlink()
        _remove(key.staged, certificate.staged, journal_path(certificate_path), backup)
        raise
    _remove(journal_path(certificate_path), backup)
    sync_directory(certificate.target.parent)
    checkpoint("done")


def write_certificate(path: Path, certificate: bytes) -> None:
    """Replace a certificate whose key stays.

    Raises:
        FileError: it cannot be written; the old one is still in place.
    """
    write_file(path, certificate)


def finish_interrupted(certificate_path: Path, key_path: Path) -> bool:
    """Complete a pair whose writer was interrupted, and remove what an earlier interruption staged.

    Every command that reads or writes a pair calls this first.

    Returns:
        Whether there was something to complete.

    Raises:
        FileError: the journal names other files, or the new files are no longer there.
    """
    if is_stream(certificate_path) or is_stream(key_path):
        return False
    if not follow(certificate_path).parent.is_dir() or not _leftovers(certificate_path, key_path):
        return False
    with locked(certificate_path):
        return _finish(certificate_path, key_path)


def journal_path(certificate_path: Path) -> Path:
    """Where the journal of a pair is."""
    target = follow(certificate_path)
    return target.with_name(f".{target.name}.pair")


def _leftovers(certificate_path: Path, key_path: Path) -> list[Path]:
    """Files of an unfinished write: the journal, staged files, the old key's second name."""
    found = [journal_path(certificate_path)] if journal_path(certificate_path).exists() else []
    for path in (certificate_path, key_path, journal_path(certificate_path)):
        target = follow(path)
        staged = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{12}}\.tmp(\.old)?")
        with contextlib.suppress(OSError):
            found += [entry for entry in target.parent.iterdir() if staged.fullmatch(entry.name)]
    return found


def _finish(certificate_path: Path, key_path: Path) -> bool:
    journal = journal_path(certificate_path)
    moves = _read_journal(journal, certificate_path, key_path) if journal.exists() else []
    for move in moves:
        if move.staged.exists() and _digest_of(move.staged) == move.digest:
            commit_file(move.staged, move.target)
        elif not move.done():
            hint = f"check that the two fit together, then remove {journal}"
            raise FileError(f"an interrupted write of {move.target} cannot be completed: its file is gone", hint=hint)
    _remove(*_leftovers(certificate_path, key_path))
    return bool(moves)


def _journal_text(moves: list[_Move]) -> bytes:
    rows = [{"staged": m.staged.name, "target": str(m.target), "sha256": m.digest} for m in moves]
    return json.dumps({"version": 1, "key": rows[0], "certificate": rows[1]}).encode()


def _read_journal(journal: Path, certificate_path: Path, key_path: Path) -> list[_Move]:
    """Only the two targets asked for are ever touched, whatever the journal says."""
    hint = f"check the certificate and the key, then remove {journal}"
    try:
        value = json.loads(read_file(journal, limit=_MAX_JOURNAL_BYTES))
        moves = [_read_move(value["key"], follow(key_path)), _read_move(value["certificate"], follow(certificate_path))]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileError(f"{journal} is not a journal of an interrupted write", hint=hint) from error
    for named, move in zip((value["key"], value["certificate"]), moves, strict=True):
        if named["target"] != str(move.target):
            other = f"finish it with the files it names: {value['certificate']['target']} {value['key']['target']}"
            raise FileError(f"an interrupted write of {certificate_path} belongs to another key file", hint=other)
    return moves


def _read_move(row: dict[str, str], target: Path) -> _Move:
    name = str(row["staged"])
    if not re.fullmatch(r"\..*\.[0-9a-f]{12}\.tmp", name) or "/" in name:
        raise ValueError(name)
    return _Move(target.absolute().with_name(name), target.absolute(), str(row["sha256"]))


def _digest_of(path: Path) -> str:
    return hashlib.sha256(read_file(path)).hexdigest() if path.exists() else ""


def _remove(*paths: Path) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()
