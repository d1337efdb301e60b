"""From the files of a step directory to a ready authority; everything is checked before anything is served."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from cryptography import x509

from troth.ca.authority import Authority
from troth.ca.config import Configuration, parse_configuration
from troth.ca.profile import issuer_of
from troth.ca.settings import FILE as SETTINGS
from troth.ca.webhooks import Webhook
from troth.errors import TrothError
from troth.host import clock
from troth.host.files import read_file
from troth.server import ServerError
from troth.server.elsewhere import check_here
from troth.server.settings import load_signers, read_settings
from troth.server.templates import load_templates
from troth.server.webhooks import load_webhooks
from troth.x509.keys import KeyPasswordError, PrivateKey, key_matches, parse_private_key
from troth.x509.pem import parse_certificates

Password = Callable[[str], bytes]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration and the authority it describes."""

    configuration: Configuration
    authority: Authority
    base: Path
    webhooks: Mapping[str, tuple[Webhook, ...]] = field(default_factory=dict)


def load(path: Path, base: Path, password: Password, started: datetime) -> Loaded:
    """Read ``ca.json`` and what it names; relative names are below `base` (STEPPATH).

    Args:
        path: the configuration file.
        base: the step directory.
        password: asked with the key's file name when the intermediate key is encrypted.
        started: tokens issued earlier are refused.

    Raises:
        TrothError: a file is missing, unreadable or does not fit the others; nothing is changed.
    """
    try:
        text = read_file(path).decode()
    except UnicodeDecodeError as error:
        raise ServerError(f"{path} is not UTF-8 text") from error
    configuration = _named(path, lambda: parse_configuration(text))
    _named(path, lambda: check_here(configuration.raw))
    roots = tuple(c for name in configuration.roots for c in _certificates(base / name))
    federated = tuple(c for name in configuration.federated_roots for c in _certificates(base / name))
    intermediates = tuple(_certificates(base / configuration.certificate))
    settings = read_settings(path.with_name(SETTINGS), configuration)
    key = _key(base / configuration.key, configuration, password)
    if not key_matches(intermediates[0], key):
        raise ServerError(f"key {base / configuration.key} does not belong to {base / configuration.certificate}")
    authority = Authority(
        roots=roots,
        intermediates=intermediates,
        issuer=issuer_of(intermediates[0], key),
        provisioners=configuration.provisioners,
        audiences=configuration.audiences,
        backdate=configuration.backdate,
        started=started,
        federated=federated,
        subject_defaults=configuration.subject_defaults,
        check_issued_at=configuration.check_issued_at,
        policies=tuple(one for one in (configuration.policy, settings.authority_policy) if one is not None),
        provisioner_policies=settings.provisioner_policies,
        further=load_signers(settings, base, password, roots, clock.now()),
        assigned=settings.assigned,
        templates=load_templates(configuration.provisioners.members, base),
    )
    return Loaded(configuration, authority, base, load_webhooks(configuration.provisioners.members, settings))


def _named(path: Path, read: Callable[[], T]) -> T:
    try:
        return read()
    except TrothError as error:
        raise ServerError(f"{path}: {error.message}", hint=error.hint) from error


def _certificates(path: Path) -> list[x509.Certificate]:
    return parse_certificates(read_file(path), str(path))


def _key(path: Path, configuration: Configuration, password: Password) -> PrivateKey:
    data = read_file(path)
    with contextlib.suppress(KeyPasswordError):
        return parse_private_key(data, configuration.key_password.encode() or None, str(path))
    return parse_private_key(data, password(str(path)), str(path))


def base_of(path: Path) -> Path:
    """The step directory a configuration belongs to: the parent of its ``config`` directory."""
    return path.resolve().parent.parent
