"""Mutual TLS of a location, proven end to end through nginx: what must work, and what must be refused.

A second nginx of the same build runs with the location's own directives; its upstreams are witnesses that
report what they saw. The user's nginx is not touched.
"""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from troth.agent import AgentError
from troth.agent.checks import Facts, read_facts
from troth.host import clock
from troth.host.files import read_file, write_file
from troth.host.http import Reply, get
from troth.host.nginx import Nginx
from troth.host.ports import free_ports
from troth.host.witness import Seen, Shown, Witness
from troth.nginx.map import Place, target_host
from troth.nginx.render import quote
from troth.x509.keys import PrivateKey, generate_key, private_key_to_pem, subject_key_id
from troth.x509.names import split_names
from troth.x509.pem import bundle_to_pem

HOUR = timedelta(hours=1)
BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
_FILES = ("ssl_certificate", "ssl_certificate_key", "ssl_trusted_certificate", "ssl_crl", "ssl_password_file")
_REPLACED = ("ssl_certificate", "ssl_certificate_key", "ssl_trusted_certificate", "ssl_crl", "ssl_name")
_TEMP_PATHS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


class ProveError(AgentError):
    """The location cannot be proven as it stands; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class ProofRow:
    """One thing tried. `observed` is what was seen on the wire; `detail` holds the log line or the reason."""

    id: str
    title: str
    expected: str
    observed: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Authority:
    """A throw-away root and intermediate."""

    root: x509.Certificate
    intermediate: x509.Certificate
    key: PrivateKey


@dataclass(frozen=True, slots=True)
class _Trial:
    """One location of the second nginx: the client certificate it shows (None: none) and the witness it calls."""

    id: str
    title: str
    client: Shown | None
    witness: Witness
    accepted: bool


def prove_location(place: Place, nginx: Nginx, base: Path) -> list[ProofRow]:
    """Prove one location.

    Args:
        place: the location with its settings, from the identity map.
        nginx: the nginx whose build runs the proof.
        base: the directory that relative file names count from.

    Raises:
        ProveError: it is not an http location, or its files cannot be read.
        HostError: the second nginx or a witness cannot be started.
    """
    facts, client = _client(place, base)
    name = place.value("ssl_name") or target_host(place.target).rpartition(":")[0] or target_host(place.target)
    now = clock.now()
    ours, foreign = _authority("Proof", now), _authority("Foreign", now)
    anchors = [*facts.chain, ours.root] if facts else [ours.root]
    with contextlib.ExitStack() as stack:
        witnesses = {
            key: stack.enter_context(Witness(0, shown, anchors, required=True))
            for key, shown in _upstreams(ours, foreign, name, now).items()
        }
        trials = _trials(client, witnesses, ours, foreign, now)
        directory = Path(tempfile.mkdtemp(prefix="troth-prove-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        port = free_ports(1)[0]
        _write(directory, port, place, base, trials, ours, name)
        second = Nginx(nginx.binary, directory / "nginx.conf", directory)
        second.start()
        stack.callback(second.stop)
        return [_row(trial, directory, port, facts) for trial in trials]


def _client(place: Place, base: Path) -> tuple[Facts | None, Shown | None]:
    if place.module != "proxy":
        raise ProveError(
            f"{place.where}: only http locations with proxy_pass can be proven yet, this is {place.module}"
        )
    certificate, key = place.value("ssl_certificate"), place.value("ssl_certificate_key")
    if not certificate or not key:
        return None, None
    if "$" in certificate or "$" in key:
        raise ProveError(f"{place.where}: the certificate is named by a variable and cannot be proven yet")
    from troth.x509.keys import parse_private_key

    path = base / certificate
    facts = read_facts(read_file(path), str(path))
    return facts, Shown(facts.chain, parse_private_key(read_file(base / key), None, str(base / key)))


def _upstreams(ours: _Authority, foreign: _Authority, name: str, now: datetime) -> dict[str, Shown]:
    return {
        "good": _leaf(ours, name, now),
        "foreign": _leaf(foreign, name, now),
        "wrong-name": _leaf(ours, "other.invalid", now),
        "expired": _leaf(ours, name, now, ended=True),
        "client-only": _leaf(ours, name, now, purposes=(ExtendedKeyUsageOID.CLIENT_AUTH,)),
    }


def _trials(
    client: Shown | None, witnesses: dict[str, Witness], ours: _Authority, foreign: _Authority, now: datetime
) -> list[_Trial]:
    good = witnesses["good"]
    bad_clients = {
        "none": ("client shows no certificate", None),
        "expired": ("client shows an expired certificate", _leaf(ours, "client", now, ended=True)),
        "foreign": ("client shows a certificate of a foreign CA", _leaf(foreign, "client", now)),
        "server-only": (
            "client shows a certificate for servers only",
            _leaf(ours, "client", now, purposes=(ExtendedKeyUsageOID.SERVER_AUTH,)),
        ),
    }
    bad_upstreams = {
        "foreign": "upstream shows a certificate of a foreign CA",
        "wrong-name": "upstream shows a certificate for another name",
        "expired": "upstream shows an expired certificate",
        "client-only": "upstream shows a certificate for clients only",
    }
    return [
        _Trial("accepted", "client shows its own certificate", client, good, True),
        *(_Trial(f"client-{key}", title, shown, good, False) for key, (title, shown) in bad_clients.items()),
        *(_Trial(f"upstream-{key}", title, client, witnesses[key], False) for key, title in bad_upstreams.items()),
    ]


def _write(
    directory: Path, port: int, place: Place, base: Path, trials: Sequence[_Trial], ours: _Authority, name: str
) -> None:
    write_file(directory / "trust.crt", bundle_to_pem([ours.root]).encode())
    locations = []
    for trial in trials:
        shown = ""
        if trial.client is not None:
            certificate, key = directory / f"{trial.id}.crt", directory / f"{trial.id}.key"
            write_file(certificate, bundle_to_pem(list(trial.client.chain)).encode())
            write_file(key, private_key_to_pem(trial.client.key))
            shown = f"proxy_ssl_certificate {quote(str(certificate))};\nproxy_ssl_certificate_key {quote(str(key))};\n"
        locations.append(
            f"location = /{trial.id} {{\nproxy_pass https://127.0.0.1:{trial.witness.port};\n"
            f"proxy_set_header Host {quote(name)};\nproxy_ssl_name {quote(name)};\n"
            f"proxy_ssl_trusted_certificate {quote(str(directory / 'trust.crt'))};\n{shown}{_own(place, base)}}}\n"
        )
    temp = "".join(f"{one}_temp_path {quote(str(directory / one))};\n" for one in _TEMP_PATHS)
    text = (
        f"worker_processes 1;\npid {quote(str(directory / 'nginx.pid'))};\n"
        f"error_log {quote(str(directory / 'error.log'))} info;\nevents {{}}\nhttp {{\n{temp}access_log off;\n"
        f"server {{\nlisten 127.0.0.1:{port};\n{''.join(locations)}}}\n}}\n"
    )
    write_file(directory / "nginx.conf", text.encode("utf-8", "surrogateescape"))


def _own(place: Place, base: Path) -> str:
    """The location's own TLS directives, inherited ones too, file names made absolute."""
    lines = []
    for name, setting in place.settings.items():
        if not name.startswith("ssl_") or name in _REPLACED:
            continue
        words = [str(base / one) if name in _FILES else one for one in setting.arguments]
        lines.append(f"proxy_{name} {' '.join(map(quote, words))};\n")
    return "".join(lines)


