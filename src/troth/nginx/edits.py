"""Edits of files as values: byte ranges replaced, whole lines where a directive has its lines to itself."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from troth.nginx import NginxError


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace ``file[start:end]`` by `text`; insertion when both are equal."""

    file: str
    start: int
    end: int
    text: bytes


def apply_edits(files: Mapping[str, bytes], edits: Sequence[Edit]) -> dict[str, bytes]:
    """The files with all edits made; the others are left out.

    Raises:
        NginxError: two edits overlap.
    """
    changed: dict[str, bytes] = {}
    for name in {edit.file for edit in edits}:
        data = files[name]
        limit = len(data) + 1
        for edit in sorted((e for e in edits if e.file == name), key=lambda e: (e.start, e.end), reverse=True):
            if edit.end > limit:
                raise NginxError(f"two changes of {name} overlap")
            data = data[: edit.start] + edit.text + data[edit.end :]
            limit = edit.start
        changed[name] = data
    return changed


def replacement(data: bytes, spans: Sequence[tuple[int, int]], text: bytes | None, file: str) -> list[Edit]:
    """Take directives away and, when there is a `text`, put it as one line where the first of them stood.

    Whole lines go when nothing but these directives stands on them; `text` gets the indent and line end of its place,
    and loses its comment where it must stand beside something else.
    """
    bare = bytearray(data)
    for start, end in spans:
        bare[start:end] = b" " * (end - start)
    edits: list[Edit] = []
    for group in _by_lines(data, sorted(spans)):
        start, end = group[0][0], group[-1][1]
        first, last = line_start(data, start), line_end(data, end)
        rest = bare[end:last].lstrip(b" \t")
        put = b"" if edits or text is None else text
        if not bare[first:last].strip():
            newline = eol(data, start) if data[:last].endswith(b"\n") else b""
            edits.append(Edit(file, first, last, data[first:start] + put + newline if put else b""))
        elif put and rest.startswith(b"#") and not bare[first:end].strip():
            # A comment behind it gets a line of its own.
            edits.append(Edit(file, start, last - len(rest), put + eol(data, start) + data[first:start]))
        else:
            edits += _inline(data, group, _beside(put), file)
    return edits


def _by_lines(data: bytes, spans: Sequence[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Spans that share a line together."""
    groups: list[list[tuple[int, int]]] = []
    for span in spans:
        if groups and line_start(data, span[0]) < line_end(data, groups[-1][-1][1]):
            groups[-1].append(span)
        else:
            groups.append([span])
    return groups


def _inline(data: bytes, spans: Sequence[tuple[int, int]], text: bytes, file: str) -> list[Edit]:
    """Bytes of directives that stand among others, with the blanks behind those that nothing replaces."""
    edits = []
    for index, (start, end) in enumerate(spans):
        put = text if index == 0 else b""
        while not put and data[end : end + 1] in (b" ", b"\t"):
            end += 1
        edits.append(Edit(file, start, end, put))
    return edits


def after_line(data: bytes, end: int, text: bytes, file: str) -> Edit:
    """Put a line below the directive that ends at `end`, indented like it; beside it in a one-line block."""
    first, last = line_start(data, end), line_end(data, end)
    rest = data[end:last].strip()
    if not data[:last].endswith(b"\n") or (rest and not rest.startswith(b"#")):
        return Edit(file, end, end, b" " + _beside(text))
    line = data[first:last]
    return Edit(file, last, last, line[: len(line) - len(line.lstrip(b" \t"))] + text + eol(data, end))


def _beside(text: bytes) -> bytes:
    """Without the comment, which would swallow what follows."""
    return text.split(b"  #")[0]


def after_brace(data: bytes, brace: int, text: bytes, file: str) -> Edit:
    """Put a line first into a block whose ``{`` is at `brace`, indented like what follows."""
    last = line_end(data, brace + 1)
    rest = data[brace + 1 : last]
    if rest.strip() and not rest.strip().startswith(b"#"):
        return Edit(file, brace + 1, brace + 1, b" " + _beside(text))
    end = eol(data, brace)
    if not data[:last].endswith(b"\n"):
        return Edit(file, last, last, end + b"    " + text + end)
    return Edit(file, last, last, _indent_after(data, last) + text + end)


def _indent_after(data: bytes, position: int) -> bytes:
    """The indent of the next line that has something on it and is not the closing brace."""
    for line in data[position:].splitlines():
        bare = line.strip()
        if bare:
            return b"    " if bare.startswith(b"}") else line[: len(line) - len(line.lstrip())]
    return b"    "


def line_start(data: bytes, position: int) -> int:
    return data.rfind(b"\n", 0, position) + 1


def line_end(data: bytes, position: int) -> int:
    """One past the newline that ends the line, or the end of the file."""
    found = data.find(b"\n", position)
    return len(data) if found < 0 else found + 1


def eol(data: bytes, position: int = 0) -> bytes:
    """The line end at a position, or the one before it where the file ends without."""
    found = data.find(b"\n", position)
    found = found if found >= 0 else data.rfind(b"\n")
    return b"\r\n" if found > 0 and data[found - 1 : found] == b"\r" else b"\n"


def unified(old: bytes, new: bytes, name: str, *, fresh: bool = False) -> str:
    """A unified diff of one file; bytes that are not UTF-8 are shown escaped."""
    before, after = (data.decode("utf-8", "backslashreplace").splitlines(keepends=True) for data in (old, new))
    lines = difflib.unified_diff(before, after, "/dev/null" if fresh else f"a{name}", f"b{name}")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def revert_text(now: bytes, before: bytes, after: bytes) -> bytes | None:
    """Take back the change from `before` to `after` in a text that others have edited since.

    A three-way merge by lines: their change from `after` to `now` stays, ours is made backwards.

    Returns:
        The text without our change, or None when both touched the same lines.
    """
    base = after.splitlines(keepends=True)
    ours, theirs = (_hunks(base, text.splitlines(keepends=True)) for text in (before, now))
    for one in ours:
        for two in theirs:
            same_place = one[:2] == two[:2] and one[0] == one[1]
            if one != two and (same_place or (one[0] < two[1] and two[0] < one[1])):
                return None
    result: list[bytes] = []
    position = 0
    for start, end, lines in sorted({*ours, *theirs}):
        result += [*base[position:start], *lines]
        position = end
    return b"".join(result + base[position:])


def _hunks(base: list[bytes], changed: list[bytes]) -> list[tuple[int, int, tuple[bytes, ...]]]:
    """Lines ``[start:end]`` of `base` become these."""
    matcher = difflib.SequenceMatcher(None, base, changed, autojunk=False)
    return [(i, j, tuple(changed[k:m])) for kind, i, j, k, m in matcher.get_opcodes() if kind != "equal"]
