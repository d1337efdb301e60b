"""openssl's OCSP responder, answering for an authority's intermediate with its key."""

import contextlib
import subprocess
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from troth.host.ports import free_ports
from troth.x509.keys import parse_private_key, private_key_to_pem


@contextlib.contextmanager
def answering(
    authority: Path, password: str, directory: Path, revoked: Mapping[int, bool], *flags: str
) -> Iterator[str]:
    """The responder's URL, while it knows these serials; `revoked` says which it calls so, for a compromised key."""
    directory.mkdir()
    encrypted = (authority / "secrets" / "intermediate_ca_key").read_bytes()
    (directory / "key").write_bytes(private_key_to_pem(parse_private_key(encrypted, password.encode())))
    lines = []
    for number, gone in revoked.items():
        serial = f"{number:X}"
        serial = serial.rjust(len(serial) + len(serial) % 2, "0")
        when = f"{datetime.now(UTC):%y%m%d%H%M%SZ},keyCompromise" if gone else ""
        lines.append(f"{'R' if gone else 'V'}\t350101000000Z\t{when}\t{serial}\tunknown\t/CN={number}.example\n")
    (directory / "index").write_text("".join(lines))
    port = free_ports(1)[0]
    chain = str(authority / "certs" / "intermediate_ca.crt")
    command = ["openssl", "ocsp", "-index", "index", "-port", str(port), "-rsigner", chain, "-rkey", "key"]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "-CA", chain, "-nmin", "10", *flags],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        # A connection to see whether it listens would be the one it serves, and it serves them one by one.
        until = time.monotonic() + 20
        while "waiting for OCSP client" not in (directory / "log").read_text() and time.monotonic() < until:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(20)
