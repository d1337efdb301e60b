"""The person at the terminal: progress lines on stderr, questions on ``/dev/tty``, never on stdin or stdout."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
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
            answer = _line(reader, writer, f"{question} [y/n]: ", otherwise).lower()
            if answer in ("y", "yes"):
                return True
            if answer in ("n", "no"):
                return False
    raise TerminalError("no answer: expected y or n", hint=otherwise)


def ask(question: str, default: str, *, otherwise: str, problem: Callable[[str], str] = lambda answer: "") -> str:
    """Ask for a line of text; an empty answer is the default.

    Args:
        question: shown with the default after it.
        default: taken where nothing is typed.
        otherwise: the hint for when there is no terminal.
        problem: what is wrong with an answer, empty for nothing; it is shown and the question asked again.

    Raises:
        TerminalError: there is no terminal, the input ended, or no usable answer in three tries.
    """
    with _terminal(question, otherwise) as (reader, writer):
        for _ in range(MAX_TRIES):
            answer = _line(reader, writer, f"{question} [{default}]: ", otherwise) or default
            wrong = problem(answer)
            if not wrong:
                return answer
            writer.write(f"{wrong}\n")
    raise TerminalError(wrong, hint=otherwise)


def ask_password(question: str, *, otherwise: str) -> bytes:
    """Ask for a password without showing it.

    Raises:
        TerminalError: there is no terminal.
    """
    import getpass

    with _terminal(question, otherwise) as (_, writer):
        return getpass.getpass(f"{question}: ", writer).encode()


def ask_new_password(question: str, *, otherwise: str, optional: bool = False) -> bytes:
    """Ask for a password twice, since nobody sees what they type; again when it is empty or the two differ.

    With `optional` nothing typed is an answer: the empty password.

    Raises:
        TerminalError: there is no terminal, or no usable answer in three tries.
    """
    wrong = ""
    for _ in range(MAX_TRIES):
        password = ask_password(f"{wrong}{question}", otherwise=otherwise)
        if not password and optional:
            return password
        if not password:
            wrong = "password is empty: expected at least one character\n"
        elif ask_password("Once more", otherwise=otherwise) == password:
            return password
        else:
            wrong = "the two passwords differ\n"
    raise TerminalError(wrong.strip(), hint=otherwise)


def choose(question: str, options: Sequence[str], *, otherwise: str) -> int:
    """Let a person pick one of several; the result is an index.

    Raises:
        TerminalError: there is no terminal, or no usable answer in three tries.
    """
    with _terminal(question, otherwise) as (reader, writer):
        for number, option in enumerate(options, 1):
            writer.write(f"  {number}) {option}\n")
        for _ in range(MAX_TRIES):
            answer = _line(reader, writer, f"{question} [1-{len(options)}]: ", otherwise)
            if answer.isdecimal() and 1 <= int(answer) <= len(options):
                return int(answer) - 1
    raise TerminalError(f"no answer: expected a number from 1 to {len(options)}", hint=otherwise)


def _line(reader: TextIO, writer: TextIO, prompt: str, otherwise: str) -> str:
    """One answer, stripped; the end of the input (Ctrl-D) is no answer, and no consent to a default."""
    writer.write(prompt)
    writer.flush()
    line = reader.readline()
    if not line:
        writer.write("\n")
        raise TerminalError("no answer: the input ended", hint=otherwise)
    return line.strip()


@contextlib.contextmanager
def _terminal(question: str, otherwise: str) -> Iterator[tuple[TextIO, TextIO]]:
    try:
        reader, writer = open("/dev/tty", encoding="utf-8"), open("/dev/tty", "w", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise TerminalError(f"cannot ask without a terminal: {question}", hint=otherwise) from error
    with reader, writer:
        yield reader, writer
