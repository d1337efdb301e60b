"""The start of a process on the wall clock, fine enough to be held against the times of files."""

import subprocess
import sys
import time

import pytest

from troth.host import HostError
from troth.host.started import started


def test_it_is_between_the_moments_before_and_after() -> None:
    for _ in range(20):
        before = time.time()
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        after = time.time()
        try:
            assert before - 0.02 <= started(process.pid) <= after + 0.02
        finally:
            process.kill()
            process.communicate()


def test_a_process_that_is_gone_is_an_error() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(10)
    with pytest.raises(HostError, match=f"process {process.pid} does not run"):
        started(process.pid)
