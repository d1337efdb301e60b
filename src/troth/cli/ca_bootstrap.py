"""``troth ca bootstrap``: trust an authority by its fingerprint and make it the default."""

import json

import click

from troth.cli import flags

EXAMPLES = """
troth ca bootstrap --ca-url https://ca.internal:9000 --fingerprint 84a033e84196f73bd593fad7a63e509e57fd982f02084359c4e8c5c864efc27d
troth ca bootstrap --ca-url https://ca.internal:9000 --fingerprint 84a033e8...864efc27d --force
"""  # noqa: E501 - a fingerprint is as long as it is


@flags.command("bootstrap", EXAMPLES)
@flags.CA_URL
@click.option("--fingerprint", metavar="SHA256", default="", help="SHA-256 of the root certificate, 64 hex digits.")
@click.option("--install", is_flag=True, help="Also add the root to the system's trust store.")
@flags.FORCE
def bootstrap(ca_url: str, fingerprint: str, install: bool, force: bool) -> None:
    """Download the root certificate of an authority, accept it only if it has the given fingerprint, and configure this
    account to use it.

    Writes certs/root_ca.crt and config/defaults.json below the step path ($STEPPATH, or ~/.step).
    """
    from troth.cli import trust
    from troth.cli.outputs import may_write
    from troth.client.authority import fetch_root, normalise_fingerprint
    from troth.errors import UsageError
    from troth.host.files import make_directory, write_file
    from troth.host.terminal import note
    from troth.x509.pem import to_pem

    if not fingerprint:
        hint = "on the CA's machine: troth certificate fingerprint $(troth path)/certs/root_ca.crt"
        raise UsageError("missing --fingerprint: expected the SHA-256 of the root certificate", hint=hint)
    url = trust.required_url(ca_url)
    normalise_fingerprint(fingerprint)
    step = trust.step_directory()
    certificate = fetch_root(url, fingerprint)
    for directory in (step.base, step.certs, step.config):
        make_directory(directory)
    may_write(step.root_certificate, step.defaults, force=force)
    write_file(step.root_certificate, to_pem(certificate).encode())
    note(f"The root certificate has been saved in {step.root_certificate}.")
    defaults = {"ca-url": url, "fingerprint": fingerprint, "root": str(step.root_certificate.absolute())}
    write_file(step.defaults, (json.dumps(defaults, indent=2) + "\n").encode(), 0o644)
    note(f"The authority configuration has been saved in {step.defaults}.")
    if install:
        from troth.host.trust_store import install_root

        note(f"The root certificate has been installed as {install_root(certificate)}.")
