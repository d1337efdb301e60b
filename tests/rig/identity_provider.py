"""An OpenID provider on loopback that signs what a test wants, rotates its keys, fails, and is slow.

It lets everybody in who comes by the authorization endpoint or with a device code, and checks what a client must prove.
"""

import base64
import hashlib
import json
import os
import secrets
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from cryptography.hazmat.primitives.asymmetric import ec

from tests.interop import material
from tests.rig.pki import Pair

WELL_KNOWN = "/.well-known/openid-configuration"
# A browser that follows redirections and keeps the last page.
BROWSER = """#!{python}
import sys, urllib.error, urllib.request
try:
    answer = urllib.request.urlopen(sys.argv[1], timeout=20)
except urllib.error.HTTPError as error:
    answer = error
open("{page}", "wb").write(str(answer.status).encode() + b" " + answer.read())
"""


def with_browser(programs: Path, page: Path) -> str:
    """A PATH on which the desktop opens that browser; the last page it saw is in `page`."""
    programs.mkdir()
    browser = programs / "xdg-open"
    browser.write_text(BROWSER.format(python=sys.executable, page=page))
    browser.chmod(0o755)
    return f"{programs}{os.pathsep}{os.environ['PATH']}"


class IdentityProvider:
    """Serves its configuration and key set over plain HTTP, or HTTPS with a `pair`; `asked` counts requests by path."""

    def __init__(self, pair: Pair | None = None) -> None:
        self.asked: dict[str, int] = {}
        self.issuer = ""
        self.keys: dict[str, ec.EllipticCurvePrivateKey] = {"one": material.new_key()}
        self.status = 200
        self.delay = 0.0
        self.interval: float = 0.05
        self.more_keys: list[dict[str, Any]] = []
        self.headers: dict[str, str] = {}
        self.redirect = ""
        self.client, self.secret = "client", ""
        self.claims: dict[str, Any] = {}
        self.denies = ""
        self.more_configuration: dict[str, Any] = {}
        self.pending: list[str] = []
        self.authorized: list[dict[str, str]] = []
        self.exchanged: list[dict[str, str]] = []
        self._codes: dict[str, dict[str, str]] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer._answer(self)

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                outer._post(self, dict(parse_qsl(self.rfile.read(length).decode())))

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if pair is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pair.certificate, pair.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if pair else ''}://127.0.0.1:{self._server.server_address[1]}"
        self.issuer = self.url
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        path = urlsplit(request.path).path
        if path == "/authorize":
            self._authorize(request, dict(parse_qsl(urlsplit(request.path).query)))
            return
        self.asked[path] = self.asked.get(path, 0) + 1
        time.sleep(self.delay)
        if path == WELL_KNOWN and self.redirect:
            request.send_response(302)
            request.send_header("Location", self.redirect)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        if path.endswith(WELL_KNOWN):
            endpoints = {"authorization": "authorize", "token": "token", "device_authorization": "device"}
            value: Any = {"issuer": self.issuer, "jwks_uri": f"{self.url}/keys"}
            value |= {f"{name}_endpoint": f"{self.url}/{path}" for name, path in endpoints.items()}
            value |= self.more_configuration
        else:
            value = {"keys": [*self.more_keys, *(_jwk(kid, key) for kid, key in self.keys.items())]}
        self._send(request, self.status, value)

    def _send(self, request: BaseHTTPRequestHandler, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        request.send_response(status)
        for name, text in self.headers.items():
            request.send_header(name, text)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def _authorize(self, request: BaseHTTPRequestHandler, asked: dict[str, str]) -> None:
        self.authorized.append(asked)
        code = secrets.token_hex(8)
        self._codes[code] = asked
        back = {"error": self.denies, "error_description": "no entry <b>"} if self.denies else {"code": code}
        request.send_response(302)
        request.send_header("Location", f"{asked['redirect_uri']}?{urlencode({**back, 'state': asked['state']})}")
        request.send_header("Content-Length", "0")
        request.end_headers()

    def _post(self, request: BaseHTTPRequestHandler, form: dict[str, str]) -> None:
        known = form.get("client_id") == self.client and form.get("client_secret", "") == self.secret
        if not known:
            return self._send(request, 401, {"error": "invalid_client"})
        if request.path == "/device":
            page = f"{self.url}/activate"
            code = {"device_code": "device-1", "user_code": "WDJB-MJHT", "verification_uri": page}
            return self._send(request, 200, {**code, "interval": self.interval, "expires_in": 30})
        self.exchanged.append(form)
        asked = {} if form.get("device_code") == "device-1" else self._codes.pop(form.get("code", ""), None)
        if asked is None or (asked and not _proves(asked, form)):
            return self._send(request, 400, {"error": "invalid_grant", "error_description": "no such code"})
        if self.pending:
            return self._send(request, 400, {"error": self.pending.pop(0)})
        nonce = asked.get("nonce", secrets.token_hex(16))
        token = self.token(self.client, **{"nonce": nonce, **self.claims})
        return self._send(request, 200, {"access_token": "a", "token_type": "Bearer", "id_token": token})

    def token(self, client: str, kid: str = "one", key: ec.EllipticCurvePrivateKey | None = None, **claims: Any) -> str:
        """An identity token; None leaves a claim out."""
        now = int(time.time())
        base = {"iss": self.issuer, "sub": "u-17", "aud": client, "iat": now, "exp": now + 7200}
        full = {**base, "email": "jane@example.com", "nonce": secrets.token_hex(16), **claims}
        payload = {name: value for name, value in full.items() if value is not None}
        return material.jws(key or self.keys[kid], {"alg": "ES256", "kid": kid, "typ": "JWT"}, payload)


def _proves(asked: dict[str, str], form: dict[str, str]) -> bool:
    """RFC 7636 §4.6, and the redirect URI of both requests the same."""
    digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return asked["code_challenge"] == challenge and asked["redirect_uri"] == form.get("redirect_uri")


def _jwk(kid: str, key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    numbers = key.public_key().public_numbers()
    x, y = (material.b64(value.to_bytes(32, "big")) for value in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "alg": "ES256", "x": x, "y": y}
