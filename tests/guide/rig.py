"""A guide's blocks, and a directory in the role of /etc/nginx in which its commands are run as written."""

import json
import os
import re
import shlex
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.interop.stage import troth_program
from tests.rig.nginx import get
from troth.host.nginx import bundled
from troth.x509.pem import parse_certificates

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NGINXES = {
    "bundled": str(bundled() or "") or None,
    "system": shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin"),
}
CHOSEN = {"chosen": os.environ["TROTH_TEST_NGINX"]} if os.environ.get("TROTH_TEST_NGINX") else NGINXES


@dataclass(frozen=True)
class Guide:
    """The guide's blocks, with what a reader replaces replaced."""

    text: str

    def blocks(self, language: str) -> list[str]:
        return [body for kind, body in BLOCK.findall(self.text) if kind == language]

    @property
    def commands(self) -> list[str]:
        lines = "".join(self.blocks("console")).splitlines()
        return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


@dataclass(frozen=True)
class Site:
    """A directory in the role of /etc/nginx, the proxy's port, and how to run things there."""

    directory: Path
    port: int
    nginx: str
    steppath: Path

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.directory}/bin:{os.environ['PATH']}"
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("STEP")},
            "PATH": path,
            "STEPPATH": str(self.steppath),
            "STEP_PROVISIONER_PASSWORD_FILE": str(self.directory / "provisioner.password"),
        }

    def run(self, command: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        words = shlex.split(command)
        assert words[0] == "troth", f"the guide runs {words[0]}"
        done = subprocess.run(
            [*troth_program(), *words[1:]],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert code is None or done.returncode == code, f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def seen(self, path: str = "/upstream", host: str = "proxy.internal.net") -> int:
        """The serial that the upstream saw."""
        status, body = get(self.port, path, host)
        assert status == 200, body
        return int(json.loads(body)["serial"], 16)


def start_nginx(nginx: str, directory: Path) -> None:
    subprocess.run(
        [nginx, "-p", str(directory), "-c", str(directory / "nginx.conf")],
        stdin=subprocess.DEVNULL,
        check=True,
        capture_output=True,
        timeout=20,
    )


def stop_nginx(nginx: str, directory: Path) -> None:
    subprocess.run(
        [nginx, "-p", str(directory), "-c", str(directory / "nginx.conf"), "-s", "stop"], timeout=20, check=False
    )
    deadline = time.monotonic() + 10
    while (directory / "nginx.pid").exists() and time.monotonic() < deadline:
        time.sleep(0.05)


def serial_of(path: Path) -> int:
    """The serial of a file's first certificate."""
    return parse_certificates(path.read_bytes())[0].serial_number
