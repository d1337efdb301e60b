"""Help without imports: group help from the table of commands, command help from the texts beside this file.

Loading click costs more than a person's patience for ``--help`` on a small machine, so what click would print is kept
in ``helptexts/`` (written by ``python -m troth.cli.reference``, compared by a test). A command without a text falls
back to click.
"""

import os

from troth.cli.commands import COMMANDS, GROUPS

FLAGS = ("--help", "-h")
TEXTS = os.path.join(os.path.dirname(__file__), "helptexts")  # noqa: PTH118, PTH120 - pathlib costs milliseconds


def step_spelling(arguments: list[str]) -> list[str]:
    """``--version``, and ``help`` before the command it is about, as step takes them, in our own spelling."""
    if arguments in (["--version"], ["-v"]):
        return ["version"]
    for place, word in enumerate(arguments):
        before = " ".join(arguments[:place])
        if before not in COMMANDS or (word != "help" and word not in COMMANDS[before]):
            break
        if word == "help":
            return [*arguments[:place], *arguments[place + 1 :], "--help"]
    return arguments


def find(arguments: list[str]) -> str | None:
    """The help that these arguments ask for, or None when they ask for something else or for what is not stored."""
    words: list[str] = []
    rest = list(arguments)
    while rest and " ".join(words) in COMMANDS and rest[0] in COMMANDS[" ".join(words)]:
        words.append(rest.pop(0))
    group = " ".join(words)
    if group in COMMANDS:
        asked = not rest or rest[0] in FLAGS
        return group_help(group) if asked else None
    before_end = rest[: rest.index("--")] if "--" in rest else rest
    return _stored(words) if any(flag in before_end for flag in FLAGS) else None


def text_name(words: list[str]) -> str:
    """The file name of a command's help."""
    return "-".join(words) + ".txt"


def _stored(words: list[str]) -> str | None:
    try:
        with open(os.path.join(TEXTS, text_name(words)), encoding="utf-8") as stream:  # noqa: PTH118
            return stream.read()
    except OSError:
        return None


def group_help(group: str) -> str:
    """The help of a group: what it is for and its commands."""
    path = f"troth {group}".strip()
    width = max(len(name) for name in COMMANDS[group]) + 2
    lines = [f"Usage: {path} COMMAND [ARGS]...", "", f"  {GROUPS[group]}", "", "Commands:"]
    lines += [f"  {name:<{width}}{short}" for name, (_, short) in sorted(COMMANDS[group].items())]
    lines += ["", f"Run '{path} COMMAND --help' for a command's arguments, flags and examples."]
    if not group:
        lines += ["", "Examples:", *(f"  {line}" for line in _FIRST_STEPS)]
    return "\n".join(lines) + "\n"


_FIRST_STEPS = (
    "troth ca bootstrap --ca-url https://ca.internal:9000 --fingerprint FINGERPRINT",
    'troth ca certificate "myuser" client.crt client.key',
    "troth ca root ca.crt",
)
