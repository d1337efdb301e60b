"""An ACME server that does everything right, over TLS on loopback, until a test changes what one path answers."""

import json
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from tests.interop import material
from tests.interop.material import unb64
from troth.x509.keys import private_key_to_pem
from troth.x509.pem import to_pem


@dataclass(frozen=True)
class Said:
    """An answer."""

    value: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    kind: str = "application/json"


Change = Callable[[Said], Said]


class AcmeSimulator:
    """`changes` by path are what is wrong with it."""

    def __init__(self, base: Path) -> None:
        self.changes: dict[str, Change] = {}
        self.asked: list[str] = []
        self.proven = self.finalized = False
        self.key = material.new_key()
        self.root = certificate(self.key, self.key.public_key(), "localhost")
        pair = base / "pair.pem"
        pair.write_bytes(to_pem(self.root).encode() + private_key_to_pem(self.key))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer._answer(self, b"")

            do_HEAD = do_GET  # noqa: N815

            def do_POST(self) -> None:
                outer._answer(self, self.rfile.read(int(self.headers["Content-Length"])))

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://localhost:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=to_pem(self.root))

    def change(self, path: str, **members: Any) -> None:
        """Let a path's answer have other members in its JSON object."""
        self.changes[path] = lambda said: replace(said, value={**said.value, **members})

    def _answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        path = request.path
        self.asked.append(path)
        payload = json.loads(body)["payload"] if body else ""
        said = self._said(path, json.loads(unb64(payload)) if payload else None)
        said = self.changes[path](said) if path in self.changes else said
        data = json.dumps(said.value).encode() if said.body is None else said.body
        request.send_response(said.status)
        for name, text in {"Replay-Nonce": f"n{len(self.asked)}", "Content-Type": said.kind, **said.headers}.items():
            request.send_header(name, text)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(data)

    def _said(self, path: str, payload: Any) -> Said:
        if path == "/dir":
            return Said({name: f"{self.url}/{name}" for name in ("newNonce", "newAccount", "newOrder")})
        if path == "/newAccount":
            return Said({"status": "valid"}, 201, {"Location": f"{self.url}/account"})
        if path == "/challenge":
            self.proven = True
        if path == "/finalize":
            self.finalized = True
            csr = x509.load_der_x509_csr(unb64(payload["csr"]))
            self.leaf = certificate(self.key, csr.public_key(), "web.test")
        if path == "/authorization":
            return Said({"identifier": WEB, "status": self._status, "challenges": [self._challenge]})
        if path == "/challenge":
            return Said(self._challenge)
        if path == "/certificate":
            return Said(body=to_pem(self.leaf).encode(), kind="application/pem-certificate-chain")
        return Said(self._order, headers={"Location": f"{self.url}/order"})

    @property
    def _status(self) -> str:
        return "valid" if self.proven else "pending"

    @property
    def _challenge(self) -> dict[str, Any]:
        return {"type": "http-01", "url": f"{self.url}/challenge", "token": "t" * 43, "status": self._status}

    @property
    def _order(self) -> dict[str, Any]:
        status = "valid" if self.finalized else "ready" if self.proven else "pending"
        order = {"status": status, "identifiers": [WEB], "authorizations": [f"{self.url}/authorization"]}
        order |= {"finalize": f"{self.url}/finalize"}
        return {**order, "certificate": f"{self.url}/certificate"} if self.finalized else order


WEB = {"type": "dns", "value": "web.test"}


def certificate(signer: Any, key: Any, name: str) -> x509.Certificate:
    now, who = datetime.now(UTC), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Simulator")])
    builder = x509.CertificateBuilder().issuer_name(who).subject_name(who).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
    return builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False).sign(signer, hashes.SHA256())
