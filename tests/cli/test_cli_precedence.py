"""Flags come from the command line, ``STEP_*`` and ``defaults.json`` as with the official program, or as documented."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from tests.cli.accounts import Account, Result, execute, program

MAKE = ("certificate", "create", "--profile", "self-signed", "--subtle", "--no-password", "--insecure")
TROTH = [sys.executable, "-c", "from troth.cli.app import main; main()"]
HERE, THERE = {"not-after": "48h"}, {"not-after": "72h"}


@dataclass(frozen=True)
class Case:
    """`defaults` is the file's text, or what to write as JSON; `old` files are there to be overwritten."""

    env: dict[str, str]
    defaults: object = None
    args: tuple[str, ...] = ()
    old: bool = False


SAME = {
    "flag over environment": Case({"STEP_NOT_AFTER": "48h"}, THERE, ("--not-after", "30h")),
    "environment over file": Case({"STEP_NOT_AFTER": "48h"}, THERE),
    "file": Case({}, HERE),
    "file, two flags": Case({}, {"kty": "OKP", "curve": "Ed25519"}),
    "bool in environment": Case({"STEP_F": "true"}, None, (), True),
    "bool in environment, 1": Case({"STEP_F": "1"}, None, (), True),
    "bool in environment, T": Case({"STEP_F": "T"}, None, (), True),
    "bool in environment, false": Case({"STEP_F": "false"}, None, (), True),
    "bool in environment, 0": Case({"STEP_F": "0"}, None, (), True),
    "bool in environment, false over file": Case({"STEP_F": "false"}, {"force": True}, (), True),
    "bool in environment, nonsense": Case({"STEP_F": "maybe"}, None, (), True),
    "bool in file": Case({}, {"force": True}, (), True),
    "bool in file, text": Case({}, {"force": "true"}, (), True),
    "bool in file, number": Case({}, {"force": 1}, (), True),
    "bool in file, false": Case({}, {"force": False}, (), True),
    "bool in file, null": Case({}, {"force": None}, (), True),
    "bool in file, short name": Case({}, {"f": True}, (), True),
    "typed false over environment": Case({"STEP_F": "1"}, None, ("--force=false",), True),
    "typed false over file": Case({}, {"force": True}, ("--force=false",), True),
    "typed 0 over file": Case({}, {"force": True}, ("-f=0",), True),
    "typed true": Case({}, None, ("--force=T",), True),
    "list in environment": Case({"STEP_SAN": "a.example, b.example"}),
    "list in environment, flag": Case({"STEP_SAN": "a.example"}, None, ("--san", "c.example")),
    "list in environment over file": Case({"STEP_SAN": "a.example,b.example"}, {"san": "c.example"}),
    "one value in file": Case({}, {"san": "a.example"}),
    "one value with a comma in file": Case({}, {"san": "a.example,b.example"}),
    "number": Case({}, {"kty": "RSA", "size": 3072}),
    "number, text": Case({}, {"kty": "RSA", "size": "3072"}),
    "number, exponent": Case({}, '{"kty": "RSA", "size": 3.072e3}'),
    "number, null": Case({}, {"kty": "RSA", "size": None}),
    "number in environment, nonsense": Case({"STEP_SIZE": "abc", "STEP_KTY": "RSA"}),
    "number where a duration belongs": Case({}, {"not-after": 48}),
    "object where a text belongs": Case({}, {"kty": {"a": 1}}),
    "profile is not heard": Case({}, {"profile": "leaf"}),
    "context is not heard": Case({}, {"context": "x", "authority": "y"}),
    "unknown names": Case({}, {"nonsense": {"x": [1]}, "not_after": "48h", "NOT-AFTER": "48h"}),
    "twice": Case({}, '{"not-after": "48h", "not-after": "72h"}'),
    "no JSON": Case({}, "{oops"),
    "empty": Case({}, ""),
    "array": Case({}, "[1]"),
    "byte order mark": Case({}, '\ufeff{"not-after": "48h"}'),
    "words after it": Case({}, '{"not-after": "48h"} x'),
}


def outcome(work: Path, command: list[str], case: Case) -> tuple[object, Result]:
    """What was certified (names, kind of key, hours), or None where the program refused."""
    (work / "config").mkdir(parents=True)
    if case.defaults is not None:
        text = case.defaults if isinstance(case.defaults, str) else json.dumps(case.defaults)
        (work / "config" / "defaults.json").write_text(text, encoding="utf-8")
    if case.old:
        (work / "a.crt").write_text("old")
    env = {"STEPPATH": str(work), "HOME": str(work), **case.env}
    done = execute([*command, *MAKE, *case.args, "cn.example", "a.crt", "a.key"], work, env)
    if done.code != 0:
        assert "Traceback" not in done.err, done
        return None, done
    made = x509.load_pem_x509_certificate((work / "a.crt").read_bytes())
    names = [
        str(name.value) for e in made.extensions if isinstance(e.value, x509.SubjectAlternativeName) for name in e.value
    ]
    key = made.public_key()
    hours = round((made.not_valid_after_utc - made.not_valid_before_utc).total_seconds() / 3600, 2)
    return (names, type(key).__name__, getattr(key, "key_size", 0), hours), done


@pytest.mark.parametrize("name", SAME)
def test_a_value_is_found_where_the_official_program_finds_it(tmp_path: Path, name: str) -> None:
    ours, said = outcome(tmp_path / "ours", TROTH, SAME[name])
    theirs, answered = outcome(tmp_path / "theirs", [program("step")], SAME[name])
    assert ours == theirs, (said, answered)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (Case({}, {"san": ["a.example", "b.example"]}), ["a.example", "b.example"]),
        (Case({"STEP_FORCE": "true"}, None, (), True), ["cn.example"]),
        (Case({"STEP_SAN": ""}, {"san": "a.example"}), ["a.example"]),
        (Case({}, {"kty": None}), ["cn.example"]),
    ],
    ids=["list", "any name", "empty variable", "null"],
)
def test_departures_are_as_documented(tmp_path: Path, case: Case, expected: list[str]) -> None:
    ours, said = outcome(tmp_path / "ours", TROTH, case)
    assert isinstance(ours, tuple) and ours[0] == expected, said
    theirs, _ = outcome(tmp_path / "theirs", [program("step")], case)
    assert theirs != ours


def test_a_value_that_nobody_typed_says_where_it_is(stranger: Account) -> None:
    said = stranger.refused(*MAKE, "cn.example", "a.crt", "a.key", STEP_SIZE="abc", STEP_KTY="RSA")
    assert "'--size'" in said and "hint: it comes from STEP_SIZE or config/defaults.json" in said
    typed = stranger.refused(*MAKE, "--size", "abc", "cn.example", "a.crt", "a.key")
    assert "defaults.json" not in typed
