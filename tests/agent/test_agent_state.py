"""The state file is replaced whole and read back; records of rotations, the lock and the log keep their promises."""

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troth.agent import AgentError
from troth.agent.log import Log
from troth.agent.state import (
    FILE,
    JOURNAL,
    LOCK,
    IdentityState,
    Pending,
    clear_pending,
    only_agent,
    read_pending,
    read_states,
    write_pending,
    write_states,
)

# Any text but halves of surrogate pairs, which no file name or message that reached us can hold as UTF-8.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
states = st.builds(
    IdentityState,
    name=texts.filter(bool),
    subject=texts,
    serial=st.integers(0, 2**160).map(str),
    proof=st.sampled_from(["", "upstream", "witness", "generation"]),
    proof_detail=texts,
    failures=st.integers(0, 10**6),
    last_error=texts,
)
HOLDER = """
import sys
from pathlib import Path
from troth.agent.state import only_agent
with only_agent(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_before_the_first_there_are_none(tmp_path: Path) -> None:
    assert read_states(tmp_path / "nowhere") == {}


@given(st.lists(states, unique_by=lambda one: one.name, max_size=5))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, wanted: list[IdentityState]) -> None:
    directory = tmp_path_factory.mktemp("state")
    write_states(directory, {one.name: one for one in wanted})
    assert list(read_states(directory).values()) == wanted
    assert [path.name for path in directory.iterdir()] == [FILE], "nothing is left beside it"


def test_the_state_is_for_everybody_to_read_and_holds_no_key(tmp_path: Path) -> None:
    write_states(tmp_path, {"a": IdentityState("a")})
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o644
    raw = json.loads((tmp_path / FILE).read_text())
    assert raw["version"] == 1
    assert set(raw["identities"][0]) == set(IdentityState.__slots__)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "3",
        '{"identities": 3}',
        '{"identities": [3]}',
        '{"identities": [{"name": "a", "new": 1}]}',
    ],
)
def test_a_damaged_state_is_an_error_that_says_how_to_go_on(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(AgentError, match="is damaged") as raised:
        read_states(tmp_path)
    assert raised.value.hint is not None
    assert f"rm {tmp_path / FILE}" in raised.value.hint


def test_readers_never_see_a_part(tmp_path: Path) -> None:
    stop, wrong = threading.Event(), []
    write_states(tmp_path, {"a": IdentityState("a", last_error="x")})

    def look() -> None:
        while not stop.is_set():
            try:
                found = read_states(tmp_path)["a"].last_error
            except AgentError as error:
                found = error.message
            if set(found) != {"x"}:
                wrong.append(found)

    reader = threading.Thread(target=look)
    reader.start()
    for length in range(1, 200):
        write_states(tmp_path, {"a": IdentityState("a", last_error="x" * length * 50)})
    stop.set()
    reader.join(10)
    assert wrong == []


def test_a_record_is_kept_until_it_is_cleared(tmp_path: Path) -> None:
    assert read_pending(tmp_path, "a") is None
    for pending in (Pending("a", None, 1), Pending("a", 1, 2)):
        write_pending(tmp_path, pending)
        assert read_pending(tmp_path, "a") == pending
    assert read_pending(tmp_path, "b") is None
    clear_pending(tmp_path, "a")
    clear_pending(tmp_path, "a")
    assert read_pending(tmp_path, "a") is None


@pytest.mark.parametrize("text", ["", "{", "[]", "[1, 2, 3]", "3", '{"name": "a"}', '{"name": "a", "of": 1}'])
def test_a_damaged_record_is_as_none(tmp_path: Path, text: str) -> None:
    write_pending(tmp_path, Pending("a", 1, 2))
    (tmp_path / JOURNAL / "a.json").write_text(text)
    assert read_pending(tmp_path, "a") is None


@pytest.mark.parametrize("number", ['"../../x"', "1.5", "true", "null", "-1", "[]"])
def test_a_record_that_names_no_generation_is_as_none(tmp_path: Path, number: str) -> None:
    """What is recorded as new may be removed: it must be a number and nothing that could name another place."""
    write_pending(tmp_path, Pending("a", 1, 2))
    (tmp_path / JOURNAL / "a.json").write_text(f'{{"name": "a", "old": 1, "new": {number}}}')
    assert read_pending(tmp_path, "a") is None


def test_one_agent_at_a_time_works_with_a_state(tmp_path: Path) -> None:
    with only_agent(tmp_path):
        taken = pytest.raises(AgentError, match=rf"another agent works with {tmp_path} \(process {os.getpid()}\)")
        with taken, only_agent(tmp_path):
            pytest.fail("two agents hold the lock")
        with only_agent(tmp_path / "another"):
            pass
    with only_agent(tmp_path):
        pass


@pytest.mark.parametrize("target", ["/dev/full", "/"])
def test_a_lock_that_cannot_be_written_is_named(target: str, tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(target)
    with pytest.raises(AgentError, match=f"cannot write {tmp_path}/lock: "), only_agent(tmp_path):
        pytest.fail("worked without its lock")


def test_a_killed_agent_holds_nothing(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(AgentError, match=rf"process {holder.pid}"), only_agent(tmp_path):
        pytest.fail("two agents hold the lock")
    holder.kill()
    holder.wait(10)
    with only_agent(tmp_path):
        assert (tmp_path / LOCK).read_text() == f"{os.getpid()}\n", "nothing of a longer number is left"


def test_the_witness_can_be_reached_by_workers_of_another_user(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with only_agent(tmp_path / "state"):
            modes = [path.stat().st_mode & 0o777 for path in (tmp_path / "state", tmp_path / "state" / "witness")]
    finally:
        os.umask(before)
    assert modes == [0o755, 0o755]


@given(texts, texts)
def test_a_json_log_has_one_object_a_line(message: str, value: str) -> None:
    lines = logged("json", message, value).splitlines()
    assert len(lines) == 1
    entry = json.loads(lines[0])
    assert (entry["level"], entry["msg"], entry["error"], entry["identities"]) == ("error", message, value, 2)
    assert entry["time"].endswith("Z")


@given(texts)
def test_a_text_log_has_one_line_whatever_an_error_quotes(value: str) -> None:
    text = logged("text", "rotation failed", value)
    assert text.count("\n") == 1
    assert len(text.splitlines()) == 1
    assert "error rotation failed" in text


def logged(form: str, message: str, value: str) -> str:
    stream = io.StringIO()
    with contextlib.redirect_stderr(stream):
        Log(form).error(message, error=value, identities=2)
    return stream.getvalue()


def test_a_quiet_log_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Log(quiet=True).error("rotation failed")
    assert capsys.readouterr() == ("", "")
