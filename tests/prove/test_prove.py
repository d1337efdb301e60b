"""``troth nginx prove``: every row can hold and can fail, live too; a signed proof holds for who has the root."""

import base64
import json

import pytest

from tests.prove.sites import APART, CHECK, CLIENT, GOOD, KEEP, LIVE, SHARED, WITNESSED, failed, laid_out, run
from tests.rig.pki import Pki
from troth.agent.prove import ProveError
from troth.agent.prove.signed import SignatureProblem
from troth.errors import UsageError


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
