"""step-ca's tables behind a database server: PostgreSQL's real one, and what is asked of MySQL's client."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.stage import free_port
from tests.rig.step_ca import StepDirectory, founded_by_step
from troth.store.step import Entry, SourceError
from troth.store.step.source import Source, source_of
from troth.store.step.sql import mysql, postgresql

COUNT = 30
PASSWORD = "pass word/@:%"
SERVERS = "/usr/lib/postgresql"


def as_nobody() -> dict[str, Any]:
    """PostgreSQL does not run as root."""
    return {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


def program(name: str) -> str:
    found = shutil.which(name) or next((str(path) for path in Path(SERVERS).glob(f"*/bin/{name}")), None)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A PostgreSQL of its own on loopback, with a password; its port."""
    initdb, postgres = program("initdb"), program("postgres")
    program("psql")
    directory = Path("/tmp") / f"troth-postgresql-{os.getpid()}"
    directory.mkdir(mode=0o755)
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "LC_ALL": "C"}
    secret, port = directory / "secret", free_port()
    secret.write_text(PASSWORD)
    if os.geteuid() == 0:
        shutil.chown(directory, "nobody")
        shutil.chown(secret, "nobody")
    options: dict[str, Any] = {"cwd": directory, "env": environment, **as_nobody()}
    flags = ["-U", "step", "-A", "scram-sha-256", "--pwfile", str(secret), "--no-sync"]
    process = None
    try:
        subprocess.run(
            [initdb, "-D", directory / "data", *flags], check=True, capture_output=True, timeout=60, **options
        )
        command = [postgres, "-D", str(directory / "data"), "-p", str(port), "-k", str(directory), "-F"]
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [*command, "-c", "listen_addresses=127.0.0.1"],
                stdout=log,
                stderr=log,
                start_new_session=True,
                **options,
            )
        ready = [program("psql"), "-h", "127.0.0.1", "-p", str(port), "-U", "step", "-d", "postgres", "-c", "SELECT 1"]
        until = time.monotonic() + 30
        while subprocess.run(ready, env={**environment, "PGPASSWORD": PASSWORD}, capture_output=True).returncode:
            assert time.monotonic() < until and process.poll() is None, (directory / "log").read_text()
            time.sleep(0.1)
        yield port
    finally:
        if process is not None:
            process.terminate()
            process.wait(30)
        shutil.rmtree(directory, ignore_errors=True)


def url(port: int) -> str:
    return f"postgresql://step:pass%20word%2F%40%3A%25@127.0.0.1:{port}/?sslmode=disable"


@pytest.fixture(scope="module")
def used(server: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StepDirectory]:
    """A step-ca that kept its records there."""
    program("step")
    program("step-ca")
    one = founded_by_step(tmp_path_factory.mktemp("postgresql") / "step")
    one.edit({"db": {"type": "postgresql", "dataSource": url(server), "database": "stepca"}})
    with one.running():
        one.issue(COUNT)
        assert one.revoke(one.issued[0]) == 200
    yield one


def test_what_step_ca_keeps_in_postgresql_is_taken_over(used: StepDirectory) -> None:
    with pytest.raises(AssertionError, match=r"127\.0\.0\.1:\d+/\?sslmode=disable stepca has not been imported"):
        used.served.start()
    done = used.served.migrate()
    assert done.returncode == 0, done.stderr
    assert f"certificates       {COUNT:>8}" in done.stdout and "revocations               1" in done.stdout
    assert PASSWORD not in done.stdout + done.stderr and "pass%20word" not in done.stdout + done.stderr
    assert f"Imported: {2 * COUNT + 2} new records" in done.stderr
    used.served.start()
    assert used.revoke(used.issued[0]) == 400
    used.served.stop()


