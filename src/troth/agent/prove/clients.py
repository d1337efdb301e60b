"""A server that asks for client certificates: who gets in, and what its applications can be made to believe.

A second nginx of the same build runs with the server's own TLS directives and the header lines in force at each of its
locations; the application behind them keeps what it is told.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from troth.agent.config import Config as Declared
from troth.agent.prove.forged import forge, found_authority
from troth.agent.prove.rows import ProofRow
from troth.agent.prove.second import TEMP_PATHS
from troth.agent.shadow import shadow_directory
from troth.errors import TrothError
from troth.host import clock
from troth.host.application import Application
from troth.host.files import read_file, write_file
from troth.host.handshake import Call, shake
from troth.host.nginx import Nginx
from troth.host.ports import free_ports
from troth.host.witness import Shown
from troth.nginx.client_auth import FORBIDDEN
from troth.nginx.client_headers import SETTERS, lets_underscores_through, spellings
from troth.nginx.map import Guard, effective_list, location_path
from troth.nginx.preserve import plain
from troth.nginx.render import quote
from troth.nginx.tree import Config, Directive
from troth.nginx.variables import variables
from troth.x509.chains import CLIENT_AUTH, verify_path
from troth.x509.keys import private_key_to_pem
from troth.x509.pem import bundle_to_pem, parse_certificates

SPOOFED = "sent-by-the-client"
_OWN = ("verify_client", "verify_depth", "protocols", "ciphers", "ecdh_curve", "prefer_server_ciphers")
_ASKED = {"proxy_pass": "proxy_pass http://127.0.0.1:{0};", "uwsgi_pass": "uwsgi_pass 127.0.0.1:{0};"}
_HEADERS = ("proxy_set_header", "grpc_set_header")
_REFUSED = (400, 495, 496)
SUBSTITUTED = "trust: substituted by a throw-away CA, the rest is the server's own"
OWN_TRUST = "trust: the server's own"


@dataclass(frozen=True, slots=True)
class _Way:
    """One location: where it stands, and its lines in the second nginx."""

    label: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Stage:
    """A running second nginx: its ports by trust (``own``, ``ours``), the application, and pairs by name."""

    ports: dict[str, int]
    application: Application
    pairs: dict[str, tuple[Path, Path]]

    def call(self, trust: str, client: str, path: str = "/0", headers: tuple[str, ...] = ()) -> int:
        """The status of one request; 0 when there was no answer."""
        peer = ("127.0.0.1", self.ports[trust])
        return shake(Call(peer, "localhost", self.pairs.get(client), path=path, headers=headers), timeout=5).status


def prove_clients(config: Config, guard: Guard, nginx: Nginx, declared: Declared | None = None) -> list[ProofRow]:
    """Prove one server.

    Args:
        config: the whole configuration.
        guard: the server with its settings, from `troth.nginx.map.guards`.
        nginx: the nginx whose build runs the proof.
        declared: identities we have; one that the server's own roots vouch for is shown as the good client.

    Raises:
        TrothError: its files cannot be read, or the second nginx cannot be started.
    """
    ways = list(_ways(guard.node))
    with _staged(config, guard, nginx, declared, ways) as stage:
        names = _told(ways)
        told = [_header_row(stage, number, way, names) for number, way in enumerate(ways)] if names else []
        return [*_client_rows(guard, stage), *told]


def _told(ways: Sequence[_Way]) -> list[str]:
    """Every header that a location sets or empties on account of certificates, as HTTP names it.

    A header that is only emptied and that nobody takes for a certificate's, ``Accept-Encoding`` say, is another matter.
    """
    lines = [line.split(" ", 2) for way in ways for line in way.lines[:-1]]
    lines = [one for one in lines if one[0] in _HEADERS or one[1].startswith("HTTP_")]
    names = [(name.removeprefix("HTTP_").replace("_", "-").title(), value) for _, name, value in lines]
    known = {plain(name) for name in FORBIDDEN} | {plain(name) for name, value in names if not value.startswith('""')}
    return list(dict.fromkeys(name for name, _ in names if plain(name) in known))


def _client_rows(guard: Guard, stage: _Stage) -> Iterator[ProofRow]:
    own = "own" in stage.pairs
    status = stage.call(*(("own", "own") if own else ("ours", "good")))
    note = OWN_TRUST if own else SUBSTITUTED
    yield ProofRow("client-good", "a client of the authority", "let in", _text(status), status == 200, note)
    status = stage.call("own", "")
    wanted, good = ("let in", status == 200) if guard.mode.startswith("optional") else ("refused", status in _REFUSED)
    yield ProofRow("client-none", "a client without a certificate", wanted, _text(status), good, OWN_TRUST)
    for key, title, trust in (
        ("foreign", "a client of a foreign CA", "own"),
        ("expired", "a client with an expired certificate", "ours"),
        ("server-only", "a client with a certificate for servers only", "ours"),
    ):
        status = stage.call(trust, key)
        note = OWN_TRUST if trust == "own" else SUBSTITUTED
        yield ProofRow(f"client-{key}", title, "refused", _text(status), status in _REFUSED, note)


def _text(status: int) -> str:
    return f"answered {status}" + (", refused" if status in _REFUSED else "") if status else "connection closed"


def _header_row(stage: _Stage, number: int, way: _Way, names: Sequence[str]) -> ProofRow:
    """A good client that sends all these headers itself, in every spelling."""
    title = f"what the application of {way.label} is told"
    sent = [other for name in names for other in (name, *spellings(name))]
    before, told = len(stage.application.received), []
    for start in range(0, len(sent), 40):
        lines = tuple(f"{name}: {SPOOFED}-{name}" for name in sent[start : start + 40])
        status = stage.call("ours", "good", f"/{number}", lines)
        if status != 200:
            return ProofRow(f"told-{number}", title, "nothing of the client's own", _text(status), False)
    for data in stage.application.received[before:]:
        told += [name for name in sent if f"{SPOOFED}-{name}".encode() in data]
    if told:
        shown = ", ".join(dict.fromkeys(told))
        return ProofRow(f"told-{number}", title, "nothing of the client's own", f"the client's own {shown}", False)
    observed = f"none of {len(sent)} headers that the client sent"
    return ProofRow(f"told-{number}", title, "nothing of the client's own", observed, True)


def _ways(server: Directive) -> Iterator[_Way]:
    """Every location with an application that we can be, its header lines reduced to those about certificates."""
    for node in server.walk():
        if node.name in _ASKED and node.parent is not None:
            around = node.enclosing("location") or server
            setter = SETTERS[node.name]
            lines = [
                " ".join((line.name, *map(quote, line.arguments)))
                for line in effective_list(around, setter)
                if len(line.arguments) > 1 and _tells(line.arguments[1])
            ]
            label = location_path(around) if around.name == "location" else around.where
            yield _Way(label, (*lines, _ASKED[node.name].rstrip(";")))


def _tells(value: str) -> bool:
    """Whether a header says something of the client's certificate, or is emptied; others are no matter of ours."""
    names = variables(value)
    return not value or (bool(names) and all(map(_about_client, names)))


