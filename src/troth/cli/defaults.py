"""Where the value of a flag that was not given comes from: ``STEP_*``, then ``config/defaults.json``."""

import json
from collections.abc import Mapping
from pathlib import Path

import click

from troth.errors import UsageError
from troth.host.contexts import ContextError
from troth.host.steppath import StepPath, context_in_use, step_base

Value = str | list[str]

NEVER_IN_DEFAULTS = ("context", "profile", "authority", "help")
# step forms the variable from a flag's first name, and declares this one as "f,force".
FIRST_NAMES = {"force": "f"}


def configured_values(
    command: click.Command, environment: Mapping[str, str], defaults: Mapping[str, Value]
) -> dict[str, object]:
    """What the environment (``STEP_<FLAG>``) and then ``defaults.json`` say for the options of a command.

    Any of the flag's names will do. A repeatable flag takes commas in the environment, and a JSON list in the file,
    where a text is one value as it stands. An empty variable counts as not set.
    """
    values: dict[str, object] = {}
    for option in command.params:
        if not isinstance(option, click.Option) or option.name is None:
            continue
        names = [name[2:] for name in option.opts if name.startswith("--")]
        found = _from_environment(option, names, environment) or _from_defaults(option, names, defaults)
        if found is not None:
            values[option.name] = found
    return values


def _from_environment(option: click.Option, names: list[str], environment: Mapping[str, str]) -> Value | None:
    shorts = [FIRST_NAMES[name] for name in names if name in FIRST_NAMES]
    given = next((text for key in map(environment_name, shorts + names) if (text := environment.get(key))), None)
    if given is None or not option.multiple:
        return given
    return [word.strip() for word in given.split(",")]


def _from_defaults(option: click.Option, names: list[str], defaults: Mapping[str, Value]) -> Value | None:
    given = next((defaults[name] for name in names if name in defaults and name not in NEVER_IN_DEFAULTS), None)
    if option.multiple:
        return [given] if isinstance(given, str) else given
    return ",".join(given) if isinstance(given, list) else given


def environment_name(flag: str) -> str:
    """``ca-url`` is ``STEP_CA_URL``."""
    return "STEP_" + flag.upper().replace("-", "_")


def defaults_of(context: str, naming: bool) -> dict[str, Value]:
    """``config/defaults.json`` with its values as texts; with contexts the authority's, and the profile's over it.

    Args:
        context: the name that was given, or nothing.
        naming: it need not be one that is known; there are no defaults then.

    Raises:
        TrothError: there is no such context, or a file is there and is not a JSON object.
    """
    base = step_base()
    try:
        chosen = context_in_use(context)
    except ContextError:
        if naming:
            return {}
        raise
    if chosen is None:
        return _read_defaults(StepPath(base).defaults)
    directories = (chosen.authority_path(base), chosen.profile_path(base))
    merged: dict[str, Value] = {}
    for directory in directories:
        merged.update(_read_defaults(StepPath(directory).defaults))
    return merged


def _read_defaults(path: Path) -> dict[str, Value]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        hint = "correct the file, or run: troth ca bootstrap --force"
        raise UsageError(f"{path} is not a JSON object: expected flag names and values", hint=hint)
    return {name: _as_value(value) for name, value in values.items() if value is not None}


def _as_value(value: object) -> Value:
    return [_as_text(item) for item in value] if isinstance(value, list) else _as_text(value)


def _as_text(value: object) -> str:
    """Go, and so step, knows one kind of number: 3072.0 is 3072."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if isinstance(value, str) else json.dumps(value)
