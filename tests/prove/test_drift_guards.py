"""Drift of servers that ask for client certificates: applied, taken out by somebody, refused."""

import json
import re
from typing import Any

from click.testing import CliRunner

from tests.prove.sites import Site
from tests.prove.test_prove_clients import PLAIN, asking
from troth.cli.nginx import apply, drift


def rows(site: Site) -> dict[str, dict[str, Any]]:
    done = CliRunner().invoke(drift, [*_common(site), "--json"], standalone_mode=False)
    found = json.loads(done.stdout)["rows"]
    return {row["drift"]: row for row in found if row["kind"] == "client-auth"}


def _common(site: Site) -> list[str]:
    main = site.nginx.main
    toml = site.directory / "troth.toml"
    toml.write_text('[[client-auth]]\nserver = "app.test"\ntrust = "ca.crt"\n')
    return ["--nginx", str(site.nginx.binary), "-c", str(main), "-p", str(site.directory), "--config", str(toml)]


def test_a_server_is_as_declared_or_the_row_says_what_to_do(build: str) -> None:
    with asking(build, PLAIN) as site:
        site.nginx.start()
        try:
            assert set(rows(site)) == {"not-applied"}
            done = CliRunner().invoke(apply, [*_common(site), "--yes"], standalone_mode=False)
            assert done.return_value == 0, done.output
            assert rows(site)[""]["disk"] == "troth/client-auth-app_test.conf:3"
            text = site.nginx.main.read_text()
            gone = re.sub(r"include \S+client-headers-\S+;", "", text)
            assert gone != text
            site.nginx.main.write_text(gone)
            row = rows(site)["include-gone"]
            assert "does not include" in row["what"]
            assert "troth nginx apply" in row["next"]
            site.nginx.main.write_text(text.replace("server_name app.test", "server_name other.test"))
            assert "there is no server 'app.test'" in rows(site)["location-gone"]["what"]
        finally:
            site.nginx.main.write_text(text)
            site.nginx.stop()
