"""Answers in the shapes that clients of step-ca understand."""

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

PEM_TYPE = "application/x-pem-file"
CRL_TYPE = "application/pkix-crl"
SERVER = "troth"
_JSON = {"Content-Type": "application/json"}


def json_answer(value: Mapping[str, Any], status: int = 200) -> web.Response:
    """A JSON object without blanks and with a line end, as step-ca writes it: scripts look for ``"status":"ok"``."""
    return web.Response(body=json.dumps(value, separators=(",", ":")).encode() + b"\n", status=status, headers=_JSON)


def issued_answer(body: bytes) -> web.Response:
    """A certificate, as JSON that is encoded already."""
    return web.Response(body=body, status=201, headers=_JSON)


def pem_answer(text: str) -> web.Response:
    """PEM blocks."""
    return web.Response(body=text.encode(), content_type=PEM_TYPE)


def error_answer(status: int, message: str) -> web.Response:
    """The shape of every error."""
    return json_answer({"status": status, "message": message}, status)


def refusal_before_handling(status: int, message: str) -> web.Response:
    """An error found before the request went to any handler; the connection ends with it."""
    answer = error_answer(status, message)
    answer.headers["Server"] = SERVER
    answer.force_close()
    return answer
