"""Section 7: provisioners as the authority lists them."""

import json

from tests.interop.matrix import operation
from tests.interop.stage import PROVISIONER, Side


@operation("7.1", "ca provisioner list")
def listed(side: Side) -> None:
    entries = json.loads(side.run("ca", "provisioner", "list").out)
    assert [(entry["type"], entry["name"]) for entry in entries] == [("JWK", PROVISIONER)]
    assert entries[0]["encryptedKey"] and entries[0]["key"]["alg"] == "ES256"
