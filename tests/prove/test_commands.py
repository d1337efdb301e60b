"""All ``troth nginx`` commands take the same options and end with the same codes: 0 fine, 1 could not run, 2 findings,
differences or failed rows. A new command is held to it by being listed in `COMMANDS`."""

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.prove.declared import Site
from tests.prove.declared import site as declared_site
from troth.cli import app
from troth.cli.commands import COMMANDS
from troth.cli.group import load_command

NAMES = sorted(COMMANDS["nginx"])
COMMON = {"--nginx": "PATH", "-c": "FILE", "-p": "PREFIX", "--config": "FILE", "--json": None}
# What each needs besides the common options to do its work; commands that only need those are not listed.
WORDS = {"apply": ["--yes"], "rotate": ["shop"]}
# On a site on which everything is applied and in order.
FINE = {
    "inspect": ["--fail-on", "error"],
    "plan": [],
    "apply": ["--yes"],
    "drift": [],
    "prove": [],
    "doctor": ["--location", "/one"],
    "changes": [],
    "undo": [],
}
# On a site on which nothing was applied yet, and whose upstream asks for a certificate.
WANTING = {"inspect": [], "plan": [], "drift": [], "prove": ["--location", "/one"], "doctor": ["--why", "unchecked"]}


@pytest.fixture(scope="module", params=["bundled", "system"])
def plain(request: pytest.FixtureRequest) -> Iterator[Site]:
    """Nothing is applied."""
    with declared_site(request.param) as found:
        yield found


@pytest.fixture(scope="module", params=["bundled", "system"])
def applied(request: pytest.FixtureRequest) -> Iterator[Site]:
    """Everything is applied."""
    with declared_site(request.param) as found:
        found.done("apply", "--yes")
        yield found


def options(name: str) -> dict[str, click.Option]:
    command = load_command("nginx", name)
    assert isinstance(command, click.Command)
    return {word: one for one in command.params if isinstance(one, click.Option) for word in one.opts}


def words(site: Site, name: str, *more: str) -> list[str]:
    return ["nginx", name, *site.options, "--config", str(site.toml), *more]


@pytest.mark.parametrize("name", NAMES)
def test_the_common_options_are_the_same(name: str) -> None:
    found = options(name)
    assert set(COMMON) <= set(found), f"{name} lacks {set(COMMON) - set(found)}"
    for word, metavar in COMMON.items():
        assert found[word].help == options("inspect")[word].help
        assert metavar is None or found[word].metavar == metavar
    assert found["--json"].is_flag and not any(found[word].required for word in COMMON)


