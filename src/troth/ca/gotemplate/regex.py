"""Regular expressions in Go's syntax (RE2), matched in time linear in the text: no pattern makes the authority hang.

A pattern becomes a program for a machine whose threads go through the text together (Pike's), the first alternative
first. Unicode classes (``\\p``) and swapped greediness (``(?U)``) are not supported.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

MAX_PROGRAM, MAX_REPEAT, MAX_WORK = 10_000, 1000, 2_000_000
Test = Callable[[str], bool]
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_SETS: dict[str, Test] = {
    "d": lambda c: "0" <= c <= "9",
    "w": lambda c: c in _WORD,
    "s": lambda c: c in "\t\n\f\r ",
}
_POSIX: dict[str, Test] = {
    "alnum": lambda c: c.isascii() and c.isalnum(),
    "alpha": lambda c: c.isascii() and c.isalpha(),
    "digit": lambda c: "0" <= c <= "9",
    "lower": lambda c: "a" <= c <= "z",
    "punct": lambda c: c.isascii() and c.isprintable() and not c.isalnum() and c != " ",
    "space": lambda c: c in "\t\n\v\f\r ",
    "upper": lambda c: "A" <= c <= "Z",
    "word": lambda c: c in _WORD,
    "xdigit": lambda c: c in "0123456789abcdefABCDEF",
}


class Step(NamedTuple):
    """One instruction: ``char``, ``split``, ``jump``, ``save``, ``assert`` or ``match``."""

    do: str
    test: Test | None = None
    to: int = 0
    other: int = 0
    kind: str = ""


# Code is relative: the targets of splits and jumps count from the step itself.
Code = list[Step]


class Regex(NamedTuple):
    """A compiled pattern; groups are numbered from 1, some have names."""

    code: tuple[Step, ...]
    groups: int
    names: dict[str, int]


@lru_cache(maxsize=64)
def compile_regex(pattern: str) -> Regex:
    """Raises: ValueError: it is not a pattern, or not one that is supported."""
    reader = _Reader(pattern)
    code = reader.alternatives("")
    if reader.at < len(pattern):
        raise ValueError("error parsing regexp: unexpected ): `" + pattern + "`")
    whole = [Step("save", to=0), *code, Step("save", to=1), Step("match")]
    return Regex(tuple(whole), reader.groups, reader.names)


class _Reader:
    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.groups = 0
        self.names: dict[str, int] = {}

    def error(self, message: str) -> ValueError:
        return ValueError(f"error parsing regexp: {message}: `{self.pattern}`")

    def alternatives(self, flags: str) -> Code:
        branches: list[Code] = [[]]
        while self.at < len(self.pattern) and self.pattern[self.at] != ")":
            if self.pattern[self.at] == "|":
                self.at += 1
                branches.append([])
            elif self.pattern.startswith("(?", self.at) and (found := self._flags(flags)) is not None:
                flags = found
            else:
                branches[-1] += self._repeated(self._atom(flags))
        code = branches.pop()
        while branches:
            first = branches.pop()
            code = [Step("split", to=1, other=len(first) + 2), *first, Step("jump", to=len(code) + 1), *code]
        if len(code) > MAX_PROGRAM:
            raise self.error("expression too large")
        return code

    def _flags(self, flags: str) -> str | None:
        """``(?i)``: flags for the rest of the group; None if it is something else."""
        end = self.pattern.find(")", self.at)
        text = self.pattern[self.at + 2 : end] if end > 0 else ""
        if not text or set(text) - set("ims-"):
            return None
        self.at = end + 1
        return self._changed(flags, text)

    def _changed(self, flags: str, text: str) -> str:
        on, _, off = text.partition("-")
        return "".join(sorted((set(flags) | set(on)) - set(off)))

    def _atom(self, flags: str) -> Code:
        one = self.pattern[self.at]
        self.at += 1
        if one == "(":
            return self._group(flags)
        if one == "[":
            return [Step("char", self._class(flags))]
        if one == ".":
            return [Step("char", (lambda c: True) if "s" in flags else (lambda c: c != "\n"))]
        if one in "^$":
            return [Step("assert", kind=one + ("m" if "m" in flags else ""))]
        if one in "*+?":
            raise self.error("missing argument to repetition operator")
        if one == "\\":
            return self._escape(flags)
        return [Step("char", _literal(one, flags))]

    def _group(self, flags: str) -> Code:
        number = 0
        if self.pattern.startswith("?", self.at):
            end = self.pattern.find(">", self.at)
            colon = self.pattern.find(":", self.at)
            if self.pattern.startswith(("?P<", "?<"), self.at) and end > 0:
                name = self.pattern[self.pattern.index("<", self.at) + 1 : end]
                if not name.isidentifier() or name in self.names:
                    raise self.error("invalid named capture")
                self.groups += 1
                number = self.names[name] = self.groups
                self.at = end + 1
            elif colon > 0 and not set(self.pattern[self.at + 1 : colon]) - set("ims-"):
                flags = self._changed(flags, self.pattern[self.at + 1 : colon])
                self.at = colon + 1
            else:
                raise self.error("invalid or unsupported Perl syntax")
        else:
            self.groups += 1
            number = self.groups
        inner = self.alternatives(flags)
        if not self.pattern.startswith(")", self.at):
            raise self.error("missing closing )")
        self.at += 1
        return [Step("save", to=2 * number), *inner, Step("save", to=2 * number + 1)] if number else inner

    def _escape(self, flags: str) -> Code:
        one = self.pattern[self.at : self.at + 1]
        if one in ("A", "z", "b", "B") and one:
            self.at += 1
            return [Step("assert", kind=one)]
        return [Step("char", self._escaped(flags))]

    def _escaped(self, flags: str) -> Test:
        """A class such as ``\\d``, or one character."""
        one = self.pattern[self.at : self.at + 1]
        if one.lower() in _SETS and one:
            self.at += 1
            inside = _SETS[one.lower()]
            return inside if one.islower() else (lambda c: not inside(c))
        return _literal(self._character(), flags)

    def _character(self) -> str:
        """What follows a backslash, as one character."""
        one = self.pattern[self.at : self.at + 1]
        self.at += 1
        if one in _ESCAPES:
            return _ESCAPES[one]
        if one == "x":
            digits = self.pattern[self.at : self.at + 2]
            if digits.startswith("{"):
                digits = self.pattern[self.at + 1 : self.pattern.find("}", self.at)]
                self.at += 2
            self.at += len(digits)
            try:
                return chr(int(digits, 16))
            except (ValueError, OverflowError) as error:
                raise self.error("invalid escape sequence") from error
        if not one or one.isalnum() or not one.isascii():
            raise self.error(f"invalid escape sequence: `\\{one}`")
        return one

    def _class(self, flags: str) -> Test:
        tests: list[Test] = []
        negated = self.pattern.startswith("^", self.at)
        self.at += negated
        first = True
        while first or not self.pattern.startswith("]", self.at):
            first = False
            if self.at >= len(self.pattern):
                raise self.error("missing closing ]")
            tests.append(self._member(flags))
        self.at += 1
        inside = tuple(tests)
        return lambda c: any(test(c) for test in inside) != negated

    def _member(self, flags: str) -> Test:
        end = self.pattern.find(":]", self.at)
        if self.pattern.startswith("[:", self.at) and end > 0:
            name = self.pattern[self.at + 2 : end]
            if name.removeprefix("^") not in _POSIX:
                raise self.error("invalid character class range")
            self.at = end + 2
            inside = _POSIX[name.removeprefix("^")]
            return (lambda c: not inside(c)) if name.startswith("^") else inside
        if self.pattern[self.at] == "\\" and self.pattern[self.at + 1 : self.at + 2].lower() in ("d", "w", "s"):
            self.at += 1
            return self._escaped(flags)
        low = self._single()
        if not self.pattern.startswith("-", self.at) or self.pattern.startswith("-]", self.at):
            return _literal(low, flags)
        self.at += 1
        high = self._single()
        if low > high:
            raise self.error(f"invalid character class range: `{low}-{high}`")
        if "i" in flags:
            return lambda c: any(low <= form <= high for form in (c, c.lower(), c.upper()))
        return lambda c: low <= c <= high

    def _single(self) -> str:
        if self.at >= len(self.pattern):
            raise self.error("missing closing ]")
        one = self.pattern[self.at]
        self.at += 1
        return self._character() if one == "\\" else one

    def _repeated(self, code: Code) -> Code:
        bounds = self._bounds()
        if bounds is None:
            return code
        low, high = bounds
        lazy = self.pattern.startswith("?", self.at)
        self.at += lazy
        if self._bounds() is not None:
            raise self.error("invalid nested repetition operator")
        if len(code) * max(low, high or 0, 1) > MAX_PROGRAM:
            raise self.error("expression too large")

        def split(to: int, other: int) -> Step:
            return Step("split", to=other, other=to) if lazy else Step("split", to=to, other=other)

        if high is None:
            if low:
                return [*code * (low - 1), *code, split(-len(code), 1)]
            return [split(1, len(code) + 2), *code, Step("jump", to=-len(code) - 1)]
        optional: Code = []
        for _ in range(high - low):
            optional = [split(1, len(code) + len(optional) + 1), *code, *optional]
        return [*code * low, *optional]

    def _bounds(self) -> tuple[int, int | None] | None:
        """The least and most of a repetition that stands here, None for no end or no repetition."""
        one = self.pattern[self.at : self.at + 1]
        if one and one in "*+?":
            self.at += 1
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[one]
        end = self.pattern.find("}", self.at)
        low, comma, high = self.pattern[self.at + 1 : end].partition(",") if one == "{" and end > 0 else ("", "", "")
        if not low.isdecimal() or (high and not high.isdecimal()):
            return None
        self.at = end + 1
        least, most = int(low), int(high) if high else None if comma else int(low)
        if max(least, most or 0) > MAX_REPEAT or (most is not None and most < least):
            raise self.error("invalid repeat count")
        return least, most


def _literal(one: str, flags: str) -> Test:
    if "i" in flags:
        folded = one.lower()
        return lambda c: c.lower() == folded
    return lambda c: c == one


def _holds(kind: str, text: str, at: int) -> bool:
    if kind in ("^", "A"):
        return at == 0
    if kind in ("$", "z"):
        return at == len(text)
    if kind == "^m":
        return at == 0 or text[at - 1] == "\n"
    if kind == "$m":
        return at == len(text) or text[at] == "\n"
    before = at > 0 and text[at - 1] in _WORD
    after = at < len(text) and text[at] in _WORD
    return (before != after) == (kind == "b")


Saved = dict[int, int]


def search(regex: Regex, text: str, start: int = 0) -> Saved | None:
    """The leftmost match from `start` on: where each group begins (even numbers) and ends; None if there is none.

    Raises:
        ValueError: the text is too long for such a pattern.
    """
    if len(text) * len(regex.code) > MAX_WORK:
        raise ValueError("text is too long for this regular expression")
    threads: list[tuple[int, Saved]] = []
    best: Saved | None = None
    for at in range(start, len(text) + 1):
        seen: set[int] = set()
        ready: list[tuple[int, Saved]] = []
        for step, saved in threads:
            _follow(regex, text, at, step, saved, seen, ready)
        if best is None:
            _follow(regex, text, at, 0, {}, seen, ready)
        threads = []
        for step, saved in ready:
            one = regex.code[step]
            if one.do == "match":
                best = saved
                break
            if one.test is not None and at < len(text) and one.test(text[at]):
                threads.append((step + 1, saved))
        if best is not None and not threads:
            break
    return best


def _follow(
    regex: Regex, text: str, at: int, step: int, saved: Saved, seen: set[int], ready: list[tuple[int, Saved]]
) -> None:
    """Every step that a thread reaches without reading on, the preferred ones first."""
    stack = [(step, saved)]
    while stack:
        step, saved = stack.pop()
        if step in seen:
            continue
        seen.add(step)
        one = regex.code[step]
        if one.do == "jump":
            stack.append((step + one.to, saved))
        elif one.do == "split":
            stack.append((step + one.other, saved))
            stack.append((step + one.to, saved))
        elif one.do == "save":
            stack.append((step + 1, {**saved, one.to: at}))
        elif one.do == "assert":
            if _holds(one.kind, text, at):
                stack.append((step + 1, saved))
        else:
            ready.append((step, saved))


def find_all(regex: Regex, text: str, limit: int = -1) -> Iterator[Saved]:
    """Matches that do not overlap, at most `limit`; an empty one is not taken right after another match."""
    at, before = 0, -1
    while at <= len(text) and limit != 0:
        found = search(regex, text, at)
        if found is None:
            return
        begin, end = found[0], found[1]
        if end > begin or begin != before:
            limit -= 1
            yield found
        before = end
        at = end if end > begin else end + 1
