"""Three leaks that nginx accepts without a word: they happen with a real nginx, inspect finds them, apply ends them.

nginx keeps sessions and idle connections by peer, and not by the certificate shown or the trust they were opened with.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.rig.nginx import frame, get, program, programs, short_directory
from tests.rig.pki import Pair, Pki
from troth.agent.apply import apply_plan
from troth.agent.reading import read_config
from troth.host.nginx import Nginx
from troth.host.ports import free_ports
from troth.nginx.findings import examine
from troth.nginx.map import identity_map
from troth.nginx.plan import Declaration, Plan, make_plan
from troth.nginx.render import Identity, Witnesses

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
UPSTREAM = """\
    server {{
        listen 127.0.0.1:{up} ssl;
        ssl_protocols {protocols};
        ssl_certificate {server.certificate};
        ssl_certificate_key {server.key};
        ssl_client_certificate {trust};
        ssl_verify_client {asks};
        ssl_verify_depth 2;
        location / {{ return 200 "$ssl_client_serial $ssl_session_reused"; }}
    }}
"""


@dataclass(frozen=True)
class Site:
    """An nginx that is proxy and upstream in one, with two authorities: `pki` is the upstream's, `other` is not."""

    nginx: Nginx
    port: int
    directory: Path
    pki: Pki
    other: Pki
    one: Pair
    two: Pair

    def seen(self, path: str) -> tuple[int, int]:
        """Status, and the serial that the upstream saw; 0 is none."""
        status, body = get(self.port, path)
        word = body.split()[0].decode() if status == 200 and body.split() else ""
        return status, int(word, 16) if word not in ("", ".", "r") else 0

    def found(self) -> dict[str, set[str]]:
        """The lines that each rule names, as ``file:line`` without the directory."""
        config = read_config(self.nginx)
        places = identity_map(config)
        lines: dict[str, set[str]] = {}
        for finding in examine(config, places, self.nginx.capabilities()):
            lines.setdefault(finding.id, set()).add(finding.where.rpartition("/")[2])
        return lines

    def line(self, text: str) -> str:
        """``nginx.conf:N`` of the one line that holds a text."""
        lines = (self.directory / "nginx.conf").read_text().splitlines()
        (number,) = [index for index, line in enumerate(lines, 1) if text in line]
        return f"nginx.conf:{number}"

    def apply(self, **identities: tuple[Pair, Pki]) -> Plan:
        """Declare each path with its identity and trust, apply, and hold the plan to be done."""
        made = {path: self._identity(path, pair, pki) for path, (pair, pki) in identities.items()}
        plan = self._plan(made)
        apply_plan(plan, self.nginx, self.directory / "state", now=NOW)
        assert self._plan(made).empty
        return plan

    def _identity(self, path: str, pair: Pair, pki: Pki) -> Identity:
        return Identity(path, str(pair.certificate), str(pair.key), str(pki.trust))

    def _plan(self, made: dict[str, Identity]) -> Plan:
        wanted = [Declaration("app.test", f"/{path}", one, name="up.test") for path, one in made.items()]
        witnesses = Witnesses(str(self.directory / "state" / "witness"), {})
        config, capabilities = read_config(self.nginx), self.nginx.capabilities()
        include = str(self.directory / "troth")
        return make_plan(config, wanted, list(made.values()), capabilities, include, witnesses)


@pytest.fixture(params=sorted(programs()))
def binary(request: pytest.FixtureRequest) -> Path:
    return program(request.param)


@contextmanager
def laid_out(binary: Path, body: str, *, asks: str = "on", protocols: str = "TLSv1.2") -> Iterator[Site]:
    """`body` is the proxy's part, with ``UP``, ``DIR`` filled in; the upstream lets in `pki`'s clients only."""
    with short_directory("leak") as directory:
        pki, other = Pki(directory / "pki"), Pki(directory / "other", "Other")
        one, two, server = pki.leaf("one"), pki.leaf("two"), pki.leaf("up.test")
        port, up = free_ports(2)
        upstream = UPSTREAM.format(up=up, protocols=protocols, server=server, trust=pki.trust, asks=asks)
        body = body.replace("PORT", str(port)).replace("UP", f"127.0.0.1:{up}").replace("DIR", str(directory))
        # One worker: idle connections belong to a worker, and a leak must not depend on which one answers.
        (directory / "nginx.conf").write_text(frame(directory, body + upstream, workers=1))
        nginx = Nginx(binary, directory / "nginx.conf", directory)
        nginx.start()
        try:
            yield Site(nginx, port, directory, pki, other, one, two)
        finally:
            nginx.stop()


CLIENT = "proxy_ssl_certificate DIR/pki/{0}.crt; proxy_ssl_certificate_key DIR/pki/{0}.key;"
KEEP = 'proxy_http_version 1.1; proxy_set_header Connection "";'
GROUP = "upstream shared.test { server UP; keepalive 8; }\n"


def server(*locations: str) -> str:
    """The proxy's server; it speaks whatever the upstream does."""
    lines = "".join(f"        {line}\n" for line in locations)
    return (
        "    server { listen 127.0.0.1:PORT; server_name app.test; proxy_ssl_protocols TLSv1.2 TLSv1.3;\n"
        f"        proxy_ssl_verify_depth 2; proxy_ssl_name up.test;\n{lines}    }}\n"
    )


