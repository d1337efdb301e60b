"""Flags that several commands share, under step's names."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Command], Command]
# As Go reads them.
TRUE = ("true", "True", "TRUE", "t", "T", "1")
FALSE = ("false", "False", "FALSE", "f", "F", "0")


def all_of(*decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several decorators as one, in the order help shall list them."""

    def apply(function: Any) -> Any:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


class ExamplesCommand(click.Command):
    """A command whose help ends with an Examples section."""

    def __init__(self, *args: Any, examples: str = "", usage_exit_code: int = 1, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples
        self.usage_exit_code = usage_exit_code

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _plain_flags(ctx, self, args))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write("\nExamples:\n")
        for line in self.examples.strip().splitlines():
            formatter.write(f"  {line.strip()}\n" if line.strip() else "\n")


def _plain_flags(ctx: click.Context, command: click.Command, args: list[str]) -> list[str]:
    """step's programs also take ``--force=true`` and ``--mtls=false``; click's flags take no value.

    A ``false`` that was typed wins over the environment and defaults.json, as a flag does.
    """
    flags = {name: o for o in command.params if isinstance(o, click.Option) and o.is_flag for name in o.opts}
    plain: list[str] = []
    for index, word in enumerate(args):
        if word == "--":
            return plain + args[index:]
        name, _, value = word.partition("=")
        option = flags.get(name)
        if option is None or value not in TRUE + FALSE:
            plain.append(word)
        elif value in TRUE:
            plain.append(name)
        elif option.secondary_opts:
            plain.append(option.secondary_opts[0])
        else:
            ctx.default_map = {**(ctx.default_map or {}), str(option.name): False}
    return plain


def command(name: str, examples: str, *, usage_exit_code: int = 1) -> Callable[[Callable[..., Any]], click.Command]:
    """A command of this program; `examples` are lines a person can type."""
    return click.command(name, cls=ExamplesCommand, examples=examples, usage_exit_code=usage_exit_code)


CA_URL = click.option("--ca-url", metavar="URI", default="", help="The authority's URL, https://HOST[:PORT].")
ROOT = click.option("--root", metavar="FILE", default="", help="PEM file of the root certificate to trust.")
CA = all_of(CA_URL, ROOT)

PROVISIONER = all_of(
    click.option("--provisioner", "--issuer", "provisioner", metavar="NAME", default="", help="Use this provisioner."),
    click.option("--kid", metavar="ID", default="", help="Use the provisioner whose key has this id."),
    click.option(
        "--provisioner-password-file",
        metavar="FILE",
        default="",
        help="File with the password of the provisioner's key.",
    ),
    click.option(
        "--password-file",
        metavar="FILE",
        default="",
        help="The same; with --offline, that of the intermediate's key where the two differ.",
    ),
)
X5C_CERT = click.option("--x5c-cert", metavar="FILE", default="", help="Sign the token with this certificate's key.")
X5C_KEY = click.option("--x5c-key", metavar="FILE", default="", help="The key of --x5c-cert.")
X5C_CHAIN = click.option("--x5c-chain", metavar="FILE", default="", help="Issuers of --x5c-cert that it does not hold.")
X5C = all_of(X5C_CERT, X5C_KEY, X5C_CHAIN)
OFFLINE = all_of(
    click.option("--offline", is_flag=True, help="Use the authority's own files here instead of asking it."),
    click.option("--ca-config", metavar="FILE", default="", help="For --offline: config/ca.json below the step path."),
)
TOKEN = click.option("--token", metavar="TOKEN", default="", help="One-time token; needs no provisioner password.")
SANS = click.option("--san", "sans", metavar="NAME", multiple=True, help="DNS name, IP, email or URI; repeatable.")


def _readable_time(context: click.Context, option: click.Parameter, value: str) -> str:
    """Times go to the authority as they are written; one it could not read is refused here, by the flag's name."""
    from troth.durations import parse_time_or_duration

    parse_time_or_duration(value)
    return value


def _validity(counted_from: str) -> Decorator[Any]:
    start, end = (
        "Start: RFC 3339 time, or a duration from now.",
        f"End: RFC 3339 time, or a duration from {counted_from}.",
    )
    return all_of(
        click.option("--not-before", metavar="TIME", default="", callback=_readable_time, help=start),
        click.option("--not-after", metavar="TIME", default="", callback=_readable_time, help=end),
    )


