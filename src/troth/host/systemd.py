"""Telling systemd how a service is (sd_notify(3)); without ``NOTIFY_SOCKET`` it does nothing."""

import contextlib
import os
import socket


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
