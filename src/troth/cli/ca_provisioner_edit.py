"""``troth ca provisioner add``, ``update`` and ``remove``: changes to ``ca.json``, which keeps all it has besides."""

from typing import TYPE_CHECKING, Any

import click

from troth.cli import flags
from troth.cli.provisioner_options import setting_options, template_options

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ADD_EXAMPLES = """
troth ca provisioner add cicd --create
troth ca provisioner add cicd --create --password-file pw --x509-min-dur 20m --x509-default-dur 48h
troth ca provisioner add jane@doe.com --public-key jwk.pub --private-key jwk.priv
troth ca provisioner add devices --type X5C --x5c-roots devices_ca.crt
troth ca provisioner add Google --type OIDC --client-id ID --client-secret SECRET --configuration-endpoint https://accounts.google.com/.well-known/openid-configuration
troth ca provisioner add kube --type K8SSA --public-key key.pub
troth ca provisioner add acme --type ACME --challenge http-01
"""
UPDATE_EXAMPLES = """
troth ca provisioner update cicd --x509-max-dur 72h --disable-renewal
troth ca provisioner update cicd --create --password-file pw
troth ca provisioner update cicd --name builds
troth ca provisioner update acme --challenge dns-01 --remove-challenge http-01
troth ca provisioner update acme --force-cn=false
"""
REMOVE_EXAMPLES = """
troth ca provisioner remove acme
troth ca provisioner remove acme --ca-config /etc/step-ca/config/ca.json
"""
CA_CONFIG = click.option(
    "--ca-config", metavar="FILE", default="", help="The file to edit; config/ca.json below the step path."
)
KEYS = flags.all_of(
    click.option("--create", is_flag=True, help="JWK: make a new key pair."),
    click.option("--private-key", metavar="FILE", default=None, help="JWK: the private key to hand out, encrypted."),
    click.option("--password-file", metavar="FILE", default="", help="File with the password of the private key."),
)
IGNORED = flags.all_of(
    *(
        click.option(*names, names[0].strip("-").replace("-", "_"), default="", hidden=True, expose_value=False)
        for names in (
            ("--ca-url",),
            ("--root",),
            ("--admin-cert",),
            ("--admin-key",),
            ("--admin-subject", "--admin-name"),
            ("--admin-provisioner", "--admin-issuer"),
            ("--admin-password-file",),
        )
    )
)


@flags.command("add", ADD_EXAMPLES)
@click.argument("name")
@click.option("--type", "kind", metavar="TYPE", default="JWK", help="JWK (default), OIDC, X5C, K8SSA, ACME ...")
@KEYS
@setting_options(update=False)
@template_options
@CA_CONFIG
@IGNORED
def add(name: str, kind: str, ca_config: str, **given: Any) -> None:
    """Add a provisioner to the authority's configuration. SIGHUP makes a running authority read it."""
    from troth.ca import editing, entries
    from troth.cli import configuration
    from troth.cli.provisioner_options import given_values, read_files

    known = entries.kind_of(kind)
    path = configuration.ca_config(ca_config)
    values = given_values(given)
    _warn_of_foreign(known, values, given)
    details = _key_details(known, given, required=True)
    entry = entries.create_entry(known, name, details, read_files(values, known))
    _set_templates(entry, given)
    configuration.edit(path, lambda raw: editing.add_provisioner(raw, entry), editing.checked_text)


@flags.command("update", UPDATE_EXAMPLES)
@click.argument("name")
@click.option("--name", "new_name", metavar="NAME", default="", help="Call it this from now on.")
@KEYS
@setting_options(update=True)
@template_options
@CA_CONFIG
@IGNORED
def update(name: str, new_name: str, ca_config: str, **given: Any) -> None:
    """Change a provisioner in the authority's configuration. What no flag names stays; lists grow by what is given."""

    from troth.ca import editing, entries
    from troth.cli import configuration
    from troth.cli.provisioner_options import given_values, read_files, removed_values

    path = configuration.ca_config(ca_config)
    before = editing.find_provisioner(editing.read_object(configuration.text_of(path), str(path)), name)
    kind = entries.kind_of(str(before.get("type", "")))
    values, removed = given_values(given), removed_values(given)
    _warn_of_foreign(kind, [*values, *(f"remove-{flag}" for flag in removed)], given)
    details = _key_details(kind, given, required=False)
    values = read_files(values, kind)

    def change(raw: "Mapping[str, Any]") -> "Mapping[str, Any]":
        entry = entries.update_entry(editing.find_provisioner(raw, name), details, values, removed)
        _set_templates(entry, given)
        return editing.replace_provisioner(raw, name, {**entry, "name": new_name or name})

    configuration.edit(path, change, editing.checked_text)
    if new_name:
        _follow(path, name, new_name)


@flags.command("remove", REMOVE_EXAMPLES)
@click.argument("name")
@click.option("--password-file", default="", hidden=True, expose_value=False)
@CA_CONFIG
@IGNORED
def remove(name: str, ca_config: str) -> None:
    """Remove a provisioner from the authority's configuration; certificates it granted can no longer be renewed."""
    from troth.ca import editing
    from troth.cli import configuration

    path = configuration.ca_config(ca_config)
    configuration.edit(path, lambda raw: editing.remove_provisioner(raw, name), editing.checked_text)
    _follow(path, name, "")


def _follow(ca_config: "Path", name: str, new_name: str) -> None:
    """What ``troth.json`` says of a provisioner goes where it goes."""
    from troth.ca import policy_editing, settings
    from troth.ca.editing import read_object
    from troth.cli import configuration

    path = ca_config.with_name(settings.FILE)
    if path.exists() and policy_editing.speaks_of(read_object(configuration.text_of(path), str(path)), name):
        configuration.edit(
            path,
            lambda raw: policy_editing.rename_provisioner(raw, name, new_name),
            policy_editing.checked_settings,
        )


def _warn_of_foreign(kind: str, named: Any, given: "Mapping[str, Any]") -> None:
    from troth.ca.entries import foreign_flags
    from troth.host.terminal import note

    keys = ["create"] * bool(given["create"]) + ["private-key"] * (given["private_key"] is not None)
    for flag in foreign_flags(kind, [*named, *keys]):
        note(f"--{flag} is not for provisioners of type {kind} and is ignored")


def _set_templates(entry: dict[str, Any], given: "Mapping[str, Any]") -> None:
    from troth.ca.entries import set_template
    from troth.cli.provisioner_options import read_template

    for part in ("x509", "ssh"):
        template, data = read_template(given[f"{part}_template"], given[f"{part}_template_data"])
        if template is not None or data is not None:
            set_template(entry, part, template, data)


def _key_details(kind: str, given: "Mapping[str, Any]", *, required: bool) -> dict[str, Any]:
    """``key`` and ``encryptedKey`` of a JWK provisioner, as far as flags say them; None removes."""
    from troth.cli.provisioner_keys import created_key, given_keys
    from troth.errors import UsageError

    public, private = given["set_public_key"], given["private_key"]
    if kind != "JWK":
        return {}
    if given["create"]:
        for flag, value in (("--public-key", public), ("--private-key", private)):
            if value is not None:
                raise UsageError(f"--create cannot be used with {flag}")
        return created_key(given["password_file"])
    if not public and required:
        raise UsageError("--type JWK needs --create or --public-key")
    return given_keys(public, private, given["password_file"])
