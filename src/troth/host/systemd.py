"""Telling systemd how a service is (sd_notify(3)); without ``NOTIFY_SOCKET`` it does nothing."""

import contextlib
import os
import socket
import time


def notify(state: str) -> bool:
    """Send a state such as ``READY=1`` or ``STATUS=...``; the result says whether somebody was told."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
        out.settimeout(1)
        out.sendto(state.encode(), address)
        return True
    return False


class Manager:
    """What a service tells its manager in its life, in the words of sd_notify(3)."""

    def ready(self) -> None:
        """It serves; also the end of a reload."""
        notify("READY=1")

    def reloading(self) -> None:
        """It reads its configuration again; ``Type=notify-reload`` wants to know since when."""
        notify(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        notify("STOPPING=1")

    def alive(self) -> None:
        notify("WATCHDOG=1")

    def status(self, text: str) -> None:
        """A line for ``systemctl status``."""
        notify("STATUS=" + " ".join(text.split()))


def watchdog_seconds() -> float | None:
    """How often at most the manager waits for `Manager.alive` (``WatchdogSec=``); None when it does not.

    The variables are inherited by children, whom they do not mean.
    """
    interval, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not interval.isdigit() or int(interval) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(interval) / 1_000_000
