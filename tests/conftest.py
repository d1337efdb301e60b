"""What holds for every test.

With ``TROTH_REQUIRE_PROGRAMS`` set, as in CI, a test skipped for a missing program fails instead. Property tests have
the same examples in every run, so that what fails a change is the change; ``make fuzz`` tries others.
"""

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# What `make programs` builds is found however pytest was started.
os.environ["PATH"] = f"{Path(__file__).parents[1] / 'build' / 'bin'}{os.pathsep}{os.environ['PATH']}"

settings.register_profile("same", derandomize=True)
settings.register_profile("others")
settings.load_profile(os.environ.get("TROTH_TEST_EXAMPLES", "same"))

MISSING = ("is not installed", "on this machine")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    reason: Any = report.longrepr[-1] if report.skipped and isinstance(report.longrepr, tuple) else ""
    if os.environ.get("TROTH_REQUIRE_PROGRAMS") and any(text in str(reason) for text in MISSING):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: {reason}, and TROTH_REQUIRE_PROGRAMS is set"
    return report
