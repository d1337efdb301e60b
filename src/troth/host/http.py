"""One plain HTTP request to a loopback listener, time-out and size capped."""

import http.client
import socket
import time
from dataclasses import dataclass

TIMEOUT_SECONDS = 10.0
MAX_BODY_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, headers with lower-case names, and body; status 0 when no answer came, with the reason as body."""

    status: int
    headers: dict[str, str]
    body: bytes


def get(port: int, path: str, host: str, address: str = "127.0.0.1", timeout: float = TIMEOUT_SECONDS) -> Reply:
    """GET over a fresh connection."""
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"Host": host, "Connection": "close"})
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, headers, response.read(MAX_BODY_BYTES))
    except (OSError, http.client.HTTPException) as error:
        return Reply(0, {}, str(error).encode())
    finally:
        connection.close()


def hold(port: int, seconds: float, address: str = "127.0.0.1") -> tuple[bool, int]:
    """Hold a connection on which nothing is sent: whether it still stands after a while, and how many bytes came."""
    until = time.monotonic() + seconds
    received = 0
    try:
        with socket.create_connection((address, port), timeout=seconds) as plain:
            while (left := until - time.monotonic()) > 0:
                plain.settimeout(left)
                data = plain.recv(65_536)
                if not data:
                    return False, received
                received += len(data)
    except TimeoutError:
        return True, received
    except OSError:
        return False, received
    return True, received
