"""step-ca's own flags of ``ca serve``: a unit written for step-ca starts troth unchanged but for the program's name."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.authority import MAIN, Served, founded


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An authority laid out as the context `staging` of a step path."""
    base = tmp_path_factory.mktemp("base")
    directory = base / "authorities" / "ca.staging"
    directory.mkdir(parents=True)
    with founded(directory) as one:
        (base / "contexts.json").write_text('{"staging": {"profile": "p", "authority": "ca.staging"}, "broken": {}}')
        yield one


def base_of(served: Served) -> Path:
    return served.directory.parents[1]


def refused(served: Served, *words: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "ca", "serve", *words],
        env={**os.environ, "STEPPATH": str(base_of(served)), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    return done.stderr


def test_all_flags_of_a_step_ca_unit_are_taken(served: Served, tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    words = ["--issuer-password-file", "none", "--resolver", "127.0.0.1:53", "--pidfile", str(pidfile), "--quiet"]
    served.start(*words, "--context", "staging", env={**os.environ, "STEPPATH": str(base_of(served))})
    assert served.process is not None
    assert pidfile.read_text() == f"{served.process.pid}\n"
    assert served.stop() == 0
    assert not pidfile.exists()
    assert "--resolver is not used" in served.log and "serving" not in served.log


def test_a_context_says_which_authority_is_meant(served: Served, tmp_path: Path) -> None:
    """The wrong password shows whose key was opened."""
    wrong = tmp_path / "wrong"
    wrong.write_text("not the password")
    key = str(served.directory / "secrets" / "intermediate_ca_key")
    assert key in refused(served, "--context", "staging", "--password-file", str(wrong))
    assert key in refused(served, "--password-file", str(wrong), STEP_CA_CONTEXT="staging")
    (base_of(served) / "current-context.json").write_text(json.dumps({"context": "staging"}))
    assert key in refused(served, "--password-file", str(wrong))
    (base_of(served) / "current-context.json").unlink()
    assert f"{base_of(served)}/config/ca.json does not exist" in refused(served)


@pytest.mark.parametrize(
    ("name", "why"), [("production", "not found"), ("broken", "expected an object of profile and authority")]
)
def test_an_unknown_context_is_refused_even_with_a_file(served: Served, name: str, why: str) -> None:
    message = refused(served, str(served.configuration), "--context", name)
    assert f"context {name!r}" in message and why in message and "contexts.json" in message