def identities(target: str, more: str = "") -> str:
    """Two locations with an identity each, and one that shows none."""
    return server(
        f"location /one {{ proxy_pass https://{target}/; {CLIENT.format('one')} {more} }}",
        f"location /two {{ proxy_pass https://{target}/; {CLIENT.format('two')} {more} }}",
        f"location /none {{ proxy_pass https://{target}/; {more} }}",
    )


@pytest.mark.parametrize(
    ("how", "body", "protocols"),
    [
        ("a resumed session", identities("UP"), "TLSv1.2"),
        ("a resumed session", identities("UP"), "TLSv1.3"),
        ("an idle connection", GROUP + identities("shared.test", f"{KEEP} proxy_ssl_session_reuse off;"), "TLSv1.3"),
    ],
    ids=["session-1.2", "session-1.3", "idle-connection"],
)
def test_a_location_is_taken_for_its_neighbour_until_apply(binary: Path, how: str, body: str, protocols: str) -> None:
    with laid_out(binary, body, protocols=protocols) as site:
        one, two = site.one.serial, site.two.serial
        assert site.seen("/none") == (400, 0), "on its own it is refused"
        site.nginx.reload()
        assert site.seen("/one") == (200, one)
        assert site.seen("/two") == (200, one), f"the leak by {how}: the upstream sees the neighbour"
        assert site.seen("/none") == (200, one), f"the leak by {how}: no certificate is let in as the neighbour"

        assert site.found()["shared-identity"] == {site.line("location /two"), site.line("location /none")}

        site.apply(one=(site.one, site.pki), two=(site.two, site.pki))
        assert "shared-identity" not in site.found()
        for _ in range(2):
            assert site.seen("/one") == (200, one)
            assert site.seen("/two") == (200, two)
            assert site.seen("/none") == (400, 0)


def test_an_unverified_upstream_is_believed_until_apply(binary: Path) -> None:
    more = f"{CLIENT.format('one')} {KEEP} proxy_ssl_session_reuse off;"
    checks = "proxy_ssl_verify on; proxy_ssl_trusted_certificate DIR/other/ca.crt;"
    body = GROUP + server(
        f"location /lax {{ proxy_pass https://shared.test/; {more} }}",
        f"location /strict {{ proxy_pass https://shared.test/; {more} {checks} }}",
    )
    with laid_out(binary, body) as site:
        assert site.seen("/strict")[0] == 502, "on its own it refuses an upstream of another authority"
        site.nginx.reload()
        assert site.seen("/lax")[0] == 200
        assert site.seen("/strict")[0] == 200, "the leak: the neighbour's unverified connection is used"

        assert site.found()["shared-verification"] == {site.line("location /strict")}

        site.apply(lax=(site.one, site.pki), strict=(site.one, site.other))
        assert "shared-verification" not in site.found()
        for _ in range(2):
            assert site.seen("/lax") == (200, site.one.serial)
            assert site.seen("/strict")[0] == 502


TWO_TRUSTS = server(
    f"location /good {{ proxy_pass https://UP/; {CLIENT.format('one')} proxy_ssl_verify on;"
    " proxy_ssl_trusted_certificate DIR/pki/ca.crt; }",
    f"location /bad {{ proxy_pass https://UP/; {CLIENT.format('one')} proxy_ssl_verify on;"
    " proxy_ssl_trusted_certificate DIR/other/ca.crt; }",
)


def cured(site: Site) -> None:
    """Apply ends it: each location has its own word about the upstream, whoever asked first."""
    assert site.found()["shared-trust"] == {site.line("DIR/other".replace("DIR", str(site.directory)))}
    site.apply(good=(site.one, site.pki), bad=(site.one, site.other))
    assert "shared-trust" not in site.found()
    for _ in range(2):
        assert site.seen("/bad")[0] == 502
        assert site.seen("/good") == (200, site.one.serial)


def test_a_session_of_tls_1_3_passes_the_neighbours_check_until_apply(binary: Path) -> None:
    with laid_out(binary, TWO_TRUSTS, protocols="TLSv1.3") as site:
        assert site.seen("/bad")[0] == 502, "on its own it refuses an upstream of another authority"
        site.nginx.reload()
        assert site.seen("/good")[0] == 200
        assert site.seen("/bad")[0] == 200, "the leak: the session carries the neighbour's verdict"
        cured(site)


def test_one_failed_check_poisons_the_session_of_tls_1_2_until_apply(binary: Path) -> None:
    with laid_out(binary, TWO_TRUSTS, protocols="TLSv1.2") as site:
        assert site.seen("/good")[0] == 200, "on its own it is fine"
        site.nginx.reload()
        assert site.seen("/bad")[0] == 502
        assert [site.seen("/good")[0] for _ in range(4)] == [502] * 4, "the session keeps the neighbour's verdict"
        site.nginx.reload()
        assert site.seen("/good")[0] == 200, "a reload clears it"
        cured(site)
