"""``troth completion``: the script by which a shell completes commands and flags."""

import click

from troth.cli import flags

EXAMPLES = """
source <(troth completion bash)
troth completion zsh > ~/.zfunc/_troth
troth completion fish > ~/.config/fish/completions/troth.fish
"""
SHELLS = ("bash", "zsh", "fish")


@flags.command("completion", EXAMPLES)
@click.argument("shell", metavar="bash|zsh|fish")
def completion(shell: str) -> None:
    """Print the completion script of a shell."""
    from click.shell_completion import get_completion_class

    from troth.cli.group import load_root
    from troth.errors import UsageError

    maker = get_completion_class(shell) if shell in SHELLS else None
    if maker is None:
        raise UsageError(f"unknown shell {shell!r}: expected bash, zsh or fish", hint="run: troth completion --help")
    # click's bash source probes the installed bash; the text itself does not depend on it.
    complete = maker(load_root(), {}, "troth", "_TROTH_COMPLETE")
    print(complete.source_template % complete.source_vars())
