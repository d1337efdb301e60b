"""Each way in which the world can depart from the declaration: shown while it lasts, gone once the cure was typed."""

import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from tests.prove.declared import Site
from tests.prove.declared import site as declared_site
from tests.rig.pki import Pki
from troth.agent.config import Location
from troth.agent.drift import KINDS
from troth.agent.drift.locations import View, gone_row
from troth.agent.drift.wire import Sighting, see, telling
from troth.agent.drift.world import World, observe
from troth.agent.proxy import witnessing
from troth.errors import TrothError, UsageError
from troth.host.nginx import Nginx
from troth.nginx import NginxError

NAME = "location-app_test_one.conf"


@pytest.fixture
def site(build: str) -> Iterator[Site]:
    """Everything applied and as declared."""
    with declared_site(build) as found:
        found.done("apply", "--yes")
        yield found


def test_the_reference_lists_every_kind_and_no_other() -> None:
    text = (Path(__file__).parents[2] / "docs" / "reference" / "drift.md").read_text()
    assert dict(re.findall(r"^\| `([a-z-]+)` \| (.+?) \|", text, re.MULTILINE)) == KINDS
    here = Path(__file__).read_text()
    assert {kind for kind in KINDS if f'"{kind}"' not in here} == set(), "a kind that no test shows"


def drifts(site: Site) -> dict[str, dict[str, Any]]:
    """The rows that depart, by kind of departure."""
    said = site.json("drift", code=None)
    rows = {row["drift"]: row for row in said["rows"] if row["drift"]}
    assert said["drift"] is bool(rows)
    assert set(rows) <= set(KINDS)
    return rows


def only(site: Site, kind: str) -> dict[str, Any]:
    """The one row that departs."""
    rows = drifts(site)
    assert list(rows) == [kind], rows
    assert rows[kind]["what"] and rows[kind]["next"]
    return rows[kind]


def cure(site: Site, row: dict[str, Any]) -> None:
    """Type what the row says to do next, and see that nothing departs afterwards."""
    step = str(row["next"])
    if step.startswith("troth nginx apply"):
        words = shlex.split(step)[3:]
        assert words[-2:] == ["--config", str(site.toml)]
        site.done("apply", "--yes")
    elif shlex.split(step)[:1] == ["rm"]:
        Path(shlex.split(step)[1]).unlink()
    else:
        assert shlex.split(step) == site.nginx.command("-s", "reload")
        site.nginx.reload()
    assert drifts(site) == {}


def later() -> None:
    """The start of a worker is known to a hundredth of a second."""
    time.sleep(0.05)


def test_nothing_departs_after_apply_and_the_four_columns_say_so(site: Site) -> None:
    serial = f"{site.serial('/one'):x}"
    said = site.json("drift")
    rows = {(row["kind"], row["subject"]): row for row in said["rows"]}
    assert said["drift"] is False
    for path in ("/one", "/two"):
        row = rows["location", f"app.test {path}"]
        assert row["declared"] == "shows shop"
        assert row["disk"].startswith("site.conf:")
        assert row["loaded"] == "as on disk"
        assert row["wire"] == f"{serial[:12]}…"
    identity = rows["identity", "shop"]
    assert identity["disk"].startswith(f"{serial[:12]}… until ")
    assert (identity["loaded"], identity["wire"]) == ("as on disk", f"{serial[:12]}…")
    assert rows["nginx", ""]["loaded"].startswith(f"master {site.nginx.generation().master}, 2 workers")
    told = site.done("drift")
    assert told.endswith("all is as declared\n") and "✘" not in told


def test_before_apply_everything_declared_is_yet_to_be_applied(build: str) -> None:
    with declared_site(build) as site:
        rows = site.json("drift", code=2)["rows"]
        found = [row for row in rows if row["drift"]]
        assert {row["drift"] for row in found} == {"not-applied"}
        assert [row["subject"] for row in found if row["kind"] == "location"] == ["app.test /one", "app.test /two"]
        cure(site, found[0])


