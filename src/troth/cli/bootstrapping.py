"""What ``troth ca bootstrap`` does: whom to trust, into which directory, and which files make it the default."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from troth.cli import trust
from troth.cli.naming import context_to_make, make_context
from troth.cli.outputs import may_write
from troth.client.authority import fetch_root, normalise_fingerprint
from troth.client.transport import parse_address
from troth.errors import UsageError
from troth.host.download import download
from troth.host.files import make_directory, write_file
from troth.host.steppath import StepPath, step_base
from troth.host.terminal import note
from troth.x509.pem import to_pem


@dataclass(frozen=True, slots=True)
class Wanted:
    """An authority, and what step also keeps in ``defaults.json``."""

    url: str
    fingerprint: str
    redirect_url: str = ""
    provisioner: str = ""
    min_password_length: int = 0
    name: str = ""


def bootstrap_authority(wanted: Wanted, given: Mapping[str, Any]) -> None:
    """Fetch the root, write the files, and with contexts make the new one the current one.

    Raises:
        TrothError: the root is another, or a file cannot be written; nothing has changed then.
    """
    if not wanted.fingerprint:
        hint = "on the CA's machine: troth certificate fingerprint $(troth path)/certs/root_ca.crt"
        raise UsageError("missing --fingerprint: expected the SHA-256 of the root certificate", hint=hint)
    url = trust.required_url(wanted.url)
    normalise_fingerprint(wanted.fingerprint)
    context = context_to_make(given, wanted.name or parse_address(url).host)
    step = StepPath(step_base() if context is None else context.authority_path(step_base()))
    certificate = fetch_root(url, wanted.fingerprint)
    for directory in (step_base(), step.base, step.certs, step.config):
        make_directory(directory)
    may_write(step.root_certificate, step.defaults, force=given["force"])
    write_file(step.root_certificate, to_pem(certificate).encode())
    note(f"The root certificate has been saved in {step.root_certificate}.")
    write_file(step.defaults, _defaults(wanted, url, step.root_certificate).encode(), 0o644)
    note(f"The authority configuration has been saved in {step.defaults}.")
    if context is not None:
        make_context(context)
    if given["install"]:
        from troth.cli.trusting import install_for_system

        install_for_system(certificate)


def _defaults(wanted: Wanted, url: str, root: Path) -> str:
    value = {"ca-url": url, "fingerprint": wanted.fingerprint, "root": str(root.absolute())}
    more = {
        "redirect-url": wanted.redirect_url,
        "provisioner": wanted.provisioner,
        "min-password-length": wanted.min_password_length,
    }
    return json.dumps({**value, **{name: one for name, one in more.items() if one}}, indent=2) + "\n"


def wanted_by_team(given: Mapping[str, Any]) -> Wanted:
    """What ``--team-url`` says of a team; whoever answers there decides whom this account trusts.

    Raises:
        UsageError: flags contradict each other, or the description is not one.
        DownloadError: there is none.
    """
    for flag in ("ca_url", "fingerprint"):
        if given[flag]:
            raise UsageError(f"--team cannot be used with --{flag.replace('_', '-')}, which the team's description has")
    if not given["team_url"]:
        hint = "name where your teams are described: --team-url https://config.internal/teams/<>"
        raise UsageError("--team needs --team-url: Smallstep's own service is not asked", hint=hint)
    url = given["team_url"].replace("<>", quote(given["team"], safe=""))
    _check_safe(url)
    try:
        value = json.loads(download(url))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{url} did not answer with JSON") from error
    if not isinstance(value, dict) or not all(isinstance(value.get(key), str) for key in ("url", "fingerprint")):
        raise UsageError(f"{url} does not describe a team: expected a JSON object with url and fingerprint")
    length = value.get("min-password-length", 0)
    return Wanted(
        value["url"],
        value["fingerprint"],
        given["redirect_url"] or str(value.get("redirect-url") or ""),
        str(value.get("provisioner") or ""),
        length if isinstance(length, int) and length > 0 else 0,
        f"{given['team_authority'] or 'ssh'}.{given['team']}",
    )


def _check_safe(url: str) -> None:
    parts = urlsplit(url)
    try:
        loopback = parts.hostname == "localhost" or ip_address(parts.hostname or "").is_loopback
    except ValueError:
        loopback = False
    if parts.scheme == "http" and not loopback:
        raise UsageError(f"--team-url {url} is not protected: expected https, since it decides whom to trust")
