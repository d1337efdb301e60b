"""The program starts fast, speaks with one voice, ends with step's exit codes and completes its words."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests.cli.accounts import Account
from troth.cli import app, reference
from troth.cli import help as help_texts
from troth.cli.commands import COMMANDS, GROUPS
from troth.cli.defaults import configured_values

ROOT = Path(__file__).parents[2]
HEAVY = ("click", "cryptography", "aiohttp", "asyncio", "ssl", "rich", "importlib.metadata", "joserfc", "typing", "re")
PATHS = [*reference.command_paths()]


@pytest.mark.parametrize("words", [[], *([group] for group in COMMANDS if group), *(PATHS)], ids=" ".join)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    """Imports are what the 60 ms for help go into; the clock of a shared machine would prove less."""
    arguments = [part for word in words for part in word.split()]
    if arguments in PATHS and reference.render(arguments) is None:
        pytest.skip(f"{' '.join(arguments)} is not part of this installation")
    script = (
        "import sys; before = set(sys.modules); from troth.cli.app import run;"
        f"code = run({[*arguments, '--help']!r});"
        "print(sorted(set(sys.modules) - before), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", script], env=source_path(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done
    assert done.stdout.startswith("Usage: troth")
    assert "Examples:" in done.stdout or arguments == [] or " ".join(arguments) in COMMANDS
    loaded = done.stderr.replace("'", "").strip("[]\n").split(", ")
    assert [name for name in loaded if name.startswith(HEAVY)] == []


def source_path() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "src")}


def spoken(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = app.run(words)
    said = capsys.readouterr()
    return code, said.out + said.err


@pytest.mark.parametrize("words", ["help", "help ca", "help ca health", "ca help health", "help ca provisioner add"])
def test_help_may_come_first_as_with_step(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    plain = [word for word in words.split() if word != "help"]
    assert spoken(words.split(), capsys) == spoken([*plain, "--help"], capsys)
    assert spoken(plain, capsys)[1] != "" and spoken(words.split(), capsys)[0] == 0


def test_help_for_what_is_no_command_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = spoken(["help", "nonsense"], capsys)
    assert code == 3 and "nonsense" in said
    assert spoken(["certificate", "fingerprint", "help"], capsys)[1].startswith("error: cannot read help")


@pytest.mark.parametrize("flag", ["--version", "-v"])
def test_the_version_is_a_flag_too(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert spoken([flag], capsys) == spoken(["version"], capsys)


def test_the_stored_help_is_what_the_commands_say() -> None:
    stored = {path.name: path.read_text() for path in Path(help_texts.TEXTS).glob("*.txt")}
    assert stored == reference.help_files(), "run: python -m troth.cli.reference"


def test_the_reference_is_what_the_commands_say() -> None:
    committed = (ROOT / "docs" / "reference" / "cli.md").read_text()
    assert committed == reference.markdown(), "run: python -m troth.cli.reference"


def test_every_command_has_examples_that_are_its_own() -> None:
    for words in PATHS:
        text = reference.render(words)
        if text is not None:
            examples = text.partition("Examples:")[2]
            assert f"troth {' '.join(words)}" in examples, f"{' '.join(words)} shows no example of itself"


def test_groups_are_described_once() -> None:
    assert set(GROUPS) == set(COMMANDS)
    for group, commands in COMMANDS.items():
        for name, (target, short) in commands.items():
            path = f"{group} {name}".strip()
            assert bool(target) != (path in GROUPS) and short, path


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("cA",), "did you mean: troth ca"),
        (("ca", "certificat"), "did you mean: troth ca certificate"),
        (("ca", "zzz"), "run: troth ca --help"),
    ],
)
def test_an_unknown_command_exits_3(stranger: Account, arguments: tuple[str, ...], hint: str) -> None:
    assert hint in stranger.refused(*arguments, code=3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ca", "certificate", "one"), "missing argument 'CRT_FILE'"),
        (("ca", "health", "--nope"), "no such option"),
        (("ca", "health", "extra"), "got unexpected extra argument"),
        (("ca", "renew", "a", "b", "--pid", "x"), "'x' is not a valid integer"),
    ],
)
def test_usage_errors_exit_1_and_name_the_help(stranger: Account, arguments: tuple[str, ...], message: str) -> None:
    said = stranger.refused(*arguments)
    assert message in said and f"hint: run: troth {' '.join(arguments[:2])} --help" in said


def test_what_the_system_refuses_unexpectedly_names_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody foresaw it, but the person can do something about it: not an internal error."""
    toml = tmp_path / "troth.toml"
    toml.write_text(f'[agent]\nstate = "{"x" * 300}"\n')
    assert app.run(["agent", "status", "--config", str(toml)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: cannot use ") and said.endswith("file name too long\n")
    assert app._report_system(PermissionError(13, "Permission denied", "/etc/x")) == 1
    assert capsys.readouterr().err == (
        "error: cannot use /etc/x: permission denied\nhint: run it as the owner of the file, or as root\n"
    )


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ca", "provisioner", "remove", "x", "--ca-config", "deep"), "deep is not valid JSON"),
        (("ca", "provisioner", "update", "x", "--ca-config", "binary"), "binary is not UTF-8 text"),
        (("crypto", "keypair", "circle", "k"), "cannot use circle: its symbolic links lead in a circle"),
        (("ca", "rekey", "circle", "circle"), "cannot use circle: its symbolic links lead in a circle"),
        (("ca", "rekey", "", ""), "expected the name of a file"),
        (("crypto", "keypair", "", "k", "--no-password", "--insecure"), "expected the name of a file"),
    ],
)
def test_files_without_end_or_name_are_refused_in_words(
    stranger: Account, arguments: tuple[str, ...], message: str
) -> None:
    (stranger.work / "deep").write_text(DEEP)
    (stranger.work / "binary").write_bytes(bytes(range(256)))
    (stranger.work / "circle").symlink_to("circle")
    said = stranger.refused(*arguments)
    assert message in said and "internal error" not in said


