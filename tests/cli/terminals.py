"""A person at a terminal: waits for a question, types an answer."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time

from tests.cli.accounts import Account

SECONDS = 60
END_OF_INPUT, INTERRUPT = "\x04", "\x03"


def converse(account: Account, args: list[str], *lines: tuple[str, str]) -> tuple[int, str]:
    """Run troth in a terminal of its own.

    Args:
        account: where, and with which step path.
        args: the command.
        lines: what to wait for, and what to type then; control characters go without a line end.

    Returns:
        The exit code, and all that the terminal showed.
    """
    leader, follower = pty.openpty()

    def take_terminal() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job, which the tests may be in, ignores it
        os.setsid()
        fcntl.ioctl(follower, termios.TIOCSCTTY, 0)

    clean = {k: v for k, v in os.environ.items() if not k.startswith("STEP") and k != "NO_COLOR"}
    process = subprocess.Popen(
        [sys.executable, "-c", "from troth.cli.app import main; main()", *args],
        cwd=account.work,
        env={**clean, "STEPPATH": str(account.step), **account.env},
        stdin=follower,
        stdout=follower,
        stderr=follower,
        preexec_fn=take_terminal,
    )
    os.close(follower)
    try:
        shown, deadline = "", time.monotonic() + SECONDS
        for question, typed in lines:
            shown += _until(leader, question, deadline)
            os.write(leader, (typed if typed < " " and typed else typed + "\n").encode())
        shown += _until(leader, None, deadline)
        return process.wait(SECONDS), shown
    finally:
        process.kill()
        process.wait()
        os.close(leader)


def _until(leader: int, question: str | None, deadline: float) -> str:
    """What the terminal shows until a question ends it, or until the program closes it."""
    shown = b""
    while question is None or question not in shown.decode(errors="replace"):
        left = deadline - time.monotonic()
        assert left > 0, f"{question!r} was not asked: {shown!r}"
        if not select.select([leader], [], [], left)[0]:
            continue
        more = b""
        with contextlib.suppress(OSError):  # Linux says EIO once nobody holds the other end
            more = os.read(leader, 4096)
        if not more:
            assert question is None, f"{question!r} was not asked: {shown!r}"
            break
        shown += more
    return shown.decode(errors="replace")
