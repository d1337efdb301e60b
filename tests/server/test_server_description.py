"""The OpenAPI description: the file is what the code says, every route is in it, and the answers are as it says."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.rig.authority import Served, founded
from tests.server.calls import KEY, sign
from troth.server.app import ABSENT, create_app
from troth.server.description import SERVERS, description, rendered
from troth.server.log import Log
from troth.x509.keys import private_key_to_pem

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "reference" / "openapi.json"
# The same examples each time; with the variable set, as many others.
MORE = os.environ.get("TROTH_FUZZ_EXAMPLES", "")
AMOUNT = ["--generation-database", "none"] if MORE else ["--generation-deterministic"]
# A body of the right form need not hold a good token; who shows nothing for a renewal gets 400, as from step-ca.
NOT_OURS = "positive_data_acceptance,ignored_auth"
DOCUMENTED = '[checks.not_a_server_error]\nexpected-statuses = ["2xx", "4xx", "501"]\n'


def test_the_file_is_what_the_code_says() -> None:
    assert FILE.read_text() == rendered(), "run: make reference"


def test_every_route_is_described_and_every_description_is_served() -> None:
    # Only its routes are looked at: what they work on is not touched.
    app = create_app(None, Log())  # type: ignore[arg-type]
    served = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource is not None}
    absent = {web.DynamicResource(path).canonical for path in ABSENT}
    described = set()
    for prefix, (path, methods) in itertools.product(SERVERS, description()["paths"].items()):
        for method in methods:
            described.add((method.upper(), prefix + path))
            if method == "get":
                described.add(("HEAD", prefix + path))
    assert served - {("*", path) for path in absent} == described
    assert [server["url"] for server in description()["servers"]] == ["https://{host}", "https://{host}/1.0"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with founded(tmp_path_factory.mktemp("authority")) as one:
        raw = json.loads(one.configuration.read_text())
        one.configuration.write_text(json.dumps({**raw, "crl": {"enabled": True}}))
        one.start()
        status, answer = sign(one, "client.example")
        assert status == 201
        pair = "".join(answer["certChain"]).encode() + private_key_to_pem(KEY)
        (one.directory / "client.pem").write_bytes(pair)
        yield one
        assert one.process is not None and one.process.poll() is None
        assert "Traceback" not in one.log and "level=error" not in one.log
        assert one.stop() == 0


def fuzz(served: Served, prefix: str, *flags: str) -> dict[str, int]:
    """Run schemathesis; what was answered, by method, path and status."""
    hooks = {"SCHEMATHESIS_HOOKS": "tests.server.fuzzing", "FUZZED": str(served.directory)}
    command = [sys.executable, "-m", "schemathesis.cli", "run", str(FILE), "--url", served.url + prefix, *flags]
    command += ["--tls-verify", str(served.root), "--max-examples", MORE or "40", *AMOUNT, "--exclude-checks", NOT_OURS]
    command += ["--phases", "examples,coverage,fuzzing", "--no-color", "--no-shrink"]
    environment = {**os.environ, **hooks, "FUZZED_PORT": str(served.port), "PYTHONPATH": str(ROOT)}
    (served.directory / "answers.json").unlink(missing_ok=True)
    (served.directory / "schemathesis.toml").write_text(DOCUMENTED)
    result = subprocess.run(
        [*command, "--continue-on-failure", "--request-timeout", "20", "--warnings", "off"],
        env=environment,
        cwd=served.directory,
        capture_output=True,
        text=True,
        timeout=1000,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
    answers: dict[str, int] = json.loads((served.directory / "answers.json").read_text())
    return answers


def statuses(answers: dict[str, int], operation: str) -> set[int]:
    return {int(name.rpartition(" ")[2]) for name in answers if name.rpartition(" ")[0] == operation}


def test_answers_are_as_described(served: Served) -> None:
    answers = fuzz(served, "")
    assert {status for name in answers if (status := int(name[-3:])) >= 500} <= {501}
    assert statuses(answers, "POST /sign") >= {201, 400, 401}
    assert statuses(answers, "POST /renew") >= {201}
    assert statuses(answers, "POST /revoke") >= {200, 400, 501}
    assert statuses(answers, "GET /root/{sha}") >= {200, 404}
    assert statuses(answers, "GET /provisioners/{kid}/encrypted-key") >= {200, 404}
    assert statuses(answers, "GET /crl") == {200}


def test_answers_below_the_prefix_to_a_client_with_a_certificate_are_as_described(served: Served) -> None:
    answers = fuzz(served, "/1.0", "--request-cert", str(served.directory / "client.pem"))
    assert {status for name in answers if (status := int(name[-3:])) >= 500} <= {501}
    assert statuses(answers, "POST /rekey") >= {201, 400}
    assert statuses(answers, "POST /renew") == {201}
