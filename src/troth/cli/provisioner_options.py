"""The flags of ``provisioner add`` and ``update``, made from the table of what each kind can be told."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from troth.ca.entries import FILE, LIST, NUMBER, SWITCH, Setting, all_settings
from troth.errors import UsageError
from troth.host.files import read_file

ALIASES = {
    "x5c-roots": ("--x5c-root",),
    "disable-trust-on-first-use": ("--disable-tofu",),
}
SEVERAL_FILES = ("attestation-roots",)
HELP = {
    "client-id": "OIDC: the client id that tokens must be for.",
    "client-secret": "OIDC: the client secret, which command lines need to get a token.",
    "configuration-endpoint": "OIDC: URL of the provider's discovery document.",
    "tenant-id": "OIDC: replaces {tenantid} in the discovery document.",
    "admin": "OIDC: email of somebody who may ask for any name; repeatable.",
    "domain": "OIDC: email domain to accept; repeatable.",
    "group": "OIDC: group to accept; repeatable.",
    "listen-address": "OIDC: where command lines wait for the provider's answer, such as :10000.",
    "scope": "OIDC: scope to ask the provider for; repeatable.",
    "auth-param": "OIDC: parameter for the provider's authorization request; repeatable.",
    "x5c-roots": "X5C: PEM file with the roots that certificates must chain to.",
    "public-key": "JWK: the public key. K8SSA: PEM file with the cluster's public keys or certificates.",
    "force-cn": "ACME, SCEP: always set a common name.",
    "require-eab": "ACME: demand external account binding.",
    "challenge": "ACME: challenge to offer (http-01, dns-01, tls-alpn-01, device-attest-01); repeatable. SCEP: secret.",
    "attestation-format": "ACME: attestation to accept (apple, step, tpm); repeatable.",
    "attestation-roots": "ACME: PEM file with roots of attestations; repeatable.",
    "nebula-root": "Nebula: file with the root certificates.",
    "aws-account": "AWS: account id to accept; repeatable.",
    "gcp-service-account": "GCP: service account to accept; repeatable.",
    "gcp-project": "GCP: project to accept; repeatable.",
    "gcp-organization": "GCP: organization to accept.",
    "azure-tenant": "Azure: the tenant.",
    "azure-resource-group": "Azure: resource group to accept; repeatable.",
    "azure-subscription-id": "Azure: subscription to accept; repeatable.",
    "azure-object-id": "Azure: object to accept; repeatable.",
    "azure-audience": "Azure: audience of the tokens.",
    "instance-age": "AWS, GCP: how old an instance may be.",
    "disable-custom-sans": "AWS, GCP, Azure: only the instance's own names.",
    "disable-trust-on-first-use": "AWS, GCP, Azure: an instance may ask more than once.",
    "disable-ssh-ca-user": "GCP: no SSH user certificates.",
    "disable-ssh-ca-host": "GCP: no SSH host certificates.",
    "capabilities": "SCEP: capability to advertise; repeatable.",
    "include-root": "SCEP: send the root too.",
    "exclude-intermediate": "SCEP: do not send the intermediate.",
    "min-public-key-length": "SCEP: smallest RSA key to accept.",
    "encryption-algorithm-identifier": "SCEP: 0 to 4.",
    "scep-decrypter-certificate-file": "SCEP: PEM certificate of the decrypter.",
    "scep-decrypter-key-file": "SCEP: PEM key of the decrypter.",
    "scep-decrypter-key-uri": "SCEP: key of the decrypter, by URI.",
    "scep-decrypter-key-password-file": "SCEP: file with the password of that key.",
    "x509-min-dur": "Shortest life of a certificate.",
    "x509-max-dur": "Longest life of a certificate.",
    "x509-default-dur": "Life of a certificate when the request names none.",
    "ssh": "Allow SSH certificates (default).",
    "disable-renewal": "Certificates are not renewed.",
    "allow-renewal-after-expiry": "Expired certificates are renewed.",
    "disable-smallstep-extensions": "Leave the provisioner extension out of certificates.",
}
TEMPLATES = ("x509-template", "x509-template-data", "ssh-template", "ssh-template-data")


def setting_options(*, update: bool) -> Callable[[Any], Any]:
    """A click option for every setting; nothing given is None (or an empty list)."""

    def apply(function: Any) -> Any:
        for setting in reversed(all_settings()):
            if update and setting.sort == LIST:
                function = _option(f"remove-{setting.flag}", multiple=True, help="Take one out again; repeatable.")(
                    function
                )
            function = _setting_option(setting)(function)
        return function

    return apply


def _setting_option(setting: Setting) -> Callable[[Any], Any]:
    flag = setting.flag
    shown = HELP.get(flag, "The same for SSH certificates." if flag.startswith("ssh-") else "")
    if setting.sort == SWITCH:
        return click.option(f"--{flag}/--no-{flag}", *ALIASES.get(flag, ()), _name(flag), default=None, help=shown)
    if setting.sort == NUMBER:
        return _option(flag, type=int, default=None, help=shown, metavar="N")
    if setting.sort == LIST or flag in SEVERAL_FILES:
        return _option(flag, multiple=True, help=shown, metavar="FILE" if setting.sort == FILE else "VALUE")
    metavar = "FILE" if setting.sort == FILE or flag.endswith("-file") else setting.sort.upper()
    return _option(flag, default=None, help=shown, metavar=metavar)


def _option(flag: str, **attributes: Any) -> Callable[[Any], Any]:
    return click.option(f"--{flag}", *ALIASES.get(flag, ()), _name(flag), **attributes)


def _name(flag: str) -> str:
    return "set_" + flag.replace("-", "_")


def given_values(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that were given, by flag."""
    found = {setting.flag: given.get(_name(setting.flag)) for setting in all_settings()}
    return {
        flag: list(value) if isinstance(value, tuple) else value
        for flag, value in found.items()
        if value not in (None, ())
    }