def without_line(site: Site, instead: str) -> str:
    """Take our line out of the first location; the file as it was."""
    text = site.file.read_text()
    lines = text.splitlines(keepends=True)
    site.file.write_text("".join(f"{instead}\n" if NAME in line else line for line in lines))
    site.nginx.reload()
    return text


def test_an_include_line_that_was_replaced_by_what_stood_there_before(site: Site) -> None:
    without_line(site, f"proxy_pass https://127.0.0.1:{site.upstream};")
    row = only(site, "include-gone")
    assert (row["kind"], row["subject"], row["wire"]) == ("location", "app.test /one", "-")
    told = site.done("drift", code=2)
    assert "✘ location app.test /one" in told and "✔ location app.test /two" in told
    assert f"next: troth nginx apply --nginx {site.nginx.binary}" in told and "1 of " in told
    cure(site, row)


@pytest.mark.parametrize("instead", ["return 404;", "include DIR/troth/location-app_test_two.conf;"])
def test_an_include_line_that_was_taken_out_or_edited(site: Site, instead: str) -> None:
    text = without_line(site, instead.replace("DIR", str(site.directory)))
    row = only(site, "include-gone")
    assert row["subject"] == "app.test /one"
    assert row["next"] == f"put the line back into the location: include {site.directory}/troth/{NAME};"
    site.file.write_text(text)
    site.nginx.reload()
    assert drifts(site) == {}


def test_a_generated_file_that_was_edited(site: Site) -> None:
    file = site.directory / "troth" / NAME
    file.write_text(file.read_text().replace("proxy_ssl_verify on;", "proxy_ssl_verify off;"))
    site.nginx.reload()
    row = only(site, "file-edited")
    assert f"{file}:" in row["what"] and "somebody edited" in row["what"]
    cure(site, row)
    assert "proxy_ssl_verify on;" in file.read_text()


def test_an_edited_file_that_nginx_refuses_is_mended_by_apply(site: Site) -> None:
    file = site.directory / "troth" / "http.conf"
    file.write_text(file.read_text() + "oops;\n")
    rows = drifts(site)
    assert {"refused", "file-edited"} <= set(rows)
    assert 'unknown directive "oops"' in rows["refused"]["what"]
    assert "it takes it with these changes" in site.done("plan", code=2)
    cure(site, rows["file-edited"])


def test_a_generated_file_that_is_gone_is_written_again_by_apply(site: Site) -> None:
    (site.directory / "troth" / "http.conf").unlink()
    rows = drifts(site)
    assert "refused" in rows and "http.conf" in rows["refused"]["what"]
    cure(site, rows["file-gone"])


def test_the_line_of_http_that_was_taken_out(site: Site) -> None:
    main = site.directory / "nginx.conf"
    main.write_text("".join(line for line in main.read_text().splitlines(True) if "troth/http.conf" not in line))
    rows = drifts(site)
    assert rows["include-gone"]["subject"] == "http"
    cure(site, rows["include-gone"])


def test_what_nginx_refuses_for_another_reason_is_not_ours_to_mend(site: Site) -> None:
    main = site.directory / "nginx.conf"
    before = main.read_text()
    main.write_text(before.replace("events {}", "events {} oops;"))
    row = only(site, "refused")
    assert 'unknown directive "oops"' in row["what"]
    assert site.serial("/one"), "the workers go on"
    main.write_text(before)
    site.nginx.reload()
    assert drifts(site) == {}


def test_a_location_that_is_gone(site: Site) -> None:
    text = site.file.read_text()
    site.file.write_text(text.replace("location /two {", "location /three {"))
    site.nginx.reload()
    rows = drifts(site)
    assert "there is no location '/two' of server 'app.test'" in rows["location-gone"]["what"]
    assert rows["undeclared"]["subject"] == "app.test /three"
    site.file.write_text(text)
    site.nginx.reload()
    assert drifts(site) == {}


