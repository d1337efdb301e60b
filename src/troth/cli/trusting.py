"""Installing a root certificate where this machine looks for roots, and taking it away again."""

from collections.abc import Callable, Mapping
from typing import Any

from cryptography import x509

from troth.errors import UsageError
from troth.host.other_trust_stores import SHARED_JAVA_STORE, JavaStore, NSSStore, java_store, nss_store
from troth.host.terminal import note
from troth.host.trust_store import TrustStoreError, install_root, uninstall_root


def install_for_system(certificate: x509.Certificate, prefix: str = "") -> None:
    """Raises: TrustStoreError: it cannot be installed."""
    note(f"The root certificate has been installed as {install_root(certificate, prefix=prefix)}.")


def install_everywhere(certificate: x509.Certificate, given: Mapping[str, Any]) -> None:
    """In the stores that the flags name.

    Raises:
        TrothError: none is named, or a named one does not take it.
    """
    for what, store in _others(given):
        store.install(certificate, given["prefix"])
        note(f"The root certificate has been installed for {what}.")
    if not given["no_system"]:
        install_for_system(certificate, given["prefix"])


def uninstall_everywhere(certificate: x509.Certificate, given: Mapping[str, Any]) -> None:
    """From the stores that the flags name.

    Raises:
        TrothError: none is named, or a named one cannot be changed.
    """
    for what, store in _others(given):
        count = store.uninstall(certificate, given["prefix"])
        note(f"The root certificate {'has been removed' if count else 'was not there'} for {what}.")
    if not given["no_system"]:
        removed = uninstall_root(certificate)
        for path in removed:
            note(f"{path} has been removed.")
        if not removed:
            note("The root certificate was not in the system's trust store.")
        elif SHARED_JAVA_STORE.exists() and not (given["java"] or given["all_stores"]):
            note("Java may still trust it: run this again with --java.")


def _others(given: Mapping[str, Any]) -> list[tuple[str, JavaStore | NSSStore]]:
    """Java's and Firefox's; one that ``--all`` means and that is not there is passed over, aloud."""
    if given["no_system"] and not (given["java"] or given["firefox"] or given["all_stores"]):
        raise UsageError("--no-system leaves nothing to do: expected --java, --firefox or --all with it")
    finders: tuple[tuple[str, str, Callable[[], JavaStore | NSSStore]], ...] = (
        ("java", "Java", java_store),
        ("firefox", "Firefox", nss_store),
    )
    found = []
    for flag, what, find in finders:
        if given[flag] or given["all_stores"]:
            try:
                found.append((what, find()))
            except TrustStoreError as error:
                if given[flag]:
                    raise
                note(f"{what} is left out: {error.message}.")
    return found
