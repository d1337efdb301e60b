"""Looks into the files that a configuration names: what they hold, and whether nginx's workers may read them."""

import contextlib
import grp
import os
import pwd
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from troth.host import HostError
from troth.host.files import read_file
from troth.host.nginx import Nginx
from troth.host.started import started
from troth.nginx.findings.rule import paths_of
from troth.nginx.map import Guard, Place, Setting
from troth.nginx.material import Facts, FileFacts
from troth.nginx.tree import Config
from troth.x509 import X509Error
from troth.x509.keys import parse_private_key, public_der
from troth.x509.pem import parse_blocks, parse_certificate_der

_LABELS = ("CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE")
_PLACES = ("ssl_certificate", "ssl_certificate_key", "ssl_trusted_certificate", "ssl_crl")
_GUARDS = ("certificate", "certificate_key", "client_certificate", "trusted_certificate", "crl")


@dataclass(frozen=True, slots=True)
class _Account:
    """As whom the workers run."""

    uid: int
    gid: int
    groups: frozenset[int]

    @property
    def name(self) -> str:
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return f"user {self.uid}"

    @property
    def group(self) -> str:
        """The name of its own group."""
        try:
            return grp.getgrgid(self.gid).gr_name
        except KeyError:
            return ""


def look_into_files(
    config: Config, places: Sequence[Place], guards: Sequence[Guard], nginx: Nginx, now: datetime
) -> Facts:
    """Every certificate, key, authority and revocation list that the places and guards name.

    What this process may not look at is left out: the master may read it all the same.
    """
    workers = _workers(nginx)
    account = _workers_account(config, nginx, workers)
    named = [(one.settings, _PLACES) for one in places] + [(one.settings, _GUARDS) for one in guards]
    kinds = {path: kind for settings, names in named for path, kind in _named(config, settings, names)}
    looked = (_look(Path(path), kind, account) for path, kind in kinds.items())
    return Facts(now, {one.path: one for one in looked if one is not None}, _workers_since(workers))


def _named(config: Config, settings: Mapping[str, Setting], names: Sequence[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        if name in settings:
            for path in paths_of(config, settings[name].value):
                yield path, name.rpartition("_")[2]


def _look(path: Path, kind: str, account: _Account) -> FileFacts | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return FileFacts(str(path), "does not exist")
    except OSError:
        return None
    try:
        data = read_file(path)
    except HostError:
        return None
    certificates: list[x509.Certificate] = []
    key, problem = b"", ""
    lists = _lists(data) if kind == "crl" else ()
    if kind == "certificate":
        certificates = _certificates(data)
        problem = "" if certificates else "it contains no certificate"
    elif kind == "key":
        with contextlib.suppress(X509Error):
            key = public_der(parse_private_key(data).public_key())
    readable = _may_read(path.resolve(), account)
    return FileFacts(
        str(path), problem, status.st_mode & 0o7777, status.st_mtime, readable, tuple(certificates), lists, key
    )


def _certificates(data: bytes) -> list[x509.Certificate]:
    """Those that can be read: bundles of public authorities hold some that are against the rules."""
    found: list[x509.Certificate] = []
    with contextlib.suppress(X509Error), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ders = [data] if data[:1] == b"\x30" else [block.der for block in parse_blocks(data) if block.label in _LABELS]
        for der in ders:
            with contextlib.suppress(X509Error):
                found.append(parse_certificate_der(der or b""))
    return found


def _lists(data: bytes) -> tuple[x509.CertificateRevocationList, ...]:
    try:
        ders = [block.der for block in parse_blocks(data) if block.label == "X509 CRL"]
        return tuple(x509.load_der_x509_crl(der or b"") for der in ders)
    except (X509Error, ValueError):
        return ()


def _may_read(path: Path, account: _Account) -> bool:
    """By the permission bits of the file and the directories above it; access control lists are not looked at."""
    try:
        return _allowed(path, account, 4) and all(_allowed(above, account, 1) for above in path.parents)
    except OSError:
        return False


def _allowed(path: Path, account: _Account, bit: int) -> bool:
    status = path.stat()
    if account.uid == 0:
        return True
    if status.st_uid == account.uid:
        return bool(status.st_mode & (bit << 6))
    return bool(status.st_mode & (bit << 3 if status.st_gid in account.groups else bit))


def closed_to_workers(config: Config | None, nginx: Nginx, key: Path) -> tuple[str, str]:
    """Why nginx's workers may not read a key, and the group that could let them; both empty where they may.

    Without a configuration the running workers are meant; where none run nothing is said.
    """
    workers = _workers(nginx)
    account = _running_account(workers) if config is None else _workers_account(config, nginx, workers)
    if account is None:
        return "", ""
    if _may_read(key.resolve(), account):
        return "", ""
    shut = next((one for one in key.resolve().parents if not _passable(one, account)), None)
    what = f"may not pass {shut}" if shut is not None else f"may not read {key}"
    return f"nginx's workers ({account.name}) {what}", account.group


def _passable(directory: Path, account: _Account) -> bool:
    try:
        return _allowed(directory, account, 1)
    except OSError:
        return False


def _workers(nginx: Nginx) -> frozenset[int]:
    """Those that serve now; none where nginx does not run."""
    with contextlib.suppress(HostError, OSError):
        return nginx.generation().workers
    return frozenset()


def _workers_account(config: Config, nginx: Nginx, workers: frozenset[int]) -> _Account:
    """The running workers', else that of ``user`` or the build; a master that is not root has workers like itself."""
    running = _running_account(workers)
    if running is not None:
        return running
    if os.geteuid() != 0:
        return _Account(os.geteuid(), os.getegid(), frozenset(os.getgroups()) | {os.getegid()})
    line = config.root.first("user")
    capabilities = nginx.capabilities()
    user = line.arguments[0] if line is not None and line.arguments else capabilities.argument("user") or "nobody"
    group = (
        line.arguments[1]
        if line is not None and len(line.arguments) > 1
        else ""
        if line
        else capabilities.argument("group")
    )
    try:
        entry = pwd.getpwnam(user)
        gid = grp.getgrnam(group).gr_gid if group else entry.pw_gid
        return _Account(entry.pw_uid, gid, frozenset(os.getgrouplist(user, gid)))
    except KeyError:
        return _Account(-1, -1, frozenset())


def _running_account(workers: frozenset[int]) -> _Account | None:
    with contextlib.suppress(OSError):
        worker = next(iter(workers), None)
        if worker is not None:
            status = Path(f"/proc/{worker}/status").read_text()
            fields = {line.partition(":")[0]: line.partition(":")[2].split() for line in status.splitlines()}
            gid = int(fields["Gid"][1])
            return _Account(int(fields["Uid"][1]), gid, frozenset((gid, *map(int, fields["Groups"]))))
    return None


def _workers_since(workers: frozenset[int]) -> float | None:
    """The start of the newest worker generation; None when nginx does not run."""
    with contextlib.suppress(HostError):
        return max((started(worker) for worker in workers), default=None)
    return None
