"""What schemathesis needs to get past the 401s: tokens nobody has used yet, requests whose signature holds, real names.

It is loaded by the ``schemathesis`` program (``SCHEMATHESIS_HOOKS``) in a process of its own; ``FUZZED`` names the
directory of the authority, which ``FUZZED_PORT`` serves. Every status is noted below that directory, so that the test
knows what was reached.
"""

import itertools
import json
import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import strategies as st

from tests.rig.authority import Served, provisioner_key
from tests.server.calls import request
from troth.client.tokens import Validity, renewal_token
from troth.x509.keys import parse_private_key
from troth.x509.pem import parse_certificates

DIRECTORY = Path(os.environ["FUZZED"])
SERVED = Served(DIRECTORY, int(os.environ["FUZZED_PORT"]), provisioner_key(DIRECTORY))
NOTES = "answers.json"
CLIENT = "client.pem"
NUMBERS = itertools.count(1)
CSR = request()
FINGERPRINT = json.loads((DIRECTORY / "config" / "defaults.json").read_text())["fingerprint"]
CHAIN = parse_certificates((DIRECTORY / CLIENT).read_bytes())
KEY = parse_private_key((DIRECTORY / CLIENT).read_bytes(), None, CLIENT)
_answers: Counter[str] = Counter()


def token() -> str:
    return SERVED.token(f"host{next(NUMBERS)}.example")


texts = st.text(max_size=40)
words = texts.filter(bool)
schemathesis.openapi.format("pem-certificate-request", st.just(CSR) | words)
schemathesis.openapi.format("sign-token", st.builds(token) | words)
schemathesis.openapi.format("revoke-token", texts)
schemathesis.openapi.format(
    "serial", st.integers(0, 2**170).map(str) | st.integers(0, 99).map(hex) | texts.filter(bool)
)
schemathesis.openapi.format("sha-256", st.just(FINGERPRINT) | words)
schemathesis.openapi.format("key-id", st.just(SERVED.key.kid) | words)


@schemathesis.hook
def map_case(_: Any, case: Any) -> Any:
    """A token to revoke with names one serial: every other well-formed body gets both of one."""
    body, number = case.body, next(NUMBERS)
    if case.meta.generation.mode.is_positive and isinstance(body, dict) and body.get("passive") is True and number % 2:
        case.body = {**body, "serial": str(number), "ott": SERVED.token(str(number), "/1.0/revoke")}
    return case


@schemathesis.auth(refresh_interval=None).apply_to(path_regex="renew|re-sign")
class Renewal:
    """A fresh token by the certificate's own key each time."""

    def get(self, _case: Any, _context: Any) -> str:
        now = datetime.now(UTC)
        return renewal_token(KEY, CHAIN, SERVED.url, Validity(now, now + timedelta(minutes=5)))

    def set(self, case: Any, data: str, _context: Any) -> None:
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


@schemathesis.hook
def after_call(_: Any, case: Any, response: Any) -> None:
    _answers[f"{case.method} {case.operation.path} {response.status_code}"] += 1
    (DIRECTORY / NOTES).write_text(json.dumps(_answers))
