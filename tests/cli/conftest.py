"""The fixtures of the command line's tests: a running official step-ca, and accounts that use it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.accounts import Account, RunningAuthority, serving


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAuthority]:
    """A step-ca on loopback, one per test process."""
    with serving(tmp_path_factory.mktemp("authority")) as running:
        yield running


@pytest.fixture
def stranger(tmp_path: Path) -> Account:
    """An account that knows no authority."""
    return Account(tmp_path)


@pytest.fixture
def account(tmp_path: Path, authority: RunningAuthority) -> Account:
    """An account that has bootstrapped."""
    fresh = Account(tmp_path)
    fresh.good("ca", "bootstrap", "--ca-url", authority.url, "--fingerprint", authority.fingerprint)
    return fresh
