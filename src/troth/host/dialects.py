"""What nginx speaks to upstreams, as far as answering every request of a connection the same takes.

HTTP/1.1; HTTP/2 (RFC 9113), for ``grpc_pass`` and ``proxy_http_version 2``; uwsgi. The first byte tells which.
"""

import ssl
import struct

ALPN = ("h2", "http/1.1")
MAX_HEAD_BYTES = 65_536
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_FRAME = struct.Struct(">HBBBI")  # length in two parts, type, flags, stream
_DATA, _HEADERS, _SETTINGS, _PING, _GOAWAY, _CONTINUATION = 0, 1, 4, 6, 7, 9
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
# RFC 7541 §6.1 and §6.2.2 without a dynamic table: ":status: 200" is entry 8, the name "content-type" is entry 31.
_STATUS_200 = b"\x88"
_CONTENT_TYPE = b"\x0f\x10"
_JSON = b"application/json"


class Ended(Exception):  # noqa: N818 - the client has gone, which is no error
    """The client closed the connection, or said something that is no request."""


def answer_all(tls: ssl.SSLSocket, body: bytes) -> None:
    """Answer every request with 200 and `body`, a JSON text, until the client goes.

    Raises:
        OSError: the connection broke.
    """
    try:
        start = _receive(tls, len(_PREFACE[:4]))
        if start == _PREFACE[:4]:
            _http2(tls, body)
        elif start[0] == 0:
            _uwsgi(tls, start, body)
        else:
            _http1(tls, start, body)
    except Ended:
        return


def _receive(tls: ssl.SSLSocket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = tls.recv(count - len(data))
        if not more:
            raise Ended
        data += more
    return data


def _plain(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {_JSON.decode()}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _http1(tls: ssl.SSLSocket, data: bytes, body: bytes) -> None:
    """Requests without a body."""
    while True:
        while b"\r\n\r\n" not in data:
            more = tls.recv(4096)
            if not more or len(data) > MAX_HEAD_BYTES:
                raise Ended
            data += more
        tls.sendall(_plain(body))
        data = b""


def _uwsgi(tls: ssl.SSLSocket, start: bytes, body: bytes) -> None:
    """One request: a packet of variables with its length in the second and third byte, least first."""
    _receive(tls, int.from_bytes(start[1:3], "little"))
    tls.sendall(_plain(body))


def _http2(tls: ssl.SSLSocket, body: bytes) -> None:
    _receive(tls, len(_PREFACE) - 4)
    tls.sendall(_frame(_SETTINGS, 0, 0))
    ready: dict[int, int] = {}
    while True:
        high, low, kind, flags, stream = _FRAME.unpack(_receive(tls, _FRAME.size))
        length = high << 8 | low
        if length > MAX_HEAD_BYTES or kind == _GOAWAY:
            raise Ended
        payload = _receive(tls, length)
        if kind in (_SETTINGS, _PING) and not flags & _ACK:
            tls.sendall(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
        if kind in (_DATA, _HEADERS, _CONTINUATION):
            ends = _END_STREAM if kind != _CONTINUATION else 0
            heads = _END_HEADERS if kind != _DATA else 0
            ready[stream] = ready.get(stream, 0) | flags & (ends | heads)
            if ready[stream] == _END_STREAM | _END_HEADERS:
                head = _STATUS_200 + _CONTENT_TYPE + bytes([len(_JSON)]) + _JSON
                tls.sendall(_frame(_HEADERS, _END_HEADERS, stream, head) + _frame(_DATA, _END_STREAM, stream, body))


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return _FRAME.pack(len(payload) >> 8, len(payload) & 0xFF, kind, flags, stream) + payload
