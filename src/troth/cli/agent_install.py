"""``troth agent install --systemd``: the units of authority and agent, printed or written."""

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from troth.agent.apply import read_config
from troth.agent.config import Config, load
from troth.agent.units import AgentUnit, AuthorityUnit
from troth.agent.units.syntax import absolute
from troth.agent.units.written import written_by
from troth.errors import TrothError, UsageError
from troth.host.files import read_file, write_file
from troth.host.nginx import Nginx, find_nginx
from troth.host.terminal import announce, note

NAMES = {"ca": "troth-ca.service", "agent": "troth-agent.service"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the flags say; `kinds` are ``ca`` and ``agent``."""

    kinds: Sequence[str]
    config: Path
    ca_path: Path
    user: str
    group: str
    password: Path
    program: Path | None
    workers: int


def install(wanted: Wanted, directory: Path | None, *, force: bool) -> int:
    """Print the units, or write them into a directory; the exit code.

    Raises:
        TrothError: a path cannot stand in a unit, troth.toml cannot be used, or a unit of ours was edited.
    """
    program = absolute(wanted.program or _program(), "program")
    if not wanted.config.exists() and "ca" in wanted.kinds and "agent" in wanted.kinds:
        hint = "where only the authority runs: --only ca; else name the declaration: --config FILE"
        raise UsageError(f"{wanted.config} does not exist, by which the agent works", hint=hint)
    texts = {NAMES[kind]: _unit(kind, wanted, program).render() for kind in wanted.kinds}
    if directory is None:
        separated = [f"# {name}\n{text}" if len(texts) > 1 else text for name, text in texts.items()]
        click.echo("\n".join(separated), nl=False)
        return 0
    for name, text in texts.items():
        _check(absolute(directory, "directory") / name, text, force=force)
    for name, text in texts.items():
        write_file(directory / name, text.encode(), 0o644)
        announce("Unit", str(directory / name))
    note(f"Start with: systemctl daemon-reload && systemctl enable --now {' '.join(texts)}")
    return 0


def _check(path: Path, text: str, *, force: bool) -> None:
    """Raises: UsageError: the directory is missing, or there is another text that may be somebody's work."""
    if not path.parent.is_dir():
        raise UsageError(f"directory {path.parent} does not exist", hint="name the one systemd reads: --write DIR")
    if path.exists() and read_file(path) != text.encode() and not force:
        raise UsageError(
            f"{path} exists and differs from what would be written",
            hint=f"keep your changes with systemctl edit {path.stem}, then write it anew with --force",
        )


def _program() -> Path:
    """This troth: a unit needs a path that will still be there."""
    invoked = shutil.which(sys.argv[0])
    beside = Path(sys.executable).with_name("troth")
    if invoked is None and not beside.exists():
        raise UsageError("cannot tell where troth is installed", hint="name it: --program /usr/local/bin/troth")
    return Path(invoked).absolute() if invoked is not None and Path(invoked).name == "troth" else beside


def _unit(kind: str, wanted: Wanted, program: Path) -> AuthorityUnit | AgentUnit:
    if kind == "ca":
        base = absolute(wanted.ca_path, "step path")
        port, python = _port(base), Path(sys.base_prefix)
        _warn(program, wanted.user)
        return AuthorityUnit(
            program, base, wanted.user, wanted.group, wanted.password, port, wanted.workers, [program.resolve(), python]
        )
    config = load(absolute(wanted.config, "declaration"))
    identities = [identity.directory for identity in config.identities if identity.directory is not None]
    sources = [identity.source for identity in config.identities if identity.source is not None]
    read = [path for one in sources for path in (one.password_file, one.token_file, one.root) if path is not None]
    nginx = _nginx(config)
    written = written_by(nginx, read_config(nginx)) if nginx is not None else []
    tools = [Path(config.nginx.reload[0])] if config.nginx.reload else []
    binary = [nginx.binary, nginx.main] if nginx is not None else []
    return AgentUnit(
        program, config.path, config.state, identities, written, [*read, *tools, *binary, Path(sys.base_prefix)]
    )


def _warn(program: Path, user: str) -> None:
    """A program in root's home starts for root alone."""
    for path in (program, program.resolve(), Path(sys.base_prefix)):
        closed = next((one for one in path.parents if one.is_dir() and not one.stat().st_mode & 1), None)
        if closed is not None and user != "root":
            note(
                f"account {user} may not pass {closed}, and would not start {path}: install troth for all, in /opt say"
            )
            return


def _nginx(config: Config) -> Nginx | None:
    """The nginx that the agent will find inside its sandbox, from where it cannot look into other processes.

    Raises:
        UsageError: the one that runs is not the one that it would find.
    """
    settings = config.nginx
    if not config.locations and settings == type(settings)():
        return None
    seen = find_nginx(settings.binary, settings.conf, settings.prefix)
    lacking = {
        "binary": seen.binary if settings.binary is None and _on_path() != seen.binary.resolve() else None,
        "conf": seen.conf if settings.conf is None else None,
        "prefix": seen.prefix if settings.prefix is None else None,
    }
    missing = [f'{name} = "{value}"' for name, value in lacking.items() if value is not None]
    if missing:
        raise UsageError(
            f"the nginx that runs is {' '.join(seen.command())}, which a service cannot find out by itself",
            hint=f"say it in [nginx] of {config.path}: {', '.join(missing)}",
        )
    return seen


def _on_path() -> Path | None:
    found = shutil.which("nginx", path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")
    return Path(found).resolve() if found else None


def _port(base: Path) -> int:
    """The authority's port, 0 when its configuration is not there or cannot be read by who asks."""
    try:
        address = json.loads(read_file(base / "config" / "ca.json")).get("address", "")
        return int(str(address).rpartition(":")[2])
    except (TrothError, OSError, ValueError, AttributeError, RecursionError):
        return 0
