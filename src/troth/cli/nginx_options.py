"""What all ``troth nginx`` commands take, and turning it into an nginx and a declaration."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from troth.cli import flags

if TYPE_CHECKING:
    from troth.agent.config import Config
    from troth.host.nginx import Nginx

COMMON = flags.all_of(
    click.option(
        "--nginx", "binary", metavar="PATH", default="", help="The nginx to use [the running one's, PATH's, ours]."
    ),
    click.option("-c", "conf", metavar="FILE", default="", help="Main configuration file, as to nginx."),
    click.option("-p", "prefix", metavar="PREFIX", default="", help="Prefix, as to nginx."),
    click.option("--config", metavar="FILE", default="", help="Declaration of identities and locations, a troth.toml."),
    click.option("--json", "as_json", is_flag=True, help="Print JSON."),
)
BOTH_MEANT = "--location and --stream both say what is meant: expected one of them"
STREAM = click.option(
    "--stream",
    metavar="LISTEN",
    default="",
    help="Server of stream that is meant, by its listen: 5432 or host:5432.",
)
DECLARATION = flags.all_of(
    click.option("--server", metavar="NAME", default="", help="Server whose location is meant, by its server_name."),
    click.option("--location", metavar="PATH", default="", help="Location that is meant, as written in the file."),
    STREAM,
    click.option(
        "--client-auth",
        "client_auth",
        type=click.Choice(["on", "optional"]),
        help="Ask the clients of --server for certificates that lead to --trust.",
    ),
    click.option("--identity", metavar="NAME", default="", help="Identity it shows."),
    click.option(
        "--cert", metavar="FILE", default="", help="The identity's certificate chain, when you keep it yourself."
    ),
    click.option("--key", metavar="FILE", default="", help="The identity's key."),
    click.option(
        "--trust", metavar="FILE", default="", help="Root certificates that the upstream (or clients) must lead to."
    ),
    click.option(
        "--upstream",
        metavar="URL",
        default="",
        help="https://, grpcs:// or suwsgi://host:port, in stream host:port [what is there].",
    ),
    click.option("--name", metavar="NAME", default="", help="DNS name the upstream's certificate must have."),
    click.option(
        "--mode",
        type=click.Choice(["static", "variable", "auto"]),
        default=None,
        help="How a new certificate gets into nginx: static by a reload (default), variable by being read at each "
        "handshake, auto as the location needs.",
    ),
)


@dataclass(frozen=True, slots=True)
class Target:
    """The nginx meant, the declaration (None: none given), and where generated files and state are.

    `words` are the options that mean the same nginx and state in another command, with a blank before them; `again`
    are those with the declaration's own.
    """

    nginx: "Nginx"
    config: "Config | None"
    include_dir: Path
    state: Path
    reload: tuple[str, ...]
    words: str = ""
    again: str = ""


def target(
    binary: str,
    conf: str,
    prefix: str,
    config: str,
    declared: dict[str, str] | None = None,
    *,
    announced: bool = True,
) -> Target:
    """Work out what a command is about; flags win over the declaration's ``[nginx]``.

    Where nothing is said and no nginx runs, a note on stderr tells which is meant, if that is to be `announced`.

    Raises:
        TrothError: there is no nginx, or the declaration cannot be used.
    """
    from troth.agent.config import NginxSettings, load
    from troth.agent.proxy import include_directory
    from troth.host.nginx import find_nginx, runs

    loaded = load(Path(config)) if config else None
    settings = loaded.nginx if loaded is not None else NginxSettings()
    nginx = find_nginx(
        Path(binary) if binary else settings.binary,
        Path(conf) if conf else settings.conf,
        Path(prefix) if prefix else settings.prefix,
    )
    said = binary or conf or prefix or settings.binary or settings.conf or settings.prefix
    if announced and not said and not runs(nginx):
        click.echo(
            f"note: no nginx runs here; {nginx.binary} and its {nginx.main} are meant "
            "(or say which: --nginx PATH, -c FILE)",
            err=True,
        )
    if loaded is None:
        loaded = _from_options(declared or {}, nginx.main)
    include_dir = include_directory(loaded, nginx) if loaded is not None else nginx.main.parent / "troth"
    state = loaded.state if loaded is not None else nginx.main.parent / "troth-state"
    words = _words(("--nginx", binary), ("-c", conf), ("-p", prefix), ("--config", config))
    again = (
        words
        if config
        else words + _words(*((f"--{name.replace('_', '-')}", value) for name, value in (declared or {}).items()))
    )
    return Target(nginx, loaded, include_dir, state, settings.reload, words, again)


def _words(*options: tuple[str, str]) -> str:
    return "".join(f" {name} {shlex.quote(value)}" for name, value in options if value)


def _from_options(declared: dict[str, str], main: Path) -> "Config | None":
    """A declaration of one location, made of options."""
    from troth.agent.config import Config, Identity, Location, unusable_identity, unusable_server_name
    from troth.errors import UsageError

    if declared.get("location") and declared.get("stream"):
        raise UsageError(BOTH_MEANT)
    if declared.get("client_auth"):
        return _guard_from_options(declared, main)
    if not declared.get("location") and not declared.get("stream"):
        return None
    missing = [f"--{name}" for name in ("cert", "key", "trust") if not declared.get(name)]
    if missing:
        raise UsageError(
            f"missing {', '.join(missing)}: expected --cert, --key and --trust with --location or --stream",
            hint="or declare identities in a file: --config troth.toml",
        )
    name = declared.get("identity") or Path(declared["cert"]).stem
    wrong = unusable_identity(name)
    if wrong:
        raise UsageError(wrong, hint="give it another: --identity NAME")
    wrong = unusable_server_name(declared.get("name", ""))
    if wrong:
        raise UsageError(f"--{wrong}", hint="see what is in it: troth certificate inspect https://HOST:PORT --insecure")
    files = [Path(declared[key]).absolute() for key in ("cert", "key", "trust")]
    identity = Identity(name, "", (), None, None, files[0], files[1], files[2])
    location = Location(
        declared.get("location", ""),
        name,
        declared.get("server", ""),
        declared.get("upstream", ""),
        declared.get("name", ""),
        mode=declared.get("mode") or "static",
        listen=declared.get("stream", ""),
    )
    return Config(main.parent / "troth.toml", main.parent / "troth-state", (identity,), (location,))


def _guard_from_options(declared: dict[str, str], main: Path) -> "Config":
    """A declaration of one server that asks for certificates, made of options."""
    from troth.agent.config import ClientAuth, Config
    from troth.errors import UsageError

    other = next(
        (n for n in ("location", "stream", "identity", "cert", "key", "upstream", "name") if declared.get(n)), ""
    )
    if other:
        raise UsageError(
            f"--client-auth and --{other} are two declarations",
            hint="one at a time, or both in a file: --config troth.toml",
        )
    missing = [f"--{name}" for name in ("server", "trust") if not declared.get(name)]
    if missing:
        raise UsageError(f"missing {', '.join(missing)}: expected --server and --trust with --client-auth")
    guard = ClientAuth(declared["server"], Path(declared["trust"]).absolute(), declared["client_auth"])
    return Config(main.parent / "troth.toml", main.parent / "troth-state", (), (), guards=(guard,))


def required(one: Target) -> "Config":
    """Raises: UsageError: nothing was declared."""
    from troth.errors import UsageError

    if one.config is None or not (one.config.locations or one.config.guards):
        raise UsageError(
            "nothing is declared: expected --config FILE with a [[location]], [[stream]] or [[client-auth]], "
            "or --location, --stream or --client-auth with files",
            hint="troth nginx plan --config /etc/nginx/troth.toml",
        )
    return one.config


def values(**options: Any) -> dict[str, str]:
    """The declaration options that were given."""
    return {name: str(value) for name, value in options.items() if value}
