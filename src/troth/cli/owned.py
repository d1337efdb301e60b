"""A certificate and key that a person already has, read and checked to belong together."""

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from troth.client.transport import ClientCertificate
from troth.errors import TrothError, UsageError
from troth.host.files import read_file
from troth.host.pairs import finish_interrupted
from troth.host.terminal import ask_password, note
from troth.x509.keys import KeyPasswordError, PrivateKey, key_matches, parse_private_key, private_key_to_pem
from troth.x509.pem import bundle_to_pem, parse_certificates


class KeyPassword:
    """What opens a key file: a password file, read each time, or an answer that is asked for once.

    `used` is the password that opened the last key, None when that was not encrypted; `pkcs8` is whether it was
    encrypted in that form, which a successor then keeps: the other one has a weak derivation.
    """

    def __init__(self, file: str = "") -> None:
        self._file = file
        self._typed = b""
        self.used: bytes | None = None
        self.pkcs8 = False

    def open(self, path: str) -> PrivateKey:
        """The key of a file.

        Raises:
            FileError, KeyMaterialError: it cannot be read, or the password is wrong.
            TerminalError: it is encrypted, no file was named and there is nobody to ask.
        """
        data = read_file(Path(path))
        self.used, self.pkcs8 = None, b"BEGIN ENCRYPTED PRIVATE KEY" in data
        try:
            return parse_private_key(data, None, path)
        except KeyPasswordError:
            self.used = self._password(path)
            return parse_private_key(data, self.used, path)

    def _password(self, path: str) -> bytes:
        if self._file:
            return read_file(Path(self._file)).rstrip()
        if not self._typed:
            question = f"Please enter the password to decrypt {path}"
            self._typed = ask_password(question, otherwise="give --password-file")
        return self._typed


@dataclass(frozen=True, slots=True)
class OwnedPair:
    """A certificate with its issuers, leaf first, and the leaf's key."""

    chain: tuple[x509.Certificate, ...]
    key: PrivateKey

    @property
    def leaf(self) -> x509.Certificate:
        return self.chain[0]

    @property
    def presented(self) -> ClientCertificate:
        """For a handshake."""
        return ClientCertificate(bundle_to_pem(list(self.chain)).encode(), private_key_to_pem(self.key))


def complete(certificate: str | Path, key: str | Path) -> None:
    """Finish what an earlier command was interrupted in, and say so."""
    if finish_interrupted(Path(certificate), Path(key)):
        note(f"Completed an interrupted write of {certificate} and {key}.")


def read_pair(certificate: str, key: str, password: str | KeyPassword = "") -> OwnedPair:
    """Read a pair; an interrupted write of it is completed first.

    Args:
        certificate: the file of the chain.
        key: the file of the key.
        password: what opens an encrypted key, or the name of a file with it; asked for where there is neither.

    Raises:
        FileError, X509Error, TerminalError: a file cannot be read or is not what it should be.
        UsageError: the key belongs to another certificate.
    """
    complete(certificate, key)
    chain = parse_certificates(read_file(Path(certificate)), certificate)
    secret = password if isinstance(password, KeyPassword) else KeyPassword(password)
    private = secret.open(key)
    if not key_matches(chain[0], private):
        hint = f"look at the certificate with: troth certificate inspect --short {certificate}"
        raise UsageError(f"key {key} does not belong to certificate {certificate}", hint=hint)
    return OwnedPair(tuple(chain), private)


def latest_pair(given: tuple[str, str], written: tuple[str, str], password: KeyPassword) -> OwnedPair:
    """The pair that was given, or the one written elsewhere since, whichever ends later; for a loop that renews.

    Raises:
        TrothError: neither can be read; what is wrong with the given one is said.
    """
    if given == written:
        return read_pair(*given, password)
    try:
        newer = read_pair(*written, password)
    except TrothError:
        return read_pair(*given, password)
    try:
        older = read_pair(*given, password)
    except TrothError:
        return newer
    return max(newer, older, key=lambda pair: pair.leaf.not_valid_after_utc)
