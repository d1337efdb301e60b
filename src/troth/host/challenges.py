"""Where a validation finds its answer (http-01): a listener of our own, or the directory of a web server."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from troth.host import HostError
from troth.host.listener import NOT_FOUND, Page, listening

DIRECTORY = Path(".well-known", "acme-challenge")
_PREFIX = f"/{DIRECTORY}/"
_NAME = re.compile(r"[A-Za-z0-9_-]+")


class WebrootError(HostError):
    """A challenge file cannot be put below a web server's directory."""


class Responder:
    """Answers the paths of the tokens that are published, and nothing else."""

    def __init__(self) -> None:
        self._texts: dict[str, bytes] = {}

    @contextlib.contextmanager
    def publish(self, token: str, text: str) -> Iterator[None]:
        """Show a text at a token's path for as long as the block runs."""
        self._texts[_PREFIX + token] = text.encode()
        try:
            yield
        finally:
            del self._texts[_PREFIX + token]

    def page(self, path: str, _: str) -> Page:
        """The answer to a path."""
        text = self._texts.get(path.partition("?")[0])
        return NOT_FOUND if text is None else Page(200, text, "application/octet-stream")


@contextlib.contextmanager
def responding(host: str, port: int, *, hint: str) -> Iterator[Responder]:
    """A responder that listens for as long as the block runs.

    Raises:
        ListenError: the address cannot be had.
    """
    responder = Responder()
    with listening(host, port, responder.page, hint=hint):
        yield responder


class Webroot:
    """The directory of a web server that is there already.

    Raises:
        WebrootError: there is no such directory.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            hint = "name the directory that the web server serves at /"
            raise WebrootError(f"webroot directory {root} does not exist", hint=hint)
        self._root = root

    @contextlib.contextmanager
    def publish(self, token: str, text: str) -> Iterator[None]:
        """Put a file there, 0644 for a web server of another user; it and the directories made for it are taken away.

        Raises:
            WebrootError: it cannot be written.
        """
        if not _NAME.fullmatch(token):
            raise WebrootError("the challenge's token is no file name: expected base64url")
        made: list[Path] = []
        path = self._root / DIRECTORY / token
        try:
            self._put(path, text.encode(), made)
            yield
        finally:
            _take_away(made)

    def _put(self, path: Path, data: bytes, made: list[Path]) -> None:
        try:
            self._make_directories(made)
            _write_new(path, data)
            made.append(path)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise WebrootError(f"cannot write {path}: {reason}", hint=f"may you write below {self._root}?") from error

    def _make_directories(self, made: list[Path]) -> None:
        directory = self._root
        for part in DIRECTORY.parts:
            directory = directory / part
            if not directory.is_dir():
                directory.mkdir()
                made.append(directory)
                directory.chmod(0o755)  # whatever the umask


def _write_new(path: Path, data: bytes) -> None:
    """Never through a link that somebody else put there."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "wb") as stream:
        try:
            os.fchmod(descriptor, 0o644)
            stream.write(data)
            stream.flush()
        except OSError:
            path.unlink()
            raise


def _take_away(made: list[Path]) -> None:
    """Deepest first; a directory in which somebody else has put something meanwhile stays."""
    for path in reversed(made):
        with contextlib.suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()
