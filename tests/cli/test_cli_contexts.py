"""Contexts are step's: either program makes them, and the other finds its authority in them."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.accounts import Account, RunningAuthority

MAKERS = ("troth", "official")


def bootstrap(account: Account, maker: str, authority: RunningAuthority, *flags: str) -> None:
    where = ("--ca-url", authority.url, "--fingerprint", authority.fingerprint)
    done = getattr(account, maker)("ca", "bootstrap", *where, *flags)
    assert (done.code, done.out) == (0, ""), done


def tree(directory: Path) -> dict[str, tuple[int, str]]:
    """Every file's mode and content, the directory's own path left out."""
    return {
        str(path.relative_to(directory)): (
            path.stat().st_mode & 0o777,
            path.read_text().replace(str(directory), "").rstrip(),
        )
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_both_programs_write_the_same_files(tmp_path: Path, authority: RunningAuthority) -> None:
    trees = []
    for maker in MAKERS:
        account = Account(tmp_path / maker)
        account.work.mkdir()
        bootstrap(account, maker, authority, "--context", "one")
        bootstrap(account, maker, authority, "--context", "two", "--profile", "p", "--authority", "a")
        bootstrap(account, maker, authority, "--redirect-url", "https://there.example")
        trees.append(tree(account.step))
        for args in (
            ("path",),
            ("path", "--base"),
            ("path", "--profile"),
            ("context", "list"),
            ("context", "current", "--json"),
            ("ca", "health"),
            ("ca", "health", "--context", "two"),
        ):
            ours, theirs = account.troth(*args), account.official(*args)
            assert (ours.code, ours.out) == (0, theirs.out) and theirs.code == 0, (ours, theirs)
    assert trees[0] == trees[1]


@pytest.mark.parametrize(("maker", "other"), [MAKERS, MAKERS[::-1]])
def test_contexts_go_from_one_program_to_the_other(
    stranger: Account, authority: RunningAuthority, maker: str, other: str
) -> None:
    bootstrap(stranger, maker, authority, "--context", "one")
    bootstrap(stranger, maker, authority, "--context", "two")
    run = getattr(stranger, other)
    assert run("context", "current").out == "two\n"
    assert run("context", "select", "one").code == 0
    assert run("context", "remove", "two", "--force").code == 0
    assert getattr(stranger, maker)("context", "list").out == "▶ one\n"
    assert not (stranger.step / "authorities" / "two").exists() and not (stranger.step / "profiles" / "two").exists()
    assert run("ca", "root").out == authority.root.read_text()


def test_what_another_context_uses_is_kept(stranger: Account, authority: RunningAuthority) -> None:
    bootstrap(stranger, "troth", authority, "--context", "one", "--authority", "shared")
    bootstrap(stranger, "troth", authority, "--context", "two", "--authority", "shared", "--force")
    stranger.good("context", "remove", "one", "--force")
    assert (stranger.step / "authorities" / "shared" / "certs" / "root_ca.crt").exists()
    assert not (stranger.step / "profiles" / "one").exists()
    stranger.good("ca", "health")


def test_profiles_and_the_environment_decide(stranger: Account, authority: RunningAuthority) -> None:
    bootstrap(stranger, "troth", authority, "--context", "one")
    bootstrap(stranger, "troth", authority, "--context", "two")
    profile = stranger.step / "profiles" / "one" / "config" / "defaults.json"
    profile.write_text(json.dumps({"ca-url": "https://localhost:1"}))
    assert "localhost:1" in stranger.refused("ca", "health", "--context", "one")
    assert "localhost:1" in stranger.refused("ca", "health", "--context=one")
    assert "localhost:1" in stranger.refused("ca", "health", STEP_CONTEXT="one")
    assert stranger.good("ca", "health").out == "ok\n"
    assert stranger.good("ca", "health", "--context", "two", STEP_CONTEXT="one").out == "ok\n"
    assert stranger.good("path", STEP_CONTEXT="one").out == f"{stranger.step}/authorities/one\n"


def test_without_a_current_context_the_only_one_is_meant(stranger: Account, authority: RunningAuthority) -> None:
    bootstrap(stranger, "troth", authority, "--context", "one")
    (stranger.step / "current-context.json").unlink()
    assert stranger.good("ca", "health").out == "ok\n"
    bootstrap(stranger, "troth", authority, "--context", "two")
    (stranger.step / "current-context.json").unlink()
    assert "one of one, two" in stranger.refused("ca", "health")
    stranger.good("context", "select", "two")
    stranger.good("ca", "health")


def test_an_authority_in_a_context(stranger: Account) -> None:
    (stranger.work / "pw").write_text("secret\n")
    flags = ("--name", "X", "--dns", "x.example", "--address", ":9000", "--provisioner", "a", "--password-file", "pw")
    stranger.good("ca", "init", *flags, "--context", "mine")
    made = stranger.step / "authorities" / "mine"
    assert (made / "secrets" / "intermediate_ca_key").exists()
    assert stranger.official("context", "current").out == "mine\n"
    assert json.loads(stranger.good("ca", "provisioner", "add", "more", "--type", "ACME").out or "{}") == {}
    assert "more" in (made / "config" / "ca.json").read_text()
    stranger.good("ca", "init", *flags, "--authority", "other")
    said = stranger.refused("context", "remove", "mine", "--force")
    assert "with its keys" in said and (made / "secrets" / "root_ca_key").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--context", "../up"), "expected the name of a directory"),
        (("--context", "x", "--authority", ".."), "expected the name of a directory"),
        (("--context", "x", "--profile", "a/b"), "expected the name of a directory"),
        (("--context", "x\ny"), "expected"),
        (("--team", "t"), "--team needs --team-url"),
        (("--team-url", "https://x"), "need --team"),
    ],
)
def test_names_that_lead_elsewhere(
    stranger: Account, authority: RunningAuthority, flags: tuple[str, ...], message: str
) -> None:
    where = () if "--team" in flags else ("--ca-url", authority.url, "--fingerprint", authority.fingerprint)
    assert message in stranger.refused("ca", "bootstrap", *where, *flags)
    assert not stranger.step.exists()


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("contexts.json", "{", "is not JSON"),
        ("contexts.json", "[" * 5000, "is not JSON"),
        ("contexts.json", "[]", "expected a JSON object"),
        ("contexts.json", '{"a": null}', "expected an object of profile and authority"),
        ("contexts.json", '{"a": {"profile": "a"}}', "expected an object of profile and authority"),
        ("contexts.json", '{"a": {"profile": "a", "authority": "../../etc"}}', "expected the name of a directory"),
        ("current-context.json", "", "is not JSON"),
        ("current-context.json", '{"context": 1}', "expected the name of a context"),
        ("current-context.json", '{"context": "gone"}', "context 'gone' not found"),
    ],
)
@pytest.mark.parametrize(
    "command", [("ca", "health"), ("path",), ("certificate", "inspect", "x"), ("context", "current")]
)
def test_broken_files_are_named(
    stranger: Account, file: str, text: str, message: str, command: tuple[str, ...]
) -> None:
    stranger.step.mkdir()
    (stranger.step / file).write_text(text)
    said = stranger.refused(*command)
    assert message in said and ("context" in said or file in said)


def test_a_broken_context_does_not_break_the_others(stranger: Account, authority: RunningAuthority) -> None:
    bootstrap(stranger, "troth", authority, "--context", "one")
    file = stranger.step / "contexts.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "broken": 7}))
    stranger.good("ca", "health")
    bootstrap(stranger, "troth", authority, "--context", "two")
    assert json.loads(file.read_text())["broken"] == 7
    assert "expected an object" in stranger.refused("ca", "health", "--context", "broken")
    bootstrap(stranger, "troth", authority, "--context", "broken")
    stranger.good("ca", "health")


def test_a_context_that_is_gone_can_be_replaced(stranger: Account, authority: RunningAuthority) -> None:
    bootstrap(stranger, "troth", authority, "--context", "one")
    (stranger.step / "current-context.json").write_text('{"context": "gone"}')
    assert stranger.good("context", "list").out == "one\n"
    stranger.good("context", "select", "one")
    stranger.good("ca", "health")


def test_removing_follows_no_symlink(stranger: Account, authority: RunningAuthority, tmp_path: Path) -> None:
    bootstrap(stranger, "troth", authority, "--context", "one")
    bootstrap(stranger, "troth", authority, "--context", "two")
    precious = tmp_path / "precious"
    (stranger.step / "authorities" / "one").rename(precious)
    (stranger.step / "authorities" / "one").symlink_to(precious)
    stranger.good("context", "remove", "one", "--force")
    assert (precious / "certs" / "root_ca.crt").exists() and not (stranger.step / "authorities" / "one").is_symlink()


@contextmanager
def answering(text: bytes) -> Iterator[str]:
    """A server on loopback that says one thing; its URL, with ``<>`` for the team."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None: ...

    asked: list[str] = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/teams/<>"
        server.shutdown()
    assert asked == ["/teams/web%2Fone"]


def test_a_team_is_described_elsewhere(stranger: Account, authority: RunningAuthority) -> None:
    described = {"url": authority.url, "fingerprint": authority.fingerprint, "provisioner": "p", "redirect-url": "r"}
    with answering(json.dumps(described).encode()) as url:
        stranger.good("ca", "bootstrap", "--team", "web/one", "--team-url", url)
    kept = json.loads((stranger.step / "config" / "defaults.json").read_text())
    assert (kept["ca-url"], kept["provisioner"], kept["redirect-url"]) == (authority.url, "p", "r")


@pytest.mark.parametrize(
    ("text", "message"), [(b"<html>", "did not answer with JSON"), (b"{}", "does not describe a team")]
)
def test_a_team_that_is_not_described(stranger: Account, text: bytes, message: str) -> None:
    with answering(text) as url:
        assert message in stranger.refused("ca", "bootstrap", "--team", "web/one", "--team-url", url)
    said = stranger.refused("ca", "bootstrap", "--team", "web", "--team-url", "http://config.example/<>")
    assert "expected https" in said
