"""Archives that belong to the tests."""

import tarfile
from pathlib import Path


def unpack(archive: Path, directory: Path) -> None:
    """Extract all of it; Python before 3.11.4 knows no filters, and needs none for what is ours."""
    with tarfile.open(archive) as stream:
        if hasattr(tarfile, "data_filter"):
            stream.extractall(directory, filter="data")
        else:
            stream.extractall(directory)
