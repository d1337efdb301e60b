"""The work of ``troth ca migrate``: read all, report, and only then write, in one transaction."""

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from troth.ca.editing import read_object
from troth.errors import UsageError
from troth.host.clock import now
from troth.host.files import read_file, write_file
from troth.host.steppath import StepPath, authority_base
from troth.host.terminal import announce
from troth.server.state import base_of
from troth.store.records import Change, Import
from troth.store.sqlite import open_store
from troth.store.step.records import Found, collect
from troth.store.step.source import Source, backup, source_of

SHOWN_PROBLEMS = 20
REASONS = (
    ("acme", "ACME clients open new accounts and orders by themselves"),
    ("ssh", "there are no SSH certificates here"),
    ("revoked_ssh", "there are no SSH certificates here"),
)
OTHERWISE = "not used here"


def migrate(config: str, stream: str, *, dry_run: bool, skip_unreadable: bool) -> int:
    """Import the database that a ca.json names; the exit code.

    Raises:
        TrothError: it cannot be read, or some of it and `skip_unreadable` was not given; nothing is written then.
    """
    path = Path(config) if config else StepPath(authority_base()).ca_config
    if not path.is_file():
        raise UsageError(f"configuration {path} does not exist", hint="name it: troth ca migrate /path/to/ca.json")
    base = base_of(path)
    db = read_object(read_file(path).decode("utf-8", "replace"), str(path)).get("db")
    if not isinstance(db, dict) or not db:
        raise UsageError(f"{path} names no database (db): there is nothing to import")
    source = source_of(db, base)
    moment = now()
    found, signature = _read(source, stream, moment)
    for line in report(source, found, stream, moment):
        print(line)
    again = f"troth ca migrate {path}" + (f" --from {stream}" if stream else "")
    if found.problems and not skip_unreadable:
        count = f"{len(found.problems)} record{'s' * (len(found.problems) > 1)}"
        raise UsageError(f"{count} cannot be read, nothing is imported", hint=f"{again} --skip-unreadable")
    if dry_run:
        print(f"\nDry run: nothing is written. To import: {again}{' --skip-unreadable' * bool(found.problems)}")
        return 0
    database = base / "troth.sqlite"
    _create_for_owner(database)
    store = open_store(database)
    try:
        record = Import(source.name, signature, found.digest)
        new = store.take_over(changes(found), found.published, record, moment)
    finally:
        store.close()
    announce("Imported", f"{new} new records into {database}")
    return 0


def _create_for_owner(database: Path) -> None:
    """A database that root makes belongs to whom the directory belongs to, who will serve it."""
    owner = database.parent.stat()
    if not database.exists() and os.geteuid() == 0 and owner.st_uid != 0:
        write_file(database, b"")
        os.chown(database, owner.st_uid, owner.st_gid)


def _read(source: Source, stream: str, moment: datetime) -> tuple[Found, str]:
    signature = source.signature()
    if stream:
        return collect(backup(Path(stream)), moment), signature
    with source.reading() as (entries, torn):
        found = collect(entries, moment)
    found.problems[:0] = torn
    return found, signature


def changes(found: Found) -> Iterator[Change]:
    """One change a record."""
    yield from (Change(revocation=one) for one in found.revocations)
    yield from (Change(token=one) for one in found.tokens)
    yield from (Change(certificate=one) for one in found.certificates)


def report(source: Source, found: Found, stream: str, moment: datetime) -> Iterator[str]:
    """What was found, a line each."""
    expired = sum(one.not_after < moment for one in found.certificates)
    by = len({one.provisioner_id for one in found.certificates if one.provisioner_id})
    yield f"step-ca database   {stream or source.name}"
    yield f"certificates       {len(found.certificates):>8}   {expired} expired, from {by} provisioner{'s' * (by != 1)}"
    yield f"revocations        {len(found.revocations):>8}"
    yield f"used tokens        {len(found.tokens):>8}   {found.expired_tokens} more have expired, nobody can use them"
    if found.published is not None:
        yield f"revocation list    {1:>8}   number {found.published.number}; the next has a higher one"
    for table, count in sorted(found.left.items()):
        reason = next((text for prefix, text in REASONS if table.startswith(prefix)), OTHERWISE)
        yield f"not imported       {count:>8}   {table}: {reason}"
    yield f"cannot be read     {len(found.problems):>8}"
    yield from (f"  {problem}" for problem in found.problems[:SHOWN_PROBLEMS])
    if len(found.problems) > SHOWN_PROBLEMS:
        yield f"  and {len(found.problems) - SHOWN_PROBLEMS} more"
