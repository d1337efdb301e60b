"""The person at the terminal: progress lines on stderr, questions on ``/dev/tty``, never on stdin or stdout."""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TextIO

from troth.host import HostError

GREEN, BOLD, PLAIN = "\033[32m", "\033[1m", "\033[0m"
MAX_TRIES = 3


class TerminalError(HostError):
    """A question has to be asked and there is nobody to ask, or the answer was no."""


def announce(label: str, value: str) -> None:
    """Print ``✔ Label: value`` on stderr, coloured only where a terminal shows it."""
    colour = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    mark, name = (f"{GREEN}✔{PLAIN}", f"{BOLD}{label}:{PLAIN}") if colour else ("✔", f"{label}:")
    note(f"{mark} {name} {value}")


def note(line: str) -> None:
    """Print a line on stderr; characters the terminal's encoding lacks are replaced, never fatal."""
    encoding = sys.stderr.encoding or "utf-8"
    print(line.encode(encoding, "replace").decode(encoding), file=sys.stderr, flush=True)


def confirm(question: str, *, otherwise: str) -> bool:
    """Ask a yes-or-no question on the terminal.

    Args:
        question: shown with `` [y/n]: `` after it.
        otherwise: the hint for when there is no terminal.

    Raises:
        TerminalError: there is no terminal, or no usable answer in three tries.
    """
    with _terminal(question, otherwise) as (reader, writer):
        for _ in range(MAX_TRIES):
            writer.write(f"{question} [y/n]: ")
            writer.flush()
            answer = reader.readline().strip().lower()
            if answer in ("y", "yes"):
                return True
            if answer in ("n", "no"):
                return False
    raise TerminalError("no answer: expected y or n", hint=otherwise)


def ask(question: str, default: str, *, otherwise: str) -> str:
    """Ask for a line of text; an empty answer is the default.

    Raises:
        TerminalError: there is no terminal.
    """
    with _terminal(question, otherwise) as (reader, writer):
        writer.write(f"{question} [{default}]: ")
        writer.flush()
        return reader.readline().strip() or default


def ask_password(question: str, *, otherwise: str) -> bytes:
    """Ask for a password without showing it.

    Raises:
        TerminalError: there is no terminal.
    """
    import getpass

    with _terminal(question, otherwise) as (_, writer):
        return getpass.getpass(f"{question}: ", writer).encode()


def choose(question: str, options: Sequence[str], *, otherwise: str) -> int:
    """Let a person pick one of several; the result is an index.

    Raises:
        TerminalError: there is no terminal, or no usable answer in three tries.
    """
    with _terminal(question, otherwise) as (reader, writer):
        for number, option in enumerate(options, 1):
            writer.write(f"  {number}) {option}\n")
        for _ in range(MAX_TRIES):
            writer.write(f"{question} [1-{len(options)}]: ")
            writer.flush()
            answer = reader.readline().strip()
            if answer.isdecimal() and 1 <= int(answer) <= len(options):
                return int(answer) - 1
    raise TerminalError(f"no answer: expected a number from 1 to {len(options)}", hint=otherwise)


@contextlib.contextmanager
def _terminal(question: str, otherwise: str) -> Iterator[tuple[TextIO, TextIO]]:
    try:
        reader, writer = open("/dev/tty", encoding="utf-8"), open("/dev/tty", "w", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise TerminalError(f"cannot ask without a terminal: {question}", hint=otherwise) from error
    with reader, writer:
        yield reader, writer
