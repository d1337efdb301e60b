"""The context that ``troth ca bootstrap`` and ``troth ca init`` make, where contexts are used."""

from collections.abc import Mapping
from typing import Any

from troth.host.contexts import Context, add_context, read_contexts
from troth.host.files import make_directory, write_file
from troth.host.steppath import StepPath, step_base
from troth.host.terminal import announce, note


def context_to_make(given: Mapping[str, Any], otherwise: str) -> Context | None:
    """The context that ``--context``, ``--profile`` and ``--authority`` name; None where contexts are not used.

    Args:
        given: a command's flags.
        otherwise: its name when none is given.

    Raises:
        ContextError: a name is not usable, or the files of the contexts are broken.
    """
    named = [given[flag] for flag in ("context", "profile", "authority")]
    known = read_contexts(step_base())
    if not any(named) and not known.members:
        return None
    name = given["context"] or given["authority"] or otherwise
    return Context(name, given["profile"] or name, given["authority"] or name)


def make_context(context: Context) -> None:
    """Make it known and the current one; its authority's files are there already.

    Raises:
        HostError: a file cannot be written.
    """
    profile = StepPath(context.profile_path(step_base()))
    for directory in (profile.base, profile.config):
        make_directory(directory)
    if not profile.defaults.exists():
        write_file(profile.defaults, b"{}")
        note(f"The profile configuration has been saved in {profile.defaults}.")
    add_context(step_base(), context)
    announce("Context", context.name)
