"""SQLite in write-ahead mode, every commit on disk before it is answered (``synchronous=FULL``).

One connection per process; several processes share the file, and uniqueness is decided inside the transaction.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from troth.store import StoreError
from troth.store.records import AlreadyRevokedError, Change, Import, PublishedList, Revocation, Revoked, TokenSpentError

BUSY_TIMEOUT_SECONDS = 10.0
WAL_LIMIT_BYTES = 64 * 1024 * 1024
COMMITS_BETWEEN_LOOKS = 64
TOKEN_MARGIN = timedelta(minutes=5)
MIGRATIONS = (
    """
    CREATE TABLE certificates (
        id INTEGER PRIMARY KEY,
        serial BLOB NOT NULL,
        der BLOB NOT NULL,
        not_after INTEGER NOT NULL,
        issued_at INTEGER NOT NULL,
        provisioner_id TEXT NOT NULL,
        provisioner_name TEXT NOT NULL,
        provisioner_kind TEXT NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX certificates_serial ON certificates (serial);
    CREATE TABLE used_tokens (
        id TEXT PRIMARY KEY,
        ends INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX used_tokens_ends ON used_tokens (ends);
    CREATE TABLE revocations (
        serial BLOB PRIMARY KEY,
        revoked_at INTEGER NOT NULL,
        reason_code INTEGER NOT NULL,
        reason TEXT NOT NULL,
        provisioner_id TEXT NOT NULL,
        token_id TEXT NOT NULL,
        mtls INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
    # The index cost a third of every commit; the purge, every few minutes, may as well read the whole table.
    "DROP INDEX used_tokens_ends",
    """
    CREATE TABLE revocation_lists (
        signer TEXT PRIMARY KEY,
        number INTEGER NOT NULL,
        made_at INTEGER NOT NULL,
        ends INTEGER NOT NULL,
        der BLOB NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE imports (
        source TEXT PRIMARY KEY,
        imported_at INTEGER NOT NULL,
        signature TEXT NOT NULL,
        digest TEXT NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
)


class SQLiteStore:
    """See `troth.store.records.Store`; built by `open_store`."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._db = connection
        self._commits = 0
        self._wal = path.with_name(path.name + "-wal")

    def apply(self, changes: list[Change]) -> list[StoreError | None]:
        try:
            with self._transaction():
                outcomes = [self._one(change) for change in changes]
        except sqlite3.Error as error:
            raise StoreError(f"cannot record in the database: {error}") from error
        self._cap_wal()
        return outcomes

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _one(self, change: Change) -> StoreError | None:
        token, revocation, certificate = change.token, change.revocation, change.certificate
        if token is not None and not self._insert(
            "INSERT OR IGNORE INTO used_tokens VALUES (?, ?)", token.identifier, _seconds(token.ends)
        ):
            return TokenSpentError("token was used before")
        if revocation is not None and not self._insert(
            "INSERT OR IGNORE INTO revocations VALUES (?, ?, ?, ?, ?, ?, ?)",
            _key(revocation.serial),
            _seconds(revocation.revoked_at),
            revocation.reason_code,
            revocation.reason,
            revocation.provisioner_id,
            revocation.token_id,
            int(revocation.mtls),
        ):
            return AlreadyRevokedError(f"certificate with serial number {revocation.serial} is already revoked")
        if certificate is not None:
            self._db.execute(
                "INSERT INTO certificates (serial, der, not_after, issued_at, provisioner_id, provisioner_name,"
                " provisioner_kind) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    _key(certificate.serial),
                    certificate.der,
                    _seconds(certificate.not_after),
                    _seconds(certificate.issued_at),
                    certificate.provisioner_id,
                    certificate.provisioner_name,
                    certificate.provisioner_kind,
                ),
            )
        return None

    def _insert(self, statement: str, *values: object) -> bool:
        return self._db.execute(statement, values).rowcount == 1

    def _cap_wal(self) -> None:
        """A steady writer starves the automatic checkpoint, and the log would grow without limit."""
        self._commits += 1
        if self._commits % COMMITS_BETWEEN_LOOKS:
            return
        with contextlib.suppress(OSError, sqlite3.Error):
            if self._wal.stat().st_size > WAL_LIMIT_BYTES:
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def provisioner_of(self, serial: int) -> str:
        row = self._row("SELECT provisioner_id FROM certificates WHERE serial = ?", _key(serial))
        return str(row[0]) if row else ""

    def is_revoked(self, serial: int) -> bool:
        return self._row("SELECT 1 FROM revocations WHERE serial = ?", _key(serial)) is not None

    def revocation(self, serial: int) -> Revocation | None:
        row = self._row(
            "SELECT revoked_at, reason_code, reason, provisioner_id, token_id, mtls FROM revocations WHERE serial = ?",
            _key(serial),
        )
        if row is None:
            return None
        return Revocation(serial, datetime.fromtimestamp(row[0], UTC), row[1], row[2], row[3], row[4], bool(row[5]))

    def publish(
        self,
        signer: str,
        ended_before: datetime,
        due: Callable[[PublishedList | None], bool],
        make: Callable[[int, list[Revoked]], PublishedList],
    ) -> bool:
        try:
            with self._transaction():
                current = self.published(signer)
                if not due(current):
                    return False
                fresh = make(current.number + 1 if current is not None else 0, self._revoked(ended_before))
                self._publish(signer, fresh)
                return True
        except sqlite3.Error as error:
            raise StoreError(f"cannot record a revocation list in the database: {error}") from error

    def _publish(self, signer: str, fresh: PublishedList) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO revocation_lists VALUES (?, ?, ?, ?, ?)",
            (signer, fresh.number, _microseconds(fresh.made_at), _microseconds(fresh.ends), fresh.der),
        )

    def _revoked(self, ended_before: datetime) -> list[Revoked]:
        rows = self._db.execute(
            "SELECT r.serial, r.revoked_at, r.reason_code FROM revocations r LEFT JOIN certificates c"
            " ON c.serial = r.serial WHERE c.not_after IS NULL OR c.not_after >= ? ORDER BY r.serial",
            (_seconds(ended_before),),
        )
        return [Revoked(int.from_bytes(row[0]), datetime.fromtimestamp(row[1], UTC), row[2]) for row in rows]

    def published(self, signer: str) -> PublishedList | None:
        row = self._row("SELECT number, made_at, ends, der FROM revocation_lists WHERE signer = ?", signer)
        if row is None:
            return None
        return PublishedList(row[0], _moment(row[1]), _moment(row[2]), bytes(row[3]))

    def certificate(self, serial: int) -> bytes | None:
        row = self._row("SELECT der FROM certificates WHERE serial = ?", _key(serial))
        return bytes(row[0]) if row else None

    def count(self) -> int:
        row = self._row("SELECT count(*) FROM certificates")
        return int(row[0]) if row else 0

    def take_over(
        self, changes: Iterable[Change], published: PublishedList | None, record: Import, now: datetime
    ) -> int:
        try:
            with self._transaction():
                new = sum(self._is_new(change) for change in changes)
                current = self.published("")
                # The next list's number must be higher than any that was out.
                if published is not None and (current is None or current.number < published.number):
                    self._publish("", published)
                self._db.execute(
                    "INSERT OR REPLACE INTO imports VALUES (?, ?, ?, ?)", (record[0], _seconds(now), *record[1:])
                )
                return new
        except sqlite3.Error as error:
            raise StoreError(f"cannot record in the database: {error}") from error

    def _is_new(self, change: Change) -> bool:
        """Record one thing unless it is there already."""
        if change.certificate is not None and self.certificate(change.certificate.serial) is not None:
            return False
        return self._one(change) is None

    def imports(self) -> list[Import]:
        try:
            return [Import(*row) for row in self._db.execute("SELECT source, signature, digest FROM imports")]
        except sqlite3.Error as error:
            raise StoreError(f"cannot read the database: {error}") from error

    def purge_tokens(self, now: datetime) -> int:
        try:
            return self._db.execute("DELETE FROM used_tokens WHERE ends < ?", (_seconds(now - TOKEN_MARGIN),)).rowcount
        except sqlite3.Error as error:
            raise StoreError(f"cannot purge used tokens: {error}") from error

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._db.close()

    def _row(self, statement: str, *values: object) -> tuple[Any, ...] | None:
        try:
            row: tuple[Any, ...] | None = self._db.execute(statement, values).fetchone()
        except sqlite3.Error as error:
            raise StoreError(f"cannot read the database: {error}") from error
        return row


def open_store(path: Path) -> SQLiteStore:
    """Open or create the database, mode 0600, its schema up to date.

    Raises:
        StoreError: it cannot be opened, is not ours, or was made by a newer version.
    """
    try:
        if not path.exists():
            path.touch(mode=0o600)
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"cannot open the database {path}: {error}") from error
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
        _migrate(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise StoreError(f"cannot use the database {path}: {error}") from error
    return SQLiteStore(connection, path)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        connection.execute("ROLLBACK")
        raise StoreError(
            f"database {path} has schema {version}, this troth knows {len(MIGRATIONS)}", hint="use the newer troth"
        )
    for statements in MIGRATIONS[version:]:
        for statement in statements.split(";"):
            if statement.strip():
                connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    connection.execute("COMMIT")


def _key(serial: int) -> bytes:
    """Serials as 20 big-endian bytes: fixed width, so that ordered serials are ordered keys."""
    return serial.to_bytes(20)


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _microseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


def _moment(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC)
