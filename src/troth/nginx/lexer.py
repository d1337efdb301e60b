"""Tokens of an nginx configuration with their exact byte positions, by nginx's own rules (``ngx_conf_read_token``).

A configuration is bytes: comments may be latin-1, line ends CRLF. Positions let an edit leave everything else alone.
"""

import re
from dataclasses import dataclass

from troth.nginx import NginxError

SPACE = b" \t\r\n"
MARKS = (b"{", b"}", b";")
_LUA_TEXT = tuple(
    re.compile(shape, re.DOTALL)
    for shape in (
        rb"(?:--)?\[(=*)\[.*?(?:\]\1\]|\Z)",
        rb"--[^\n]*\n",
        # Lua itself knows a backslash before a line's end in a string; nginx's reading of the block does not.
        rb'"(?:[^"\n\\]|\\[^\n])*"',
        rb"'(?:[^'\n\\]|\\[^\n])*'",
    )
)
_AFTER_QUOTE = b" \t\r\n;{)"


class SyntaxProblem(NginxError):  # noqa: N818 - names what is wrong with the input
    """nginx would refuse the text; the message gives file and line."""


@dataclass(frozen=True, slots=True)
class Token:
    """A word, or one of ``{`` ``}`` ``;``. `start` and `end` are byte offsets, `end` exclusive; `line` begins at 1."""

    text: bytes
    start: int
    end: int
    line: int
    quoted: bool = False

    @property
    def value(self) -> str:
        """The word as text; bytes that are not UTF-8 survive a round trip."""
        return self.text.decode("utf-8", "surrogateescape")

    def is_mark(self, mark: bytes) -> bool:
        return not self.quoted and self.text == mark and self.end - self.start == 1


def tokenize(data: bytes, name: str = "nginx.conf") -> list[Token]:
    """All tokens but comments.

    Raises:
        SyntaxProblem: a quote is not closed, or something follows a closing quote directly.
    """
    return _Lexer(data, name).run()


class _Lexer:
    def __init__(self, data: bytes, name: str) -> None:
        self._data = data
        self._name = name
        self._position = 0
        self._line = 1
        self._tokens: list[Token] = []

    def run(self) -> list[Token]:
        data, size = self._data, len(self._data)
        while self._position < size:
            byte = data[self._position]
            if byte in SPACE:
                self._line += byte == 0x0A
                self._position += 1
            elif byte == 0x23:  # '#'
                end = data.find(b"\n", self._position)
                self._position = size if end < 0 else end
            elif byte in b"{};":
                self._mark(byte)
            elif byte in b"\"'":
                self._quoted(byte)
            else:
                self._word()
        return self._tokens

    def _mark(self, byte: int) -> None:
        start = self._position
        self._position += 1
        opens_lua = byte == 0x7B and self._opens_lua()
        self._add(Token(bytes([byte]), start, self._position, self._line))
        if opens_lua:
            self._lua_body()

    def _opens_lua(self) -> bool:
        """``content_by_lua_block {``: what follows is Lua, closed by the brace that balances."""
        first = None
        for token in reversed(self._tokens):
            if any(token.is_mark(mark) for mark in MARKS):
                break
            first = token
        return first is not None and first.text.endswith(b"_by_lua_block")

    def _lua_body(self) -> None:
        start, depth, position, data = self._position, 1, self._position, self._data
        while position < len(data):
            skipped = _skip_lua_text(data, position)
            if skipped > position:
                position = skipped
                continue
            depth += (data[position] == 0x7B) - (data[position] == 0x7D)
            if depth == 0:
                break
            position += 1
        if depth:
            raise SyntaxProblem(f"{self._name}:{self._line}: Lua block is not closed")
        body = data[start:position]
        self._tokens.append(Token(body, start, position, self._line, True))
        self._line += body.count(b"\n")
        self._position = position

    def _quoted(self, quote: int) -> None:
        data, start, line = self._data, self._position, self._line
        position, text = start + 1, bytearray()
        while True:
            if position >= len(data):
                raise SyntaxProblem(f"{self._name}:{line}: quote is not closed")
            byte = data[position]
            if byte == quote:
                break
            if byte == 0x5C and position + 1 < len(data):
                text += _unescape(data[position + 1])
                self._line += data[position + 1] == 0x0A
                position += 2
                continue
            self._line += byte == 0x0A
            text.append(byte)
            position += 1
        position += 1
        if position < len(data) and data[position] not in _AFTER_QUOTE:
            raise SyntaxProblem(f"{self._name}:{self._line}: unexpected {chr(data[position])!r} after a closing quote")
        self._position = position
        self._add(Token(bytes(text), start, position, line, True))

    def _word(self) -> None:
        data, start, line = self._data, self._position, self._line
        position, text = start, bytearray()
        variable = False
        while position < len(data):
            byte = data[position]
            if byte == 0x5C and position + 1 < len(data):
                text += _unescape(data[position + 1])
                self._line += data[position + 1] == 0x0A
                position += 2
                variable = False
                continue
            # nginx goes on after "$" as long as braces open: "${name}", and "$/{" ends the word.
            if byte in SPACE or byte == 0x3B or (byte == 0x7B and not variable):
                break
            variable = byte == 0x24 or (variable and byte == 0x7B)
            text.append(byte)
            position += 1
        self._position = position
        self._add(Token(bytes(text), start, position, line))

    def _add(self, token: Token) -> None:
        self._tokens.append(token)


def _unescape(byte: int) -> bytes:
    """nginx drops the backslash before quotes and itself, knows t, r and n, and keeps any other backslash."""
    known = {0x22: b'"', 0x27: b"'", 0x5C: b"\\", 0x74: b"\t", 0x72: b"\r", 0x6E: b"\n"}
    return known.get(byte, bytes([0x5C, byte]))


def _skip_lua_text(data: bytes, position: int) -> int:
    """Past a Lua string, long bracket or comment that begins here, or `position` when none does or it does not end."""
    for shape in _LUA_TEXT:
        found = shape.match(data, position)
        if found is not None:
            return found.end()
    return position
