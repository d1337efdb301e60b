"""Files of a configuration: found as nginx finds them, and held against what nginx says it read."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.nginx import frame, program, programs, short_directory
from troth.agent.reading import ReadingError, read_config, read_unverified
from troth.host.configuration import read_from_disk
from troth.host.nginx import Nginx
from troth.nginx.tree import parse_config, plain_path

MAIN = "/etc/nginx/nginx.conf"


def names(files: dict[str, bytes]) -> list[str]:
    return [directive.name for directive in parse_config(files, MAIN).root.walk() if directive.name != "include"]


def test_includes_are_relative_to_the_main_file_and_globs_are_sorted_by_bytes() -> None:
    files = {
        MAIN: b"include conf.d/*.conf; include ../common/x; include ./conf.d//sub/[!a].conf; include /opt/[^a]?;",
        "/etc/nginx/conf.d/b.conf": b"b;",
        "/etc/nginx/conf.d/a.conf": b"a { include conf.d/sub/a.conf; }",
        "/etc/nginx/conf.d/Z.conf": b"z;",
        "/etc/nginx/conf.d/.hidden.conf": b"hidden;",
        "/etc/nginx/conf.d/sub/a.conf": b"inner;",
        "/etc/nginx/conf.d/sub/c.conf": b"c;",
        "/etc/nginx/../common/x": b"x;",
        "/opt/b1": b"one;",
        "/opt/a1": b"none;",
    }
    assert names(files) == ["z", "a", "inner", "b", "x", "c", "one"]
    config = parse_config(files, MAIN)
    assert config.missing == ()
    assert set(config.unread) == {"/etc/nginx/conf.d/.hidden.conf", "/opt/a1"}


def test_an_include_of_one_file_that_is_not_there_is_missing_and_an_empty_glob_is_not() -> None:
    config = parse_config({MAIN: b"include gone.conf; include gone/*.conf; http { include /x; }"}, MAIN)
    assert config.missing == ("/etc/nginx/gone.conf", "/x")


def test_includes_inside_maps_are_followed_and_values_named_include_are_not() -> None:
    files = {MAIN: b"map $a $b { include m; } split_clients $a $c { 5% x; } types { include t; }"}
    files |= {"/etc/nginx/m": b"/old /new;", "/etc/nginx/t": b"text/css css;"}
    assert parse_config(files, MAIN).unread == ()


@pytest.mark.parametrize(
    ("path", "plain"), [("/a/./b//c", "/a/b/c"), ("/a/../b", "/a/../b"), ("/a/b/", "/a/b"), ("./x", "x")]
)
def test_a_path_keeps_what_symlinks_may_change(path: str, plain: str) -> None:
    assert plain_path(path) == plain


@pytest.fixture(params=sorted(programs()))
def nginx(request: pytest.FixtureRequest) -> Iterator[Nginx]:
    binary = program(request.param)
    with short_directory("reading") as directory:
        (directory / "nginx.conf").write_text(frame(directory, f"include {directory}/sites/*;\n"))
        (directory / "sites").mkdir()
        (directory / "sites" / "a").write_text(
            "# configuration file /nowhere/at/all.conf:\nserver { listen unix:a.sock; }"
        )
        yield Nginx(binary, directory / "nginx.conf", directory)


def test_a_comment_like_a_line_of_the_dump_is_a_comment(nginx: Nginx) -> None:
    assert [Path(name).name for name in read_config(nginx).files] == ["nginx.conf", "a"]


def test_both_ways_of_reading_agree(nginx: Nginx) -> None:
    (nginx.main.parent / "sites" / "b").symlink_to("a")
    ours, theirs = read_unverified(nginx), read_config(nginx)
    assert ours.files == theirs.files
    assert len(list(ours.root.walk())) == len(list(theirs.root.walk()))


def test_a_file_that_changes_between_nginx_and_us_is_refused(nginx: Nginx) -> None:
    """A wrapper edits the file once nginx has printed it."""
    site = nginx.main.parent / "sites" / "a"
    wrapper = nginx.main.parent / "wrapper"
    wrapper.write_text(f'#!/bin/sh\n{nginx.binary} "$@"\ncode=$?\necho "# mine" >> {site}\nexit $code\n')
    wrapper.chmod(0o755)
    with pytest.raises(ReadingError, match=r"sites/a was edited while nginx read it"):
        read_config(Nginx(wrapper, nginx.conf, nginx.prefix))


def test_what_is_not_a_dump_is_refused(nginx: Nginx) -> None:
    wrapper = nginx.main.parent / "wrapper"
    wrapper.write_text("#!/bin/sh\necho hello\n")
    wrapper.chmod(0o755)
    with pytest.raises(ReadingError, match="nginx -T prints something else than files: b'hello"):
        read_config(Nginx(wrapper, nginx.conf, nginx.prefix))


def test_settings_of_included_files_are_found_and_a_loop_is_refused(nginx: Nginx) -> None:
    directory = nginx.main.parent
    (directory / "pid.conf").write_text(f"pid {directory}/other.pid;\n")
    nginx.main.write_text("include pid.conf;\nevents {}\n")
    assert nginx.pid_file() == directory / "other.pid"
    (directory / "pid.conf").write_text("include nginx.conf;\n")
    with pytest.raises(Exception, match="includes itself"):
        read_from_disk(nginx.main)


def test_names_that_are_no_utf_8_are_read(nginx: Nginx) -> None:
    name = os.fsencode(nginx.main.parent) + b"/sites/caf\xe9"
    with open(name, "wb") as stream:
        stream.write(b"server { listen unix:b.sock; server_name caf\xe9; }\n")
    assert os.fsdecode(name) in read_config(nginx).files
