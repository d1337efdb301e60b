"""A real nginx with a configuration in a directory of its own, on free ports, ended when the test ends."""

import http.client
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from troth.host.nginx import Nginx, bundled

TEMP_PATHS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def programs() -> dict[str, Path | None]:
    """The nginx programs to test with; None where this machine has none."""
    if os.environ.get("TROTH_TEST_NGINX"):
        return {"chosen": Path(os.environ["TROTH_TEST_NGINX"])}
    system = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    return {"bundled": bundled(), "system": Path(system) if system else None}


def program(name: str) -> Path:
    """One of `programs`, or the test is skipped."""
    found = programs().get(name)
    if found is None:
        pytest.skip(f"no {name} nginx on this machine")
    return found


@contextmanager
def short_directory(name: str) -> Iterator[Path]:
    """A directory whose path is short enough for Unix sockets and open to nginx's workers."""
    path = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def frame(directory: Path, body: str, *, head: str = "", workers: int = 2) -> str:
    """A configuration that writes nothing outside its directory; `body` stands in ``http``."""
    temp = "".join(f"    {name}_temp_path {directory}/temp-{name};\n" for name in TEMP_PATHS)
    return (
        f"worker_processes {workers};\npid {directory}/nginx.pid;\nerror_log {directory}/error.log info;\n"
        f"{head}events {{}}\nhttp {{\n{temp}    access_log off;\n{body}}}\n"
    )


@contextmanager
def running(binary: Path, directory: Path, body: str, *, name: str = "nginx.conf") -> Iterator[Nginx]:
    """nginx with ``http { body }`` while the block runs."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_text(frame(directory, body))
    nginx = Nginx(binary, directory / name, directory)
    nginx.start()
    try:
        _all_workers(nginx, 2)
        yield nginx
    finally:
        nginx.stop()


def _all_workers(nginx: Nginx, count: int) -> None:
    """nginx serves from its first worker on; a generation is only comparable once all are there."""
    until = time.monotonic() + 10
    while len(nginx.generation().workers) < count and time.monotonic() < until:
        time.sleep(0.01)


def get(port: int, path: str = "/", host: str = "app.test", **headers: str) -> tuple[int, bytes]:
    """One GET on a fresh connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": host, "Connection": "close", **headers})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
