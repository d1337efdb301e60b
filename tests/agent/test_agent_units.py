"""The systemd units: systemd's own tools take them, they are tight, and the services work inside what they allow."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from tests.interop.stage import PASSWORD, PROVISIONER, free_port, initialise, serving, troth_program
from tests.rig.as_unit import parse, words
from tests.rig.nginx import frame, program, programs
from tests.rig.notified import Notified, notified
from tests.rig.pki import Pki
from troth.agent.units import AgentUnit, AuthorityUnit, UnitError
from troth.agent.units.syntax import command
from troth.cli.agent import install
from troth.errors import UsageError
from troth.host.nginx import Nginx
from troth.host.ports import free_ports
from troth.x509.pem import parse_certificates

AS_UNIT = Path(__file__).parents[1] / "rig" / "as_unit.py"
AUTHORITY_EXPOSURE, AGENT_EXPOSURE = 1.2, 2.4
ODD_NAMES = ["plain", "with blank", "100%d", "do$llar", "${HOME}", "semi;colon", "ünï", "#x", "a:b"]
systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze on this machine")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="a sandbox like systemd's is made by root")


def analyze(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False)


def verified(directory: Path, name: str, text: str) -> float:
    """The exposure of a unit that systemd takes without a word."""
    path = directory / name
    path.write_text(text)
    done = analyze("verify", "--man=no", str(path))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    done = analyze("security", "--offline=true", "--no-pager", str(path))
    return float(re.findall(r"exposure level for \S+: ([\d.]+)", done.stdout)[0])


def troth(directory: Path, name: str = "troth") -> Path:
    """A program that systemd can find at a path."""
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def authority(program: Path, base: Path = Path("/etc/step-ca"), port: int = 9000) -> AuthorityUnit:
    return AuthorityUnit(program, base, "step", "step", Path("/etc/troth/ca-password"), port)


@systemd
@pytest.mark.parametrize("port", [0, 443, 9000])
@pytest.mark.parametrize("base", ["/etc/step-ca", "/var/lib/troth/ca", "/home/step/.step", "/srv/with blank/100%"])
def test_systemd_takes_the_unit_of_the_authority_and_finds_it_tight(tmp_path: Path, base: str, port: int) -> None:
    text = authority(troth(tmp_path), Path(base), port).render()
    exposure = verified(tmp_path, "troth-ca.service", text)
    assert exposure <= AUTHORITY_EXPOSURE + (0.3 if port < 1024 else 0) + (0.2 if base.startswith("/home") else 0)


@systemd
def test_systemd_takes_the_unit_of_the_agent_and_finds_it_tight(tmp_path: Path) -> None:
    kept = [Path("/etc/nginx/mtls/a b"), Path("/etc/nginx/mtls/100%")]
    nginx = [Path("/var/log/nginx"), Path("/run")]
    unit = AgentUnit(troth(tmp_path), Path("/etc/nginx/troth.toml"), Path("/var/lib/troth-agent"), kept, nginx)
    assert verified(tmp_path, "troth-agent.service", unit.render()) <= AGENT_EXPOSURE


@systemd
@pytest.mark.parametrize("name", ODD_NAMES)
def test_systemd_reads_back_the_path_that_was_written(tmp_path: Path, name: str) -> None:
    """It says so when a program is not there, which tells what it took the path to be."""
    program = troth(tmp_path, f"{name}/troth")
    unit = parse(authority(program).render())
    verified(tmp_path, "troth-ca.service", authority(program).render())
    program.unlink()
    missing = analyze("verify", "--man=no", str(tmp_path / "troth-ca.service"))
    assert f"Command {program} is not executable" in missing.stderr
    assert words(unit["ExecStart"][0], "/run/c")[0] == str(program), "and so does the reader of these tests"


@given(
    st.lists(
        st.text(st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=["Cs"]), min_size=1),
        min_size=1,
    )
)
def test_a_command_is_read_back_word_by_word(arguments: list[str]) -> None:
    assert words(command(["/bin/troth", *arguments]), "/run/c") == ["/bin/troth", *arguments]


@pytest.mark.parametrize("path", ["step-ca", "/a/../b", "/a\nExecStart=/bin/sh", "/a ", "/a\udcff"])
def test_what_a_unit_cannot_hold_is_refused(path: str) -> None:
    with pytest.raises(UnitError, match=r"step path .* is not (absolute|usable)"):
        authority(Path("/usr/bin/troth"), Path(path)).render()
    with pytest.raises(UnitError, match="user"):
        AuthorityUnit(Path("/t"), Path("/c"), "step\nx", "step", Path("/p")).render()
    for path in ('/quo"te', "/it's", "/back\\slash"):
        with pytest.raises(UnitError, match="expected no quotes and no backslashes"):
            authority(Path(path)).render()


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(install, list(arguments), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result


def declaration(directory: Path) -> Path:
    path = directory / "troth.toml"
    path.write_text('[[identity]]\nname = "a"\nca = "https://ca.test"\ndir = "mtls/a"\n')
    return path


def test_units_are_printed_and_nothing_is_written(tmp_path: Path) -> None:
    said = run("--systemd", "--config", str(declaration(tmp_path)), "--program", "/usr/bin/troth").stdout
    assert "# troth-ca.service\n" in said and "# troth-agent.service\n" in said
    assert f"ExecStart=/usr/bin/troth agent run --config {tmp_path}/troth.toml\n" in said
    assert f"ReadWritePaths={tmp_path}/troth-state {tmp_path}/mtls/a\n" in said
    only = run("--systemd", "--only", "ca", "--program", "/usr/bin/troth", "--ca-path", "/srv/ca").stdout
    assert "ExecStart=/usr/bin/troth ca serve /srv/ca/config/ca.json --password-file %d/ca-password\n" in only
    assert "agent run" not in only


def test_units_are_written_once_and_an_edited_one_is_kept(tmp_path: Path) -> None:
    words = ["--systemd", "--config", str(declaration(tmp_path)), "--program", "/usr/bin/troth"]
    units = tmp_path / "units"
    with pytest.raises(UsageError, match="does not exist"):
        run(*words, "--write", str(units))
    units.mkdir()
    said = run(*words, "--write", str(units)).stderr
    assert "systemctl daemon-reload && systemctl enable --now troth-ca.service troth-agent.service" in said
    run(*words, "--write", str(units))
    unit = units / "troth-agent.service"
    unit.write_text(unit.read_text() + "# mine\n")
    (units / "troth-ca.service").unlink()
    with pytest.raises(UsageError, match="exists and differs") as caught:
        run(*words, "--write", str(units))
    assert caught.value.hint is not None and "systemctl edit troth-agent" in caught.value.hint
    assert not (units / "troth-ca.service").exists(), "all or nothing"
    run(*words, "--write", str(units), "--force")
    assert "# mine" not in unit.read_text()
    assert unit.stat().st_mode & 0o777 == 0o644


def test_relative_paths_and_other_managers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected --systemd"):
        run()
    for flag in ("--ca-path", "--password-file", "--program"):
        with pytest.raises(UnitError, match="is not absolute"):
            run("--systemd", "--only", "ca", flag, "some/where")
    with pytest.raises(UnitError, match=r"declaration 'troth\.toml' is not absolute"):
        run("--systemd", "--only", "agent", "--config", "troth.toml")


def test_without_a_declaration_only_the_authority_is_left(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="by which the agent works") as caught:
        run("--systemd", "--config", str(tmp_path / "none.toml"))
    assert caught.value.hint is not None and "--only ca" in caught.value.hint
    assert "troth ca serve" in run("--systemd", "--only", "ca", "--config", str(tmp_path / "none.toml")).stdout


def test_an_account_that_cannot_come_to_the_program_is_told_of(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    program = troth(hidden / "bin")
    hidden.chmod(0o700)
    said = run("--systemd", "--only", "ca", "--user", "step", "--program", str(program)).stderr
    assert f"account step may not pass {hidden}" in said
    hidden.chmod(0o755)
    assert f"may not pass {hidden}" not in run("--systemd", "--only", "ca", "--program", str(program)).stderr


def test_an_nginx_that_a_service_would_not_find_is_to_be_declared(base: Path) -> None:
    nginx = site(base, "bundled", Pki(base / "pki"))
    try:
        toml = base / "troth.toml"
        toml.write_text(f'[nginx]\nprefix = "{nginx.prefix}"\n{declaration(base).read_text()}')
        with pytest.raises(UsageError, match="which a service cannot find out by itself") as caught:
            run("--systemd", "--only", "agent", "--config", str(toml))
        assert caught.value.hint is not None
        assert f'binary = "{nginx.binary}", conf = "{nginx.main}"' in caught.value.hint
    finally:
        nginx.stop()


def test_a_path_in_a_home_keeps_homes_readable() -> None:
    assert parse(authority(Path("/usr/bin/troth")).render())["ProtectHome"] == ["yes"]
    assert parse(authority(Path("/home/ops/venv/bin/troth")).render())["ProtectHome"] == ["read-only"]


@pytest.fixture
def base() -> Iterator[Path]:
    """A directory outside /tmp, which the services do not share."""
    if os.geteuid() != 0:
        pytest.skip("only root makes a directory below /run")
    path = Path(tempfile.mkdtemp(prefix="troth-", dir="/run"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def service(base: Path, text: str, manager: Notified) -> Iterator["subprocess.Popen[bytes]"]:
    """The unit's command, run within the unit's limits."""
    (base / "unit.service").write_text(text)
    credentials = base / "credentials"
    with (base / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(AS_UNIT), str(base / "unit.service"), str(credentials)],
            env=manager.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    except AssertionError as error:
        raise AssertionError(f"{error}\n{(base / 'log').read_text()}") from error
    finally:
        process.kill()
        process.wait(20)


def service_account() -> tuple[str, str]:
    """Nobody, where that account may come as far as this checkout; else a root that is left no capability."""
    try:
        done = subprocess.run([*troth_program(), "version"], user="nobody", capture_output=True, check=False)
    except OSError:
        return "root", "root"
    return ("nobody", "nogroup") if done.returncode == 0 else ("root", "root")


@systemd
@as_root
@pytest.mark.parametrize("workers", [1, 2])
def test_the_authority_works_inside_its_unit(base: Path, workers: int) -> None:
    port, account = free_port(), service_account()
    initialise(troth_program(), base / "ca", port)
    (base / "credentials").mkdir()
    (base / "ca" / "password").rename(base / "credentials" / "ca-password")
    for path in (base / "ca", base / "credentials", *(base / "ca").rglob("*"), *(base / "credentials").rglob("*")):
        shutil.chown(path, *account)
    unit = AuthorityUnit(
        Path(troth_program()[0]), base / "ca", *account, Path("/x"), port, workers, [Path(sys.base_prefix)]
    )
    with notified(base / "notify") as manager, service(base, unit.render(), manager) as process:
        manager.wait_for("READY=1")
        manager.wait_for("WATCHDOG=1")
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
        assert (status["CapEff"], status["CapBnd"], status["NoNewPrivs"]) == ("0" * 16, "0" * 16, "1")
        assert status["Seccomp"] == "2"
        (base / "password").write_text(PASSWORD)
        words = ["ca", "certificate", "a.test", "a.crt", "a.key", "--ca-url", f"https://localhost:{port}"]
        words += ["--root", str(base / "ca" / "certs" / "root_ca.crt"), "--provisioner", PROVISIONER]
        words += ["--provisioner-password-file", str(base / "password")]
        done = subprocess.run(
            [*troth_program(), *words], cwd=base, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        process.send_signal(signal.SIGHUP)
        manager.wait_for("READY=1", 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        manager.hear()
        assert "STOPPING=1" in manager.said
    assert not list((base / "ca").glob("*.tmp"))


@systemd
@as_root
def test_the_sandbox_of_these_tests_holds(base: Path) -> None:
    """What the unit denies is denied here too: else the tests above would show nothing."""
    tries = {
        "touch /etc/troth-was-here": "Read-only file system",
        "chown 1 /run/troth-x": "Operation not permitted",
        "unshare -m true": "Operation not permitted",
        "ls /root": "Permission denied",
    }
    (base / "ca").mkdir()
    (base / "credentials").mkdir()
    unit = AuthorityUnit(Path("/bin/sh"), base / "ca", "nobody", "nogroup", Path("/x"), 9000).render()
    script = base / "tries.sh"
    script.write_text("".join(f"{one} 2>&1\n" for one in tries) + f"touch {base}/ca/here && echo written\n")
    shutil.chown(base / "ca", "nobody")
    unit = re.sub(r"^ExecStart=.*$", f"ExecStart=/bin/sh {script}", unit, flags=re.MULTILINE)
    with notified(base / "notify") as manager, service(base, unit, manager) as process:
        process.wait(20)
    said = (base / "log").read_text()
    for one, expected in tries.items():
        assert expected in said, f"{one}: {said}"
    assert "written" in said


def site(base: Path, build: str, pki: Pki) -> Nginx:
    """nginx, started outside, that shows an identity of the agent's to an upstream which reports it."""
    port, upstream = free_ports(2)
    server = pki.leaf("localhost", file="up")
    body = (
        f"server {{ listen 127.0.0.1:{port}; server_name app.test;\n"
        f"location / {{ proxy_pass https://localhost:{upstream}; }} }}\n"
        f"server {{ listen 127.0.0.1:{upstream} ssl; ssl_certificate {server.certificate};\n"
        f"ssl_certificate_key {server.key};\n"
        f"ssl_client_certificate {pki.trust}; ssl_verify_client optional_no_ca; ssl_verify_depth 2;\n"
        "location / { return 200 $ssl_client_serial; } }\n"
    )
    directory = base / "nginx"
    directory.mkdir()
    (directory / "nginx.conf").write_text(frame(directory, body))
    nginx = Nginx(program(build), directory / "nginx.conf", directory)
    nginx.start()
    return nginx


