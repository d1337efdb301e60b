"""``troth crypto jwk keyset``: JSON web key sets (RFC 7517 §5) in files."""

from typing import TYPE_CHECKING, Any

import click

from troth.cli import flags

if TYPE_CHECKING:
    from pathlib import Path

KID = click.option("--kid", metavar="ID", required=True, help="Id of the key.")


@flags.command("add", "troth crypto jwk keyset add keys.json < foo.pub.jwk")
@click.argument("jwks_file")
def add(jwks_file: str) -> None:
    """Put the JSON web key on stdin into the set in JWKS_FILE, which is made where there is none."""
    from pathlib import Path

    from troth.cli.crypto_jwk import from_stdin
    from troth.host.files import locked

    key = from_stdin()
    path = Path(jwks_file)
    with locked(path):
        found = _read(path, absent=True)
        _write(path, {**found, "keys": [*found["keys"], key]})


@flags.command("remove", "troth crypto jwk keyset remove keys.json --kid ID")
@click.argument("jwks_file")
@KID
def remove(jwks_file: str, kid: str) -> None:
    """Take every key of an id out of the set in JWKS_FILE."""
    from pathlib import Path

    from troth.host.files import locked
    from troth.host.terminal import note

    path = Path(jwks_file)
    with locked(path):
        found = _read(path)
        kept = [one for one in found["keys"] if one.get("kid") != kid]
        if len(kept) == len(found["keys"]):
            note(f"There is no key with id {kid} in {jwks_file}.")
            return
        _write(path, {**found, "keys": kept})


@flags.command("list", "troth crypto jwk keyset list keys.json")
@click.argument("jwks_file")
def list_keys(jwks_file: str) -> None:
    """Print the ids of the keys in JWKS_FILE."""
    from pathlib import Path

    for one in _read(Path(jwks_file))["keys"]:
        print(one.get("kid", ""))


@flags.command("find", "troth crypto jwk keyset find keys.json --kid ID")
@click.argument("jwks_file")
@KID
def find(jwks_file: str, kid: str) -> None:
    """Print the keys of an id in JWKS_FILE."""
    import json
    from pathlib import Path

    for one in _read(Path(jwks_file))["keys"]:
        if one.get("kid") == kid:
            print(json.dumps(one, indent=2))


def _read(path: "Path", *, absent: bool = False) -> dict[str, Any]:
    from troth.ca.jwt import keys_of_set
    from troth.cli.jose_keys import read_set
    from troth.host.files import read_file

    value = read_set(b"" if absent and not path.exists() else read_file(path), str(path))
    keys_of_set(value, str(path))
    return value


def _write(path: "Path", value: dict[str, Any]) -> None:
    import json

    from troth.host.files import write_file

    write_file(path, json.dumps(value, indent=2).encode())
