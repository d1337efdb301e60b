"""From template text to tokens with lines: text outside ``{{ }}``, and the words inside."""

from collections.abc import Iterator
from enum import Enum, auto
from typing import NamedTuple

from troth.ca.gotemplate import TemplateSyntaxError

LEFT, RIGHT = "{{", "}}"
SPACES = " \t\r\n"
_TERMINATORS = frozenset(".,|:)(") | frozenset(SPACES)


class Kind(Enum):
    """What a token is."""

    TEXT = auto()
    LEFT = auto()
    RIGHT = auto()
    SPACE = auto()
    IDENTIFIER = auto()
    KEYWORD = auto()
    FIELD = auto()
    VARIABLE = auto()
    DOT = auto()
    NIL = auto()
    BOOL = auto()
    NUMBER = auto()
    CHARACTER = auto()
    STRING = auto()
    RAW_STRING = auto()
    PIPE = auto()
    DECLARE = auto()
    ASSIGN = auto()
    OPEN = auto()
    CLOSE = auto()
    PUNCTUATION = auto()
    EOF = auto()


class Token(NamedTuple):
    """A piece of the text as written, and the line (from 1) it begins on."""

    kind: Kind
    text: str
    line: int


KEYWORDS = frozenset(("block", "break", "continue", "define", "else", "end", "if", "range", "template", "with"))
_SINGLE = {"|": Kind.PIPE, "=": Kind.ASSIGN}


def tokens(name: str, text: str) -> list[Token]:
    """Every token of a template, the last one `Kind.EOF`.

    Raises:
        TemplateSyntaxError: a comment, action, string or number is malformed; the message names template and line.
    """
    return list(_Lexer(name, text).run())


