"""Error logs, newest line first, whatever their size: rotated and compressed ones too."""

import gzip
import re
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from troth.agent.doctor import Known, explain, place_of
from troth.errors import TrothError
from troth.nginx.diagnosis import Diagnosis, explaining
from troth.nginx.diagnosis.records import plain
from troth.nginx.diagnosis.symptom import Symptom, parse_symptom
from troth.nginx.map import Place, effective

CHUNK_BYTES = 1_000_000
# Older lines tell of another time; and no log keeps the doctor busy for minutes.
MOST_BYTES = 64_000_000
MOST_KINDS = 10_000


def log_files(known: Known, places: Sequence[Place]) -> list[Path]:
    """The error logs of these places and the main one."""
    base = known.nginx.base
    names = [effective(place.node, "error_log") for place in places]
    said = [node.arguments[0] for node in names if node is not None and node.arguments]
    main = known.nginx.error_log()
    paths = [base / one for one in said if one != "stderr" and not one.startswith(("syslog:", "memory:"))]
    return list(dict.fromkeys([*paths, *([main] if main is not None else [])]))


def newest_lines(path: Path) -> Iterator[str]:
    """The lines of a log from its end on, at most 64 MB of them; of a ``.gz`` the last 64 MB of what is in it.

    Raises:
        TrothError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            packed = stream.read(2) == b"\x1f\x8b"
            yield from _lines(_unpacked(stream) if packed else _backwards(stream))
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TrothError(f"cannot read {path}: {reason.lower()}", hint="expected an error log of nginx") from error


def _backwards(stream: BinaryIO) -> Iterator[bytes]:
    end = stream.seek(0, 2)
    least = max(0, end - MOST_BYTES)
    while end > least:
        begin = max(least, end - CHUNK_BYTES)
        stream.seek(begin)
        yield stream.read(end - begin)
        end = begin


def _unpacked(stream: BinaryIO) -> Iterator[bytes]:
    """A stream that can only be read forwards: its last chunks, the last one first."""
    stream.seek(0)
    chunks: deque[bytes] = deque(maxlen=MOST_BYTES // CHUNK_BYTES)
    try:
        with gzip.open(stream) as unpacked:
            while chunk := unpacked.read(CHUNK_BYTES):
                chunks.append(chunk)
    except EOFError:
        # Of a log that is cut off the beginning is good.
        if not chunks:
            raise
    while chunks:
        yield chunks.pop()


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    head = b""
    for chunk in chunks:
        first, *rest = (chunk + head).split(b"\n")
        for line in reversed(rest):
            yield line.decode("utf-8", "replace")
        # A line without an end is no line of nginx's, which cuts its own at 2 kB.
        head = first[-CHUNK_BYTES:]
    yield head.decode("utf-8", "replace")


def from_log(lines: Iterable[str], why: str, known: Known | None, places: Sequence[Place]) -> Iterator[Diagnosis]:
    """The causes of the lines of a log, each cause once, in the order of the lines.

    Args:
        lines: the log, its newest line first.
        why: the status of interest, or empty.
        known: the configuration, if it is this machine's.
        places: only lines about these places; empty for all lines.
    """
    kinds: dict[str, bool] = {}
    seen: set[tuple[str, str]] = set()
    for line in map(plain, lines):
        if not line or not _is_known(line, why, kinds):
            continue
        symptom = parse_symptom(line)
        place = place_of(symptom, known.subject) if known is not None else None
        about = (re.sub(r"\d+", "", line.partition(", client:")[0]), place.where if place else "")
        if (places and place not in places) or about in seen:
            continue
        seen.add(about)
        found = explain(symptom, known, place)
        if found is not None and (not why or str(found.status) == why):
            yield found


def _is_known(line: str, why: str, kinds: dict[str, bool]) -> bool:
    """Whether any rule knows the line at all; asked once for lines of one kind, since a log is full of the same."""
    head, running, _ = line.partition(", client:")
    kind = re.sub(r'"[^"]*"|\d+' if running else r"\d+", "", head)
    if kind not in kinds:
        if len(kinds) >= MOST_KINDS:
            kinds.clear()
        kinds[kind] = any(not why or str(rule.status) == why for rule in explaining(Symptom(line)))
    return kinds[kind]
