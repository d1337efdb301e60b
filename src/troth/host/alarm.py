"""Waiting that signals end: for a loop that sleeps long and must answer at once."""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType


class Alarm:
    """Hears SIGHUP (do it now) and SIGINT or SIGTERM (stop), also while it is not waiting."""

    def __init__(self) -> None:
        self.stopped = False
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def wait(self, delay: timedelta) -> None:
        """Return after `delay`, or as soon as one of the signals has come."""
        ready, _, _ = select.select([self._read], [], [], max(0.0, delay.total_seconds()))
        if ready:
            os.read(self._read, 4096)

    def _hear(self, number: int, _: FrameType | None) -> None:
        self.stopped = self.stopped or number != signal.SIGHUP
        os.write(self._write, b"!")

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


@contextmanager
def listening() -> Iterator[Alarm]:
    """An alarm that has the signals for as long as the block runs (main thread only)."""
    alarm = Alarm()
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, alarm._hear) for number in numbers]
    try:
        yield alarm
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
        alarm.close()
