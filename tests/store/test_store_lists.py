"""Revocation lists in the database: what they hold, when they are replaced, and their numbers."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from troth.store.records import Change, IssuedCertificate, PublishedList, Revocation, Revoked
from troth.store.sqlite import SQLiteStore, open_store

NOW = datetime(2030, 1, 1, 12, 0, 0, 250_000, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    one = open_store(tmp_path / "db")
    yield one
    one.close()


def revoke(store: SQLiteStore, serial: int, not_after: datetime | None = None) -> None:
    changes = [Change(revocation=Revocation(serial, NOW, 1))]
    if not_after is not None:
        changes.append(Change(certificate=IssuedCertificate(serial, b"der", not_after, NOW)))
    assert store.apply(changes) == [None] * len(changes)


def publish(store: SQLiteStore, signer: str = "", *, due: bool = True) -> list[Revoked] | None:
    """The revocations that the list was made of; None when none was made."""
    seen: list[Revoked] = []

    def make(number: int, revoked: list[Revoked]) -> PublishedList:
        seen.extend(revoked)
        return PublishedList(number, NOW, NOW + HOUR, b"list %d" % number)

    return seen if store.publish(signer, NOW - HOUR, lambda _: due, make) else None


def test_the_revoked_are_listed_until_an_hour_after_their_end_and_the_unknown_for_ever(store: SQLiteStore) -> None:
    revoke(store, 4, NOW + HOUR)
    revoke(store, 3, NOW - HOUR + timedelta(seconds=1))
    revoke(store, 2, NOW - HOUR - timedelta(seconds=1))
    revoke(store, 1)
    found = publish(store)
    assert found is not None
    assert [one.serial for one in found] == [1, 3, 4]
    assert found[0] == Revoked(1, NOW.replace(microsecond=0), 1)


def test_every_issuer_counts_its_own_lists_from_zero(store: SQLiteStore) -> None:
    assert store.published("") is None
    for _ in range(3):
        publish(store)
    publish(store, "edge")
    assert store.published("") == PublishedList(2, NOW, NOW + HOUR, b"list 2")
    assert store.published("edge") == PublishedList(0, NOW, NOW + HOUR, b"list 0")


def test_a_list_that_is_not_due_stays(store: SQLiteStore) -> None:
    publish(store)
    assert publish(store, due=False) is None
    assert store.published("") == PublishedList(0, NOW, NOW + HOUR, b"list 0")


def test_a_list_that_cannot_be_made_leaves_the_old_one_and_the_database_usable(store: SQLiteStore) -> None:
    publish(store)

    def fail(number: int, revoked: list[Revoked]) -> PublishedList:
        raise ValueError("the key is gone")

    with pytest.raises(ValueError, match="gone"):
        store.publish("", NOW, lambda _: True, fail)
    revoke(store, 9)
    assert publish(store) == [Revoked(9, NOW.replace(microsecond=0), 1)]


def test_processes_that_publish_at_once_never_share_a_number(tmp_path: Path) -> None:
    open_store(tmp_path / "db").close()

    def work(_: int) -> list[int]:
        numbers: list[int] = []

        def make(number: int, revoked: list[Revoked]) -> PublishedList:
            numbers.append(number)
            return PublishedList(number, NOW, NOW, b"")

        one = open_store(tmp_path / "db")
        for _ in range(10):
            one.publish("", NOW, lambda _: True, make)
        one.close()
        return numbers

    with ThreadPoolExecutor(4) as pool:
        numbers = [number for found in pool.map(work, range(4)) for number in found]
    assert sorted(numbers) == list(range(40))
