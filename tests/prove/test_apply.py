"""A plan is made real as a whole or not at all, survives being killed at any step, and undo gives the bytes back."""

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.rig.nginx import frame, get, program, programs, short_directory
from tests.rig.pki import Pair, Pki
from troth.agent import AgentError
from troth.agent.apply import Applier, ApplyError, apply_plan, read_config, recover, undo
from troth.agent.changes import Journal, JournalError
from troth.agent.shadow import ShadowError, check_in_shadow
from troth.errors import TrothError
from troth.host.nginx import Nginx
from troth.host.ports import free_ports
from troth.nginx.plan import Declaration, Plan, make_plan
from troth.nginx.render import Identity, Witnesses

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass(frozen=True)
class Site:
    """An nginx whose site file is a symlink, with relative names, absolute includes and CRLF line ends."""

    nginx: Nginx
    directory: Path
    port: int
    upstream: int
    pair: Pair
    pki: Pki

    @property
    def state(self) -> Path:
        return self.directory / "state"

    @property
    def file(self) -> Path:
        return self.directory / "sites-available" / "app"

    def plan(self, **changes: str) -> Plan:
        identity = Identity("one", str(self.pair.certificate), str(self.pair.key), str(self.pki.trust))
        wanted = Declaration("app.test", "/upstream", identity, **{"name": "up.test", **changes})
        witnesses = Witnesses(str(self.state / "witness"), {})
        config = read_config(self.nginx)
        include = str(self.directory / "troth")
        return make_plan(config, [wanted], [identity], self.nginx.capabilities(), include, witnesses)

    def tree(self) -> dict[str, bytes]:
        """Every file and link but what nginx writes and the journal holds."""
        found = {}
        for path in sorted(self.directory.rglob("*")):
            name = str(path.relative_to(self.directory))
            if path.is_symlink():
                found[name] = os.readlink(path).encode()  # noqa: PTH115
            elif path.is_file() and not name.startswith(("state/", "temp-", "nginx.pid", "error.log")):
                found[name] = path.read_bytes() + oct(path.stat().st_mode).encode()
            elif path.is_dir():
                found[name] = b""
        return {name: data for name, data in found.items() if not name.startswith(("state", "temp-"))}


@pytest.fixture(params=sorted(programs()))
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    binary = program(request.param)
    with short_directory("apply") as directory:
        pki = Pki(directory / "pki")
        port, upstream_port = free_ports(2)
        pair, server = pki.leaf("client"), pki.leaf("up.test")
        for name in ("sites-available", "sites-enabled"):
            (directory / name).mkdir()
        (directory / "client.crt").write_bytes(pair.certificate.read_bytes())
        (directory / "client.key").write_bytes(pair.key.read_bytes())
        file = directory / "sites-available" / "app"
        file.write_bytes(
            textwrap.dedent(f"""\
            # caf\N{LATIN SMALL LETTER E WITH ACUTE}
            server {{
                listen 127.0.0.1:{port};
                server_name app.test;
                location /upstream {{
                    proxy_pass https://127.0.0.1:{upstream_port};   # the guide's
                    proxy_ssl_certificate client.crt;
                    proxy_ssl_certificate_key client.key;
                }}
            }}
            """)
            .replace("\n", "\r\n")
            .encode("latin-1")
        )
        file.chmod(0o640)
        (directory / "sites-enabled" / "app").symlink_to("../sites-available/app")
        (directory / "mime.types").write_text("text/plain txt;\n")
        body = (
            f"    types {{ include mime.types; }}\n    include {directory}/sites-enabled/*;\n"
            f"    server {{ listen 127.0.0.1:{upstream_port} ssl; ssl_protocols TLSv1.2 TLSv1.3;\n"
            f"    ssl_certificate {server.certificate}; ssl_certificate_key {server.key};\n"
            f"    ssl_client_certificate {pki.trust}; ssl_verify_client on; ssl_verify_depth 2;\n"
            "    location / { return 200 $ssl_client_serial; } }\n"
        )
        (directory / "nginx.conf").write_text(frame(directory, body))
        nginx = Nginx(binary, directory / "nginx.conf", directory)
        nginx.start()
        try:
            yield Site(nginx, directory, port, upstream_port, pair, pki)
        finally:
            nginx.stop()