def _row(trial: _Trial, directory: Path, port: int, facts: Facts | None) -> ProofRow:
    log = directory / "error.log"
    offset = log.stat().st_size
    before = len(trial.witness.seen)
    reply = get(port, f"/{trial.id}", "localhost")
    lines = log.read_bytes()[offset:].decode("utf-8", "replace").splitlines()
    evidence = next((line for line in lines if "[error]" in line or "[crit]" in line), "")
    if trial.accepted:
        return _accepted(trial, reply, facts, _short(evidence))
    trial.witness.wait_for(before + 1, 2)
    seen = trial.witness.seen[before:]
    let_in = reply.status == 200
    refused = next((one.refused for one in seen if one.refused), "")
    by = f"the upstream: {refused}" if trial.id.startswith("client-") and refused else "nginx"
    observed = f"answered {reply.status}" + ("" if let_in else f", refused by {by}")
    return ProofRow(trial.id, trial.title, "refused", observed, not let_in and reply.status != 0, _short(evidence))


def _accepted(trial: _Trial, reply: Reply, facts: Facts | None, evidence: str) -> ProofRow:
    expected = f"accepted, the upstream sees serial {facts.serial:x}" if facts else "accepted"
    if reply.status != 200:
        return ProofRow(trial.id, trial.title, expected, f"answered {reply.status}", False, evidence)
    seen = Seen(**json.loads(reply.body))
    shown = f"{int(seen.serial):x}" if seen.serial else "none"
    observed = f"200, the upstream saw serial {shown}, {seen.subject}, {seen.protocol}"
    ok = facts is not None and seen.serial == str(facts.serial)
    note = "trust: substituted by a throw-away CA, the rest is the location's own"
    return ProofRow(trial.id, trial.title, expected, observed, ok, note)


