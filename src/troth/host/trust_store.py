"""The system's trust store on Linux: where a root certificate is dropped, and what makes the system notice.

The directories, file names and tools are those of step (smallstep/truststore), so that either program removes what the
other installed. Tools run without a shell, bounded in time, and what they could not take in is taken back.
"""

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from troth.host import HostError
from troth.host.files import FileError, read_file, reason, write_file
from troth.x509 import X509Error
from troth.x509.names import common_name
from troth.x509.pem import parse_certificates, to_pem

TIMEOUT_SECONDS = 60
MAX_NAME_BYTES = 200


class TrustStoreError(HostError):
    """The root cannot be installed or removed."""


@dataclass(frozen=True, slots=True)
class Store:
    """A directory that the system's tool reads, the suffix it wants, and the tool.

    `after_removal` is what it needs besides to let go of a root: Debian's would leave a link to nowhere behind.
    """

    directory: Path
    suffix: str
    command: tuple[str, ...]
    after_removal: tuple[str, ...] = ()


STORES = (
    Store(Path("/etc/pki/ca-trust/source/anchors"), ".pem", ("update-ca-trust", "extract")),
    Store(Path("/usr/local/share/ca-certificates"), ".crt", ("update-ca-certificates",), ("--fresh",)),
    Store(Path("/usr/share/pki/trust/anchors"), ".crt", ("update-ca-certificates",)),
    Store(Path("/etc/ca-certificates/trust-source/anchors"), ".crt", ("trust", "extract-compat")),
)


def check_root(certificate: x509.Certificate, what: str) -> None:
    """Raises: TrustStoreError: the certificate is not a root: a certificate authority that signed itself."""
    try:
        authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        certificate.verify_directly_issued_by(certificate)
    except (x509.ExtensionNotFound, InvalidSignature, ValueError, TypeError):
        authority = False
    if not authority:
        raise TrustStoreError(f"{what} is not a root certificate: expected a certificate authority that signed itself")


def unique_name(certificate: x509.Certificate, prefix: str = "") -> str:
    """What a store knows a root by: the prefix, else its common name and a blank, then the serial in decimal."""
    lead = prefix or f"{common_name(certificate.subject) or 'Development CA'} "
    return re.sub(r"[\x00-\x1f\x7f/\\]", "_", lead.encode()[:MAX_NAME_BYTES].decode(errors="ignore")) + str(
        certificate.serial_number
    )


def install_root(certificate: x509.Certificate, stores: Sequence[Store] = STORES, *, prefix: str = "") -> Path:
    """Put a root into the first store this system has and rebuild its bundle; returns the file.

    Raises:
        TrustStoreError: there is no known store, no permission, or the tool failed; nothing is installed then.
    """
    store = _store(stores)
    program = _tool(store)
    path = store.directory / f"{unique_name(certificate, prefix).replace(' ', '_')}{store.suffix}"
    existed = path.exists()
    write_file(path, to_pem(certificate).encode(), 0o644)
    try:
        run_tool((program, *store.command[1:]))
    except TrustStoreError:
        if not existed:
            with contextlib.suppress(OSError):
                path.unlink()
        raise
    return path


def uninstall_root(certificate: x509.Certificate, stores: Sequence[Store] = STORES) -> list[Path]:
    """Remove every file of the store that holds this root alone, whatever its name, and rebuild the bundle.

    Returns:
        The files that were removed; none when it was not installed.

    Raises:
        TrustStoreError: there is no known store, no permission, or the tool failed.
    """
    store = _store(stores)
    program = _tool(store)
    removed = list(_holding(store, certificate))
    for path in removed:
        try:
            path.unlink()
        except OSError as error:
            raise FileError(f"cannot remove {path}: {reason(error)}") from error
    if removed:
        run_tool((program, *store.command[1:], *store.after_removal))
    return removed


def _holding(store: Store, certificate: x509.Certificate) -> Iterator[Path]:
    for path in sorted(store.directory.rglob(f"*{store.suffix}")):
        try:
            held = parse_certificates(read_file(path), str(path))
        except (FileError, X509Error):
            continue
        if held == [certificate]:
            yield path


def _store(stores: Sequence[Store]) -> Store:
    store = next((store for store in stores if store.directory.is_dir()), None)
    if store is None:
        hint = "install your system's ca-certificates package, or install the root certificate by hand"
        raise TrustStoreError("this system has no known trust store", hint=hint)
    if not os.access(store.directory, os.W_OK | os.X_OK):
        hint = "run it again as root, with sudo"
        raise TrustStoreError(f"cannot write to {store.directory}: permission denied", hint=hint)
    return store


def _tool(store: Store) -> str:
    program = shutil.which(store.command[0])
    if program is None:
        hint = "install your system's ca-certificates package"
        raise TrustStoreError(f"cannot rebuild the trust store: {store.command[0]} is not installed", hint=hint)
    return program


def run_tool(command: tuple[str, ...], *, accept: str = "") -> str:
    """Run a program of the system; the result is what it said.

    Args:
        command: without a shell.
        accept: a failure whose words contain this counts as success.

    Raises:
        TrustStoreError: it cannot run, takes too long, or failed.
    """
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise TrustStoreError(f"{command[0]} did not end within {TIMEOUT_SECONDS} seconds") from error
    except OSError as error:
        raise TrustStoreError(f"cannot run {command[0]}: {reason(error)}") from error
    said = (done.stdout + done.stderr).decode("utf-8", "replace").strip()
    if done.returncode and not (accept and accept in said):
        last = said.splitlines()[-1].rstrip(".")[:200] if said else ""
        raise TrustStoreError(f"{command[0]} failed with exit code {done.returncode}{': ' + last if last else ''}")
    return said
