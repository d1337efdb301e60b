"""A copy of a configuration that a real nginx can test before any file of the user is touched.

Every file nginx reads is written below a directory of our own at its absolute path; includes by absolute path are
redirected to the copies. What is beside them (certificates, password files) is reached through symlinks, so that
relative names mean what they mean in the real place.
"""

import contextlib
import os
import posixpath
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from troth.agent import AgentError
from troth.host.files import FileError, reason
from troth.host.nginx import Nginx, NginxTestError
from troth.nginx.edits import Edit, apply_edits
from troth.nginx.render import quote
from troth.nginx.tree import Directive, is_pattern, parse_config, plain_path


class ShadowError(AgentError):
    """nginx refuses the copy with the changes made; nothing was changed."""


def check_in_shadow(nginx: Nginx, files: Mapping[str, bytes]) -> None:
    """``nginx -t`` on a copy of the whole configuration.

    Args:
        nginx: whose configuration it is.
        files: every file of it, by absolute path, with the changes made.

    Raises:
        ShadowError: nginx refuses it; the message is nginx's own, with the real file names.
        FileError: the copy cannot be written.
    """
    with shadow_directory() as directory:
        main = write_shadow(directory, files, str(nginx.main))
        try:
            nginx.test(main)
        except NginxTestError as error:
            raise ShadowError(error.message.replace(str(directory), "")) from error


@contextlib.contextmanager
def shadow_directory(prefix: str = "troth-") -> Iterator[Path]:
    """A directory of our own that is gone afterwards; its path is short enough for Unix sockets.

    Workers of another user may pass through it, but not list it.
    """
    try:
        directory = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp" if len(tempfile.gettempdir()) > 60 else None))  # noqa: S108
    except OSError as error:
        raise FileError(f"cannot make a temporary directory: {reason(error)}") from error
    directory.chmod(0o711)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def write_shadow(directory: Path, files: Mapping[str, bytes], main: str) -> Path:
    """Write the copy; the result is the path of the copied main file.

    Raises:
        FileError: it cannot be written.
    """
    redirected = _redirect_includes(files, main, str(directory))
    try:
        for name, data in redirected.items():
            path = _below(directory, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        for place in {posixpath.dirname(name) for name in files}:
            link_entries(Path(place), _below(directory, place))
        # A relative name is below the main file's directory and may go anywhere from there.
        for above in Path(main).parents:
            link_entries(above, _below(directory, str(above)))
    except OSError as error:
        raise FileError(f"cannot write a copy of the configuration: {reason(error)}") from error
    return _below(directory, main)


def _below(directory: Path, name: str) -> Path:
    return directory / posixpath.normpath(name).lstrip("/")


def link_entries(real: Path, copy: Path) -> None:
    """Symlink what is in `real` and has no counterpart in `copy`, except sockets and temporary files of nginx."""
    with contextlib.suppress(FileNotFoundError, PermissionError, NotADirectoryError):
        for entry in os.scandir(real):
            target = copy / entry.name
            if not os.path.lexists(target) and (entry.is_symlink() or entry.is_file() or entry.is_dir()):
                target.symlink_to(entry.path)


def _redirect_includes(files: Mapping[str, bytes], main: str, base: str) -> dict[str, bytes]:
    """Absolute includes point below `base`; a file read twice is edited once."""
    config = parse_config(files, main)
    edits: dict[tuple[str, int], Edit] = {}
    for directive in config.root.walk():
        edit = _redirect(directive, base, files)
        if edit is not None:
            edits[(edit.file, edit.start)] = edit
    return {**files, **apply_edits(files, list(edits.values()))}


def _redirect(directive: Directive, base: str, files: Mapping[str, bytes]) -> Edit | None:
    if directive.name != "include" or len(directive.tokens) != 2 or not directive.arguments[0].startswith("/"):
        return None
    name = directive.arguments[0]
    # A value named include in a block of another module names a file that is no part of the tree.
    if not is_pattern(name) and plain_path(name) not in files:
        return None
    token = directive.tokens[1]
    return Edit(directive.file, token.start, token.end, quote(base + name).encode("utf-8", "surrogateescape"))
