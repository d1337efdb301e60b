"""The guide for an existing site: its commands run as written on each nginx, and what they print is what it shows."""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.guide.rig import BLOCK, Guide, Site, serial_of, start_nginx
from tests.interop.stage import troth_program
from tests.rig.nginx import TEMP_PATHS, get

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "adopt-existing-nginx.md"
HOST = "shop.example"
LEFT_OUT = "..."
# What differs from run to run, in the guide's text and in what is printed.
VARIES = (
    (re.compile(r"\b\d{8}-\d{6}(-[0-9a-f]+)?\b"), "<change>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?Z?"), "<time>"),
    (re.compile(r"\b[0-9a-f]{20,40}\b"), "<serial>"),
    (re.compile(r"\b[0-9a-f]{8}\b|\b[0-9a-f]{12}(?=…)"), "<digits>"),
    (re.compile(r"(?<=master )\d+"), "<pid>"),
    (re.compile(r" {2,}"), "  "),
    (re.compile(r"(?<=new workers serve: )[\d, ]+"), "<pids>"),
    (re.compile(r"127\.0\.0\.1:\d+"), "<address>"),
    (re.compile(r"\bnginx \d+\.\d+\.\d+, \w+ \S+"), "<build>"),
    (re.compile(r"[ \t]+$", re.MULTILINE), ""),
)


def steady(text: str) -> str:
    """A text with what differs from run to run named instead."""
    for pattern, name in VARIES:
        text = pattern.sub(name, text)
    return text.strip()


def same(expected: str, printed: str) -> bool:
    """Whether it is what the guide shows; a line of three dots stands for any lines."""
    parts = [re.escape(part) for part in expected.split(f"\n{LEFT_OUT}\n")]
    return re.fullmatch("\n.*\n".join(parts), printed, re.DOTALL) is not None


def sessions(guide: Guide) -> list[tuple[str, str]]:
    """Each command with what the guide says it prints."""
    found = []
    for block in guide.blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


class Machine:
    """The guide's names and places, and those of this machine in their stead."""

    def __init__(self, site: Site, ca: Path, ca_port: int, upstream: int) -> None:
        fingerprint = json.loads((ca / "config" / "defaults.json").read_text())["fingerprint"]
        self.pairs = [
            ("https://ca.internal:9000", f"https://localhost:{ca_port}"),
            ("backend.internal:8443", f"localhost:{upstream}"),
            ("backend.internal", "localhost"),
            ("listen 80;", f"listen 127.0.0.1:{site.port};"),
            ("0d7d3834cf187726cf331c40a31aa7ef6b29ba4df601416c9788f6ee01058cf3", fingerprint),
            ("/etc/nginx", str(site.directory)),
        ]

    def here(self, text: str) -> str:
        for theirs, ours in self.pairs:
            text = text.replace(theirs, ours)
        return text

    def there(self, text: str) -> str:
        for theirs, ours in self.pairs:
            text = text.replace(ours, theirs)
        return text.replace("localhost", "backend.internal")


CONF = """\
worker_processes 2;
pid {0}/nginx.pid;
error_log {0}/error.log info;

events {{
    worker_connections 768;
}}

http {{
    sendfile on;
    tcp_nopush on;
    types_hash_max_size 2048;
    include {0}/sites-enabled/*;
{1}}}
"""


def lay_out(site: Site, guide: Guide) -> None:
    """Debian's shape: the site is a symlink, and nginx.conf includes it."""
    directory = site.directory
    (directory / "sites-available").mkdir()
    (directory / "sites-enabled").mkdir()
    (directory / "sites-available" / "shop").write_text(guide.blocks("nginx")[0])
    (directory / "sites-enabled" / "shop").symlink_to("../sites-available/shop")
    temp = "".join(f"    {name}_temp_path {directory}/temp-{name};\n" for name in TEMP_PATHS)
    (directory / "nginx.conf").write_text(CONF.format(directory, temp))
    (directory / "troth.toml").write_text(guide.blocks("toml")[0])


def run(site: Site, command: str) -> "subprocess.CompletedProcess[str]":
    words = shlex.split(command)
    assert words[0] == "troth"
    return subprocess.run(
        [*troth_program(), *words[1:]],
        cwd=site.directory,
        env={**site.environment, "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=90,
        check=False,
    )


def test_the_site_goes_to_proven_mutual_tls_in_four_commands(
    site: Site, authority: tuple[Path, int], upstream: int
) -> None:
    machine = Machine(site, *authority, upstream)
    guide = Guide(machine.here(GUIDE.read_text()))
    lay_out(site, guide)
    start_nginx(site.nginx, site.directory)
    file = site.directory / "sites-available" / "shop"
    before = file.read_bytes()
    status, body = get(site.port, "/api/cart", HOST)
    assert status == 400
    assert b"No required SSL certificate was sent" in body, "so it begins"

    told = sessions(Guide(GUIDE.read_text()))
    printed = []
    for number, (command, _) in enumerate(told, 1):
        done = run(site, machine.here(command))
        printed.append(machine.there(done.stdout))
        assert done.returncode == (2 if " inspect " in command else 0), f"{command}: {done.stdout}"
        if number == 4:
            current = site.directory / "mtls" / "shop" / "current" / "client.crt"
            assert site.seen("/api/cart", HOST) == serial_of(current)
            assert json.loads(get(site.port, "/api/cart", HOST)[1])["uri"] == "/cart", "asked for as before"
            assert get(site.port, "/", HOST) == (200, b"the shop\n")
    assert file.read_bytes() == before, "the last command took it back"
    if os.environ.get("WRITE_GUIDE") and site.directory.name == "bundled":
        write(printed)
    if site.directory.name == "bundled":
        for (command, expected), output in zip(told, printed, strict=True):
            assert same(steady(expected), steady(output)), f"{command} printed:\n{steady(output)}"


def write(printed: list[str]) -> None:
    """Put what was printed into the guide, a table that it has shown already left out."""
    outputs = iter([_short(one) if "the signature holds" in one else one for one in printed])

    def fill(block: re.Match[str]) -> str:
        if block[1] != "console":
            return block[0]
        commands = [line for line in block[2].splitlines() if line.startswith("$ ")]
        return "```console\n" + "".join(f"{one}\n{next(outputs).rstrip()}\n" for one in commands) + "```"

    GUIDE.write_text(BLOCK.sub(fill, GUIDE.read_text()))


def _short(output: str) -> str:
    lines = output.splitlines()
    return "\n".join([*lines[:2], LEFT_OUT, *lines[-2:]])


@pytest.mark.parametrize("text", ["serial 1f", "answered 200", "✘ client", "a\nc"])
def test_what_is_not_said_to_vary_is_compared(text: str) -> None:
    assert steady(text) == text
    assert not same("a\n...\nc", text)
    assert same("a\n...\nc", f"a\n{text}\nc")
