"""Section 8: ACME as a client; the authority that is asked has a provisioner for it and an unprivileged port."""

import tempfile
from pathlib import Path

from tests.interop import material
from tests.interop.matrix import operation
from tests.interop.stage import Side
from tests.rig.acme import step_ca_with_acme

LATER = "ACME endpoints come later"
FLAGS = ("--provisioner", "acme")


@operation("8.1", "ca certificate by ACME, standalone: a DNS name and an address", na_step=LATER)
def standalone(side: Side) -> None:
    with tempfile.TemporaryDirectory() as base, step_ca_with_acme(Path(base)) as server:
        where = ("--ca-url", server.ca_url, "--root", str(server.root), *FLAGS, "--standalone", *server.standalone)
        side.run("ca", "certificate", "localhost", "a.crt", "a.key", "--san", "127.0.0.1", *where)
    chain = material.load(side.work / "a.crt")
    assert len(chain) == 2 and material.names_of(chain[0]) == {"localhost", "127.0.0.1"}


@operation("8.2", "ca sign by ACME directory URL", na_step=LATER)
def sign(side: Side) -> None:
    _, csr = material.write_request(side, "localhost", ("localhost",))
    with tempfile.TemporaryDirectory() as base, step_ca_with_acme(Path(base)) as server:
        where = ("--acme", server.directory, "--root", str(server.root), "--standalone", *server.standalone)
        side.run("ca", "sign", str(csr), "a.crt", *where)
    assert material.names_of(material.load(side.work / "a.crt")[0]) == {"localhost"}


@operation("8.3", "ca certificate by ACME: a name that leads elsewhere", na_step=LATER)
def elsewhere(side: Side) -> str:
    (side.work / "www").mkdir()
    with tempfile.TemporaryDirectory() as base, step_ca_with_acme(Path(base)) as server:
        where = ("--ca-url", server.ca_url, "--root", str(server.root), *FLAGS, "--webroot", str(side.work / "www"))
        side.run("ca", "certificate", "localhost", "a.crt", "a.key", *where, code=1)
    assert not (side.work / "a.key").exists() and not list((side.work / "www").iterdir())
    return "refuses (exit 1)"
