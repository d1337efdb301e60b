"""Requests to a served authority, and what becomes of them."""

import http.client
import json
from collections.abc import Mapping
from typing import Any

from tests.rig.authority import Served
from troth.x509.keys import PrivateKey, generate_key, private_key_to_pem
from troth.x509.requests import create_request, request_to_pem

KEY = generate_key()
Answer = tuple[int, dict[str, Any]]


def call(
    served: Served,
    method: str,
    path: str,
    body: Any = None,
    identity: tuple[str, PrivateKey] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Status and JSON answer; `identity` is a PEM chain and its key, presented in the handshake."""
    context = served.tls()
    if identity is not None:
        pair = served.directory / "pair"
        pair.write_bytes(identity[0].encode() + private_key_to_pem(identity[1]))
        context.load_cert_chain(pair)
    connection = http.client.HTTPSConnection("127.0.0.1", served.port, context=context, timeout=20)
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def request(key: PrivateKey = KEY) -> str:
    """A request without names: the certificate's come from the token."""
    return request_to_pem(create_request(key, "", []))


def sign(served: Served, name: str, *sans: str, key: PrivateKey = KEY) -> Answer:
    """A certificate for a token's name, and others."""
    body = {"csr": request(key), "ott": served.token(name, sans=list(sans or (name,)))}
    return call(served, "POST", "/sign", body)


def revoke(served: Served, serial: int, reason: int = 0) -> None:
    """Revoke by token."""
    ott = served.token(str(serial), "/1.0/revoke")
    body = {"serial": str(serial), "ott": ott, "reasonCode": reason, "passive": True}
    assert call(served, "POST", "/revoke", body) == (200, {"status": "ok"})