@pytest.mark.parametrize("form", ["url", "keywords"])
def test_both_forms_of_a_data_source_are_understood(form: str, used: StepDirectory) -> None:
    source = json.loads(used.served.configuration.read_text())["db"]["dataSource"]
    if form == "keywords":
        source = f"host=127.0.0.1 port={source.split(':')[-1].split('/')[0]} password='{PASSWORD}' user=step"
    client = postgresql(source, "stepca")
    assert PASSWORD not in " ".join(client.command) and client.environment["PGPASSWORD"] == PASSWORD
    tables = [entry.table for entry in client.entries()]
    assert tables.count("x509_certs") == COUNT and tables.count("used_ott") == COUNT + 1


def test_a_server_that_refuses_is_quoted(used: StepDirectory) -> None:
    source = json.loads(used.served.configuration.read_text())["db"]["dataSource"]
    wrong = Source("postgresql", source.replace("pass%20word", "wrong"), database="stepca")
    reason = r"psql cannot read the database: .*password authentication failed"
    with pytest.raises(SourceError, match=reason), wrong.reading() as (entries, _):
        list(entries)


FAKE = """#!/bin/sh
printf '%s\\n' "$@" > "$TROTH_SEEN"
printf '%s' "$MYSQL_PWD" > "$TROTH_SEEN.secret"
for statement; do :; done
case "$statement" in
*information_schema*) printf 'used_ott\\nx509_certs\\nssh_certs\\nbad`name\\n' ;;
*'`used_ott`'*) printf '6162\\t00FF\\n' ;;
*'`ssh_certs`'*) printf '31\\t\\n' ;;
*'`x509_certs`'*) [ -z "$TROTH_FAIL" ] || { echo 'ERROR 1146' >&2; exit 1; } ;;
esac
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``mysql`` that notes what it was asked and answers as the real one does."""
    one = tmp_path / "bin" / "mysql"
    one.parent.mkdir()
    one.write_text(FAKE)
    one.chmod(0o755)
    monkeypatch.setenv("PATH", f"{one.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("TROTH_SEEN", str(tmp_path / "seen"))
    return tmp_path / "seen"


def test_mysql_s_client_is_asked_and_understood(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of({"type": "mysql", "dataSource": "step:s:e@cret@tcp(db.test:3307)/", "database": "ca"}, Path("/"))
    with source.reading() as (entries, problems):
        assert list(entries) == [Entry("used_ott", b"ab", b"\0\xff"), Entry("ssh_certs", b"1", b"")]
    assert problems == []
    seen = fake.read_text().splitlines()
    assert {"--host=db.test", "--port=3307", "--user=step", "--database=ca", "--batch"} <= set(seen)
    assert "s:e@cret" not in fake.read_text()
    assert Path(f"{fake}.secret").read_text() == "s:e@cret"
    assert "secret" not in source.name and "s:e" not in source.name
    monkeypatch.setenv("TROTH_FAIL", "yes")
    with (
        pytest.raises(SourceError, match="mysql cannot read the database: ERROR 1146"),
        source.reading() as (entries, _),
    ):
        list(entries)


@pytest.mark.parametrize(
    ("source", "flags"),
    [
        ("root@tcp(127.0.0.1)/step", {"--host=127.0.0.1", "--port=3306", "--user=root", "--database=step"}),
        ("root:x@unix(/run/mysqld.sock)/step?parseTime=true", {"--socket=/run/mysqld.sock", "--database=step"}),
        ("u@tcp([::1]:33060)/d", {"--host=::1", "--port=33060"}),
        ("/step", {"--host=127.0.0.1", "--port=3306", "--database=step"}),
    ],
)
def test_mysql_data_sources_are_read_as_the_driver_reads_them(source: str, flags: set[str]) -> None:
    assert flags <= set(mysql(source, "").command)


def test_a_client_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for client, name in ((mysql("u@tcp(h:1)/d", ""), "mysql"), (postgresql("postgresql://h/", "d"), "psql")):
        with pytest.raises(SourceError, match=f"{name} is not installed"):
            list(client.entries())
    with pytest.raises(SourceError, match="expected user:password@tcp"):
        mysql("mysql://user@host/db", "")
