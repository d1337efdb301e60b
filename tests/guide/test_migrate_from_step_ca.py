"""The commands of the guide, run as written against a directory that step-ca left: what they print is what it shows."""

import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.stage import troth_program
from tests.rig.step_ca import StepDirectory, founded_by_step

GUIDE = (Path(__file__).parents[2] / "docs" / "guide" / "migrate-from-step-ca.md").read_text()
STEP = re.compile(r"^```console\n\$ (.*)\n((?:.*\n)*?)```$", re.MULTILINE)
PLACE = "/etc/step-ca"


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StepDirectory]:
    if shutil.which("step") is None or shutil.which("step-ca") is None:
        pytest.skip("step or step-ca is not installed")
    one = founded_by_step(tmp_path_factory.mktemp("guide") / "step-ca")
    with one.running():
        one.issue(1000)
        assert [one.revoke(held) for held in one.issued[:2]] == [200, 200]
    yield one


def test_the_guide_runs_as_written_and_prints_what_it_shows(left: StepDirectory) -> None:
    directory = str(left.served.directory)
    steps = [(command.replace(PLACE, directory), output) for command, output in STEP.findall(GUIDE)]
    assert [command.split()[2] for command, _ in steps] == ["migrate", "migrate", "serve"]
    for command, output in steps[:2]:
        done = subprocess.run(
            [*troth_program(), *shlex.split(command)[1:]], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        assert (done.stdout + done.stderr).replace(directory, PLACE) == output
    pidfile = left.served.directory / "pid"
    words = shlex.split(steps[2][0].replace("/run/troth.pid", str(pidfile)))
    with (left.served.directory / "log").open("wb") as log:
        process = subprocess.Popen([*troth_program(), *words[1:]], stdout=log, stderr=log, start_new_session=True)
    try:
        until = time.monotonic() + 20
        while "serving" not in left.served.log:
            assert process.poll() is None and time.monotonic() < until, left.served.log
            time.sleep(0.05)
        assert left.revoke(left.issued[0]) == 400
        assert pidfile.read_text() == f"{process.pid}\n"
    finally:
        process.terminate()
        process.wait(20)


def test_what_step_ca_does_afterwards_is_seen_as_the_guide_says(left: StepDirectory) -> None:
    with left.running():
        left.issue(1)
    with pytest.raises(AssertionError) as refusal:
        left.served.start()
    shown = "\n".join(line for line in GUIDE.splitlines() if line.startswith(("error: ", "hint: ")))
    assert shown in str(refusal.value).replace(str(left.served.directory), PLACE)