def test_a_location_that_is_declared_no_longer(site: Site) -> None:
    site.declare("/one")
    row = drifts(site)["undeclared"]
    assert (row["subject"], row["declared"]) == ("app.test /two", "not declared")
    assert "troth nginx changes" in row["next"]
    site.declare("/one", "/two")
    assert drifts(site) == {}


def test_a_file_of_an_earlier_declaration_is_named_until_it_is_removed(site: Site) -> None:
    old = site.directory / "troth" / "identity-old.conf"
    old.write_bytes((site.directory / "troth" / "identity-shop.conf").read_bytes())
    cure(site, only(site, "left-over"))


def test_a_declaration_that_changed_and_was_not_applied(site: Site) -> None:
    site.toml.write_text(site.toml.read_text().replace('name = "up.test"', 'name = "other.test"', 1))
    row = only(site, "not-applied")
    assert "the declaration changed" in row["what"]
    cure(site, row)


def test_a_certificate_that_is_on_disk_and_not_on_the_wire(site: Site) -> None:
    old = site.serial("/one")
    later()
    new = site.renew().serial
    row = only(site, "not-on-wire")
    assert row["what"] == f"nginx shows serial {old:x}, on disk is {new:x}"
    assert (row["disk"][:12], row["wire"][:12]) == (f"{new:x}"[:12], f"{old:x}"[:12])
    cure(site, row)
    assert site.serial("/one") == new


def test_a_certificate_of_another_authority_that_is_not_on_the_wire_takes_its_trust_along(site: Site) -> None:
    later()
    other = Pki(site.directory / "other", "Other")
    site.renew(other)
    rows = drifts(site)
    assert set(rows) == {"not-on-wire", "older-trust"}
    assert rows["older-trust"]["disk"].startswith("Other Root") and rows["older-trust"]["loaded"].startswith(
        "Test Root"
    )
    cure(site, rows["older-trust"])


def test_a_certificate_of_another_authority_when_nothing_is_left_of_the_one_before(site: Site) -> None:
    later()
    old = site.generations.current()
    site.renew(Pki(site.directory / "other", "Other"))
    assert old is not None
    site.generations.discard(old)
    row = drifts(site)["not-on-wire"]
    assert row["wire"].startswith("another authority's certificate: ")
    site.nginx.reload()
    assert drifts(site) == {}


def test_renewing_under_the_same_authority_leaves_the_trust_alone(site: Site) -> None:
    later()
    site.renew()
    assert "older-trust" not in drifts(site)


def test_a_certificate_that_changed_and_whose_witness_cannot_be_asked(site: Site) -> None:
    """Then the time of the change is what is known."""
    later()
    site.renew()
    aside = (site.directory / "state" / "witness").rename(site.directory / "state" / "aside")
    row = only(site, "older-identity")
    assert "changed after nginx read it" in row["what"]
    aside.rename(site.directory / "state" / "witness")
    site.nginx.reload()
    assert drifts(site) == {}


def test_a_pair_that_the_workers_read_each_time_is_not_older_than_the_disk(site: Site) -> None:
    """Certificate and key named by variables: no reload is needed, and what is shown is what is on disk."""
    conf = site.directory / "troth" / "identity-shop.conf"
    text = conf.read_text().replace(f"{site.generations.link}/client", "$pair")
    conf.write_text(text)
    main = site.directory / "nginx.conf"
    variable = f'map "" $pair {{ default {site.generations.link}/client; }}'
    main.write_text(main.read_text().replace("    access_log off;", f"    access_log off; {variable}", 1))
    for file in site.generations.link.parent.rglob("client.key"):
        file.chmod(0o644)
    site.nginx.reload()
    later()
    new = site.renew().serial
    (site.generations.link / "client.key").chmod(0o644)
    row = next(one for one in site.json("drift", code=2)["rows"] if one["kind"] == "identity")
    assert (row["loaded"], row["wire"][:12], row["drift"]) == ("at each handshake", f"{new:x}"[:12], "")
    assert "older-trust" not in drifts(site)
    if os.geteuid() != 0:
        return  # the workers are who owns the key, and read it whatever its mode says
    (site.generations.link / "client.key").chmod(0o600)
    row = drifts(site)["not-on-wire"]
    assert (
        re.search("nginx answered 500|handshake broken off", row["what"])
        and row["next"] == "see why: troth nginx doctor"
    )


