"""Which authority a command talks to, and what it is trusted by: flags, environment, defaults, or a token."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from troth.client.authority import Authority, fetch_root
from troth.client.tokens import TokenView
from troth.client.transport import UntrustedError, parse_address
from troth.errors import UsageError
from troth.host.files import read_file
from troth.host.steppath import StepPath, authority_base
from troth.x509.pem import bundle_to_pem, parse_certificates

BOOTSTRAP = "run: troth ca bootstrap --ca-url URL --fingerprint FINGERPRINT"


def step_directory() -> StepPath:
    """The step path in use."""
    return StepPath(authority_base())


def authority(ca_url: str, root: str) -> Authority:
    """The authority that flags or defaults name, trusted through its root file.

    Raises:
        UsageError: neither names one, or there is no root certificate.
    """
    return Authority.at(required_url(ca_url), roots_text(root))


def chosen_authority(given: Mapping[str, Any]) -> Authority:
    """As `authority` from a command's flags; with ``--offline`` the one whose files are here."""
    if given["offline"]:
        from troth.cli.offline import offline_authority

        return offline_authority(given)
    return authority(given["ca_url"], given["root"])


def required_url(ca_url: str) -> str:
    """Raises UsageError when no URL is known."""
    if not ca_url:
        raise UsageError("no certificate authority is configured: expected --ca-url", hint=BOOTSTRAP)
    return parse_address(ca_url).url


def roots_text(root: str) -> str:
    """The trusted roots as PEM, read from ``--root`` or ``certs/root_ca.crt``; checked to be certificates."""
    path = Path(root) if root else step_directory().root_certificate
    if not path.exists():
        raise UsageError(f"no root certificate: {path} does not exist", hint=BOOTSTRAP)
    return bundle_to_pem(parse_certificates(read_file(path), str(path)))


def chosen_authority_of_token(view: TokenView, given: Mapping[str, Any]) -> Authority:
    """As `authority_of_token` from a command's flags; with ``--offline`` the one whose files are here."""
    return chosen_authority(given) if given["offline"] else authority_of_token(view, given["ca_url"], given["root"])


def authority_of_token(view: TokenView, ca_url: str, root: str) -> Authority:
    """The authority a token is addressed to; its ``sha`` claim says which root to trust, the root file is the fallback.

    Raises:
        UsageError: the token names no authority and no flag does.
        UntrustedError: the root that came back is not the token's.
    """
    addressed = next((aud for aud in view.audiences if aud.startswith("https://")), "")
    url = ca_url or addressed
    if not url:
        raise UsageError("the token does not name its authority: expected --ca-url", hint=BOOTSTRAP)
    if view.root_sha and addressed and not root:
        certificate = fetch_root(url, view.root_sha)
        return Authority.at(url, bundle_to_pem([certificate]))
    try:
        return Authority.at(url, roots_text(root))
    except UsageError as error:
        if view.root_sha:
            return Authority.at(url, bundle_to_pem([fetch_root(url, view.root_sha)]))
        raise UntrustedError(error.message, hint=error.hint) from error
