"""What an nginx can do, read from ``nginx -V``: never assumed from where it was found."""

import re
import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath

from troth.nginx import NginxError

OLDEST = (1, 22, 0)
_VERSION = re.compile(r"^(?:nginx|\w+) version: ([\w-]+)/(\d+)\.(\d+)\.(\d+)", re.MULTILINE)
_OPENSSL = re.compile(r"^(?:built|running) with (\S+ \S+)", re.MULTILINE)
_ARGUMENTS = re.compile(r"^configure arguments:(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Name, version, TLS library and configure arguments of one nginx."""

    name: str
    version: tuple[int, int, int]
    library: str
    arguments: tuple[str, ...]

    def argument(self, name: str) -> str:
        """The value of a configure argument such as ``prefix``, or an empty text."""
        return next((a.partition("=")[2] for a in self.arguments if a.startswith(f"--{name}=")), "")

    def has_argument(self, name: str) -> bool:
        return any(argument.partition("=")[0] == f"--{name}" for argument in self.arguments)

    @property
    def version_text(self) -> str:
        return ".".join(map(str, self.version))

    @property
    def prefix(self) -> str:
        return self.argument("prefix") or "/usr/local/nginx"

    def below_prefix(self, name: str, default: str) -> str:
        """A path argument, made absolute below the prefix as nginx does."""
        value = self.argument(name) or default
        return value if value == "stderr" else str(PurePosixPath(self.prefix) / value)

    @property
    def has_ssl(self) -> bool:
        return self.has_argument("with-http_ssl_module")

    @property
    def keepalive_min_timeout(self) -> bool:
        """Keeps idle client connections of an old worker until they are safe to close."""
        return self.version >= (1, 27, 4)

    @property
    def certificate_cache(self) -> bool:
        """``proxy_ssl_certificate_cache``, and a retry when a variable pair does not match."""
        return self.version >= (1, 27, 4)

    @property
    def variable_certificates(self) -> bool:
        return self.version >= (1, 21, 0)

    @property
    def empty_certificate(self) -> bool:
        """``proxy_ssl_certificate ""`` means none."""
        return self.version >= (1, 23, 0)

    @property
    def keepalive_time(self) -> bool:
        return self.version >= (1, 19, 10)

    @property
    def default_tls13(self) -> bool:
        """TLS 1.3 is among the default ``proxy_ssl_protocols``."""
        return self.version >= (1, 23, 4)

    @property
    def default_http11_upstream(self) -> bool:
        """HTTP/1.1 and kept connections to upstreams are the default."""
        return self.version >= (1, 29, 7)


def parse_capabilities(text: str) -> Capabilities:
    """Read the output of ``nginx -V``.

    Raises:
        NginxError: it is not that, for instance because another program answered.
    """
    version = _VERSION.search(text)
    if version is None:
        raise NginxError(f"expected the output of nginx -V, got {text.strip()[:80]!r}")
    library, arguments = _OPENSSL.search(text), _ARGUMENTS.search(text)
    words = shlex.split(arguments[1]) if arguments else []
    number = (int(version[2]), int(version[3]), int(version[4]))
    return Capabilities(version[1], number, library[1] if library else "", tuple(words))