def test_trust_that_was_changed_in_place(site: Site) -> None:
    later()
    trust = site.generations.link / "ca.crt"
    trust.write_bytes(trust.read_bytes() + Pki(site.directory / "more", "More").trust.read_bytes())
    row = only(site, "older-trust")
    assert "and 1 more" in row["disk"]
    cure(site, row)


def test_a_configuration_that_was_not_reloaded(site: Site) -> None:
    later()
    site.file.write_text(site.file.read_text() + "# mine\n")
    rows = drifts(site)
    assert set(rows) == {"older-configuration"}
    assert f"{site.file} changed at " in site.json("drift", code=2)["rows"][1]["what"]
    cure(site, rows["older-configuration"])


def test_a_change_with_an_old_date_is_still_a_change(site: Site) -> None:
    later()
    copy = site.directory / "copy"
    shutil.copy2(site.file, copy)
    copy.replace(site.file)
    assert "older-configuration" in drifts(site)


def test_a_file_that_is_gone_from_where_a_pattern_looks(site: Site) -> None:
    extra = site.directory / "conf.d"
    extra.mkdir()
    (extra / "a.conf").write_text("# nothing\n")
    main = site.directory / "nginx.conf"
    main.write_text(main.read_text().replace("    access_log off;", f"    access_log off; include {extra}/*.conf;", 1))
    site.nginx.reload()
    assert drifts(site) == {}
    later()
    (extra / "a.conf").unlink()
    cure(site, only(site, "older-configuration"))


def test_an_identity_whose_files_are_gone(site: Site) -> None:
    link = site.generations.link
    aside = link.readlink()
    link.unlink()
    rows = drifts(site)
    assert rows["identity-missing"]["next"] == f"troth agent run --config {site.toml} --once"
    link.symlink_to(aside)
    site.nginx.reload()
    assert drifts(site) == {}


def test_a_certificate_for_somebody_else(site: Site) -> None:
    site.toml.write_text(site.toml.read_text().replace('subject = "shop.test"', 'subject = "shop2.test"'))
    row = only(site, "identity-unfit")
    assert row["what"] == "certificate is for shop.test, expected 'shop2.test'"


def test_nginx_that_does_not_run(site: Site) -> None:
    site.nginx.stop()
    row = only(site, "not-running")
    assert row["next"] == f"start it: {shlex.join(site.nginx.command())}"
    site.nginx.start()
    assert drifts(site) == {}


def test_a_program_that_was_replaced_under_the_running_nginx(site: Site) -> None:
    site.nginx.stop()
    copy = site.directory / "nginx"
    shutil.copy2(site.nginx.binary, copy)
    moved = replace(site, nginx=Nginx(copy, site.nginx.conf, site.nginx.prefix))
    moved.nginx.start()
    try:
        assert drifts(moved) == {}
        update = site.directory / "nginx.new"
        shutil.copy2(copy, update)
        update.replace(copy)
        row = only(moved, "program-replaced")
        assert f"kill -USR2 {moved.nginx.generation().master}" in row["next"]
    finally:
        moved.nginx.stop()


