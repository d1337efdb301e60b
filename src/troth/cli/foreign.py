"""step's flags for what troth does not do: refused in a sentence, never ignored, and left out of the help."""

from collections.abc import Callable
from typing import Any

import click

from troth.cli import flags

SSH = "troth issues no SSH certificates"
KMS = "keys are in files, not in a key management system"
NEBULA = "troth issues nothing for Nebula"
ATTESTATION = "there is no device attestation, names are proven over HTTP: --standalone or --webroot"
REGISTRATION = "troth issues by itself and is no registration authority"
ADMINISTRATION = "there is no remote administration: provisioners and policies are in the authority's files"


def refused(reason: str, *names: str, switch: bool = False) -> Callable[[Any], Any]:
    """An option that says why it is not taken."""

    def refuse(_: click.Context, __: click.Parameter, value: object) -> None:
        from troth.errors import UsageError

        if value:
            raise UsageError(f"{names[0]} is not supported: {reason}")

    kind: dict[str, Any] = {"is_flag": True} if switch else {"multiple": True}
    return click.option(
        *names, names[0].strip("-").replace("-", "_"), hidden=True, expose_value=False, callback=refuse, **kind
    )


KEY_SYSTEM = refused(KMS, "--kms")
ATTESTED = flags.all_of(
    *(
        refused(ATTESTATION, name)
        for name in ("--attestation-uri", "--attestation-ca-url", "--attestation-ca-root", "--tpm-storage-directory")
    )
)
ENROLMENT = flags.all_of(KEY_SYSTEM, refused(NEBULA, "--nebula-cert"), refused(NEBULA, "--nebula-key"))
TOKENS = flags.all_of(
    ENROLMENT,
    refused(SSH, "--ssh", switch=True),
    refused(SSH, "--host", switch=True),
    refused(SSH, "--rekey", switch=True),
    refused(SSH, "--principal", "-n"),
    refused(SSH, "--sshpop-cert"),
    refused(SSH, "--sshpop-key"),
    refused(SSH, "--cert-not-before"),
    refused(SSH, "--cert-not-after"),
    refused("a renewal token always has this header, no other token may", "--x5c-insecure", switch=True),
)
INIT = flags.all_of(
    *(refused(KMS, name) for name in ("--kms", "--kms-root", "--kms-intermediate", "--kms-ssh-host", "--kms-ssh-user")),
    *(
        refused(REGISTRATION, name)
        for name in ("--ra", "--issuer", "--issuer-fingerprint", "--issuer-provisioner", "--credentials-file")
    ),
    refused(SSH, "--ssh", switch=True),
    refused("there is no Helm chart for troth", "--helm", switch=True),
    refused(ADMINISTRATION, "--remote-management", switch=True),
    refused(ADMINISTRATION, "--admin-subject", "--admin-name"),
)
SERVE = flags.all_of(
    refused("an authority of Smallstep's service cannot be served here", "--token"),
    *(
        click.option(name, name.strip("-").replace("-", "_"), default="", hidden=True, expose_value=False)
        for name in ("--ssh-host-password-file", "--ssh-user-password-file")
    ),
)
