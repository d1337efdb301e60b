"""The directories that ``nginx -t`` opens something in to write: it tests what it will need."""

from collections.abc import Iterator
from pathlib import Path

from troth.host.nginx import Nginx
from troth.nginx.tree import Config, Directive

_LOGS = ("error_log", "access_log", "pid", "lock_file")
_BUILT_IN_FILES = ("error-log-path", "http-log-path")
_BUILT_IN_DIRECTORIES = ("client-body", "proxy", "fastcgi", "uwsgi", "scgi")
_NO_FILE = ("off", "stderr", "/dev/stderr", "/dev/stdout", "/dev/null")


def written_by(nginx: Nginx, config: Config) -> list[Path]:
    """Every such directory, once, without those inside another.

    Args:
        nginx: whose built-in paths count too.
        config: its configuration.
    """
    found = {nginx.base / path for path in (*_built_in(nginx), *(p for d in config.root.walk() for p in _of(d)))}
    existing = {path if path.is_dir() else path.parent for path in found}
    real = sorted({path for path in existing if path.is_dir()})
    return [path for path in real if not any(path != other and path.is_relative_to(other) for other in real)]


def _built_in(nginx: Nginx) -> Iterator[Path]:
    capabilities = nginx.capabilities()
    yield nginx.pid_file().parent
    for name in _BUILT_IN_FILES:
        if capabilities.argument(name):
            yield Path(capabilities.argument(name)).parent
    for name in _BUILT_IN_DIRECTORIES:
        if capabilities.argument(f"http-{name}-temp-path"):
            yield Path(capabilities.argument(f"http-{name}-temp-path"))


def _of(directive: Directive) -> Iterator[Path]:
    if not directive.arguments:
        return
    first = directive.arguments[0]
    if directive.name in _LOGS and first not in _NO_FILE and not first.startswith(("syslog:", "memory:")):
        # A name with a variable is opened when a request comes; what stands before it is where.
        yield Path(first.partition("$")[0] + "x").parent
    elif directive.name.endswith(("_temp_path", "_cache_path")):
        yield Path(first)
    elif directive.name == "listen" and first.startswith("unix:"):
        yield Path(first.removeprefix("unix:")).parent
