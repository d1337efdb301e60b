"""A small TLS server that reports whom it saw: the client certificate nginx really presented.

It runs in threads of its own, on a Unix socket or a loopback port, and answers every request with JSON,
in whichever protocol nginx speaks to it.
"""

import contextlib
import json
import os
import socket
import ssl
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from troth.host import HostError
from troth.host.dialects import ALPN, answer_all
from troth.host.listening import Listener
from troth.x509.keys import PrivateKey, private_key_to_pem
from troth.x509.pem import bundle_to_pem, parse_certificate_der

TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Seen:
    """One handshake: serial as a decimal text (empty: no certificate), subject, and how the connection was made.

    `refused` holds the reason when the handshake failed.
    """

    serial: str = ""
    subject: str = ""
    protocol: str = ""
    cipher: str = ""
    resumed: bool = False
    server_name: str = ""
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the witness shows as its own certificate."""

    chain: Sequence[x509.Certificate]
    key: PrivateKey


class Witness(Listener):
    """Use as a context manager; `seen` grows with every connection.

    Args:
        address: path of a Unix socket, or a loopback port (0: any free one).
        shown: its certificate and key.
        anchors: certificates that vouch for clients; any certificate may be one, not only roots.
        required: refuse the handshake of a client without a certificate.
    """

    def __init__(
        self, address: Path | int, shown: Shown, anchors: Sequence[x509.Certificate], *, required: bool = False
    ) -> None:
        self.seen: list[Seen] = []
        self._address = address
        self._context = _context(shown, anchors, required)
        self._context.sni_callback = self._note_name
        self._names: dict[int, str] = {}
        self._changed = threading.Condition()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if isinstance(self._address, Path):
            self._address.unlink(missing_ok=True)

    def wait_for(self, count: int, timeout: float) -> bool:
        """Wait until so many handshakes were seen."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.seen) >= count, timeout)

    def _listen(self) -> socket.socket:
        try:
            if isinstance(self._address, Path):
                self._address.unlink(missing_ok=True)
                listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                listener.bind(str(self._address))
                # nginx's workers run as another user; what they can do here is a handshake.
                os.chmod(self._address, 0o666)  # noqa: PTH101, S103
            else:
                listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                listener.bind(("127.0.0.1", self._address))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise HostError(f"witness cannot listen on {self._address}: {reason}") from error
        listener.listen(64)
        return listener

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(TIMEOUT_SECONDS)
        with (
            contextlib.suppress(OSError),
            self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as tls,
        ):
            try:
                tls.do_handshake()
            except ssl.SSLError as error:
                self._record(Seen(refused=_refusal(error)))
                _linger(tls)
                return
            seen = _observe(tls, self._names.pop(id(tls), ""))
            self._record(seen)
            answer_all(tls, json.dumps(asdict(seen)).encode())

    def _note_name(self, tls: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        self._names[id(tls)] = name or ""

    def _record(self, seen: Seen) -> None:
        with self._changed:
            self.seen.append(seen)
            self._changed.notify_all()


def _context(shown: Shown, anchors: Sequence[x509.Certificate], required: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(ALPN)
    descriptor = os.memfd_create("witness", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, bundle_to_pem(list(shown.chain)).encode() + private_key_to_pem(shown.key))
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if anchors:
        context.load_verify_locations(cadata=b"".join(c.public_bytes(Encoding.DER) for c in anchors))
    return context


def _refusal(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{error.verify_message} ({error.verify_code})"
    return (error.reason or str(error)).lower().replace("_", " ")


def _linger(tls: ssl.SSLSocket) -> None:
    """Read what the client is still writing: closing over unread bytes resets, and the alert would be lost."""
    tls.shutdown(socket.SHUT_WR)
    tls.settimeout(1)
    while tls.recv(4096):
        pass


def _observe(tls: ssl.SSLSocket, server_name: str) -> Seen:
    der = tls.getpeercert(True)
    cipher = (tls.cipher() or ("",))[0]
    facts = (tls.version() or "", cipher, bool(tls.session_reused), server_name)
    if der is None:
        return Seen("", "", *facts)
    certificate = parse_certificate_der(der, "client certificate")
    return Seen(str(certificate.serial_number), certificate.subject.rfc4514_string(), *facts)