def removed_values(given: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    """What the ``--remove-*`` flags name, by flag."""
    found = {setting.flag: given.get(_name(f"remove-{setting.flag}")) for setting in all_settings()}
    return {flag: value for flag, value in found.items() if value}


def read_files(values: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The values with every file's name replaced by what ``ca.json`` keeps of it: base64 of checked PEM.

    Raises:
        FileError, X509Error, UsageError: a file cannot be read or is not what it should be.
    """
    read = dict(values)
    for setting in all_settings():
        value = values.get(setting.flag)
        if value and setting.sort == FILE and not (kind == "JWK" and setting.flag == "public-key"):
            paths = value if setting.flag in SEVERAL_FILES else (value,)
            text = "".join(_checked(setting.flag, path) for path in paths)
            read[setting.flag] = base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()
    secret = values.get("scep-decrypter-key-password-file")
    if secret:
        read["scep-decrypter-key-password-file"] = read_file(Path(secret)).decode().rstrip()
    return read


def _checked(flag: str, path: str) -> str:
    from troth.x509.chains import may_sign_certificates
    from troth.x509.keys import parse_public_keys, public_pem
    from troth.x509.names import common_name
    from troth.x509.pem import parse_certificates, to_pem

    data = read_file(Path(path))
    if flag == "public-key":
        return "".join(map(public_pem, parse_public_keys(data, path)))
    if flag in ("x5c-roots", "attestation-roots"):
        certificates = parse_certificates(data, path)
        for certificate in certificates:
            if not may_sign_certificates(certificate):
                name = common_name(certificate.subject)
                raise UsageError(f"certificate {name!r} in {path} is no CA: its key usage does not allow signing")
        return "".join(map(to_pem, certificates))
    if flag == "nebula-root" and b"NEBULA CERTIFICATE" not in data:
        raise UsageError(f"{path} contains no Nebula certificate: expected PEM NEBULA CERTIFICATE blocks")
    return data.decode("utf-8", "surrogateescape")


def template_options(function: Any) -> Any:
    """``--x509-template`` and its companions."""
    for flag in reversed(TEMPLATES):
        kind = "SSH" if flag.startswith("ssh") else "X.509"
        what = "JSON file with data for the template." if flag.endswith("data") else f"{kind} certificate template."
        function = click.option(f"--{flag}", flag.replace("-", "_"), metavar="FILE", default=None, help=what)(function)
    return function


def read_template(path: str | None, data_path: str | None) -> tuple[str | None, dict[str, Any] | None]:
    """A template's text and its data; None where nothing was given, empty where a flag was given empty.

    Raises:
        FileError, UsageError: a file cannot be read, or the data is no JSON object.
    """
    text = path if not path else read_file(Path(path)).decode("utf-8", "replace")
    if not data_path:
        return text, None if data_path is None else {}
    try:
        data = json.loads(read_file(Path(data_path)))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{data_path} is not valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise UsageError(f"{data_path} is not usable as template data: expected a JSON object")
    return text, data
