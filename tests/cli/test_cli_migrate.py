"""``ca migrate`` where something cannot be read, and ``ca serve`` beside a database that it cannot look into."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig import archives
from tests.rig.authority import Served, founded
from troth.store.sqlite import open_store

ARCHIVES = Path(__file__).parents[1] / "store" / "databases"


@pytest.fixture(scope="module")
def founded_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with founded(tmp_path_factory.mktemp("authority")) as one:
        yield one


@pytest.fixture
def served(founded_once: Served) -> Iterator[Served]:
    """An authority with no database of ours yet, and none of step-ca's."""
    one = founded_once
    for file in one.directory.glob("troth.sqlite*"):
        file.unlink()
    shutil.rmtree(one.directory / "db", ignore_errors=True)
    (one.directory / "db").mkdir()
    yield one


def unpack(served: Served, shape: str) -> None:
    """An archived badger database in the place that ca.json names; its values are random, no record can be read."""
    shutil.rmtree(served.directory / "db")
    archives.unpack(ARCHIVES / f"{shape}.tar.xz", served.directory)
    (served.directory / shape).rename(served.directory / "db")


def refusal(served: Served) -> str:
    with pytest.raises(AssertionError) as refused:
        served.start()
    return str(refused.value).rsplit("did not start: ", 1)[1].rsplit("error: ", 1)[1]


def test_what_cannot_be_read_is_listed_and_stops_the_import_unless_told(served: Served) -> None:
    unpack(served, "default")
    for flags in ([], ["--dry-run"]):
        done = served.migrate(*flags)
        assert done.returncode == 1
        assert "cannot be read          " in done.stdout and "x509_certs/100" in done.stdout
        assert "records cannot be read, nothing is imported" in done.stderr
        assert f"hint: troth ca migrate {served.configuration} --skip-unreadable" in done.stderr
        assert not served.database.exists()
    assert served.migrate("--dry-run", "--skip-unreadable").returncode == 0
    assert not served.database.exists()
    done = served.migrate("--skip-unreadable")
    assert done.returncode == 0, done.stderr
    # A serial in the table of revocations is revoked, whatever else its record says.
    names = json.loads((served.directory / "default.json").read_text())
    revoked = [name.partition("/")[2] for name in names if name.startswith("revoked_x509_certs/")]
    store = open_store(served.database)
    assert revoked and all(store.is_revoked(int(serial)) for serial in revoked)
    served.start()
    served.stop()


def test_a_log_that_is_cut_off_counts_as_unreadable(served: Served) -> None:
    unpack(served, "levelskilled")
    log = max((served.directory / "db").glob("*.vlog"))
    log.write_bytes(log.read_bytes()[:-5])
    done = served.migrate("--dry-run")
    assert done.returncode == 1 and "records cannot be read" in done.stderr
    first = done.stdout.partition("cannot be read")[2].splitlines()[1]
    assert str(log) in first and "are no whole transaction" in first


def test_a_database_of_badger_1_comes_by_its_backup(served: Served) -> None:
    unpack(served, "v1")
    raw = json.loads(served.configuration.read_text())
    served.configuration.write_text(json.dumps({**raw, "db": {**raw["db"], "type": "badger"}}))
    try:
        assert "is of badger 1, which is not read directly\nhint: let badger read it" in refusal(served)
        done = served.migrate()
        assert done.returncode == 1 and "badger backup --dir DB -f step.bak" in done.stderr
        done = served.migrate("--from", str(served.directory / "v1.bak"), "--skip-unreadable")
        assert done.returncode == 0, done.stderr
        assert "cannot be read           50" in done.stdout
        served.start()
        served.stop()
        (served.directory / "db" / "000009.vlog").write_bytes(b"new")
        assert "is of badger 1" in refusal(served)
    finally:
        served.configuration.write_text(json.dumps(raw))


def test_a_database_that_is_none_is_refused_and_none_is_served(served: Served) -> None:
    (served.directory / "db" / "000001.vlog").write_bytes(b"?" * 40)
    assert "has not been imported: cannot read" in refusal(served)
    assert served.migrate().returncode == 1
    shutil.rmtree(served.directory / "db")
    served.start()
    served.stop()


def test_without_a_database_there_is_nothing_to_import(served: Served) -> None:
    raw = json.loads(served.configuration.read_text())
    served.configuration.write_text(json.dumps({name: value for name, value in raw.items() if name != "db"}))
    try:
        done = served.migrate()
        assert done.returncode == 1 and "names no database (db): there is nothing to import" in done.stderr
    finally:
        served.configuration.write_text(json.dumps(raw))
        (served.directory / "db").mkdir(exist_ok=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_root_imports_belongs_to_the_directory_s_owner(served: Served) -> None:
    os.chown(served.directory, 65534, 65534)
    try:
        assert served.migrate().returncode == 0
        created = [(file.stat().st_uid, file.stat().st_mode & 0o777) for file in served.directory.glob("troth.sqlite*")]
        assert created and set(created) == {(65534, 0o600)}
    finally:
        os.chown(served.directory, 0, 0)


def test_an_empty_database_is_imported_as_such(served: Served) -> None:
    done = served.migrate()
    assert done.returncode == 0 and "Imported: 0 new records" in done.stderr
