"""An upstream that lets nobody in without a certificate, by Python's ssl: PORT CERT KEY CA.

"-" for a certificate serves plain HTTP; a fifth word means TLS 1.3 alone.
"""

import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b"hello\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        print(self.requestline, code, flush=True)


class Server(ThreadingHTTPServer):
    """The handshake is made by the connection's own thread: one that hangs keeps nobody waiting."""

    tls: ssl.SSLContext | None = None

    def finish_request(self, request: object, client_address: object) -> None:
        if self.tls is not None:
            request = self.tls.wrap_socket(request, server_side=True)  # type: ignore[arg-type]
        super().finish_request(request, client_address)  # type: ignore[arg-type]


def main() -> None:
    port, certificate, key, trust = sys.argv[1:5]
    server = Server(("127.0.0.1", int(port)), Handler)
    if certificate != "-":
        server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.tls.load_cert_chain(certificate, key)
        server.tls.load_verify_locations(trust)
        server.tls.verify_mode = ssl.CERT_REQUIRED
        if sys.argv[5:]:
            server.tls.minimum_version = ssl.TLSVersion.TLSv1_3
    server.serve_forever()


if __name__ == "__main__":
    main()
