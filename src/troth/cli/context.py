"""``troth context``: which authorities this account knows, and which one is meant."""

import click

from troth.cli import flags


@flags.command("current", "troth context current\ntroth context current --json")
@click.option("--json", "as_json", is_flag=True, help="With its authority and profile.")
def current(as_json: bool) -> None:
    """Print the name of the current context."""
    import json

    from troth.errors import UsageError
    from troth.host.steppath import context_in_use

    chosen = context_in_use()
    if chosen is None:
        hint = "make one: troth ca bootstrap --context NAME --ca-url URL --fingerprint FINGERPRINT"
        raise UsageError("no context is selected", hint=hint)
    whole = {"name": chosen.name, "authority": chosen.authority, "profile": chosen.profile}
    print(json.dumps(whole, separators=(",", ":"), ensure_ascii=False) if as_json else chosen.name)


@flags.command("list", "troth context list")
def list_contexts() -> None:
    """Print the names of all contexts, the current one first and marked."""
    from troth.host.contexts import read_contexts
    from troth.host.steppath import step_base

    contexts = read_contexts(step_base())
    if contexts.current in contexts.members:
        print(f"▶ {contexts.current}")
    for name in sorted(contexts.members, key=str.lower):
        if name != contexts.current:
            print(name)


@flags.command("select", "troth context select staging")
@click.argument("name")
def select(name: str) -> None:
    """Make NAME the current context: what commands mean without --context."""
    from troth.host.contexts import select_context
    from troth.host.steppath import step_base
    from troth.host.terminal import announce

    select_context(step_base(), name)
    announce("Context", name)


@flags.command("remove", "troth context remove staging\ntroth context remove staging --force")
@click.argument("name")
@click.option("--force", "-f", is_flag=True, help="Remove without asking.")
def remove(name: str, force: bool) -> None:
    """Remove a context and its files; not the current one, and no authority's keys.

    Directories that another context uses too are kept.
    """
    from troth.errors import UsageError
    from troth.host.contexts import directories_of, read_contexts, remove_context
    from troth.host.steppath import step_base
    from troth.host.terminal import confirm, note

    base = step_base()
    directories = directories_of(read_contexts(base), name)
    if directories and not force:
        note("These directories will be removed:")
        for directory in directories:
            note(f"  {directory}")
        question = f"Remove the configuration of context {name}? It cannot be undone"
        if not confirm(question, otherwise="run it again with --force"):
            raise UsageError(f"context {name} is kept")
    remove_context(base, name)
