"""The files of an nginx configuration as they are on disk, includes followed, without asking nginx."""

import glob
from pathlib import Path

from troth.host.files import read_file
from troth.nginx.tree import Config, Directive, include_pattern, is_pattern, parse_config, plain_path


def read_from_disk(main: Path) -> Config:
    """The configuration that begins with `main`; includes that name no file are in its `missing`.

    Raises:
        FileError: a file cannot be read.
        SyntaxProblem: the text is broken.
    """
    first = plain_path(str(main))
    files: dict[str, bytes] = {first: read_file(main)}
    while True:
        config = parse_config(files, first)
        wanted = {p for d in config.root.walk() if d.name == "include" for p in _matches(d, str(Path(first).parent))}
        if wanted <= set(files):
            return config
        files |= {name: read_file(Path(name)) for name in wanted - set(files)}


def _matches(include: Directive, base: str) -> list[str]:
    if not include.arguments:
        return []
    pattern = include_pattern(include, base)
    paths = glob.glob(pattern) if is_pattern(pattern) else [pattern]  # noqa: PTH207 - hidden files as in glob(3)
    return [plain_path(path) for path in paths if Path(path).is_file()]