def _about_client(name: str) -> bool:
    return name.startswith(("ssl_client_", "troth_client_"))


@contextlib.contextmanager
def _staged(
    config: Config, guard: Guard, nginx: Nginx, declared: Declared | None, ways: list[_Way]
) -> Iterator[_Stage]:
    now = clock.now()
    ours, foreign = found_authority("Proof", now), found_authority("Foreign", now)
    base = Path(config.main).parent
    trust = guard.value("client_certificate") or guard.value("trusted_certificate")
    with shadow_directory("troth-prove-") as directory, Application() as application:
        forged = {
            "server": forge(ours, now, "localhost"),
            "good": forge(ours, now, "client"),
            "expired": forge(ours, now, "client", ended=True),
            "foreign": forge(foreign, now, "client"),
            "server-only": forge(ours, now, "client", purposes=(ExtendedKeyUsageOID.SERVER_AUTH,)),
        }
        pairs = {name: _write_pair(directory / name, shown) for name, shown in forged.items()}
        if trust:
            pairs |= _own_pair(declared, parse_certificates(read_file(base / trust), trust))
        write_file(directory / "ours.crt", bundle_to_pem([ours.root]).encode())
        ports = dict(zip(("own", "ours"), free_ports(2), strict=True))
        text = _text_of(config, guard, directory, base, ports, application.port, ways)
        write_file(directory / "nginx.conf", text.encode("utf-8", "surrogateescape"))
        second = Nginx(nginx.binary, directory / "nginx.conf", directory)
        second.start()
        try:
            yield _Stage(ports, application, pairs)
        finally:
            second.stop()


