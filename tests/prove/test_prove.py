"""``troth nginx prove``: every row can hold and can fail, live too; a signed proof holds for who has the root."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.rig.nginx import frame, program, programs, short_directory
from tests.rig.pki import Pki
from troth.agent.prove import ProofRow, ProveError, prove_live, prove_location
from troth.agent.prove.signed import SignatureProblem
from troth.agent.reading import read_config
from troth.cli.nginx import prove
from troth.errors import UsageError
from troth.host.nginx import Nginx
from troth.host.ports import free_ports
from troth.nginx.map import Place, identity_map

CLIENT = "proxy_ssl_certificate DIR/{0}.crt; proxy_ssl_certificate_key DIR/{0}.key;"
CHECK = (
    "proxy_ssl_verify on; proxy_ssl_verify_depth 2; proxy_ssl_trusted_certificate DIR/ca.crt; proxy_ssl_name up.test;"
)
KEEP = 'proxy_http_version 1.1; proxy_set_header Connection "";'
APART = "proxy_ssl_session_reuse off;"
GOOD = f"location /upstream {{ proxy_pass https://UP; {CLIENT.format('one')} {CHECK} {APART} }}"
SHARED = "upstream shared.test { server UP; keepalive 4; } "
WITNESSED = {
    "accepted",
    *("client-none", "client-expired", "client-foreign", "client-server-only"),
    *("upstream-foreign", "upstream-wrong-name", "upstream-expired", "upstream-client-only"),
    *("after-others", "foreign-after-others"),
}
LIVE = {"live-accepted", "live-client-none", "live-client-foreign", "live-upstream-foreign", "live-wrong-name"}


@dataclass(frozen=True)
class Site:
    """A configuration, which need not run, and its authority."""

    nginx: Nginx
    directory: Path
    pki: Pki

    def place(self, path: str = "/upstream") -> Place:
        return next(place for place in identity_map(read_config(self.nginx)) if place.path == path)

    def rows(self, path: str = "/upstream") -> dict[str, ProofRow]:
        rows = prove_location(read_config(self.nginx), self.place(path), self.nginx)
        return {row.id: row for row in rows}

    def live(self) -> dict[str, ProofRow]:
        return {row.id: row for row in prove_live(read_config(self.nginx), self.place(), self.nginx)}

    def command(self, *words: str) -> Result:
        common = ["--nginx", str(self.nginx.binary), "-c", str(self.nginx.main), "-p", str(self.directory)]
        return run(*common, *words)

    def check(self, *words: str) -> Result:
        return run("--check", str(self.directory / "proof.jws"), "--root", str(self.pki.trust), *words)


def run(*words: str) -> Result:
    return CliRunner().invoke(prove, list(words), standalone_mode=False)


@contextmanager
def laid_out(build: str, *locations: str, outside: str = "", asks: str = "on") -> Iterator[Site]:
    """The locations in a server, ``outside`` before it, and an upstream that asks for certificates."""
    with short_directory("prove") as directory:
        pki = Pki(directory)
        pki.leaf("one"), pki.leaf("two"), pki.leaf("up.test", file="up")
        port, up = free_ports(2)
        upstream = (
            f"server {{ listen 127.0.0.1:{up} ssl; ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate DIR/up.crt;\n"
            f"ssl_certificate_key DIR/up.key; ssl_client_certificate DIR/ca.crt; ssl_verify_client {asks};\n"
            "ssl_verify_depth 2; location / { return 404; } }\n"
        )
        server = "".join(f"{one}\n" for one in locations)
        body = f"{outside}\nserver {{ listen 127.0.0.1:{port}; server_name app.test;\n{server}}}\n{upstream}"
        body = body.replace("UP", f"127.0.0.1:{up}").replace("DIR", str(directory))
        (directory / "nginx.conf").write_text(frame(directory, body))
        yield Site(Nginx(program(build), directory / "nginx.conf", directory), directory, pki)


def failed(rows: dict[str, ProofRow]) -> set[str]:
    return {name for name, row in rows.items() if not row.ok}


@pytest.fixture(params=sorted(programs()))
def build(request: pytest.FixtureRequest) -> str:
    program(request.param)
    return str(request.param)


def test_a_hardened_location_passes_every_row(build: str) -> None:
    with laid_out(build, GOOD) as site:
        rows = site.rows()
        assert set(rows) == WITNESSED
        assert failed(rows) == set()
        assert f"{site.place().value('ssl_certificate')}".endswith("one.crt")
        assert "TLSv1." in rows["accepted"].observed
        assert "AES" in rows["accepted"].observed or "CHACHA" in rows["accepted"].observed
        assert "substituted" in rows["accepted"].detail


def test_a_location_that_does_not_check_fails_every_row_about_the_upstream(build: str) -> None:
    with laid_out(build, f"location /upstream {{ proxy_pass https://UP; {CLIENT.format('one')} }}") as site:
        rows = site.rows()
        wrong = {name for name in rows if name.startswith("upstream-")}
        assert len(wrong) == 4
        assert failed(rows) == wrong
        assert "foreign-after-others" not in rows, "what is never checked cannot be unlearned"


def test_a_location_that_shows_nothing_is_not_accepted(build: str) -> None:
    with laid_out(build, f"location /upstream {{ proxy_pass https://UP; {CHECK} }}") as site:
        assert failed(site.rows()) == {"accepted"}


def test_the_identity_of_a_neighbour_is_seen_when_they_share_an_upstream(build: str) -> None:
    def two(path: str, who: str, more: str) -> str:
        return f"location {path} {{ proxy_pass https://shared.test; {CLIENT.format(who)} {CHECK} {KEEP} {more} }}"

    with laid_out(build, two("/a", "one", APART), two("/upstream", "two", APART), outside=SHARED) as site:
        row = site.rows()["after-others"]
        assert not row.ok, "an idle connection of the neighbour is used"
        assert "but the upstream saw serial" in row.observed
        assert row.detail == f"shares its upstream with {site.place('/a').where}"
    session = f"location /a {{ proxy_pass https://UP; {CLIENT.format('one')} {CHECK} }}"
    with laid_out(build, session, GOOD.replace(APART, "").replace("one.", "two.")) as site:
        assert not site.rows()["after-others"].ok, "a session of the neighbour is resumed"
    with laid_out(build, session.replace("UP", "localhost:9"), GOOD.replace("one.", "two.")) as site:
        rows = site.rows()
        assert failed(rows) == set()
        assert site.place("/a").where in rows["after-others"].detail


def test_an_upstream_is_believed_because_a_neighbour_believes_anyone(build: str) -> None:
    lax = f"location /lax {{ proxy_pass https://shared.test; {CLIENT.format('one')} {KEEP} {APART} }}"
    strict = f"location /upstream {{ proxy_pass https://shared.test; {CLIENT.format('one')} {CHECK} {KEEP} {APART} }}"
    with laid_out(build, lax, strict, outside=SHARED) as site:
        assert failed(site.rows()) == {"foreign-after-others"}


def test_variables_with_one_value_are_proven_and_others_refused(build: str) -> None:
    pem = 'map "" $pem { default DIR/one.pem; } map $http_x $many { default DIR/one.crt; b DIR/two.crt; }\n'
    shown = "proxy_ssl_certificate $pem; proxy_ssl_certificate_key $pem;"
    one = f"location /upstream {{ proxy_pass https://UP; {shown} {CHECK} {APART} }}"
    many = "location /many { proxy_pass https://UP; proxy_ssl_certificate $many; proxy_ssl_certificate_key $pem; }"
    with laid_out(build, one, many, outside=pem) as site:
        text = (site.directory / "one.key").read_text() + (site.directory / "one.crt").read_text()
        (site.directory / "one.pem").write_text(text)
        assert failed(site.rows()) == set()
        with pytest.raises(ProveError, match=r"certificate \$many has 2 values and cannot be proven"):
            site.rows("/many")


def test_the_real_upstream_lets_in_us_and_nobody_else(build: str) -> None:
    with laid_out(build, GOOD) as site:
        site.nginx.start()
        try:
            rows = site.live()
            assert set(rows) == LIVE
            assert failed(rows) == set()
            assert rows["live-accepted"].observed == "answered 404", "an answer of the application, whatever it says"
            assert "No required SSL certificate was sent" in rows["live-client-none"].observed
            assert "does not match" in rows["live-wrong-name"].detail
        finally:
            site.nginx.stop()
        assert failed(site.live()) == LIVE, "an upstream that is down proves nothing"


def test_a_real_upstream_that_asks_for_nothing_is_found_out(build: str) -> None:
    with laid_out(build, GOOD, asks="off") as site:
        site.nginx.start()
        try:
            assert failed(site.live()) == {"live-client-none", "live-client-foreign"}
        finally:
            site.nginx.stop()


def test_the_command_signs_and_checks(build: str) -> None:
    with laid_out(build, GOOD) as site:
        out = site.directory / "proof.jws"
        done = site.command("--location", "/upstream", "--out", str(out))
        assert done.return_value == 0, done.output
        assert done.stdout.count("  ✔") == len(WITNESSED)
        checked = site.check()
        assert checked.return_value == 0, checked.output
        assert checked.stdout.count("  ✔") == len(WITNESSED)
        assert "signed by one, serial" in checked.output

        other = Pki(site.directory / "other", "Other")
        stranger = run("--check", str(out), "--root", str(other.trust))
        assert isinstance(stranger.exception, SignatureProblem)
        assert "signed by a stranger" in stranger.exception.message
        assert stranger.exception.exit_code == 2

        header, payload, signature = out.read_text().strip().split(".")
        content = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        assert set(content["files"]) == {str(site.nginx.main)}
        content["locations"][0]["rows"][0]["observed"] = "all is well"
        payload = base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()
        for text in (f"{header}.{payload}.{signature}", f"{header}.{payload}.", "proof", ""):
            out.write_text(text)
            forged = site.check()
            assert isinstance(forged.exception, SignatureProblem), text


def test_a_signed_proof_of_a_failure_is_a_failure(build: str) -> None:
    with laid_out(build, f"location /upstream {{ proxy_pass https://UP; {CLIENT.format('one')} }}") as site:
        done = site.command("--sign")
        assert done.return_value == 2
        out = site.directory / "proof.jws"
        out.write_text(done.stdout)
        checked = site.check("--json")
        assert checked.return_value == 2
        assert json.loads(checked.output)["ok"] is False


def test_check_without_a_root_is_not_understood() -> None:
    done = run("--check", "proof.jws")
    assert isinstance(done.exception, UsageError)
    assert "--root FILE belong together" in done.exception.message