def test_a_worker_that_died_and_came_again_does_not_hide_an_older_configuration(site: Site) -> None:
    later()
    site.file.write_text(site.file.read_text() + "# mine\n")
    before = site.nginx.generation().workers
    subprocess.run(["kill", "-KILL", str(min(before))], check=True)
    until = time.monotonic() + 10
    while (len(now := site.nginx.generation().workers) < 2 or now == before) and time.monotonic() < until:
        time.sleep(0.02)
    assert site.nginx.generation().workers != before
    assert "older-configuration" in drifts(site)


def test_an_interrupted_change_is_told(site: Site) -> None:
    place = next((site.directory / "state" / "changes").iterdir()) / "change.json"
    text = place.read_text()
    place.write_text(text.replace('"applied"', '"applying"'))
    assert "interrupted" in drifts(site)
    place.write_text(text)
    assert drifts(site) == {}


def test_who_looks_waits_for_an_agent_that_proves_and_does_not_take_its_place(site: Site) -> None:
    socket = site.directory / "state" / "witness" / "shop.out"
    with witnessing(socket, [], 1):
        row = next(one for one in site.json("drift")["rows"] if one["kind"] == "identity")
        assert "another program is at work in" in row["wire"]
        assert socket.exists()
    assert not socket.exists()


def test_nothing_is_changed_by_looking(site: Site) -> None:
    def tree() -> dict[str, tuple[int, int]]:
        paths = [path for path in site.directory.rglob("*") if path.is_file() and path.name not in ("error.log",)]
        return {str(path): (path.stat().st_ino, path.stat().st_ctime_ns) for path in paths}

    before, workers = tree(), site.nginx.generation()
    assert drifts(site) == {}
    assert (tree(), site.nginx.generation()) == (before, workers)


def test_without_a_declaration_there_is_nothing_to_compare(site: Site) -> None:
    site.declare()
    with pytest.raises(UsageError, match="nothing is declared"):
        site.done("drift")


def as_nobody(call: Callable[[], object]) -> str:
    """What an error says, and its hint, when a process of an account without rights makes the call."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        said = "nothing"
        try:
            os.setgid(65534)
            os.setuid(65534)
            call()
        except TrothError as error:
            said = f"{error.message}; hint: {error.hint}"
        except BaseException as error:
            said = repr(error)
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as stream:
        return stream.read()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_who_may_not_read_the_keys_is_told_so_and_nothing_is_called_drift(site: Site) -> None:
    said = as_nobody(lambda: observe(site.nginx))
    assert "ermission denied" in said and "hint: run it as root" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_witness_that_may_not_listen_is_said_in_its_column(site: Site) -> None:
    (site.directory / "state" / "witness").chmod(0o700)
    found: list[Sighting] = []

    def look() -> None:
        found.append(see("shop", site.directory / "troth", site.directory / "state" / "witness", [], None))
        raise TrothError(found[0].text)

    assert "permission denied" in as_nobody(look)


def test_of_several_modules_the_one_that_shows_something_else_is_told_of() -> None:
    """Each module has TLS contexts of its own: one of them may have kept the old certificate."""
    good, old, nothing = Sighting(7), Sighting(6), Sighting(why="nginx answered 502")
    assert telling({"proxy": good, "grpc": good}, 7) == good
    assert telling({"proxy": good, "grpc": old}, 7) == Sighting(6, module="grpc")
    assert telling({"proxy": nothing, "grpc": old}, 7) == Sighting(6, module="grpc")
    assert telling({"proxy": good, "stream": nothing}, 7).text == "stream: not seen: nginx answered 502"
    assert telling({"proxy": old}, 7) == old


def test_a_server_of_stream_is_called_so_once(tmp_path: Path) -> None:
    view = View(cast(World, None), tmp_path, None, {})
    row = gone_row(Location("", "one", listen="5432"), NginxError("there is no stream server '5432'"), view)
    assert (row.kind, row.subject) == ("stream", "5432")
    row = gone_row(Location("/api", "one", "app.test"), NginxError("there is no location '/api'"), view)
    assert (row.kind, row.subject) == ("location", "app.test /api")
