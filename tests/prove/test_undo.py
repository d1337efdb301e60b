"""The history of changes and taking them back: the last, a named one, one with newer ones in effect, and back again."""

import json
from collections.abc import Iterator

import pytest

from tests.prove.declared import Site
from tests.prove.declared import site as declared_site
from troth.agent.apply import ApplyError
from troth.agent.changes import JournalError


@pytest.fixture
def site(build: str) -> Iterator[Site]:
    with declared_site(build) as found:
        yield found


def applied(site: Site, *paths: str) -> str:
    """The id of the change that declares these locations."""
    site.declare(*paths)
    return str(site.json("apply", "--yes")["identifier"])


def test_undo_names_the_change_it_took_back_and_the_list_tells_the_story(site: Site) -> None:
    assert "no change was made yet" in site.done("changes")
    assert site.json("changes") == {"changes": []}
    before = site.file.read_bytes()
    first = applied(site, "/one")
    assert site.file.read_bytes() != before
    result = site.run("undo")
    assert f"Undone: {first}\n" in result.stderr
    assert f"Restored: {site.file}\n" in result.stderr
    assert f"Removed: {site.directory}/troth/http.conf\n" in result.stderr
    assert site.file.read_bytes() == before
    newest, oldest = site.json("changes")["changes"]
    assert (oldest["id"], oldest["state"], newest["state"], newest["undoes"]) == (first, "undone", "in effect", first)
    assert str(site.file) in oldest["files"]
    told = site.done("changes")
    assert f"takes back {first}" in told and str(site.file) in told


def test_what_undo_says_to_machines(site: Site) -> None:
    first = applied(site, "/one")
    said = site.json("undo", first)
    assert said["undone"] == first != said["by"]
    assert str(site.file) in said["files"] and said["workers"]


def test_the_hint_of_apply_works_as_it_is_printed(site: Site) -> None:
    site.declare("/one")
    before = site.file.read_bytes()
    said = site.run("apply", "--yes").stderr
    words = said.partition("Take it back with: troth nginx undo ")[2].split()
    assert words[1:] == [*site.options, "--config", str(site.toml)]
    assert site.run("undo", *words, options=False).exception is None
    assert site.file.read_bytes() == before


def test_an_older_change_waits_for_those_that_build_on_it(site: Site) -> None:
    first = applied(site, "/one")
    second = applied(site, "/one", "/two")
    with pytest.raises(ApplyError, match=rf"cannot undo {first}: .*http\.conf was changed by {second}") as caught:
        site.done("undo", first)
    assert caught.value.hint is not None
    assert f"troth nginx undo {second} --nginx " in caught.value.hint
    assert site.serial("/one") == site.serial("/two")
    site.done("undo", second)
    site.done("undo", first)
    assert b"include" not in site.file.read_bytes()


def test_a_newer_change_goes_and_the_older_stays(site: Site) -> None:
    applied(site, "/one")
    after = site.file.read_bytes()
    second = applied(site, "/one", "/two")
    site.done("undo", second)
    assert site.file.read_bytes() == after
    assert site.serial("/one") > 0


def test_an_undo_can_be_taken_back_and_then_undone_again(site: Site) -> None:
    before = site.file.read_bytes()
    first = applied(site, "/one")
    after = site.file.read_bytes()
    undoing = site.json("undo")["by"]
    assert site.json("undo", undoing)["undone"] == undoing
    assert site.file.read_bytes() == after
    states = {one["id"]: one["state"] for one in site.json("changes")["changes"]}
    assert (states[first], states[undoing]) == ("in effect", "undone")
    assert site.json("undo")["undone"] == first
    assert site.file.read_bytes() == before


def test_lines_added_to_a_file_of_ours_are_not_lost(site: Site) -> None:
    first = applied(site, "/one")
    ours = site.directory / "troth" / "http.conf"
    text = ours.read_bytes()
    ours.write_bytes(text + b"# mine\n")
    with pytest.raises(ApplyError, match=rf"cannot undo {first}: .*http\.conf was edited since"):
        site.done("undo")
    assert ours.read_bytes().endswith(b"# mine\n")
    ours.write_bytes(text)
    site.done("undo")
    assert not ours.exists()


def test_a_generated_file_that_is_gone_already_is_no_obstacle(site: Site) -> None:
    before = site.file.read_bytes()
    applied(site, "/one")
    site.file.write_bytes(before)
    (site.directory / "troth" / "location-app_test_one.conf").unlink()
    site.done("undo")
    assert not (site.directory / "troth").exists()


def test_an_unknown_id_is_answered_with_those_there_are(site: Site) -> None:
    first = applied(site, "/one")
    with pytest.raises(JournalError, match=f"there is no change '20200101-000000'; the last ones: {first}"):
        site.done("undo", "20200101-000000")


def test_an_interrupted_change_is_listed_as_such(site: Site) -> None:
    first = applied(site, "/one")
    place = site.directory / "state" / "changes" / first / "change.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), "state": "applying"}))
    assert site.json("changes")["changes"][0]["state"] == "interrupted"