@pytest.mark.parametrize("name", NAMES)
def test_the_options_that_name_a_location_are_the_same(name: str) -> None:
    found, wanted = options(name), options("plan")
    for word in ("--server", "--location", "--identity", "--cert", "--key", "--trust", "--upstream", "--name"):
        if word in found and word in wanted:
            assert (found[word].help, found[word].metavar) == (wanted[word].help, wanted[word].metavar), word


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--nginx", "/nowhere/nginx"], "nginx /nowhere/nginx is not a program"),
        (["--config", "/nowhere/troth.toml"], "/nowhere/troth.toml does not exist"),
        (["--nope"], "no such option"),
    ],
)
def test_what_cannot_run_exits_1_and_says_why_on_stderr_alone(
    name: str, wrong: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = app.run(["nginx", name, "-p", str(tmp_path), *wrong, *WORDS.get(name, []), "--json"])
    said = capsys.readouterr()
    assert code == 1, said
    assert said.out == ""
    assert said.err.startswith("error: ") and message in said.err


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--identity", "../../x"], "identity name '../../x' is not usable"),
        (["--cert", "my cert.crt"], "identity name 'my cert' is not usable"),
        (["--name", "$http_x"], "--name '$http_x' is not usable"),
    ],
)
def test_options_are_held_to_what_the_declaration_is(
    wrong: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files are named after an identity, and a name with a variable is what a client sends."""
    place = ["-p", str(tmp_path), "--location", "/", "--cert", "c.crt", "--key", "c.key", "--trust", "ca.crt"]
    assert app.run(["nginx", "plan", *place, *wrong]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {message}") and "\nhint: " in said


@pytest.mark.parametrize(
    ("file", "data", "message"),
    [
        ("key", "other", "key {0}/x.key does not belong to the certificate {0}/x.crt"),
        ("crt", "", "certificate {0}/x.crt"),
        ("key", "nonsense", "key {0}/x.key is not a readable private key"),
        ("ca", "nonsense", "trust {0}/x.ca"),
    ],
)
def test_the_plan_refuses_files_that_nginx_would(
    file: str, data: str, message: str, plain: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan_with_files(plain, tmp_path) == 2
    assert "+    include " in capsys.readouterr().out
    other = plain.pki.leaf("other.test").key.read_text()
    (tmp_path / f"x.{file}").write_text(other if data == "other" else data)
    assert plan_with_files(plain, tmp_path, made=False) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert f"error: identity x is not fit: {message.format(tmp_path)}" in said.err and "\nhint: " in said.err


def test_the_plan_takes_key_and_chain_in_one_file(
    plain: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = plain.pki.leaf("mine.test")
    for name, parts in (("x.crt", (pair.certificate, pair.key)), ("x.key", (pair.key, pair.certificate))):
        (tmp_path / name).write_text("".join(part.read_text() for part in parts))
    (tmp_path / "x.ca").write_bytes(plain.pki.trust.read_bytes())
    assert plan_with_files(plain, tmp_path, made=False) == 2, capsys.readouterr().err


def plan_with_files(site: Site, directory: Path, *, made: bool = True) -> int:
    """`made`: with fresh files that are fit."""
    if made:
        pair = site.pki.leaf("mine.test")
        for name, source in (("x.crt", pair.certificate), ("x.key", pair.key), ("x.ca", site.pki.trust)):
            (directory / name).write_bytes(source.read_bytes())
    files = [f"--{word}={directory}/x.{end}" for word, end in (("cert", "crt"), ("key", "key"), ("trust", "ca"))]
    place = ["--server", "app.test", "--location", "/one", "--name", "up.test"]
    return app.run(["nginx", "plan", *site.options, *place, *files])


def test_a_main_file_that_is_a_loop_of_links_is_said_to_be_unreadable(
    applied: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also while an nginx runs that it could be the file of."""
    assert applied.toml.exists()
    (tmp_path / "loop.conf").symlink_to("loop.conf")
    assert app.run(["nginx", "inspect", "-c", str(tmp_path / "loop.conf")]) == 1
    said = capsys.readouterr().err
    assert str(tmp_path / "loop.conf") in said and "internal error" not in said


@pytest.mark.parametrize(
    ("name", "expected"), [("inspect", 1), ("prove", 1), ("doctor", 2), ("changes", 0), ("undo", 1)]
)
def test_a_main_file_that_does_not_exist(
    name: str, expected: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The doctor names it as the cause; the journal of changes is beside it and does not need it."""
    assert app.run(["nginx", name, "-p", str(tmp_path), "-c", str(tmp_path / "none.conf")]) == expected
    said = capsys.readouterr()
    assert ("error: " in said.err) is (expected == 1)
    assert "Traceback" not in said.err


@pytest.mark.parametrize("name", [name for name in NAMES if name in FINE and name != "undo"])
def test_what_is_fine_exits_0_with_json(name: str, applied: Site, capsys: pytest.CaptureFixture[str]) -> None:
    code = app.run(words(applied, name, *FINE[name], "--json"))
    said = capsys.readouterr()
    assert code == 0, said
    json.loads(said.out)


@pytest.mark.parametrize("name", sorted(WANTING))
def test_what_is_wanting_exits_2_with_json(name: str, plain: Site, capsys: pytest.CaptureFixture[str]) -> None:
    code = app.run(words(plain, name, *WANTING[name], "--json"))
    said = capsys.readouterr()
    assert code == 2, said
    json.loads(said.out)


def test_undo_exits_0_and_then_there_is_nothing_left(capsys: pytest.CaptureFixture[str]) -> None:
    with declared_site("bundled") as site:
        site.done("apply", "--yes")
        assert app.run(words(site, "undo", "--json")) == 0
        json.loads(capsys.readouterr().out)
        assert app.run(words(site, "undo", "--json")) == 1
        said = capsys.readouterr()
        assert said.out == "" and "there is nothing to undo" in said.err


def test_every_command_is_held_to_its_codes() -> None:
    """`rotate` is tested with the load it measures under."""
    assert set(NAMES) - {"rotate"} <= set(FINE), "add the command to FINE, and to WANTING where it can exit 2"