def _short(line: str) -> str:
    """A log line without its time stamp and connection, cut before the client's part."""
    return line.partition("]")[2].partition(", client:")[0].strip().partition(" ")[2].strip().removeprefix("*")


def _authority(name: str, now: datetime) -> _Authority:
    root_key, key = generate_key(), generate_key()
    root = _certificate(f"{name} Root", root_key, f"{name} Root", root_key, now, path_length=1)
    intermediate = _certificate(f"{name} Intermediate", key, f"{name} Root", root_key, now, path_length=0)
    return _Authority(root, intermediate, key)


def _leaf(
    authority: _Authority,
    name: str,
    now: datetime,
    *,
    purposes: tuple[ObjectIdentifier, ...] = BOTH,
    ended: bool = False,
) -> Shown:
    key = generate_key()
    issuer = authority.intermediate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    moment = now - 25 * HOUR if ended else now
    leaf = _certificate(name, key, str(issuer), authority.key, moment, purposes=purposes)
    return Shown((leaf, authority.intermediate), key)


def _certificate(
    name: str,
    key: PrivateKey,
    issuer: str,
    issuer_key: PrivateKey,
    now: datetime,
    *,
    path_length: int | None = None,
    purposes: tuple[ObjectIdentifier, ...] = (),
) -> x509.Certificate:
    builder = x509.CertificateBuilder(
        issuer_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]),
        subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])]),
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - HOUR,
        not_valid_after=now + 24 * HOUR,
    )
    identifier = x509.SubjectKeyIdentifier(subject_key_id(key.public_key()))
    builder = builder.add_extension(identifier, critical=False)
    if path_length is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    if purposes:
        names = split_names([name]).general_names()
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def prove_live(place: Place, port: int, host: str, address: str = "127.0.0.1") -> ProofRow:
    """Through the real nginx to the real upstream: an answer that is not a TLS refusal."""
    path = place.path.rpartition(" ")[2] if place.path.rpartition(" ")[2].startswith("/") else "/"
    reply = get(port, path, host, address)
    refusal = next((text for text in _REFUSALS if text in reply.body), b"").decode()
    ok = reply.status not in (0, 502, 504, 495, 496) and not refusal
    observed = f"{host}{path} answered {reply.status}" + (f": {refusal}" if refusal else "")
    return ProofRow("live", "the real upstream, through the real nginx", "an answer of the application", observed, ok)


_REFUSALS = (
    b"No required SSL certificate was sent",
    b"The SSL certificate error",
    b"plain HTTP request was sent to HTTPS",
)
