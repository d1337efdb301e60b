"""Plain requests through the proxies, and the log lines that say why one was refused."""

import http.client
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT = 10
_UPSTREAM_REASON = re.compile(
    r"client SSL certificate verify error: \(\d+:[^)]*\)|client sent no required SSL certificate"
)
_PROXY_REASON = re.compile(
    r"upstream SSL certificate (?:verify error: \(\d+:[^)]*\)|does not match \"[^\"]*\")|SSL alert number \d+"
)


@dataclass(frozen=True, slots=True)
class Reply:
    """A status and the body."""

    status: int
    body: bytes

    @property
    def seen(self) -> dict[str, Any]:
        """What the upstream reported, empty when it reported nothing."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


def get(port: int, path: str, host: str = "proxy.internal.net") -> Reply:
    """One GET to a listener on loopback; status 0 when no answer came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.request("GET", path, headers={"Host": host, "Connection": "close"})
        response = connection.getresponse()
        return Reply(response.status, response.read(1_000_000))
    except (OSError, http.client.HTTPException) as error:
        return Reply(0, str(error).encode())
    finally:
        connection.close()


class LogTail:
    """Reads what a log gained since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0

    def news(self) -> str:
        with self._path.open("rb") as stream:
            stream.seek(self._offset)
            data = stream.read(1_000_000)
        self._offset += len(data)
        return data.decode("utf-8", "replace")


def upstream_reason(log: str) -> str:
    """Why the upstream refused a client, in its own words."""
    return _first(_UPSTREAM_REASON, log)


def proxy_reason(log: str) -> str:
    """Why nginx refused the upstream, in its own words."""
    return _first(_PROXY_REASON, log)


def _first(pattern: re.Pattern[str], log: str) -> str:
    match = pattern.search(log)
    return match[0] if match else ""