def test_a_missing_module_does_not_break_help(stranger: Account) -> None:
    script = (
        "from troth.cli import commands, app; commands.COMMANDS['ca']['ghost'] = ('troth.cli.ghost:ghost', 'not here');"
        "import sys; print(app.run(['ca', '--help'])); sys.exit(app.run(['ca', 'ghost']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "ghost        not here" in done.stdout
    assert done.returncode == 1 and done.stderr == "error: 'troth ca ghost' is not part of this installation\n"


def test_an_unknown_exception_keeps_its_detail_inside() -> None:
    script = (
        "from troth.cli import about, app; import click\n"
        "def explode(): raise RuntimeError('secret detail')\n"
        "about.version = click.command('version')(explode)\n"
        "import sys; sys.exit(app.run(['version']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "secret" not in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.startswith("error: internal error (RuntimeError)\nhint: ")
    told = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "STEPDEBUG": "1"},
    )
    assert "secret detail" in told.stderr


def test_a_reader_that_goes_away_is_no_disaster() -> None:
    command = "import sys; from troth.cli import app; sys.exit(app.run(['ca', '--help']))"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", command], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert done.stderr == "" and done.returncode == 1


def test_path_and_version(stranger: Account) -> None:
    assert stranger.good("path").out == f"{stranger.step}\n"
    assert stranger.good("version").out.startswith("troth 0.")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(stranger: Account, shell: str) -> None:
    assert "_TROTH_COMPLETE" in stranger.good("completion", shell).out
    assert "expected bash, zsh or fish" in stranger.refused("completion", "csh")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("troth ", {"ca", "certificate"}),
        ("troth ca re", {"renew", "revoke", "rekey"}),
        ("troth ca health --r", {"--root"}),
    ],
)
def test_words_are_completed(stranger: Account, line: str, expected: set[str]) -> None:
    words = {"_TROTH_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    done = stranger.troth(**words)
    assert expected <= {row.partition(",")[2] for row in done.out.splitlines()}, done


def test_flags_then_environment_then_defaults() -> None:
    @click.command()
    @click.option("--ca-url")
    @click.option("--provisioner", "--issuer", "provisioner")
    @click.option("--san", "sans", multiple=True)
    @click.option("--context")
    def command() -> None: ...

    defaults = {"ca-url": "https://d", "issuer": "d", "context": "never", "other": "x"}
    assert configured_values(command, {}, defaults) == {"ca_url": "https://d", "provisioner": "d"}
    environment = {"STEP_CA_URL": "https://e", "STEP_SAN": "a,b", "STEP_PROVISIONER": ""}
    expected = {"ca_url": "https://e", "provisioner": "d", "sans": ["a", "b"]}
    assert configured_values(command, environment, defaults) == expected


@pytest.mark.parametrize("text", ["{", "[]", "\xff"])
def test_unusable_defaults_are_named(stranger: Account, text: str) -> None:
    (stranger.step / "config").mkdir(parents=True)
    (stranger.step / "config" / "defaults.json").write_bytes(text.encode("latin-1"))
    assert "defaults.json" in stranger.refused("ca", "health")


def test_defaults_may_hold_any_json_value(stranger: Account) -> None:
    (stranger.step / "config").mkdir(parents=True)
    values = {"ca-url": "https://localhost:1", "root": None, "force": True, "size": 3072, "san": ["a", "b"]}
    (stranger.step / "config" / "defaults.json").write_text(json.dumps(values))
    assert "no root certificate" in stranger.refused("ca", "health")
