"""``troth path`` and ``troth version``."""

import click

from troth.cli import flags

PATH_EXAMPLES = """
troth path
troth path --profile
"""


@flags.command("path", PATH_EXAMPLES)
@click.option("--base", is_flag=True, help="The step path itself, whatever the context.")
@click.option("--profile", is_flag=True, help="The directory of the context's profile.")
def path(base: bool, profile: bool) -> None:
    """Print where the files of the authority in use are: the context's directory, or without contexts the step path
    ($STEPPATH, or ~/.step).
    """
    from troth.host.steppath import authority_base, profile_base, step_base

    print(step_base() if base else profile_base() if profile else authority_base())


@flags.command("version", "troth version")
def version() -> None:
    """Print the version."""
    print(version_line())


def version_line() -> str:
    """Name, version, system and Python, as ``step version`` does."""
    import platform

    from troth import __version__

    return f"troth {__version__} ({platform.system().lower()}/{platform.machine()}, Python {platform.python_version()})"
