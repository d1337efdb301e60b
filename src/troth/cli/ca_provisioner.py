"""``troth ca provisioner``: who may ask the authority for certificates."""

from troth.cli import flags

EXAMPLES = """
troth ca provisioner list
troth ca provisioner list --ca-url https://ca.internal:9000 --root root_ca.crt
"""


@flags.command("list", EXAMPLES)
@flags.CA
def list_provisioners(ca_url: str, root: str) -> None:
    """Print the provisioners of the authority as a JSON array."""
    import json

    from troth.cli.trust import authority

    print(json.dumps(authority(ca_url, root).provisioners(), indent=3, ensure_ascii=False))
