"""``troth.json`` and the files it names, held against ``ca.json``; everything is checked before anything is served."""

import contextlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from cryptography import x509

from troth.ca.authority import Signer
from troth.ca.config import Configuration
from troth.ca.profile import issuer_of
from troth.ca.settings import FILE, IssuerFiles, Settings, parse_settings
from troth.errors import TrothError
from troth.host.files import read_file
from troth.server import ServerError
from troth.x509.chains import may_sign_certificates, verify_path
from troth.x509.keys import KeyPasswordError, PrivateKey, key_matches, parse_private_key
from troth.x509.pem import parse_certificates

Password = Callable[[str], bytes]


def read_settings(path: Path, configuration: Configuration) -> Settings:
    """The settings beside a ``ca.json``; empty when there is no such file.

    Raises:
        ServerError: they are malformed, or speak of a provisioner that ca.json does not have: its policy would be in
            nobody's way.
    """
    if not path.exists():
        return Settings()
    try:
        settings = parse_settings(read_file(path).decode())
    except UnicodeDecodeError as error:
        raise ServerError(f"{path} is not UTF-8 text") from error
    except TrothError as error:
        raise ServerError(f"{path}: {error.message.removeprefix(f'{FILE}: ')}", hint=error.hint) from error
    for where, name in settings.provisioners():
        if configuration.provisioners.by_name(name) is None:
            known = ", ".join(member.name for member in configuration.provisioners.members) or "none"
            remove = f"troth ca policy provisioner remove --provisioner {name}"
            raise ServerError(
                f"{path}: {where} speaks of provisioner {name!r}, which ca.json does not have: there are {known}",
                hint=f"correct the name, or take it out: {remove}" if "policy" in where else None,
            )
    return settings


def load_signers(
    settings: Settings, base: Path, password: Password, roots: tuple[x509.Certificate, ...], now: datetime
) -> dict[str, Signer]:
    """The further intermediates, by name, each with its key.

    Raises:
        TrothError: a file is missing, unreadable or does not fit the others, or no root of ca.json is above it.
    """
    return {name: _signer(name, files, base, password, roots, now) for name, files in settings.issuers.items()}


def _signer(
    name: str,
    files: IssuerFiles,
    base: Path,
    password: Password,
    roots: tuple[x509.Certificate, ...],
    now: datetime,
) -> Signer:
    where = base / files.certificate
    chain = [c for c in parse_certificates(read_file(where), str(where)) if c not in roots]
    if not chain:
        raise ServerError(f"issuer {name}: {where} holds a root, expected an intermediate")
    key = _key(base / files.key, base / files.password_file if files.password_file else None, password)
    if not key_matches(chain[0], key):
        raise ServerError(f"issuer {name}: key {base / files.key} does not belong to {where}")
    if not may_sign_certificates(chain[0]):
        raise ServerError(f"issuer {name}: {where} may not sign certificates (keyUsage)")
    try:
        path = verify_path(chain[0], chain[1:], roots, now)
    except TrothError as error:
        hint = "a root that is above it belongs into ca.json's root, where clients get it from"
        raise ServerError(f"issuer {name}: {where}: {error.message}", hint=hint) from error
    return Signer(name, issuer_of(chain[0], key), path.certificates[:-1], path.certificates[-1:])


def _key(path: Path, password_file: Path | None, password: Password) -> PrivateKey:
    data = read_file(path)
    with contextlib.suppress(KeyPasswordError):
        return parse_private_key(data, None, str(path))
    secret = read_file(password_file).rstrip() if password_file is not None else password(str(path))
    return parse_private_key(data, secret, str(path))
