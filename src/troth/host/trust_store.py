"""The system's trust store on Linux: where a root certificate is dropped, and what makes the system notice."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from troth.host import HostError
from troth.host.files import write_file
from troth.x509.names import common_name
from troth.x509.pem import to_pem

TIMEOUT_SECONDS = 60


class TrustStoreError(HostError):
    """The root cannot be installed for the whole system."""


@dataclass(frozen=True, slots=True)
class Store:
    """A directory that the system's tool reads, the suffix it wants, and the tool."""

    directory: Path
    suffix: str
    command: tuple[str, ...]


STORES = (
    Store(Path("/etc/pki/ca-trust/source/anchors"), ".pem", ("update-ca-trust", "extract")),
    Store(Path("/usr/local/share/ca-certificates"), ".crt", ("update-ca-certificates",)),
    Store(Path("/usr/share/pki/trust/anchors"), ".crt", ("update-ca-certificates",)),
    Store(Path("/etc/ca-certificates/trust-source/anchors"), ".crt", ("trust", "extract-compat")),
)


def install_root(certificate: x509.Certificate, stores: tuple[Store, ...] = STORES) -> Path:
    """Put a root into the first store this system has and rebuild its bundle; returns the file.

    Raises:
        TrustStoreError: there is no known store, no permission, or the tool failed.
    """
    store = next((store for store in stores if store.directory.is_dir()), None)
    if store is None:
        raise TrustStoreError("this system has no known trust store: install the root certificate by hand")
    if not os.access(store.directory, os.W_OK):
        hint = "run it again as root, or leave --install out"
        raise TrustStoreError(f"cannot write to {store.directory}: permission denied", hint=hint)
    program = shutil.which(store.command[0])
    if program is None:
        raise TrustStoreError(f"cannot rebuild the trust store: {store.command[0]} is not installed")
    name = f"{common_name(certificate.subject)} {certificate.serial_number}".replace(" ", "_").replace("/", "_")
    path = store.directory / f"{name}{store.suffix}"
    write_file(path, to_pem(certificate).encode(), 0o644)
    _rebuild((program, *store.command[1:]))
    return path


def _rebuild(command: tuple[str, ...]) -> None:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TrustStoreError(f"cannot run {command[0]}: {error}") from error
    if done.returncode:
        raise TrustStoreError(f"{command[0]} failed with exit code {done.returncode}")
