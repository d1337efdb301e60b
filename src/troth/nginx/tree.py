"""Directives with their exact spans, blocks, and includes followed the way nginx follows them."""

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from troth.nginx.lexer import SyntaxProblem, Token, tokenize

MAX_DEPTH = 40
MAX_FILES = 5_000
# Blocks in which a first word "include" is a value like any other.
_NO_INCLUDE = ("split_clients", "charset_map")


@dataclass(eq=False)
class Directive:
    """One directive: its words, where it stands, and what its block holds.

    `start` is the first byte of the name, `end` one past its ``;`` or ``}``; `open` and `close` are the offsets of the
    braces of a block, or -1.
    """

    name: str
    arguments: tuple[str, ...]
    file: str
    line: int
    start: int
    end: int = -1
    open: int = -1
    close: int = -1
    parent: "Directive | None" = None
    children: list["Directive"] = field(default_factory=list)
    tokens: tuple[Token, ...] = ()
    _named: "dict[str, list[Directive]]" = field(default_factory=dict, repr=False)
    _counted: int = field(default=0, repr=False)

    @property
    def is_block(self) -> bool:
        return self.open >= 0

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}"

    @property
    def named(self) -> "Mapping[str, list[Directive]]":
        """What is directly inside by name, in order; made anew when there is more inside than the last time."""
        if self._counted != len(self.children):
            self._named = {}
            for child in self.children:
                self._named.setdefault(child.name, []).append(child)
            self._counted = len(self.children)
        return self._named

    def find(self, name: str) -> list["Directive"]:
        """Directives of this name directly inside, in order; included files count as inside."""
        return list(self.named.get(name, ()))

    def first(self, name: str) -> "Directive | None":
        return next(iter(self.named.get(name, ())), None)

    def walk(self) -> Iterator["Directive"]:
        """Everything below, depth first, in order."""
        for child in self.children:
            yield child
            yield from child.walk()

    def enclosing(self, *names: str) -> "Directive | None":
        """The nearest block around this directive with one of these names."""
        node = self.parent
        while node is not None and node.name not in names:
            node = node.parent
        return node


@dataclass(frozen=True)
class Config:
    """A whole configuration: its files as bytes, and the tree with includes in place.

    `missing` are includes of one file that is not among `files`; `unread` those of `files` that nothing includes.
    """

    main: str
    files: Mapping[str, bytes]
    root: Directive
    missing: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def http(self) -> Directive | None:
        return self.root.first("http")

    @property
    def stream(self) -> Directive | None:
        return self.root.first("stream")

    def level(self, name: str) -> Directive | None:
        """The block ``http`` or ``stream``."""
        return self.root.first(name)


def parse_config(files: Mapping[str, bytes], main: str) -> Config:
    """Read a configuration from its files.

    Args:
        files: path to content, of every file that may be included; paths are as `plain_path` gives them.
        main: the path of the first file; includes are relative to its directory.

    Raises:
        SyntaxProblem: nginx would not read it either.
    """
    if main not in files:
        raise SyntaxProblem(f"configuration {main} is not among the files given")
    reader = _Reader(files, PurePosixPath(main).parent)
    root = Directive("", (), main, 0, 0)
    reader.read(main, root, ())
    return Config(
        main, dict(files), root, tuple(reader.missing), tuple(name for name in files if name not in reader.seen)
    )


def plain_path(path: str) -> str:
    """A path without ``.`` and doubled slashes; ``..`` stays, because what it means depends on symlinks."""
    return str(PurePosixPath(path))


def include_pattern(directive: Directive, base: str) -> str:
    """What an ``include`` names; nginx takes a relative name from the directory of the main file, `base`."""
    return plain_path(
        f"{base}/{directive.arguments[0]}" if directive.arguments[0][:1] != "/" else directive.arguments[0]
    )


def is_pattern(path: str) -> bool:
    """Whether nginx globs the name of an include."""
    return any(character in path for character in "*?[")


