"""Write the help texts that ``--help`` prints, and the reference made of them: ``python -m troth.cli.reference``.

Run it after changing a command's flags; a test compares what is committed with what the commands say now.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from troth.cli.commands import COMMANDS, GROUPS
from troth.cli.group import load_command
from troth.cli.help import TEXTS, group_help, text_name
from troth.errors import UsageError

WIDTH = 100


def command_paths(group: str = "") -> Iterator[list[str]]:
    """Every command that is not a group, as words."""
    for name in COMMANDS[group]:
        path = f"{group} {name}".strip()
        if path in COMMANDS:
            yield from command_paths(path)
        else:
            yield path.split()


def render(words: list[str]) -> str | None:
    """What click prints for a command's ``--help``; None when this installation does not have the command."""
    try:
        command = load_command(" ".join(words[:-1]), words[-1])
    except UsageError:
        return None
    # Only the names of the groups matter here; a bare one has no usage of its own that would be printed between them.
    above = click.Context(click.Group(), info_name=" ".join(["troth", *words[:-1]]))
    context = click.Context(command, parent=above, info_name=words[-1], terminal_width=WIDTH, max_content_width=WIDTH)
    return command.get_help(context).rstrip() + "\n"


def help_files() -> dict[str, str]:
    """File name and text of every command's help."""
    rendered = {text_name(words): render(words) for words in command_paths()}
    return {name: text for name, text in rendered.items() if text is not None}


def markdown() -> str:
    """The reference: every group and command with its help."""
    parts = [
        "# Command line",
        "",
        "Made by `python -m troth.cli.reference` from what the commands print with `--help`.",
        "",
        "A flag that is not given is looked up in the environment (`STEP_<FLAG>`, so `STEP_CA_URL` is `--ca-url`)",
        "and then in `config/defaults.json` below the step path (`$STEPPATH`, or `~/.step`); this holds for the `ca`,",
        "`certificate` and `crypto` commands except `ca serve`; `ca init` looks into the environment only.",
        "",
        "Exit codes: 0 fine, 1 refused or failed, 3 unknown command, 130 interrupted; others where a command says so.",
        "Errors are lines on stderr, `error: ...` and often `hint: ...`; `STEPDEBUG=1` adds the details.",
        "Data goes to stdout, progress and questions to stderr and the terminal.",
    ]
    for group in sorted(GROUPS):
        parts += ["", f"## {f'troth {group}'.strip()}", "", "```text", group_help(group).rstrip(), "```"]
        for name in sorted(COMMANDS[group]):
            words = f"{group} {name}".split()
            text = None if " ".join(words) in COMMANDS else render(words)
            if text is not None:
                parts += ["", f"### troth {' '.join(words)}", "", "```text", text.rstrip(), "```"]
    return "\n".join(parts) + "\n"


def write(root: Path) -> None:
    """Write the help texts into the package and the reference below `root`."""
    texts = Path(TEXTS)
    texts.mkdir(exist_ok=True)
    wanted = help_files()
    for name, text in wanted.items():
        (texts / name).write_text(text, encoding="utf-8")
    for stale in {path.name for path in texts.glob("*.txt")} - set(wanted):
        (texts / stale).unlink()
    target = root / "docs" / "reference" / "cli.md"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(markdown(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path.cwd())
