"""Imports between rooms point downwards only, and no room has an import cycle at module level."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "troth"
LEVELS = {
    "cli": 5,
    "server": 4,
    "agent": 4,
    "store": 3,
    "client": 3,
    "host": 3,
    "ca": 2,
    "acme": 2,
    "nginx": 2,
    "x509": 1,
    "durations": 1,
    "proxies": 1,
    "errors": 0,
    "__init__": 0,
}
PURE = ("ca", "acme", "nginx", "x509")
FORBIDDEN_IN_PURE = {"os", "socket", "subprocess", "random", "secrets", "time", "asyncio", "aiohttp", "sqlite3"}
FORBIDDEN_NAMES = {"utils", "helpers", "common", "core", "manager", "misc"}


def modules(*rooms: str) -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if not rooms or room_of(path) in rooms)


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            found.add(node.module or "")
            if node.module == "troth":
                found.update(f"troth.{alias.name}" for alias in node.names)
    return found


def rooms_imported(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imports_of(path) if name.startswith("troth.")} - {"__version__"}


def violations(room: str, imported: set[str]) -> list[str]:
    allowed = {other for other, level in LEVELS.items() if level < LEVELS[room]} | {room}
    return sorted(imported - allowed)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    assert violations(room_of(path), rooms_imported(path)) == []


@pytest.mark.parametrize("path", modules(*PURE), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_pure_rooms_import_nothing_that_reaches_outside(path: Path) -> None:
    assert {name.split(".")[0] for name in imports_of(path)} & FORBIDDEN_IN_PURE == set()


def test_an_upward_import_would_be_seen() -> None:
    assert violations("x509", {"ca"}) == ["ca"]
    assert violations("client", {"host", "x509"}) == ["host"]
    assert violations("agent", {"client", "host", "nginx"}) == []


def test_every_room_says_what_lives_in_it() -> None:
    for room in [path for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"]:
        assert room.name in LEVELS, f"{room.name} is not a room of the plan"
        assert ast.get_docstring(ast.parse((room / "__init__.py").read_text())), f"{room.name} has no docstring"


def test_nothing_is_called_utils() -> None:
    assert {path.stem for path in modules()} & FORBIDDEN_NAMES == set()
