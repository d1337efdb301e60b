"""Changes to the text of ``ca.json``: everything that is not changed stays, in its place, also what nobody knows."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from troth.ca import ConfigurationError
from troth.ca.config import parse_configuration


def add_provisioner(raw: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """With one more provisioner at the end.

    Raises:
        ConfigurationError: there is one of that name.
    """
    name = entry["name"]
    if any(one.get("name") == name for one in provisioners(raw)):
        hint = f"to change it: troth ca provisioner update {shlex.quote(str(name))}"
        raise ConfigurationError(f"provisioner {name!r} exists already", hint=hint)
    return _with(raw, [*provisioners(raw), dict(entry)])


def replace_provisioner(raw: Mapping[str, Any], name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """With a provisioner changed, at its place.

    Raises:
        ConfigurationError: there is none, or its new name is taken.
    """
    find_provisioner(raw, name)
    if entry["name"] != name and any(one.get("name") == entry["name"] for one in provisioners(raw)):
        raise ConfigurationError(f"provisioner {entry['name']!r} exists already")
    return _with(raw, [dict(entry) if one.get("name") == name else one for one in provisioners(raw)])


def remove_provisioner(raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Without a provisioner.

    Raises:
        ConfigurationError: there is none of that name.
    """
    find_provisioner(raw, name)
    return _with(raw, [one for one in provisioners(raw) if one.get("name") != name])


def find_provisioner(raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The entry of a provisioner.

    Raises:
        ConfigurationError: there is none of that name.
    """
    found = next((one for one in provisioners(raw) if one.get("name") == name), None)
    if found is None:
        known = ", ".join(str(one.get("name")) for one in provisioners(raw)) or "none"
        raise ConfigurationError(f"no provisioner {name!r}: there are {known}")
    return found


def provisioners(raw: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entries.

    Raises:
        ConfigurationError: ``authority.provisioners`` is no list of objects, or kept elsewhere (``enableAdmin``).
    """
    authority = raw.get("authority") or {}
    found = (authority.get("provisioners") or []) if isinstance(authority, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ConfigurationError("authority.provisioners: expected a list of objects")
    if authority.get("enableAdmin"):
        raise ConfigurationError(
            "authority.enableAdmin is set: step-ca keeps the provisioners in its database, not here"
        )
    return found


def _with(raw: Mapping[str, Any], entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {**raw, "authority": {**(raw.get("authority") or {}), "provisioners": entries}}


def read_object(text: str, what: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ConfigurationError: it is something else.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{what} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ConfigurationError(f"{what}: expected a JSON object")
    return value


def to_text(raw: Mapping[str, Any]) -> str:
    """The file's text, indented with tabs as step-ca's own is."""
    return json.dumps(raw, indent="\t", ensure_ascii=False) + "\n"


def checked_text(raw: Mapping[str, Any]) -> str:
    """The text of a ``ca.json`` that an authority starts on.

    Raises:
        ConfigurationError: it would not.
    """
    text = to_text(raw)
    parse_configuration(text)
    return text
