"""An OpenID provider on loopback that signs what a test wants, rotates its keys, fails, and is slow."""

import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from tests.interop import material

WELL_KNOWN = "/.well-known/openid-configuration"


class IdentityProvider:
    """Serves its configuration and key set over plain HTTP; `asked` counts the requests by path."""

    def __init__(self) -> None:
        self.asked: dict[str, int] = {}
        self.issuer = ""
        self.keys: dict[str, ec.EllipticCurvePrivateKey] = {"one": material.new_key()}
        self.status = 200
        self.delay = 0.0
        self.more_keys: list[dict[str, Any]] = []
        self.headers: dict[str, str] = {}
        self.redirect = ""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer._answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.issuer = self.url
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path
        self.asked[path] = self.asked.get(path, 0) + 1
        time.sleep(self.delay)
        if path == WELL_KNOWN and self.redirect:
            request.send_response(302)
            request.send_header("Location", self.redirect)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        if path.endswith(WELL_KNOWN):
            value: Any = {"issuer": self.issuer, "jwks_uri": f"{self.url}/keys"}
        else:
            value = {"keys": [*self.more_keys, *(_jwk(kid, key) for kid, key in self.keys.items())]}
        body = json.dumps(value).encode()
        request.send_response(self.status)
        for name, text in self.headers.items():
            request.send_header(name, text)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def token(self, client: str, kid: str = "one", key: ec.EllipticCurvePrivateKey | None = None, **claims: Any) -> str:
        """An identity token; None leaves a claim out."""
        now = int(time.time())
        base = {"iss": self.issuer, "sub": "u-17", "aud": client, "iat": now, "exp": now + 7200}
        full = {**base, "email": "jane@example.com", "nonce": secrets.token_hex(16), **claims}
        payload = {name: value for name, value in full.items() if value is not None}
        return material.jws(key or self.keys[kid], {"alg": "ES256", "kid": kid, "typ": "JWT"}, payload)


def _jwk(kid: str, key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    numbers = key.public_key().public_numbers()
    x, y = (material.b64(value.to_bytes(32, "big")) for value in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "alg": "ES256", "x": x, "y": y}
