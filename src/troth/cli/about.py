"""``troth path`` and ``troth version``."""

from troth.cli import flags


@flags.command("path", "troth path")
def path() -> None:
    """Print the step path: $STEPPATH, or ~/.step."""
    from troth.host.steppath import step_base

    print(step_base())


@flags.command("version", "troth version")
def version() -> None:
    """Print the version."""
    import platform

    from troth import __version__

    print(f"troth {__version__} ({platform.system().lower()}/{platform.machine()}, Python {platform.python_version()})")
