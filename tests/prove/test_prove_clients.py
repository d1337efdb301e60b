"""``troth nginx prove`` of a server that asks for client certificates: every row can hold and can fail."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.prove.sites import Site, failed
from tests.rig.nginx import frame, program, short_directory
from tests.rig.pki import Pki
from troth.agent.config import Config, Identity
from troth.agent.prove import ProofRow, prove_clients
from troth.agent.reading import read_config
from troth.host.nginx import Nginx
from troth.host.ports import free_ports
from troth.nginx.client_auth import ClientAuth
from troth.nginx.map import guards
from troth.nginx.plan import make_plan
from troth.nginx.render import Witnesses

CLIENTS = {"client-good", "client-none", "client-foreign", "client-expired", "client-server-only"}
ASKS = "ssl_client_certificate DIR/ca.crt; ssl_verify_client on; ssl_verify_depth 2;"
TELLS = "proxy_set_header X-SSL-Client-S-DN $ssl_client_s_dn;"
TO = "proxy_pass http://127.0.0.1:9;"
PLAIN = f"location / {{ {TO} }} location /own {{ proxy_set_header A b; {TO} }}"
UWSGI = "location /u { uwsgi_pass 127.0.0.1:9; }"


@contextmanager
def asking(build: str, server: str, before: str = "") -> Iterator[Site]:
    """A configuration with one server with TLS."""
    with short_directory("clients") as directory:
        pki = Pki(directory)
        pki.leaf("app.test", file="up"), pki.leaf("one")
        (port,) = free_ports(1)
        pair = "ssl_certificate DIR/up.crt; ssl_certificate_key DIR/up.key; ssl_protocols TLSv1.2 TLSv1.3;"
        body = f"{before}\nserver {{ listen 127.0.0.1:{port} ssl; server_name app.test; {pair}\n{server}\n}}\n"
        (directory / "nginx.conf").write_text(frame(directory, body.replace("DIR", str(directory))))
        yield Site(Nginx(program(build), directory / "nginx.conf", directory), directory, pki)


def rows(site: Site, declared: Config | None = None) -> dict[str, ProofRow]:
    config = read_config(site.nginx)
    (guard,) = guards(config)
    return {row.id: row for row in prove_clients(config, guard, site.nginx, declared)}


def apply(site: Site) -> None:
    """What troth makes of it, written out."""
    config, include = read_config(site.nginx), f"{site.directory}/troth"
    guard = ClientAuth("app.test", str(site.pki.trust))
    plan = make_plan(config, [], [], site.nginx.capabilities(), include, Witnesses("/w", {}), [guard])
    (site.directory / "troth").mkdir()
    for name, data in plan.after().items():
        (site.directory / name).write_bytes(data)


def test_what_troth_writes_passes_every_row(build: str) -> None:
    loose = "server { listen unix:loose.sock; underscores_in_headers on; }"
    for before in ("", loose):
        with asking(build, f"{PLAIN} {UWSGI}", before) as site:
            apply(site)
            found = rows(site)
            assert set(found) == {*CLIENTS, "told-0", "told-1", "told-2"}
            assert failed(found) == set(), found
            assert "substituted" in found["client-good"].detail
            assert "/own" in found["told-1"].title


def test_an_identity_of_ours_is_shown_to_the_servers_own_trust(build: str) -> None:
    with asking(build, f"{ASKS} {PLAIN}") as site:
        files = (site.directory / "one.crt", site.directory / "one.key", site.pki.trust)
        declared = Config(
            site.directory / "troth.toml", site.directory, (Identity("one", "", (), None, None, *files),), ()
        )
        found = rows(site, declared)
        assert set(found) == CLIENTS, "nothing is told to the applications"
        assert failed(found) == set()
        assert "substituted" not in found["client-good"].detail


def test_a_location_that_lets_the_client_name_itself_is_found_out(build: str) -> None:
    with asking(build, f"{ASKS} {TELLS} {PLAIN}") as site:
        found = rows(site)
        assert failed(found) == {"told-1"}
        assert "the client's own X-Ssl-Client-S-Dn" in found["told-1"].observed
    with asking(build, f"underscores_in_headers on; {ASKS} {TELLS} {PLAIN}") as site:
        assert failed(rows(site)) == {"told-0", "told-1"}, "with underscores it gets past the line"


def test_a_header_that_is_emptied_for_another_reason_may_be_sent_elsewhere(build: str) -> None:
    other = f'location /sub {{ proxy_set_header Accept-Encoding ""; {TO} }}'
    with asking(build, f"{PLAIN} {other} {UWSGI}") as site:
        apply(site)
        found = rows(site)
        assert set(found) == {*CLIENTS, *(f"told-{number}" for number in range(4))}
        assert failed(found) == set(), found


def test_a_server_that_lets_anybody_in_is_found_out(build: str) -> None:
    with asking(build, f"{ASKS.replace(' on;', ' optional_no_ca;')} {PLAIN}") as site:
        assert failed(rows(site)) == {"client-foreign"}
    with asking(build, f"{ASKS.replace(' on;', ' optional;')} {PLAIN}") as site:
        found = rows(site)
        assert failed(found) == set()
        assert found["client-none"].observed == "answered 200"
    with asking(build, f"{ASKS.replace('depth 2', 'depth 0')} {PLAIN}") as site:
        assert failed(rows(site)) == {"client-good"}, "no intermediate may stand between"


def test_the_command_proves_what_is_declared_and_what_is_asked_for(build: str) -> None:
    with asking(build, f"{ASKS} {PLAIN}") as site:
        done = site.command("--server", "app.test", "--client-auth", "on", "--json")
        assert done.return_value == 0, done.output
        (one,) = json.loads(done.stdout)["locations"]
        assert (one["module"], one["servers"]) == ("client-auth", ["app.test"])
        assert {row["id"] for row in one["rows"]} == CLIENTS
        assert site.command().stdout.startswith("app.test   ->  clients of ")
        other = site.command("--server", "b.test", "--client-auth", "on")
        assert "no server 'b.test' asks for client certificates" in str(other.exception)
