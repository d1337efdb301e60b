"""JSON from strangers, read so that there is one reading of it: what two parsers would differ on is refused."""

import json
from typing import Any


def read_object(data: bytes) -> dict[str, Any]:
    """A JSON object in UTF-8, no member twice, without ``NaN`` and the like, and without halves of surrogate pairs.

    Raises:
        ValueError: it is something else.
    """
    text = data.decode()
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("not an object")
    if "\\u" in text:  # JSON can spell what UTF-8, and so a database or a signature, cannot hold
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member is there twice")
    return found


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