class _Lexer:
    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._text = text
        self._at = 0
        self._line = 1
        self._depth = 0

    def run(self) -> Iterator[Token]:
        while self._at < len(self._text):
            left = self._text.find(LEFT, self._at)
            end = len(self._text) if left < 0 else left
            plain = self._text[self._at : end]
            trimmed = plain.rstrip(SPACES) if left >= 0 and self._trims_left(left + len(LEFT)) else plain
            if trimmed:
                yield Token(Kind.TEXT, trimmed, self._line)
            self._advance(end)
            if left >= 0:
                yield from self._action()
        yield Token(Kind.EOF, "EOF", self._line)

    def _trims_left(self, at: int) -> bool:
        return self._text[at : at + 1] == "-" and self._text[at + 1 : at + 2] in tuple(SPACES)

    def _advance(self, to: int) -> str:
        piece = self._text[self._at : to]
        self._line += piece.count("\n")
        self._at = to
        return piece

    def _right(self) -> int:
        """The length of a right delimiter here, its trim marker included; 0 if there is none."""
        rest = self._text[self._at : self._at + 4]
        if rest[:1] in tuple(SPACES) and rest[1:] == "-" + RIGHT:
            return 4
        return 2 if rest.startswith(RIGHT) else 0

    def _close(self, length: int) -> None:
        self._advance(self._at + length)
        if length == 4:
            after = self._at
            while after < len(self._text) and self._text[after] in SPACES:
                after += 1
            self._advance(after)

    def _action(self) -> Iterator[Token]:
        line = self._line
        skip = 2 if self._trims_left(self._at + len(LEFT)) else 0
        if self._text.startswith("/*", self._at + len(LEFT) + skip):
            self._advance(self._at + len(LEFT) + skip)
            self._comment()
            return
        self._advance(self._at + len(LEFT))
        yield Token(Kind.LEFT, LEFT, line)
        self._advance(self._at + skip)
        self._depth = 0
        while True:
            length = self._right()
            if length:
                if self._depth:
                    raise self._error("unclosed left paren")
                line = self._line
                self._close(length)
                yield Token(Kind.RIGHT, RIGHT, line)
                return
            yield self._inside()

    def _comment(self) -> None:
        line = self._line
        end = self._text.find("*/", self._at + 2)
        if end < 0:
            raise self._error("unclosed comment", line)
        self._advance(end + 2)
        length = self._right()
        if not length:
            raise self._error("comment ends before closing delimiter", line)
        self._close(length)

    def _inside(self) -> Token:
        if self._at >= len(self._text):
            raise self._error("unclosed action")
        first = self._text[self._at]
        if first in SPACES:
            return self._space()
        if first in _SINGLE:
            return self._take(_SINGLE[first], self._at + 1)
        if first == ":":
            if not self._text.startswith(":=", self._at):
                raise self._error("expected :=")
            return self._take(Kind.DECLARE, self._at + 2)
        if first in "\"'":
            return self._quoted(first)
        if first == "`":
            end = self._text.find("`", self._at + 1)
            if end < 0:
                raise self._error("unterminated raw quoted string")
            return self._take(Kind.RAW_STRING, end + 1)
        if first == "$":
            return self._word(Kind.VARIABLE, Kind.VARIABLE)
        following = self._text[self._at + 1 : self._at + 2]
        if first == "." and not (following.isascii() and following.isdigit()):
            return self._word(Kind.FIELD, Kind.DOT)
        if first in ".+-" or (first.isascii() and first.isdigit()):
            return self._number()
        if _is_alphanumeric(first):
            return self._identifier()
        return self._punctuation(first)

    def _punctuation(self, first: str) -> Token:
        if first == "(":
            self._depth += 1
            return self._take(Kind.OPEN, self._at + 1)
        if first == ")":
            self._depth -= 1
            if self._depth < 0:
                raise self._error("unexpected right paren")
            return self._take(Kind.CLOSE, self._at + 1)
        if first.isascii() and first.isprintable():
            return self._take(Kind.PUNCTUATION, self._at + 1)
        raise self._error(f"unrecognized character in action: {_unicode(first)}")

    def _take(self, kind: Kind, end: int) -> Token:
        line = self._line
        return Token(kind, self._advance(end), line)

    def _space(self) -> Token:
        end = self._at
        while end < len(self._text) and self._text[end] in SPACES:
            end += 1
        if self._text.startswith("-" + RIGHT, end):
            end -= 1  # the last space belongs to the trim marker
        return self._take(Kind.SPACE, end)

    def _quoted(self, quote: str) -> Token:
        end = self._at + 1
        while end < len(self._text) and self._text[end] not in (quote, "\n"):
            end += 2 if self._text[end] == "\\" and self._text[end + 1 : end + 2] != "\n" else 1
        if end >= len(self._text) or self._text[end] != quote:
            raise self._error("unterminated quoted string" if quote == '"' else "unterminated character constant")
        return self._take(Kind.STRING if quote == '"' else Kind.CHARACTER, end + 1)

    def _end_of_word(self, start: int) -> int:
        end = start
        while end < len(self._text) and _is_alphanumeric(self._text[end]):
            end += 1
        if end < len(self._text) and self._text[end] not in _TERMINATORS and not self._text.startswith(RIGHT, end):
            raise self._error(f"bad character {_unicode(self._text[end])}")
        return end

    def _word(self, kind: Kind, alone: Kind) -> Token:
        """A field or variable; `alone` is what the bare ``.`` or ``$`` is."""
        start = self._at + 1
        if self._text[start : start + 1] in tuple(_TERMINATORS) or self._text.startswith(RIGHT, start):
            return self._take(alone, start)
        return self._take(kind, self._end_of_word(start))

    def _identifier(self) -> Token:
        end = self._end_of_word(self._at)
        word = self._text[self._at : end]
        if word in KEYWORDS:
            return self._take(Kind.KEYWORD, end)
        if word == "nil":
            return self._take(Kind.NIL, end)
        return self._take(Kind.BOOL if word in ("true", "false") else Kind.IDENTIFIER, end)

    def _number(self) -> Token:
        """A run that may be a number; whether it is one, the parser finds out."""
        end = self._at + 1 if self._text[self._at] in "+-" else self._at
        hexadecimal = self._text[end : end + 2] in ("0x", "0X")
        exponents = "pP" if hexadecimal else "eE"
        while end < len(self._text) and (self._text[end] in "._" or _is_alphanumeric(self._text[end])):
            end += 1
            if self._text[end - 1] in exponents and self._text[end : end + 1] in ("+", "-"):
                end += 1
        return self._take(Kind.NUMBER, end)

    def _error(self, message: str, line: int = 0) -> TemplateSyntaxError:
        return TemplateSyntaxError(f"template: {self._name}:{line or self._line}: {message}")


def _is_alphanumeric(character: str) -> bool:
    return character == "_" or character.isalpha() or character.isdecimal()


def _unicode(character: str) -> str:
    return f"U+{ord(character):04X} {character!r}"
