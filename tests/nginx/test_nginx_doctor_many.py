"""A configuration of many places: the same upstream is called once, and the same cause is said once."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.rig.nginx import frame, program, programs, short_directory
from troth.cli.nginx import doctor
from troth.host.ports import free_ports

COUNT = 40


@pytest.fixture(params=sorted(programs()))
def main(request: pytest.FixtureRequest) -> Iterator[tuple[Path, list[str]]]:
    """A directory, and the words that mean its nginx."""
    with short_directory("many") as directory:
        yield directory, ["--nginx", str(program(request.param)), "-p", str(directory), "-c", f"{directory}/nginx.conf"]


def write(directory: Path, port: int) -> None:
    places = "\n".join(f"location /{n} {{ proxy_pass https://127.0.0.1:{port}; }}" for n in range(COUNT))
    listen = free_ports(1)[0]
    (directory / "nginx.conf").write_text(frame(directory, f"server {{ listen 127.0.0.1:{listen};\n{places}\n}}\n"))


def test_one_cause_of_many_places_is_said_once_with_the_first_lines(main: tuple[Path, list[str]]) -> None:
    directory, words = main
    write(directory, free_ports(1)[0])
    done = CliRunner().invoke(doctor, words, standalone_mode=False)
    assert done.return_value == 2
    assert done.stdout.count("refused-connection") == 1
    assert f"and {COUNT - 3} more)" in done.stdout.splitlines()[0]
    found = json.loads(CliRunner().invoke(doctor, [*words, "--json"], standalone_mode=False).stdout)["diagnoses"]
    assert [one["id"] for one in found] == ["refused-connection"] * COUNT
    assert len({one["where"] for one in found}) == COUNT, "machines are told of every place"


def test_an_upstream_is_called_once_for_all_its_places(main: tuple[Path, list[str]]) -> None:
    directory, words = main
    calls = 0
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            nonlocal calls
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                calls += 1
                connection.close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        write(directory, listener.getsockname()[1])
        assert CliRunner().invoke(doctor, words, standalone_mode=False).return_value == 2
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)
    assert 0 < calls < 10
