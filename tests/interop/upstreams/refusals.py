"""What each upstream says when it refuses, through each nginx, in TLS 1.2 and 1.3: the doctor must name the cause."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner

from tests.rig.nginx import get, running
from tests.rig.pki import SERVER, Pair, Pki
from troth.cli.nginx import doctor
from troth.host.nginx import Nginx
from troth.host.ports import free_ports

VERSIONS = {"12": "TLSv1.2", "13": "TLSv1.3"}
# What the doctor must say of each kind of refusal. A server that is asked for a name it does not have may end the
# handshake itself, before nginx compares names.
NAMES: dict[str, tuple[str, ...]] = {
    "none": ("client-none", "client-none-12"),
    "expired": ("client-expired",),
    "foreign": ("client-authority-unknown",),
    "purpose": ("client-purpose",),
    "name": ("name-wrong", "server-name-unknown", "alert-internal"),
    "version": ("protocol-version",),
}


@dataclass(frozen=True)
class Refusal:
    """What was seen of one kind: the answer's status and what the doctor named."""

    kind: str
    status: int
    named: tuple[str, ...]

    @property
    def good(self) -> bool:
        allowed = NAMES[self.kind.partition("-")[0]]
        return self.status >= 400 and len(self.named) == 1 and self.named[0] in allowed


def identities(pki: Pki) -> dict[str, Pair | None]:
    """What the client shows, by kind of refusal."""
    foreign = Pki(pki.directory / "foreign", "Foreign")
    return {
        "none": None,
        "expired": pki.leaf("client", file="expired", ended=True),
        "foreign": foreign.leaf("client"),
        "purpose": pki.leaf("client", file="purpose", purposes=(SERVER,)),
        "name": pki.leaf("client", file="name"),
    }


def site(shown: dict[str, Pair | None], pki: Pki, port: int, upstream: int, newest: int) -> str:
    """A location for each kind and each version of TLS."""
    parts = []
    for kind, pair in shown.items():
        name = "else.test" if kind == "name" else "up.test"
        parts += [_location(f"{kind}-{one}", upstream, tls, name, pair, pki) for one, tls in VERSIONS.items()]
    parts.append(_location("version-12", newest, "TLSv1.2", "up.test", shown["name"], pki))
    return f"server {{\nlisten 127.0.0.1:{port};\nserver_name app.test;\n{''.join(parts)}}}\n"


def _location(path: str, upstream: int, tls: str, name: str, pair: Pair | None, pki: Pki) -> str:
    own = f"proxy_ssl_certificate {pair.certificate}; proxy_ssl_certificate_key {pair.key};" if pair else ""
    return (
        f"location /{path} {{\nproxy_pass https://127.0.0.1:{upstream};\n{own}\nproxy_ssl_protocols {tls};\n"
        f"proxy_ssl_verify on; proxy_ssl_verify_depth 2; proxy_ssl_trusted_certificate {pki.trust};\n"
        f"proxy_ssl_name {name}; proxy_ssl_server_name on; proxy_ssl_session_reuse off;\n"
        "proxy_set_header Host up.test;\n}\n"
    )


def refusals(directory: Path, nginx: Path, pki: Pki, ports: tuple[int, int]) -> Iterator[Refusal]:
    """Ask each location, then the doctor about it."""
    (port,) = free_ports(1)
    shown = identities(pki)
    with running(nginx, directory, site(shown, pki, port, *ports)) as made:
        for kind in [*(f"{one}-{tls}" for one in shown for tls in VERSIONS), "version-12"]:
            status, _ = get(port, f"/{kind}")
            yield Refusal(kind, status, named(made, f"http://127.0.0.1:{port}/{kind}"))


def named(nginx: Nginx, url: str) -> tuple[str, ...]:
    words = ["--nginx", str(nginx.binary), "-c", str(nginx.main), "-p", str(nginx.base), "--json", url]
    result = CliRunner().invoke(doctor, words, standalone_mode=False)
    try:
        return tuple(one["id"] for one in json.loads(result.output)["diagnoses"])
    except (ValueError, KeyError):
        return (f"failed: {result.output}{result.exception!r}",)