def test_apply_serves_the_hardened_location_and_undo_gives_every_byte_back(site: Site) -> None:
    before, workers = site.tree(), site.nginx.generation().workers
    outcome = apply_plan(site.plan(), site.nginx, site.state, now=NOW)
    assert set(outcome.workers) == site.nginx.generation().workers
    assert not set(outcome.workers) & workers
    assert b"location-" in site.file.read_bytes()
    assert (site.directory / "sites-enabled" / "app").is_symlink()
    assert site.file.stat().st_mode & 0o777 == 0o640
    status, body = get(site.port, "/upstream")
    assert (status, int(body, 16)) == (200, site.pair.serial)
    assert site.plan().empty, "planned again, there is nothing to do"

    back = undo(site.nginx, site.state, now=NOW)
    assert set(back.files) == set(outcome.files)
    assert site.tree() == before
    assert get(site.port, "/upstream")[0] == 200
    with pytest.raises(ApplyError, match="nothing to undo"):
        undo(site.nginx, site.state, now=NOW)


def test_what_nginx_refuses_is_refused_on_the_copy_and_nothing_is_touched(site: Site) -> None:
    plan = site.plan()
    site.pair.key.write_bytes(site.pki.leaf("other").key.read_bytes())
    before, workers = site.tree(), site.nginx.generation()
    with pytest.raises(ShadowError, match="key values mismatch") as caught:
        apply_plan(plan, site.nginx, site.state, now=NOW)
    assert "/tmp/troth-" not in caught.value.message
    assert (site.tree(), site.nginx.generation()) == (before, workers)
    assert Journal(site.state / "changes").names() == []


def test_a_probe_that_fails_puts_everything_back(site: Site) -> None:
    def probe() -> None:
        assert b"location-" in site.file.read_bytes(), "the probe sees the change in effect"
        raise AgentError("the application does not answer", hint="look at it")

    before = site.tree()
    with pytest.raises(ApplyError, match="nothing was changed: the application does not answer") as caught:
        apply_plan(site.plan(), site.nginx, site.state, now=NOW, probe=probe)
    assert caught.value.hint == "look at it"
    assert site.tree() == before
    assert get(site.port, "/upstream")[0] == 200
    (name,) = Journal(site.state / "changes").names()
    failed = Journal(site.state / "changes").read(name)
    assert (failed.state, failed.reason) == ("failed", "the application does not answer")
    with pytest.raises(ApplyError, match="nothing to undo: no change is in effect"):
        undo(site.nginx, site.state, now=NOW)


def test_a_reload_that_brings_no_workers_puts_everything_back(site: Site) -> None:
    before = site.tree()
    with pytest.raises(ApplyError, match="nothing was changed: reload failed"):
        apply_plan(site.plan(), site.nginx, site.state, ["false"], now=NOW)
    assert site.tree() == before


def test_an_edit_between_plan_and_apply_is_not_overwritten(site: Site) -> None:
    plan = site.plan()
    site.file.write_bytes(site.file.read_bytes() + b"# mine\n")
    before = site.tree()
    with pytest.raises(ApplyError, match=r"app was edited while the change was planned"):
        apply_plan(plan, site.nginx, site.state, now=NOW)
    assert site.tree() == before


def test_undo_keeps_what_others_edited_elsewhere_and_refuses_where_they_edited_our_lines(site: Site) -> None:
    original = site.file.read_bytes()
    outcome = apply_plan(site.plan(), site.nginx, site.state, now=NOW)
    applied = site.file.read_bytes()
    site.file.write_bytes(applied.replace(b"# managed by troth", b"# mine now"))
    with pytest.raises(ApplyError, match=r"same lines of .*app were edited since"):
        undo(site.nginx, site.state, outcome.identifier, now=NOW)
    edited = applied.replace(b"server_name app.test;", b"server_name app.test www.app.test;") + b"# end\r\n"
    site.file.write_bytes(edited)
    undo(site.nginx, site.state, outcome.identifier, now=NOW)
    expected = original.replace(b"server_name app.test;", b"server_name app.test www.app.test;") + b"# end\r\n"
    assert site.file.read_bytes() == expected
    assert get(site.port, "/upstream", "www.app.test")[0] == 200


