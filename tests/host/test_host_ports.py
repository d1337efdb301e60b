"""A port that was given is nobody else's, in this process and in others."""

import subprocess
import sys

import pytest

from troth.errors import TrothError
from troth.host import ports

GIVE = "from troth.host import ports; import sys; ports.RANGE = range({0}, {1}); print(*ports.free_ports({2}))"


def test_another_process_is_not_given_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *_, last = sorted(ports.free_ports(2))
    monkeypatch.setattr(ports, "RANGE", range(first, first + 1))
    with pytest.raises(TrothError, match="fewer than 1 of the ports"):
        ports.free_ports(1)
    code = GIVE.format(first, first + 1, 1)
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert other.returncode != 0 and f"fewer than 1 of the ports {first} to {first} are free" in other.stderr
    assert last != first


def test_what_an_ended_process_was_given_is_free_again() -> None:
    given = []
    for _ in range(2):
        code = GIVE.format(30_100, 30_101, 1)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
        given.append(done.stdout.strip())
    assert given == ["30100", "30100"]


def test_the_number_of_names_held_is_bounded() -> None:
    ports.free_ports(300)
    assert len(ports._reserved) == 256
    assert all(one.fileno() >= 0 for one in ports._reserved)