@systemd
@as_root
@pytest.mark.parametrize("build", sorted(programs()))
def test_the_agent_renews_reloads_and_proves_inside_its_unit(base: Path, build: str) -> None:
    ca_port = free_port()
    initialise(troth_program(), base / "ca", ca_port)
    with contextlib.ExitStack() as stack:
        stack.enter_context(serving([*troth_program(), "ca", "serve"], base / "ca", ca_port))
        pki = Pki(base / "pki")
        nginx = site(base, build, pki)
        stack.callback(nginx.stop)
        toml = base / "troth.toml"
        toml.write_text(
            f'[agent]\nstate = "state"\nlog = "json"\nrenew-at = 0.1\n'
            f'[nginx]\nbinary = "{nginx.binary}"\nconf = "{nginx.main}"\nprefix = "{nginx.prefix}"\n'
            f'[[identity]]\nname = "app"\nsubject = "app.test"\ndir = "mtls/app"\n[identity.ca]\n'
            f'url = "https://localhost:{ca_port}"\nprovisioner = "{PROVISIONER}"\n'
            f'password-file = "{base}/ca/password"\nroot = "{base}/ca/certs/root_ca.crt"\nnot-after = "6m"\n'
            f'[[location]]\nserver = "app.test"\npath = "/"\nidentity = "app"\nname = "localhost"\n'
        )
        text = run("--systemd", "--only", "agent", "--config", str(toml), "--program", troth_program()[0]).stdout
        assert f"-{nginx.prefix}" in text or " -/run" in text or "=-/run " in text, "nginx -t opens files there"
        manager = stack.enter_context(notified(base / "notify"))
        with service(base, text, manager) as process:
            manager.wait_for("READY=1")
            manager.wait_for("STATUS=1 identities, 0 problems")
            certificate = base / "mtls" / "app" / "current" / "client.crt"
            words = ["nginx", "apply", "--yes", "--config", str(toml)]
            done = subprocess.run([*troth_program(), *words], capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stderr
            first = parse_certificates(certificate.read_bytes())[0].serial_number
            workers = nginx.generation().workers
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        with notified(base / "notify2") as manager, service(base, text, manager) as process:
            manager.wait_for("READY=1")
            until = time.monotonic() + 90
            while "rotation done" not in (base / "log").read_text() and time.monotonic() < until:
                time.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        assert parse_certificates(certificate.read_bytes())[0].serial_number != first
        assert not nginx.generation().workers & workers, "it signalled the master"
        logged = [json.loads(line) for line in (base / "log").read_text().splitlines()]
        proofs = [one["proof"] for one in logged if one["msg"] == "rotation done"]
        assert proofs == ["witness"], logged