VALIDITY, VALIDITY_FROM_NOW = _validity("the start"), _validity("now")
KEY_KIND = all_of(
    click.option("--kty", metavar="TYPE", default="EC", help="Key type: EC (default), RSA or OKP."),
    click.option("--curve", "--crv", "curve", metavar="NAME", default="", help="P-256, P-384, P-521 or Ed25519."),
    click.option("--size", metavar="BITS", type=int, default=0, help="RSA key size, from 2048."),
)
CONSOLE = click.option("--console", is_flag=True, help="OIDC: log in with a code on another device, without a browser.")
ACME = all_of(
    click.option("--acme", "acme_url", metavar="URL", default="", help="Use this ACME directory."),
    click.option("--standalone", is_flag=True, help="ACME: answer validations with a listener here (default)."),
    click.option("--webroot", metavar="DIR", default="", help="ACME: put answers into this web server's directory."),
    click.option("--contact", "contacts", metavar="EMAIL", multiple=True, help="ACME: contact; repeatable."),
    click.option("--http-listen", metavar="ADDRESS", default="", help="ACME: where to listen, default :80."),
)
FORCE = click.option("--force", "-f", is_flag=True, help="Overwrite files without asking.")
OWNERS = all_of(
    click.option("--owner", metavar="USER", default="", help="Owner of what is written, by name or number."),
    click.option("--group", metavar="GROUP", default="", help="Group of what is written, by name or number."),
)
CERT_PERMISSIONS = all_of(
    click.option("--cert-mode", metavar="MODE", default="", help="Mode of the certificate, such as 644."), OWNERS
)
PAIR_PERMISSIONS = all_of(
    click.option("--key-mode", metavar="MODE", default="", help="Mode of the private key, such as 640."),
    CERT_PERMISSIONS,
)
FILE_PERMISSIONS = all_of(
    click.option("--mode", metavar="MODE", default="", help="Mode of the file, such as 644."), OWNERS
)
SET = all_of(
    click.option("--set", "sets", metavar="KEY=VALUE", multiple=True, help="Template data; repeatable."),
    click.option("--set-file", metavar="FILE", default="", help="JSON file with template data."),
)
CONTEXT_NAMES = all_of(
    click.option("--context", metavar="NAME", default="", help="Name of the context to make, and to select."),
    click.option("--profile", metavar="NAME", default="", help="Directory of its profile; else as the context."),
    click.option("--authority", metavar="NAME", default="", help="Directory of its authority; else as the context."),
)
HOOKS = all_of(
    click.option("--exec", "exec_command", metavar="COMMAND", default="", help="Run this after success (no shell)."),
    click.option("--pid", type=int, default=0, help="Signal this process after success."),
    click.option("--pid-file", metavar="FILE", default="", help="Signal the process whose id is in this file."),
    click.option("--signal", "signal_number", metavar="N", type=int, default=1, help="The signal, default 1 (HUP)."),
)
REMOTE = all_of(
    click.option("--roots", metavar="PATH", default="", help="Trusted roots: file, comma list of files, directory."),
    click.option("--servername", metavar="NAME", default="", help="Name to ask a server for (SNI)."),
    click.option("--insecure", is_flag=True, help="Do not verify the server a URL names."),
)


def hinted_kind(given: Mapping[str, Any]) -> str:
    """The kind of provisioner that flags of one kind speak for, or none."""
    if any(given.get(name) for name in ("standalone", "webroot", "contacts", "http_listen")):
        return "ACME"
    return "OIDC" if given.get("console") else ""


def template_data(sets: tuple[str, ...], set_file: str) -> Mapping[str, Any]:
    """``--set-file`` then ``--set``: a value is JSON where it parses as such, else text, as step does.

    Raises:
        UsageError: not KEY=VALUE, or the file is not a JSON object.
    """
    import json
    from pathlib import Path

    from troth.errors import UsageError
    from troth.host.files import read_file

    data: dict[str, Any] = {}
    if set_file:
        try:
            data = json.loads(read_file(Path(set_file)))
        except (ValueError, RecursionError):
            data = []  # type: ignore[assignment]
        if not isinstance(data, dict):
            raise UsageError(f"{set_file} is not usable for --set-file: expected a JSON object")
    for pair in sets:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"invalid --set {pair!r}: expected KEY=VALUE")
        try:
            data[key] = json.loads(value)
        except (ValueError, RecursionError):
            data[key] = value
    return data
