"""A line of an error log, taken apart as nginx writes it."""

import re
from dataclasses import dataclass

from troth.nginx.target import Target, parse_target

_FIELD = re.compile(r', (client|server|request|upstream|host): ("[^"]*"|[^,]*)')
_REQUEST = re.compile(r"^\S+ (\S+)")
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:]+\]|[\d.]+):\d+")
_FAMILY = re.compile(r"\b(grpc|uwsgi)_ssl|\b(grpc|uwsgi|suwsgi)s?://")


@dataclass(frozen=True, slots=True)
class Symptom:
    """A text, and where it was seen (empty: wherever it fits); the rest is what the line tells besides."""

    text: str
    source: str = ""
    server: str = ""
    path: str = ""
    upstream: Target | None = None


def parse_symptom(line: str, source: str = "") -> Symptom:
    """A log line, a message of ``nginx -t`` or any other text."""
    text = line.strip()
    fields = {one[1]: one[2].strip('"') for one in _FIELD.finditer(text)}
    request = _REQUEST.match(fields.get("request", ""))
    upstream = parse_target(fields["upstream"]) if _is_address(fields.get("upstream", "")) else None
    return Symptom(
        text,
        source,
        fields.get("server", ""),
        request[1].partition("?")[0] if request else "",
        upstream,
    )


def _is_address(upstream: str) -> bool:
    """Whether it tells whom nginx called; that of stream is an address alone."""
    return "://" in upstream or bool(_ADDRESS.fullmatch(upstream)) or upstream.startswith("unix:")


def family_of(text: str) -> str:
    """What the directives of the fix begin with, where the line tells."""
    found = _FAMILY.search(text)
    return (found[1] or found[2]).removeprefix("s") if found else ""
