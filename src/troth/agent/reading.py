"""The configuration of an nginx, as it sees it itself or, where it refuses it, as we read it."""

from pathlib import Path

from troth.host.files import read_file
from troth.host.nginx import Nginx
from troth.nginx.tree import Config, Directive, parse_config, parse_dump


def read_config(nginx: Nginx) -> Config:
    """The configuration as nginx itself sees it (``-T``), with the bytes that are on disk.

    Raises:
        NginxTestError: nginx refuses it.
        SyntaxProblem: we read it differently.
    """
    seen = parse_dump(nginx.dump())
    files = {name: read_file(Path(name)) for name in seen}
    main = str(nginx.main)
    return parse_config(files, main if main in files else next(iter(files), main))


def read_unverified(nginx: Nginx) -> Config:
    """The configuration read by us alone, for when nginx refuses it.

    Raises:
        HostError: a file cannot be read.
        SyntaxProblem: it is broken for us too.
    """
    main = nginx.main
    files: dict[str, bytes] = {str(main): read_file(main)}
    while True:
        config = parse_config(files, str(main))
        wanted = {p for d in config.root.walk() if d.name == "include" for p in _matches(d, main.parent)} - set(files)
        if not wanted:
            return config
        files |= {name: read_file(Path(name)) for name in wanted}


def _matches(include: Directive, base: Path) -> list[str]:
    if not include.arguments:
        return []
    pattern = base / include.arguments[0]
    if any(character in str(pattern) for character in "*?["):
        root = Path(pattern.anchor)
        return [str(p) for p in root.glob(str(pattern.relative_to(root))) if p.is_file()]
    return [str(pattern)] if pattern.is_file() else []
