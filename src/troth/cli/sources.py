"""Where certificates to look at come from: a file, stdin, or a server's handshake; and the roots to judge them by."""

import sys
from pathlib import Path

from cryptography import x509

from troth.errors import UsageError
from troth.host.files import MAX_READ_BYTES, FileError, read_file
from troth.host.presented import PORTS, is_url, parse_server, presented_chain
from troth.x509.pem import parse_certificates


def read_source(source: str) -> bytes:
    """The bytes of what may be looked at: see `read_input`.

    Raises:
        FileError: it cannot be read.
        UsageError: it is the URL of something that shows no certificate.
    """
    if "://" in source and not Path(source).exists():
        scheme, _, rest = source.partition("://")
        raise UsageError(
            f"cannot look at {source}: {scheme} shows no certificate, expected a file, or one of {', '.join(PORTS)}",
            hint=f"troth certificate inspect https://{rest}",
        )
    return read_input(source)


def read_input(path: str) -> bytes:
    """The bytes of a file, or of stdin for ``-``.

    Raises:
        FileError: it cannot be read.
    """
    if path != "-":
        return read_file(Path(path))
    data = sys.stdin.buffer.read(MAX_READ_BYTES + 1)
    if len(data) > MAX_READ_BYTES:
        raise FileError(f"stdin is larger than {MAX_READ_BYTES} bytes")
    return data


def named(path: str) -> str:
    """What messages call an input."""
    return "stdin" if path == "-" else path


def certificates_of(source: str, roots: str, server_name: str, insecure: bool) -> list[x509.Certificate]:
    """The certificates of a file, of stdin, or of a server named by a URL.

    Raises:
        FileError, X509Error, HandshakeError: see each.
    """
    if not is_url(source):
        return parse_certificates(read_source(source), named(source))
    trusted = read_roots(roots) if roots else None
    return presented_chain(parse_server(source), server_name=server_name, roots=trusted, verify=not insecure)


def read_roots(paths: str) -> list[x509.Certificate]:
    """``--roots``: a file, a comma-separated list of files, or a directory of them.

    Raises:
        UsageError: there is no certificate in any of them.
    """
    found: list[x509.Certificate] = []
    for path in map(Path, paths.split(",")):
        files = sorted(entry for entry in path.iterdir() if entry.is_file()) if path.is_dir() else [path]
        for file in files:
            found += parse_certificates(read_file(file), str(file))
    if not found:
        raise UsageError(f"no root certificate in {paths}")
    return found