def _write_pair(stem: Path, shown: Shown) -> tuple[Path, Path]:
    files = stem.with_suffix(".crt"), stem.with_suffix(".key")
    write_file(files[0], bundle_to_pem(list(shown.chain)).encode())
    write_file(files[1], private_key_to_pem(shown.key))
    return files


def _own_pair(declared: Declared | None, roots: list[x509.Certificate]) -> dict[str, tuple[Path, Path]]:
    """A declared identity whose certificate the server's own roots vouch for."""
    for one in declared.identities if declared is not None else ():
        with contextlib.suppress(TrothError):
            chain = parse_certificates(read_file(one.certificate), one.name)
            verify_path(chain[0], chain[1:], roots, clock.now(), purpose=CLIENT_AUTH)
            return {"own": (one.certificate, one.key)}
    return {}


def _text_of(
    config: Config,
    guard: Guard,
    directory: Path,
    base: Path,
    ports: dict[str, int],
    application: int,
    ways: list[_Way],
) -> str:
    temp = "".join(f"{one}_temp_path {quote(str(directory / one))};\n" for one in TEMP_PATHS)
    loose = "underscores_in_headers on;\n" if config.http and lets_underscores_through(config) else ""
    own = [f"ssl_{n} {' '.join(map(quote, guard.settings[n].arguments))};" for n in _OWN if n in guard.settings]
    files = [n for n in ("client_certificate", "trusted_certificate", "crl") if guard.value(n)]
    trusts = {
        "own": [f"ssl_{n} {quote(str(base / guard.value(n)))};" for n in files],
        "ours": [f"ssl_client_certificate {quote(str(directory / 'ours.crt'))};"],
    }
    pair = f"ssl_certificate {directory}/server.crt;\nssl_certificate_key {directory}/server.key;\n"
    ways = ways or [_Way("", ("return 200",))]
    bodies = ["".join(f"{line};\n" for line in way.lines).replace("{0}", str(application)) for way in ways]
    locations = "".join(f"location = /{number} {{\n{body}}}\n" for number, body in enumerate(bodies))
    servers = "".join(
        f"server {{\nlisten 127.0.0.1:{ports[name]} ssl;\nserver_name localhost;\n{pair}"
        + "\n".join([*own, *lines])
        + f"\n{locations}}}\n"
        for name, lines in trusts.items()
    )
    return (
        f"worker_processes 1;\npid {quote(str(directory / 'nginx.pid'))};\n"
        f"error_log {quote(str(directory / 'error.log'))} info;\nevents {{}}\n"
        f"http {{\n{temp}access_log off;\nlarge_client_header_buffers 8 32k;\n{loose}{_maps(config)}{servers}}}\n"
    )


def _maps(config: Config) -> str:
    """Maps of the user's and ours that make something of a client's certificate."""
    found = [d for d in (config.http.find("map") if config.http is not None else []) if len(d.arguments) == 2]
    kept = [d for d in found if variables(d.arguments[0]) and all(map(_about_client, variables(d.arguments[0])))]
    texts = (config.files[d.file][d.start : d.end].decode("utf-8", "surrogateescape") for d in kept)
    return "".join(f"{text}\n" for text in texts)
