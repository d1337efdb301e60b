"""``troth ca policy``: which names the authority, or one of its provisioners, may certify (``config/troth.json``).

One command for each level, side and kind, as step has them; the table below makes them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from troth.cli import flags
from troth.cli.ca_provisioner_edit import CA_CONFIG, IGNORED
from troth.cli.commands import POLICY_KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

PROVISIONER = click.option("--provisioner", "--issuer", metavar="NAME", default="", help="The provisioner.")
NO_PROVISIONER = click.option("--provisioner", "--issuer", default="", hidden=True)
FOREIGN = flags.all_of(
    IGNORED,
    *(
        click.option(f"--{name}", name.replace("-", "_"), default="", hidden=True, expose_value=False)
        for name in ("context", "eab-key-id", "eab-key-reference", "password-file")
    ),
)
BOTH = "ca.json has an authority.policy of its own: both are enforced, and a name needs both to allow it."
NAMES = {
    "cn": ("common names", "COMMON_NAME", '"My CA User"'),
    "dns": ("DNS names; *.DOMAIN is every name one label below", "DOMAIN", '"*.example.com"'),
    "ip": ("IP addresses and ranges", "ADDRESS", "10.0.0.0/24"),
    "email": ("email addresses; @DOMAIN is all of a domain", "EMAIL", "@example.com"),
    "uri": ("hosts of URIs; *.DOMAIN is every host one label below", "HOST", "www.example.com"),
}


def _names_command(level: str, side: str, kind: str) -> click.Command:
    what, metavar, example = NAMES[kind]
    start = f"troth ca policy {level} x509 {side} {kind}"
    whose = " --provisioner admin" if level == "provisioner" else ""
    examples = f"{start} {example}{whose}\n{start} {example}{whose} --remove"

    def run(names: tuple[str, ...], remove: bool, provisioner: str, ca_config: str) -> None:
        from troth.ca.policy_editing import change_names

        _edit(level, provisioner, ca_config, lambda raw, of: change_names(raw, of, side, kind, names, remove=remove))

    run.__doc__ = (
        f"{side.capitalize()} {what}.\n\n"
        + ("Once anything is allowed, every name that no entry matches is refused." if side == "allow" else "")
        + ("A name that an entry matches is refused, whatever is allowed." if side == "deny" else "")
    )
    return flags.command(kind, examples)(
        flags.all_of(
            click.argument("names", nargs=-1, required=True, metavar=f"{metavar}..."),
            click.option("--remove", is_flag=True, help="Take the entries out instead of adding them."),
            *_common(level),
        )(run)
    )


def _wildcards_command(level: str, verb: str) -> click.Command:
    def run(provisioner: str, ca_config: str) -> None:
        from troth.ca.policy_editing import change_wildcards

        _edit(level, provisioner, ca_config, lambda raw, of: change_wildcards(raw, of, allow=verb == "allow"))

    run.__doc__ = f"{verb.capitalize()} wildcard names such as *.example.com in certificates." + (
        " An allow entry must match them too." if verb == "allow" else ""
    )
    whose = " --provisioner admin" if level == "provisioner" else ""
    return flags.command(verb, f"troth ca policy {level} x509 wildcards {verb}{whose}")(
        flags.all_of(*_common(level))(run)
    )


def _view_command(level: str) -> click.Command:
    def run(provisioner: str, ca_config: str) -> None:
        """Print the policy as JSON."""
        from troth.ca.policy_editing import MISSING, policy_of
        from troth.ca.settings import FILE
        from troth.cli import configuration
        from troth.host.terminal import note

        path = configuration.ca_config(ca_config)
        found = policy_of(_read(path.with_name(FILE)), _of(level, provisioner, path))
        besides = _policy_of_ca_json(level, path)
        print(_shown(found or besides) if found or besides else MISSING)
        if besides:
            note(BOTH if found else f"This is authority.policy of {path}; these commands edit {FILE} beside it.")

    whose = " --provisioner admin" if level == "provisioner" else ""
    return flags.command("view", f"troth ca policy {level} view{whose}")(flags.all_of(*_common(level))(run))


def _remove_command(level: str) -> click.Command:
    def run(provisioner: str, ca_config: str) -> None:
        """Remove the policy: from then on every name is allowed here."""
        from troth.ca.policy_editing import without_policy

        _edit(level, provisioner, ca_config, lambda raw, of: without_policy(raw, of), known=False)
        print("policy deleted")

    whose = " --provisioner admin" if level == "provisioner" else ""
    return flags.command("remove", f"troth ca policy {level} remove{whose}")(flags.all_of(*_common(level))(run))


def _common(level: str) -> tuple[Callable[[Any], Any], ...]:
    return (PROVISIONER if level == "provisioner" else NO_PROVISIONER, CA_CONFIG, FOREIGN)


def _edit(
    level: str,
    provisioner: str,
    ca_config: str,
    change: "Callable[[Mapping[str, Any], str], Mapping[str, Any]]",
    *,
    known: bool = True,
) -> None:
    from troth.ca.policy_editing import checked_settings, policy_of
    from troth.ca.settings import FILE
    from troth.cli import configuration
    from troth.host.terminal import note

    beside = configuration.ca_config(ca_config)
    path = beside.with_name(FILE)
    of = _of(level, provisioner, beside, known=known)
    configuration.edit(path, lambda raw: change(raw, of), checked_settings, absent="{}", like=beside)
    if known:
        print(_shown(policy_of(_read(path), of) or {}))
    if _policy_of_ca_json(level, beside):
        note(BOTH if known else f"authority.policy of {beside} stays in force: remove it there.")


def _policy_of_ca_json(level: str, path: Path) -> "Mapping[str, Any]":
    """What step keeps in ca.json itself: the authority's own; a person wrote it there, and no command edits it."""
    found = (_read(path).get("authority") or {}).get("policy") if level == "authority" else None
    return found if isinstance(found, dict) else {}


def _of(level: str, provisioner: str, ca_config: Path, *, known: bool = True) -> str:
    """The provisioner meant, or nothing for the authority. One that is gone can still have its policy removed.

    Raises:
        UsageError: none is named.
        ConfigurationError: ca.json has none of that name.
    """
    from troth.ca.editing import find_provisioner
    from troth.errors import UsageError

    if level == "authority":
        return ""
    if not provisioner:
        raise UsageError(
            "missing --provisioner: expected the name of the provisioner", hint="troth ca provisioner list"
        )
    if known:
        find_provisioner(_read(ca_config), provisioner)
    return provisioner


def _read(path: Path) -> dict[str, Any]:
    from troth.ca.editing import read_object
    from troth.cli.configuration import text_of

    return read_object(text_of(path), str(path)) if path.exists() else {}


def _shown(policy: "Mapping[str, Any]") -> str:
    import json

    return json.dumps(policy, indent=3, ensure_ascii=False)


for _level in ("authority", "provisioner"):
    globals()[f"{_level}_view"] = _view_command(_level)
    globals()[f"{_level}_remove"] = _remove_command(_level)
    for _side in ("allow", "deny"):
        globals()[f"{_level}_wildcards_{_side}"] = _wildcards_command(_level, _side)
        for _kind in POLICY_KINDS:
            globals()[f"{_level}_{_side}_{_kind}"] = _names_command(_level, _side, _kind)
