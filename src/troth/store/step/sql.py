"""step-ca's tables in PostgreSQL and MySQL, read through ``psql`` and ``mysql``: no driver is needed for one day's use.

A table of step-ca's has two columns, nkey and nvalue. Both travel as hexadecimal text.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from troth.store.step import Entry, SourceError
from troth.store.step.records import LIST, TAKEN

NAME = re.compile(r"[A-Za-z0-9_]+")
MYSQL_SOURCE = re.compile(r"(?:([^:@]*)(?::(.*))?@)?(?:(tcp|unix)(?:\((.*)\))?)?/([^?]*)(?:\?.*)?")
KEYWORD_PASSWORD = re.compile(r"""(?:^|\s)password\s*=\s*('(?:[^'\\]|\\.)*'|\S+)""")
WITH_VALUES = (*TAKEN, LIST)


@dataclass(frozen=True)
class Client:
    """How to ask a database: a command to which a statement is added, and the environment that holds the password."""

    command: Sequence[str]
    environment: Mapping[str, str]
    tables: str
    rows: str
    keys: str

    def entries(self) -> Iterator[Entry]:
        """Every record; of the tables that are not taken over, only the keys.

        Raises:
            SourceError: the client is not installed, or the database does not answer.
        """
        for (table,) in self.lines(self.tables, 1):
            if not NAME.fullmatch(table):
                continue
            statement = self.rows if table in WITH_VALUES else self.keys
            for key, value in self.lines(statement.format(table=table), 2):
                yield Entry(table, self._bytes(table, key), self._bytes(table, value))

    def lines(self, statement: str, columns: int) -> Iterator[list[str]]:
        """The rows that a statement answers with."""
        program = shutil.which(self.command[0])
        if program is None:
            raise SourceError(
                f"{self.command[0]} is not installed: it is needed to read this database",
                hint=f"install {self.command[0]}, or run this where it is",
            )
        with subprocess.Popen(
            [program, *self.command[1:], statement],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None and process.stderr is not None
            for line in process.stdout:
                row = line.rstrip("\n").split("\t")
                if len(row) != columns:
                    raise SourceError(f"{self.command[0]} answered {line[:60]!r}, expected {columns} columns")
                yield row
            complaint = process.stderr.read().strip()
            if process.wait() != 0:
                raise SourceError(f"{self.command[0]} cannot read the database: {complaint[:300]}")

    def _bytes(self, table: str, text: str) -> bytes:
        try:
            return bytes.fromhex(text)
        except ValueError as error:
            raise SourceError(f"{self.command[0]} answered {text[:40]!r} for {table}, expected hexadecimal") from error


def postgresql(source: str, database: str) -> Client:
    """``dataSource`` as a URL or as keywords, ``database`` over the one it names."""
    environment = {"PGCONNECT_TIMEOUT": "10"}
    if "://" in source:
        parts = urlsplit(source)
        user, _, address = parts.netloc.rpartition("@")
        name, _, password = user.partition(":")
        address = f"{name}@{address}" if name else address
        path = f"/{quote(database)}" if database else parts.path
        source = urlunsplit((parts.scheme, address, path, parts.query, ""))
        password = unquote(password)
    else:
        match = KEYWORD_PASSWORD.search(source)
        password = match[1].strip("'").replace("\\", "") if match else ""
        source = KEYWORD_PASSWORD.sub("", source) + (f" dbname='{database}'" if database else "")
    if password:
        environment["PGPASSWORD"] = password
    return Client(
        ("psql", "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-d", source, "-c"),
        environment,
        "SELECT table_name FROM information_schema.columns WHERE column_name = 'nkey'"
        " AND table_schema = ANY (current_schemas(false)) ORDER BY 1",
        "SELECT encode(nkey, 'hex'), encode(nvalue, 'hex') FROM \"{table}\"",
        "SELECT encode(nkey, 'hex'), '' FROM \"{table}\"",
    )


def mysql(source: str, database: str) -> Client:
    """``dataSource`` as ``user:password@tcp(host:port)/``.

    Raises:
        SourceError: it is not written so.
    """
    match = MYSQL_SOURCE.fullmatch(source)
    if match is None:
        raise SourceError("db.dataSource: expected user:password@tcp(host:port)/ for mysql")
    user, password, network, address, named = match.groups()
    command = ["mysql", "--batch", "--skip-column-names", "--quick", "--connect-timeout=10"]
    if network == "unix":
        command.append(f"--socket={address}")
    else:
        host, _, port = (address or "127.0.0.1:3306").rpartition(":")
        host, port = (host, port) if host else (port, "3306")
        command += ["--protocol=tcp", f"--host={host.strip('[]')}", f"--port={port}"]
    if user:
        command.append(f"--user={user}")
    return Client(
        (*command, f"--database={database or named}", "-e"),
        {"MYSQL_PWD": password} if password else {},
        "SELECT table_name FROM information_schema.columns WHERE column_name = 'nkey'"
        " AND table_schema = DATABASE() ORDER BY 1",
        "SELECT HEX(nkey), HEX(nvalue) FROM `{table}`",
        "SELECT HEX(nkey), '' FROM `{table}`",
    )
