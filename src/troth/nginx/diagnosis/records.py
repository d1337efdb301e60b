"""What people paste and log collectors keep, back to lines as nginx wrote them."""

import json
import re
from collections.abc import Iterator, Sequence

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# What begins a record: nginx's own time or level, journald's or syslog's prefix, a collector's time or JSON.
_BEGIN = re.compile(
    r"\s*(?:\d{4}[/-]\d\d[/-]\d\d[T ]\d\d:\d\d|nginx: |\[(?:emerg|alert|crit|error|warn|notice|info)\]|<\d+>|\{\""
    r"|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d )"
)
# Where collectors keep the line: Docker, journald, CRI and most others.
_KEYS = ("log", "MESSAGE", "message", "msg", "@message", "event")
_NESTED = 3


def plain(line: str, depth: int = _NESTED) -> str:
    """A line without colours, out of the JSON that a collector wrapped it in."""
    text = _COLOUR.sub("", line).strip()
    if not text.startswith("{") or depth == 0:
        return text
    try:
        value = json.loads(text)
    except ValueError:
        # Cut off somewhere: what is there may be enough.
        return text.replace('\\"', '"')
    found = next((value[key] for key in _KEYS if key in value), None) if isinstance(value, dict) else None
    if isinstance(found, list) and all(isinstance(one, int) and 0 <= one < 256 for one in found):
        # journald gives bytes where a line is no text to it.
        found = bytes(found).decode("utf-8", "replace")
    return plain(found, depth - 1) if isinstance(found, str) else text


def records(lines: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The records of pasted lines, each in the ways that it may have been before it was broken into lines.

    A terminal breaks a line anywhere, a mail program at a blank: both readings are given, the likelier first.
    """
    held: list[str] = []
    for line in (_COLOUR.sub("", one).rstrip("\r\n") for one in lines):
        if not line.strip():
            continue
        if held and _BEGIN.match(line):
            yield _readings(held)
            held = []
        held.append(line)
    if held:
        yield _readings(held)


def _readings(parts: Sequence[str]) -> tuple[str, ...]:
    if len(parts) == 1:
        return (plain(parts[0]),)
    bare = [part.strip() for part in parts]
    return tuple(dict.fromkeys((plain(" ".join(bare)), plain("".join(bare)), plain("".join(parts)))))
