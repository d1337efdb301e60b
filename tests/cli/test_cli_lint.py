"""The linter's findings are printed as JSON; without the linter the command says what to install."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.accounts import Account
from tests.x509.authorities import issue
from troth.x509.pem import to_pem

pytest.importorskip("pkilint")


def test_findings(tmp_path: Path) -> None:
    home = Account(tmp_path)
    made = ("--profile", "root-ca", "--no-password", "--insecure")
    home.good("certificate", "create", "Root", "good.crt", "good.key", *made)
    (tmp_path / "bad.crt").write_text(to_pem(issue("leaf", names=("a_b",)).certificate))
    good = json.loads(home.good("certificate", "lint", "good.crt", "--fail-on", "error").out)
    assert not good["errors_present"] and good["linter"].startswith("pkilint ")
    bad = json.loads(home.good("certificate", "lint", "bad.crt").out)
    assert bad["errors_present"] and any(one["code"] == "pkix.invalid_domain_name_syntax" for one in bad["findings"])
    failed = home.troth("certificate", "lint", "bad.crt", "--fail-on", "warning")
    assert failed.code == 2 and "or worse" in failed.err and json.loads(failed.out) == bad
    assert "expected fatal" in home.refused("certificate", "lint", "bad.crt", "--fail-on", "x")
    assert "no such file" in home.refused("certificate", "lint", "none.crt")


def test_without_the_linter(tmp_path: Path) -> None:
    (tmp_path / "a.crt").write_text(to_pem(issue("root", authority=True).certificate))
    script = (
        "import sys; sys.modules['pkilint'] = None\n"
        "from troth.cli.app import run; sys.exit(run(['certificate', 'lint', 'a.crt']))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "pip install 'troth[lint]'" in done.stderr and "Traceback" not in done.stderr