class _Reader:
    def __init__(self, files: Mapping[str, bytes], base: PurePosixPath) -> None:
        self._files = files
        self._base = str(base)
        self._count = 0
        self.missing: list[str] = []
        self.seen: set[str] = set()

    def read(self, path: str, parent: Directive, stack: tuple[str, ...]) -> None:
        self._count += 1
        if path in stack or len(stack) > MAX_DEPTH or self._count > MAX_FILES:
            raise SyntaxProblem(f"{path} includes itself, or too many files are included")
        self.seen.add(path)
        tokens = tokenize(self._files[path], path)
        position = self._block(tokens, 0, parent, path, (*stack, path), top=True)
        if position < len(tokens):
            raise SyntaxProblem(f'{path}:{tokens[position].line}: unexpected "}}"')

    def _block(
        self, tokens: Sequence[Token], position: int, parent: Directive, path: str, stack: tuple[str, ...], *, top: bool
    ) -> int:
        words: list[Token] = []
        while position < len(tokens):
            token = tokens[position]
            if token.is_mark(b";"):
                self._simple(words, token, parent, path, stack)
                words = []
            elif token.is_mark(b"{"):
                position = self._open(words, tokens, position, parent, path, stack)
                words = []
            elif token.is_mark(b"}"):
                if words:
                    raise SyntaxProblem(f'{path}:{token.line}: unexpected "}}", expected ";" after {words[0].value!r}')
                return position
            else:
                words.append(token)
            position += 1
        if words or not top:
            line = tokens[-1].line if tokens else 1
            raise SyntaxProblem(f'{path}:{line}: unexpected end of file, expected ";" or "}}"')
        return position

    def _simple(self, words: list[Token], end: Token, parent: Directive, path: str, stack: tuple[str, ...]) -> None:
        if not words:
            raise SyntaxProblem(f'{path}:{end.line}: unexpected ";"')
        directive = _directive(words, path, parent)
        directive.end = end.end
        parent.children.append(directive)
        if directive.name == "include" and parent.name not in _NO_INCLUDE:
            self._include(directive, parent, stack)

    def _open(
        self,
        words: list[Token],
        tokens: Sequence[Token],
        position: int,
        parent: Directive,
        path: str,
        stack: tuple[str, ...],
    ) -> int:
        brace = tokens[position]
        if not words:
            raise SyntaxProblem(f'{path}:{brace.line}: unexpected "{{"')
        directive = _directive(words, path, parent)
        directive.open = brace.start
        parent.children.append(directive)
        if directive.name.endswith("_by_lua_block"):
            directive.arguments = (*directive.arguments, tokens[position + 1].value)
            close = position + 2
        else:
            close = self._block(tokens, position + 1, directive, path, stack, top=False)
        if close >= len(tokens):
            raise SyntaxProblem(f'{path}:{brace.line}: "{{" is not closed')
        directive.close, directive.end = tokens[close].start, tokens[close].end
        return close

    def _include(self, directive: Directive, parent: Directive, stack: tuple[str, ...]) -> None:
        if not directive.arguments:
            return
        pattern = include_pattern(directive, self._base)
        if is_pattern(pattern):
            paths = sorted(
                (p for p in self._files if _glob(p, pattern)), key=lambda p: p.encode(errors="surrogateescape")
            )
        else:
            paths = [pattern] if pattern in self._files else []
            if not paths:
                self.missing.append(pattern)
        for path in paths:
            self.read(path, parent, stack)


def _directive(words: list[Token], path: str, parent: Directive) -> Directive:
    arguments = tuple(word.value for word in words[1:])
    first = words[0]
    return Directive(first.value, arguments, path, first.line, first.start, parent=parent, tokens=tuple(words))


def _glob(path: str, pattern: str) -> bool:
    """glob(3): a star does not cross a slash, nor begin with a hidden file's dot."""
    have, want = path.split("/"), pattern.replace("[^", "[!").split("/")
    if len(have) != len(want):
        return False
    return all(
        fnmatch.fnmatchcase(part, shape) and not (part.startswith(".") and not shape.startswith("."))
        for part, shape in zip(have, want, strict=True)
    )
