"""The commands and configuration of the guide, run as written against a fresh authority and each real nginx.

Only host, port, fingerprint and directory are substituted.
"""

import json
import re
import shlex
import subprocess
import textwrap
from pathlib import Path

from tests.guide.rig import Guide, Site, serial_of, start_nginx
from tests.interop.stage import troth_program
from tests.rig.nginx import frame

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "nginx-reverse-proxy.md"


def guide_for(site: Site, ca: Path, ca_port: int, upstream_port: int) -> Guide:
    text = GUIDE.read_text()
    fingerprint = json.loads((ca / "config" / "defaults.json").read_text())["fingerprint"]
    text = text.replace("https://ca.internal:9000", f"https://localhost:{ca_port}")
    text = text.replace("myserver.internal.net:443", f"localhost:{upstream_port}")
    text = text.replace("myserver.internal.net", "localhost").replace("/etc/nginx", str(site.directory))
    return Guide(re.sub(r"\b[0-9a-f]{64}\b", fingerprint, text))


def configure(site: Site, guide: Guide) -> None:
    """Step 4's location with step 5's lines in it, inside the server block of a site."""
    location, checks = guide.blocks("nginx")
    whole = location.rstrip().removesuffix("}") + textwrap.indent(checks, "    ") + "}\n"
    server = f"server {{\nlisten 127.0.0.1:{site.port};\nserver_name proxy.internal.net;\n{whole}}}\n"
    (site.directory / "nginx.conf").write_text(frame(site.directory, server))
    (site.directory / "troth.toml").write_text(guide.blocks("toml")[0])


def test_the_guide_holds_word_for_word(site: Site, authority: tuple[Path, int], upstream: int) -> None:
    guide = guide_for(site, *authority, upstream)
    commands = guide.commands
    bootstrap, certificate, root, inspect, once, plan, apply, prove, forever = commands
    for command in (bootstrap, certificate, root):
        site.run(command)
    configure(site, guide)
    start_nginx(site.nginx, site.directory)
    assert site.seen() == serial_of(site.directory / "client.crt"), "the guide's own configuration works as it stands"

    found = site.run(inspect, code=2)
    assert "session" in found.stdout.lower(), "inspect names what the guide leaves open"
    site.run(once)
    current = site.directory / "mtls" / "myuser" / "current" / "client.crt"
    assert site.run(plan, code=2).stdout.count("proxy_ssl_certificate client.crt;") == 1
    site.run(apply)
    assert site.seen() == serial_of(current), "the hardened location shows the agent's identity"
    assert site.run(plan).stdout.strip() == "" or "nothing" in site.run(plan).stdout
    assert "✔" in site.run(prove).stdout

    agent = subprocess.Popen(
        [*troth_program(), *shlex.split(forever)[1:]],
        cwd=site.directory,
        env=site.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert agent.stdout is not None
        assert "agent started" in agent.stdout.readline(), agent.communicate()[0]
        assert "myuser" in site.run(f"troth agent status --config {site.directory}/troth.toml").stdout
    finally:
        agent.terminate()
        assert agent.wait(20) == 0


def test_nothing_of_the_guide_is_left_out() -> None:
    guide = Guide(GUIDE.read_text())
    assert len(guide.commands) == 9
    assert len(guide.blocks("nginx")) == 2
    assert len(guide.blocks("toml")) == 1
    assert all(command.startswith("troth ") for command in guide.commands)
