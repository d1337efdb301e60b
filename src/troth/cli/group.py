"""Click groups whose commands are imported when they are called, and step's order of flag, environment, defaults."""

import difflib
import importlib
import os

import click
from click.shell_completion import CompletionItem

from troth.cli import help as help_texts
from troth.cli.commands import COMMANDS, GROUPS
from troth.cli.defaults import configured_values, defaults_of
from troth.errors import TrothError, UsageError
from troth.host.steppath import ENVIRONMENT

# Groups whose flags are step's and may therefore come from STEP_* and defaults.json; init and serve describe an
# authority of this machine, where a client's defaults would be wrong (init looks into the environment).
CONFIGURABLE = (
    "ca",
    "ca provisioner",
    "certificate",
    "crypto",
    "crypto jwk",
    "crypto jwk keyset",
    "crypto jwt",
)
NOT_CONFIGURABLE = ("init", "serve")
# Commands whose --context names one that need not be there yet.
NAMING = ("bootstrap",)
# A client's, which say nothing of an authority that is to be made; step leaves the first two out as well.
NEVER_FOR_INIT = ("root", "key", "context", "profile", "authority", "force")


class UnknownCommandError(UsageError):
    """There is no such command (step exits 3)."""

    exit_code = 3


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is called."""

    def __init__(self, path: str) -> None:
        super().__init__(name=path.rpartition(" ")[2] or "troth", help=GROUPS[path])
        self.path = path

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS[self.path])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return load_command(self.path, cmd_name) if cmd_name in COMMANDS[self.path] else None

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write(help_texts.group_help(self.path))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        found = {name: short for name, (_, short) in COMMANDS[self.path].items() if name.startswith(incomplete)}
        return [CompletionItem(name, help=short) for name, short in sorted(found.items())]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS[self.path]:
            raise _unknown(self.path, name)
        command = load_command(self.path, name)
        if _is_configurable(self.path) and name not in NOT_CONFIGURABLE:
            context = _given_context(command, args[1:])
            ctx.default_map = {name: configured_values(command, os.environ, defaults_of(context, name in NAMING))}
        elif (self.path, name) == ("ca", "init"):
            values = configured_values(command, os.environ, {})
            ctx.default_map = {name: {key: value for key, value in values.items() if key not in NEVER_FOR_INIT}}
        return name, command, args[1:]


def _is_configurable(group: str) -> bool:
    return group in CONFIGURABLE or group.startswith("ca policy ")


def load_root() -> LazyGroup:
    """The command ``troth``."""
    return LazyGroup("")


def load_command(group: str, name: str) -> click.Command:
    """Import one command of the table.

    Raises:
        UsageError: this installation has no such module.
    """
    target, _ = COMMANDS[group][name]
    if not target:
        return LazyGroup(f"{group} {name}".strip())
    module_name, _, attribute = target.partition(":")
    try:
        command = getattr(importlib.import_module(module_name), attribute, None)
    except ModuleNotFoundError as error:
        if error.name != module_name:
            raise TrothError(
                f"'troth {group} {name}' needs the Python module {error.name!r}, which is not installed",
                hint="install troth again with its dependencies",
            ) from error
        command = None
    if command is None:
        raise UsageError(f"'{' '.join(['troth', *group.split(), name])}' is not part of this installation")
    if not isinstance(command, click.Command):
        raise TypeError(f"{target} is not a click command")
    if group.split()[0:1] == ["ca"] and not any(option.name == "context" for option in command.params):
        command.params.append(_context_option())
    return command


def _context_option() -> click.Option:
    """``--context`` of every ``ca`` command; read before its other flags, whose defaults it decides."""
    return click.Option(
        ["--context"],
        metavar="NAME",
        expose_value=False,
        help="Use this context, not the current one.",
    )


def _given_context(command: click.Command, args: list[str]) -> str:
    """What ``--context`` says; kept as ``STEP_CONTEXT``, where everything that asks for the step path looks."""
    if not any("--context" in option.opts for option in command.params):
        return ""
    given = ""
    for index, word in enumerate(args):
        if word == "--":
            break
        if word == "--context" and index + 1 < len(args):
            given = args[index + 1]
        elif word.startswith("--context="):
            given = word.removeprefix("--context=")
    if given:
        os.environ[ENVIRONMENT] = given
    return given or os.environ.get(ENVIRONMENT, "")


def _unknown(group: str, name: str) -> UnknownCommandError:
    path = f"troth {group}".strip()
    close = difflib.get_close_matches(name.lower(), COMMANDS[group], 1)
    hint = f"did you mean: {path} {close[0]}" if close else f"run: {path} --help"
    return UnknownCommandError(f"unknown command '{path} {name}'", hint=hint)
