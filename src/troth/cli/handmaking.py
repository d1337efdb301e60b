"""What ``troth certificate create`` and ``sign`` share: the issuer's files, the template, the validity."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509

from troth.ca.handmade import checked_issuer, describe, window_of, with_user_data
from troth.ca.profile import Issuer
from troth.ca.validity import Window
from troth.cli import flags
from troth.cli.key_secrets import read_private_key
from troth.durations import parse_time_or_duration
from troth.errors import UsageError
from troth.host.files import read_file
from troth.host.terminal import note
from troth.x509.pem import parse_certificates

NO_LIMIT = -1
MAX_TEMPLATE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class IssuingFiles:
    """An issuer read from its files; `chain` is all that its certificate's file holds, itself first."""

    issuer: Issuer
    chain: tuple[x509.Certificate, ...]


def read_issuer(certificate: str, key: str, password_file: str, flag: str, now: datetime) -> IssuingFiles:
    """The issuer of two files, if it may sign certificates now.

    Args:
        certificate: PEM or DER file.
        key: its key's file.
        password_file: what opens the key; asked for when it is encrypted and there is none.
        flag: the flag of `password_file`, for a hint.
        now: the moment of signing.

    Raises:
        TrothError: a file cannot be read, or the issuer may not sign.
    """
    chain = parse_certificates(read_file(Path(certificate)), certificate)
    private = read_private_key(key, password_file, flag=flag)
    return IssuingFiles(checked_issuer(chain[0], private, now), tuple(chain))


def described(template: str, data: dict[str, Any], given: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """What the profile's template makes, or the one of ``--template``.

    Raises:
        TrothError: a file cannot be read, or the template is not usable.
    """
    user = flags.template_data(given["sets"], given["set_file"])
    file, text = given["template"], template
    if file:
        try:
            text = read_file(Path(file), limit=MAX_TEMPLATE_BYTES).decode()
        except UnicodeDecodeError as error:
            raise UsageError(f"template {file} is not UTF-8 text") from error
    return describe(text, Path(file).name if file else "template", with_user_data(data, user, _length(given)), now)


def _length(given: Mapping[str, Any]) -> int:
    length = int(given["path_len"])
    if length < NO_LIMIT:
        raise UsageError(f"--path-len {length} is not allowed: expected -1 (no limit) or more")
    return length


def validity(given: Mapping[str, Any], length: timedelta, now: datetime, issuer: x509.Certificate | None) -> Window:
    """``--not-before`` and ``--not-after``, a certificate that outlives its issuer is noted.

    Raises:
        TrothError: the window is upside down.
    """
    start, end = (parse_time_or_duration(given[name]) for name in ("not_before", "not_after"))
    ceiling = issuer.not_valid_after_utc if issuer is not None else None
    window = window_of(start, end, length, now, ceiling)
    if ceiling is not None and window.not_after > ceiling:
        note(f"The certificate outlives its issuer, which ends on {ceiling.isoformat()}.")
    return window
