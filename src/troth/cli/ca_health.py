"""``troth ca health``."""

from troth.cli import flags

EXAMPLES = """
troth ca health
troth ca health --ca-url https://ca.internal:9000 --root root_ca.crt
"""


@flags.command("health", EXAMPLES)
@flags.CA
def health(ca_url: str, root: str) -> None:
    """Ask the authority how it is; prints ok. Any failure exits 1."""
    from troth.cli.trust import authority
    from troth.errors import TrothError

    status = authority(ca_url, root).health()
    if status != "ok":
        raise TrothError(f"the authority is not healthy: expected status 'ok', got {status!r}")
    print(status)