def test_undo_of_an_older_change_leaves_the_newer_one(site: Site) -> None:
    extra = f"    location /upstream2 {{ proxy_pass https://127.0.0.1:{site.upstream}; }}\r\n}}\r\n".encode()
    site.file.write_bytes(site.file.read_bytes().rstrip().removesuffix(b"}") + extra)
    site.nginx.reload()
    first = apply_plan(site.plan(), site.nginx, site.state, now=NOW)
    site.file.write_bytes(site.file.read_bytes().replace(b"/upstream2 {", b"/upstream2 { charset off;"))
    undo(site.nginx, site.state, first.identifier, now=NOW)
    assert b"charset off;" in site.file.read_bytes()
    with pytest.raises(ApplyError, match=f"change {first.identifier} is undone"):
        undo(site.nginx, site.state, first.identifier, now=NOW)
    with pytest.raises(JournalError, match=r"there is no change 'x'; the last ones: \d"):
        undo(site.nginx, site.state, "x", now=NOW)


def test_undo_that_nginx_would_refuse_changes_nothing(site: Site) -> None:
    apply_plan(site.plan(), site.nginx, site.state, now=NOW)
    (site.directory / "client.crt").unlink()
    before = site.tree()
    with pytest.raises(ShadowError, match=r"cannot load certificate|client\.crt"):
        undo(site.nginx, site.state, now=NOW)
    assert site.tree() == before


def test_without_a_running_nginx_the_files_change_and_nothing_is_reloaded(site: Site) -> None:
    site.nginx.stop()
    assert apply_plan(site.plan(), site.nginx, site.state, now=NOW).workers == ()
    site.nginx.start()
    assert get(site.port, "/upstream")[0] == 200


def test_two_programs_do_not_change_one_configuration_at_once(site: Site) -> None:
    with (
        Journal(site.state / "changes").locked(),
        pytest.raises(JournalError, match="another troth is changing this configuration"),
    ):
        apply_plan(site.plan(), site.nginx, site.state, now=NOW)


def test_a_file_included_twice_under_two_names_is_refused(site: Site) -> None:
    conf = site.directory / "nginx.conf"
    conf.write_text(conf.read_text().replace("sites-enabled/*;", f"sites-enabled/*; include {site.file};"))
    with pytest.raises(TrothError, match=r"is not the only one|are the same file, included twice"):
        apply_plan(site.plan(), site.nginx, site.state, now=NOW)


CRASHING = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from tests.prove.test_apply import Site, NOW
from troth.agent.apply import Applier, read_config
from troth.host.nginx import Nginx
from troth.nginx.plan import Declaration, make_plan
from troth.nginx.render import Identity, Witnesses

binary, directory, certificate, key, trust, wanted, action = sys.argv[1:]
base = Path(directory)
nginx = Nginx(Path(binary), base / "nginx.conf", base)

def checkpoint(name):
    print(name, flush=True)
    if name == wanted:
        os.kill(os.getpid(), signal.SIGKILL)

applier = Applier(nginx, base / "state", (), checkpoint)
if action == "undo":
    applier.undo("", NOW)
else:
    identity = Identity("one", certificate, key, trust)
    declaration = Declaration("app.test", "/upstream", identity, name="up.test")
    plan = make_plan(read_config(nginx), [declaration], [identity], nginx.capabilities(), str(base / "troth"),
                     Witnesses(str(base / "state" / "witness"), {}))
    applier.apply(plan, NOW)
