"""Files of a database as bytes, in memory only where they are looked at."""

import mmap
from pathlib import Path

from troth.store.step import SourceError


def mapped(path: Path) -> bytes | mmap.mmap:
    """A file's bytes.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            if not path.stat().st_size:
                return b""
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot read {path}: {(getattr(error, 'strerror', '') or str(error)).lower()}") from error
