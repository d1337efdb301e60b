"""A web server for an authority's webhooks."""

import contextlib
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class Hook:
    """A web server that notes what it is told and answers as the test says, in turn; the last answer stays."""

    port: int = 0
    answers: list[tuple[int, Any]] = field(default_factory=list)
    told: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    shown: list[bytes | None] = field(default_factory=list)
    tls: ssl.SSLContext = field(default_factory=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))

    def demand(self, roots: Path) -> None:
        """A client certificate below these roots, from every connection to come."""
        self.tls.load_verify_locations(roots)
        self.tls.verify_mode = ssl.CERT_REQUIRED


@contextlib.contextmanager
def listening(noted: Hook) -> Iterator[None]:
    """The web server, for as long."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert isinstance(self.connection, ssl.SSLSocket)
            noted.shown.append(self.connection.getpeercert(True))
            noted.told.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            status, answer = noted.answers.pop(0) if len(noted.answers) > 1 else noted.answers[0]
            text = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = noted.tls.wrap_socket(server.socket, server_side=True)
    noted.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield
    server.shutdown()
    server.server_close()
