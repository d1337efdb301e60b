"""Provisioners added, changed and removed in ``ca.json``: by us for step-ca, and by the official step for us."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.cli.accounts import program
from tests.rig.authority import MAIN, Served, founded
from tests.rig.official import official

TROTH = (sys.executable, "-c", MAIN)
NOT_SECRET = "another password"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with founded(tmp_path) as one:
        (tmp_path / "pw").write_text(NOT_SECRET)
        yield one


def run(served: Served, command: Sequence[str], *args: str, code: int = 0) -> str:
    done = subprocess.run(
        [*command, *args],
        cwd=served.directory,
        env={**os.environ, "STEPPATH": str(served.directory)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        start_new_session=True,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def edit(served: Served, *args: str, code: int = 0) -> str:
    return run(served, TROTH, "ca", "provisioner", *args, code=code)


def provisioners(served: Served) -> dict[str, dict[str, Any]]:
    raw = json.loads(served.configuration.read_text())
    return {one["name"]: one for one in raw["authority"]["provisioners"]}


def listed(served: Served) -> dict[str, dict[str, Any]]:
    """What a running authority lists, as our command line shows it."""
    out = edit(served, "list", "--ca-url", served.url.replace("127.0.0.1", "localhost"), "--root", str(served.root))
    return {one["name"]: one for one in json.loads(out)}


def change_everything(served: Served) -> None:
    """One of each kind, an update and a removal."""
    edit(
        served,
        "add",
        "builds",
        "--create",
        "--password-file",
        "pw",
        "--x509-max-dur",
        "72h",
        "--x509-default-dur",
        "48h",
    )
    edit(served, "add", "devices", "--type", "X5C", "--x5c-roots", str(served.root))
    edit(served, "add", "acme", "--type", "ACME", "--challenge", "http-01", "--challenge", "dns-01")
    edit(served, "add", "gone", "--type", "ACME")
    edit(served, "update", "acme", "--remove-challenge", "dns-01", "--x509-default-dur", "6h")
    edit(served, "remove", "gone")


def test_the_official_step_ca_starts_on_what_we_edited(served: Served) -> None:
    raw = json.loads(served.configuration.read_text())
    raw["authority"]["template"] = {"country": "DE"}
    served.configuration.write_text(json.dumps(raw))
    change_everything(served)
    assert json.loads(served.configuration.read_text())["authority"]["template"] == {"country": "DE"}
    with official(served):
        found = listed(served)
        assert list(found) == ["admin", "builds", "devices", "acme"]
        assert found["acme"]["challenges"] == ["http-01"]
        assert found["builds"]["claims"]["defaultTLSCertDuration"] in ("48h0m0s", "48h")
        where = ["--ca-url", served.url.replace("127.0.0.1", "localhost"), "--root", str(served.root)]
        flags = ["--provisioner", "builds", "--provisioner-password-file", "pw"]
        run(served, [program("step")], "ca", "certificate", "one.example", "a.crt", "a.key", *where, *flags)


def test_ours_serves_what_we_edited_and_after_the_official_step_has_edited_too(served: Served) -> None:
    change_everything(served)
    step = [program("step")]
    config = ["--ca-config", str(served.configuration)]
    run(served, step, "ca", "provisioner", "add", "theirs", "--create", "--password-file", "pw", *config)
    run(served, step, "ca", "provisioner", "update", "builds", "--x509-default-dur", "24h", *config)
    run(served, step, "ca", "provisioner", "remove", "devices", *config)
    served.start("--quiet")
    found = listed(served)
    assert set(found) == {"admin", "builds", "acme", "theirs"}
    where = ["--ca-url", served.url.replace("127.0.0.1", "localhost"), "--root", str(served.root)]
    for name in ("builds", "theirs"):
        flags = ["--provisioner", name, "--provisioner-password-file", "pw"]
        run(served, step, "ca", "certificate", "one.example", f"{name}.crt", f"{name}.key", *where, *flags)
        flags[1] = name
        run(served, TROTH, "ca", "certificate", "two.example", f"2{name}.crt", f"2{name}.key", *where, *flags)
    kid = found["theirs"]["key"]["kid"]
    assert edit(served, "jwe-key", kid, *where).strip() == found["theirs"]["encryptedKey"]


REFUSED = {
    "a name that is taken": ("add", "admin", "--type", "ACME"),
    "an unknown type": ("add", "x", "--type", "PGP"),
    "no key": ("add", "x"),
    "a duration that is none": ("add", "x", "--type", "ACME", "--x509-max-dur", "soon"),
    "a minimum above the maximum": ("add", "x", "--type", "ACME", "--x509-min-dur", "9h", "--x509-max-dur", "1h"),
    "a file that is not there": ("add", "x", "--type", "X5C", "--x5c-roots", "none.crt"),
    "a file that is no certificate": ("add", "x", "--type", "X5C", "--x5c-roots", "pw"),
    "a certificate that is not Nebula's": ("add", "x", "--type", "NEBULA", "--nebula-root", "certs/root_ca.crt"),
    "no roots": ("add", "x", "--type", "X5C"),
    "nobody of that name to update": ("update", "nobody", "--x509-max-dur", "1h"),
    "nobody of that name to remove": ("remove", "nobody"),
    "create and a key": ("add", "x", "--create", "--public-key", "pw", "--password-file", "pw"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_and_nothing_is_written(served: Served, name: str) -> None:
    before = served.configuration.read_bytes()
    said = edit(served, *REFUSED[name], code=1)
    assert "error" in said.lower()
    assert served.configuration.read_bytes() == before


def test_the_file_is_replaced_whole_and_stays_private(served: Served) -> None:
    inode = served.configuration.stat().st_ino
    edit(served, "add", "acme", "--type", "ACME")
    status = served.configuration.stat()
    assert status.st_ino != inode and status.st_mode & 0o777 == 0o600
    assert provisioners(served)["acme"]["type"] == "ACME"
    edit(served, "add", "acme", "--type", "ACME", "--ca-config", str(served.directory / "no.json"), code=1)
