"""Every flag that step's help lists is one of ours, or is refused with the reason that the divergences give."""

import re
import subprocess
from pathlib import Path

import click
import pytest

from tests.cli.accounts import Account, program
from troth.cli.commands import COMMANDS
from troth.cli.group import load_command

OWN = {"migrate"}
PENDING = {"--k8ssa-token-path"}
POLICIES = [
    ("ca policy authority x509 allow", "dns"),
    ("ca policy provisioner x509 deny", "ip"),
    ("ca policy authority x509 wildcards", "allow"),
    ("ca policy authority", "view"),
    ("ca policy provisioner", "remove"),
]
PATHS = [
    *(("ca", name) for name, (target, _) in COMMANDS["ca"].items() if target and name not in OWN),
    *(("ca provisioner", name) for name in COMMANDS["ca provisioner"]),
    *(("crypto key", name) for name in COMMANDS["crypto key"]),
    *POLICIES,
]
REFUSED = {
    "init": "--kms --kms-root --kms-intermediate --kms-ssh-host --kms-ssh-user --ra --issuer --issuer-fingerprint "
    "--issuer-provisioner --credentials-file --ssh --helm --remote-management --admin-subject --admin-name",
    "serve": "--token",
    "certificate": "--kms --nebula-cert --nebula-key",
    "sign": "--kms --nebula-cert --nebula-key",
    "token": "--kms --nebula-cert --nebula-key --ssh --host --rekey --principal --sshpop-cert --sshpop-key "
    "--cert-not-before --cert-not-after --x5c-insecure",
    "renew": "--kms",
    "rekey": "--kms",
}
SWITCHES = {"--ssh", "--helm", "--remote-management", "--host", "--rekey", "--x5c-insecure"}
ARGUMENTS = {"certificate": ("s", "c", "k"), "sign": ("r", "c"), "token": ("s",), "renew": ("c", "k")}
ARGUMENTS |= {"rekey": ("c", "k")}


def flags_of_step(group: str, name: str) -> set[str]:
    """The flags in the section OPTIONS of step's help; step-ca's for ``ca serve``."""
    command = [program("step-ca")] if name == "serve" else [program("step"), *group.split(), name]
    text = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=60, check=False).stdout
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    options = re.split(r"\n[A-Z][A-Z ]+\n", plain.partition("\nOPTIONS\n")[2])[0]
    heads = [line for line in options.splitlines() if re.match(r" {6}-{1,2}\S", line)]
    return {flag for head in heads for flag in re.findall(r"--[A-Za-z0-9-]+", head)} - {"--help"}


def options_of(group: str, name: str) -> dict[str, click.Option]:
    command = load_command(group, name)
    return {
        flag: option
        for option in command.params
        if isinstance(option, click.Option)
        for flag in (*option.opts, *option.secondary_opts)
    }


@pytest.mark.parametrize(("group", "name"), PATHS)
def test_every_flag_of_step_is_one_of_ours_or_refused(group: str, name: str) -> None:
    theirs, ours = flags_of_step(group, name), options_of(group, name)
    assert theirs or name in ("health",), f"no flags were found in the help of step {group} {name}"
    unknown = theirs - set(ours) - PENDING
    assert not unknown, f"neither taken nor refused by troth {group} {name}: {sorted(unknown)}"
    refused = set(REFUSED.get(name, "").split()) if group == "ca" else set()
    assert not refused - theirs, "step has no such flag any more"


@pytest.mark.parametrize(("name", "flag"), [(name, flag) for name, flags in REFUSED.items() for flag in flags.split()])
def test_what_is_refused_says_why_and_stands_in_the_divergences(stranger: Account, name: str, flag: str) -> None:
    value = () if flag in SWITCHES else ("x",)
    said = stranger.refused("ca", name, *ARGUMENTS.get(name, ()), flag, *value)
    assert re.match(r"error: --[a-z0-9-]+ is not supported: \w+", said), said
    text = (Path(__file__).parents[2] / "docs" / "divergences.md").read_text()
    written = text.partition("## Flags")[2].partition("\n## ")[0]
    known = {"--admin-name": "--admin-subject", "--token": "`--token`"}
    family = "--issuer*" if flag.startswith("--issuer") else "--kms" if flag.startswith("--kms") else flag
    assert known.get(flag, family) in written
    assert not list(stranger.work.iterdir())


def test_flags_of_step_ca_that_change_nothing_here_are_taken(stranger: Account) -> None:
    assert stranger.good("ca", "serve", "--version").out.startswith("troth ")
    said = stranger.refused("ca", "serve", "--acme-http-port", "5002")
    assert "need --insecure" in said
    unused = ("--ssh-host-password-file", "a", "--ssh-user-password-file", "b", "--quiet")
    assert "does not exist" in stranger.refused("ca", "serve", *unused)


def test_init_reads_its_flags_from_the_environment_but_no_clients_root(stranger: Account) -> None:
    (stranger.work / "pw").write_text("secret\n")
    given = {"STEP_NAME": "Env", "STEP_DNS": "a.example,b.example", "STEP_ADDRESS": ":9443", "STEP_ACME": "true"}
    rest = {"STEP_PROVISIONER": "me", "STEP_PASSWORD_FILE": "pw", "STEP_ROOT": "elsewhere.crt"}
    stranger.good("ca", "init", **given, **rest)
    text = (stranger.step / "config" / "ca.json").read_text()
    assert '"a.example"' in text and '"b.example"' in text and '"me"' in text and '"ACME"' in text
    assert (stranger.step / "secrets" / "root_ca_key").stat().st_mode & 0o777 == 0o600