"""


def crash(site: Site, point: str, action: str = "apply") -> list[str]:
    files = (site.pair.certificate, site.pair.key, site.pki.trust)
    done = subprocess.run(
        [sys.executable, "-c", CRASHING, *map(str, (site.nginx.binary, site.directory, *files, point, action))],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (-signal.SIGKILL, 0), done.stderr
    assert (done.returncode == 0) == (point == "never"), done.stdout
    return done.stdout.splitlines()


@pytest.mark.parametrize("action", ["apply", "undo"])
def test_killed_at_any_step_it_serves_on_and_the_next_run_puts_everything_back(site: Site, action: str) -> None:
    if action == "undo":
        apply_plan(site.plan(), site.nginx, site.state, now=NOW)
    before = site.tree()
    points = crash(site, "never", action)
    assert {"journaled", "tested", "reloaded"} < set(points)
    undo(site.nginx, site.state, now=NOW) if action == "apply" else apply_plan(
        site.plan(), site.nginx, site.state, now=NOW
    )
    assert site.tree() == before
    for point in points:
        assert crash(site, point, action)[-1] == point
        site.nginx.test()
        assert get(site.port, "/upstream")[0] == 200, point
        assert recover(site.nginx, site.state), point
        assert site.tree() == before, point
        assert get(site.port, "/upstream")[0] == 200, point
    assert recover(site.nginx, site.state) == []


def leftovers(site: Site) -> list[str]:
    return sorted(str(path.relative_to(site.directory)) for path in site.directory.rglob(".*.tmp"))


def test_what_a_killed_program_was_writing_is_removed_by_the_next(site: Site) -> None:
    crash(site, "tested")
    (change,) = (site.state / "changes").iterdir()
    half = ".change.json.0123456789ab.tmp"
    mine = f".{site.file.name}.mine.tmp"
    for path in (change / half, site.file.with_name(f".{site.file.name}.ba9876543210.tmp"), site.file.with_name(mine)):
        path.write_text("half")
    never_begun = site.state / "changes" / "20260102-030406" / "before"
    never_begun.mkdir(parents=True)
    (never_begun / "0").write_text("half")
    recover(site.nginx, site.state)
    assert leftovers(site) == [f"sites-available/{mine}"]
    assert not never_begun.parent.exists()
    assert [one.state for one in Journal(site.state / "changes").all()] == ["failed"]


def test_killed_at_any_moment_it_serves_on_and_the_next_run_puts_everything_back(site: Site) -> None:
    before, journal = site.tree(), Journal(site.state / "changes")
    files = (site.pair.certificate, site.pair.key, site.pki.trust)
    command = [sys.executable, "-c", CRASHING, *map(str, (site.nginx.binary, site.directory, *files, "never", "apply"))]
    for number in range(12):
        process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        # The moments are spread over the time from the journal to the reload, wherever the machine is then.
        process.stdout.readline()
        time.sleep(number * 0.004)
        process.kill()
        process.communicate(timeout=20)
        site.nginx.test()
        assert get(site.port, "/upstream")[0] == 200, number
        if not recover(site.nginx, site.state) and journal.last_applied() is not None:
            undo(site.nginx, site.state, now=NOW)
        now = site.tree()
        assert {name for name in {*now, *before} if now.get(name) != before.get(name)} == set(), number
        assert leftovers(site) == [], number
        assert get(site.port, "/upstream")[0] == 200, number


def test_what_was_edited_after_a_crash_is_not_overwritten(site: Site) -> None:
    crash(site, "tested")
    site.file.write_bytes(site.file.read_bytes() + b"# mine\n")
    with pytest.raises(ApplyError, match=r"app was edited after change .* was interrupted"):
        recover(site.nginx, site.state)
    assert site.file.read_bytes().endswith(b"# mine\n")


def test_the_copy_is_read_as_the_real_one_and_leaves_nothing_behind(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {name: Path(name).read_bytes() for name in read_config(site.nginx).files}
    with short_directory("copies") as copies:
        monkeypatch.setattr(tempfile, "tempdir", str(copies))
        before = site.tree()
        check_in_shadow(site.nginx, files)
        broken = {**files, str(site.directory / "sites-enabled" / "app"): b"server { oops; }\n"}
        with pytest.raises(ShadowError, match=rf'unknown directive "oops" in {site.directory}/sites-enabled/app:1'):
            check_in_shadow(site.nginx, broken)
        assert site.tree() == before
        assert list(copies.iterdir()) == []


def test_a_failing_write_puts_back_what_was_already_swapped(site: Site) -> None:
    seen: list[str] = []

    def checkpoint(name: str) -> None:
        seen.append(name)
        if len([one for one in seen if one.startswith("swapped")]) == 2:
            raise OSError(28, "No space left on device")

    before = site.tree()
    with pytest.raises(ApplyError, match="nothing was changed: no space left on device"):
        Applier(site.nginx, site.state, (), checkpoint).apply(site.plan(), NOW)
    assert site.tree() == before
