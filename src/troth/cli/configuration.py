"""The authority's own files, edited: read, changed, checked and replaced whole, under a lock."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from troth.ca.editing import read_object
from troth.errors import TrothError, UsageError
from troth.host.files import FileError, locked, read_file, write_file
from troth.host.steppath import StepPath, step_base
from troth.host.terminal import announce, note

Change = Callable[[dict[str, Any]], Mapping[str, Any]]


def ca_config(given: str) -> Path:
    """``--ca-config``, or ``config/ca.json`` below the step path.

    Raises:
        UsageError: there is no such file.
    """
    path = Path(given) if given else StepPath(step_base()).ca_config
    if not path.is_file():
        hint = "run it where the authority's files are, or name the file with --ca-config"
        raise UsageError(f"configuration {path} does not exist", hint=hint)
    return path


def edit(path: Path, change: Change, write: Callable[[Mapping[str, Any]], str], *, absent: str = "") -> None:
    """Apply a change to a JSON file and say what to do next.

    Args:
        path: the file.
        change: from the object that is there to the one that shall be.
        write: checks the result and gives its text.
        absent: the text to begin with when there is no file; empty means that there must be one.

    Raises:
        TrothError: it cannot be read, changed or written; it then stays as it is.
    """
    with locked(path):
        text = absent if absent and not path.exists() else _text(path)
        try:
            changed = write(change(read_object(text, path.name)))
        except TrothError as error:
            raise UsageError(f"{path} is not changed: {error.message}", hint=error.hint) from error
        write_file(path, changed.encode(), 0o600)
    announce("CA Configuration", str(path))
    note(
        "\nSuccess! The configuration has been updated. To pick it up, SIGHUP (kill -1 <pid>) or restart the authority."
    )


def _text(path: Path) -> str:
    try:
        return read_file(path).decode()
    except UnicodeDecodeError as error:
        raise FileError(f"{path} is not UTF-8 text") from error
