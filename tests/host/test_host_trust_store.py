"""A root is installed where this system looks, by its own tool, and anything missing is named."""

from pathlib import Path

import pytest

from tests.x509.authorities import issue
from troth.host.trust_store import Store, TrustStoreError, install_root
from troth.x509.pem import to_pem

ROOT = issue("My Root/CA", authority=True).certificate


def test_the_file_is_public_and_the_tool_has_run(tmp_path: Path) -> None:
    store = Store(tmp_path, ".crt", ("touch", str(tmp_path / "rebuilt")))
    path = install_root(ROOT, (Store(tmp_path / "absent", ".pem", ("false",)), store))
    assert path.name == f"My_Root_CA_{ROOT.serial_number}.crt" and path.read_text() == to_pem(ROOT)
    assert path.stat().st_mode & 0o777 == 0o644 and (tmp_path / "rebuilt").exists()


@pytest.mark.parametrize(
    ("command", "reason"),
    [("false", "failed with exit code 1"), ("no-such-tool", "no-such-tool is not installed")],
)
def test_a_tool_that_fails_or_is_missing(tmp_path: Path, command: str, reason: str) -> None:
    with pytest.raises(TrustStoreError, match=reason):
        install_root(ROOT, (Store(tmp_path, ".crt", (command,)),))


def test_a_system_without_a_store(tmp_path: Path) -> None:
    with pytest.raises(TrustStoreError, match="no known trust store"):
        install_root(ROOT, (Store(tmp_path / "absent", ".crt", ("true",)),))
