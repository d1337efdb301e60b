"""``troth ca provisioner list`` and ``jwe-key``: who may ask the authority for certificates."""

import click

from troth.cli import flags

EXAMPLES = """
troth ca provisioner list
troth ca provisioner list --ca-url https://ca.internal:9000 --root root_ca.crt
"""
KEY_EXAMPLES = """
troth ca provisioner jwe-key 84a033e84196f73bd593fad7a63e509e57fd982f02084359c4e8c5c864efc27d
"""


@flags.command("list", EXAMPLES)
@flags.CA
def list_provisioners(ca_url: str, root: str) -> None:
    """Print the provisioners of the authority as a JSON array."""
    import json

    from troth.cli.trust import authority

    print(json.dumps(authority(ca_url, root).provisioners(), indent=3, ensure_ascii=False))


@flags.command("jwe-key", KEY_EXAMPLES)
@click.argument("kid")
@flags.CA
def jwe_key(kid: str, ca_url: str, root: str) -> None:
    """Print the encrypted private key of the provisioner whose key has the id KID."""
    from troth.cli.trust import authority

    print(authority(ca_url, root).encrypted_key(kid))
