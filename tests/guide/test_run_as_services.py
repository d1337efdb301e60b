"""The guide on services: its commands are taken as written, and what it says of the units is so."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.guide.rig import Guide
from troth.cli.agent import install

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "run-as-services.md"


def test_its_commands_write_the_units(tmp_path: Path) -> None:
    if shutil.which("nginx", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("no system nginx on this machine")
    guide = Guide(GUIDE.read_text())
    toml = tmp_path / "troth.toml"
    toml.write_text('[[identity]]\nname = "a"\nca = "https://ca.test"\ndir = "mtls/a"\n')
    texts = []
    for command in guide.commands:
        words = shlex.split(command.replace("/etc/nginx/troth.toml", str(toml)))
        assert words[:3] == ["troth", "agent", "install"]
        result = CliRunner().invoke(install, [*words[3:], str(tmp_path)], standalone_mode=False)
        assert result.exception is None, command
        texts.append((tmp_path / ("troth-ca.service" if "ca" in words else "troth-agent.service")).read_text())
    ca, agent = texts
    assert "LoadCredential=ca-password:/etc/troth/ca-password\n" in ca and "User=step\n" in ca
    assert "SystemCallFilter=@chown\n" in agent and "User=root\n" in agent
    for text in texts:
        for setting in ("SystemCallFilter=~@privileged @resources", "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6"):
            assert setting in text


def test_the_ratings_it_gives_are_those_the_units_are_held_to() -> None:
    from tests.agent.test_agent_units import AGENT_EXPOSURE, AUTHORITY_EXPOSURE

    rated = re.search(r"rates the authority ([\d.]+) and the agent ([\d.]+)", GUIDE.read_text())
    assert rated is not None
    assert (float(rated[1]), float(rated[2])) == (AUTHORITY_EXPOSURE, AGENT_EXPOSURE)
