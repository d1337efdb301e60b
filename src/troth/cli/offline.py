"""``--offline``: what an authority would answer, from its own files, without asking it.

Certificates are signed with the intermediate key and recorded in the authority's database, in one transaction with the
token, as the server does it; the server may be running meanwhile.
"""

import asyncio
import contextlib
import json
import ssl
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from troth.ca.config import Configuration, parse_configuration
from troth.cli.configuration import ca_config
from troth.cli.granting import read_password
from troth.client.authority import Authority, Chain
from troth.client.transport import Address, ClientCertificate
from troth.errors import UsageError
from troth.host import terminal
from troth.host.clock import now
from troth.host.files import read_file
from troth.server.predecessor import check_imported
from troth.server.service import Service
from troth.server.state import base_of, load
from troth.store.sqlite import open_store
from troth.x509.chains import CLIENT_AUTH, verify_path
from troth.x509.keys import KeyPasswordError, parse_private_key
from troth.x509.pem import bundle_to_pem, parse_certificates

DATABASE = "troth.sqlite"
# No start of ours makes a token too old: there is no server that was started.
NEVER_STARTED = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class OfflineAuthority(Authority):
    """The authority of a ``ca.json``: it lists provisioners, signs, renews, rekeys and revokes.

    A certificate that would speak for itself in a handshake is verified here as the server's handshake does.
    """

    config: Path = Path()
    password_files: tuple[str, ...] = ()

    def provisioners(self) -> list[dict[str, Any]]:
        return [member.public() for member in _read(self.config).provisioners.members]

    def encrypted_key(self, kid: str) -> str:
        return _read(self.config).provisioners.encrypted_key(kid) or ""

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        context: ssl.SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        data = json.dumps(dict(body or {})).encode()
        if path == "/sign":
            return self._serve(lambda service: service.sign(data))
        if path == "/renew" and headers:
            token = headers["Authorization"].removeprefix("Bearer ")
            return self._serve(lambda service: service.renew_by_token(token))
        raise UsageError(f"{method} {path} cannot be done with --offline: ask the running authority")

    def renew(self, certificate: ClientCertificate) -> Chain:
        return self._issued(self._serve(lambda service: service.renew(_verified(certificate, service))))

    def rekey(self, certificate: ClientCertificate, csr_pem: str) -> Chain:
        body = json.dumps({"csr": csr_pem}).encode()
        return self._issued(self._serve(lambda service: service.rekey(_verified(certificate, service), body)))

    def _revoke(self, body: Mapping[str, Any], certificate: ClientCertificate | None) -> None:
        data = json.dumps(dict(body)).encode()
        self._serve(lambda service: service.revoke(data, _verified(certificate, service) if certificate else None))

    def _serve(self, do: Callable[[Service], Coroutine[Any, Any, Any]]) -> dict[str, Any]:
        base = base_of(self.config)
        loaded = load(self.config, base, self._password, NEVER_STARTED)
        with contextlib.closing(open_store(base / DATABASE)) as store:
            check_imported(loaded.configuration.database, self.config, base, store)
            answer = asyncio.run(do(Service(loaded, store)))
        return dict(json.loads(answer) if isinstance(answer, bytes) else answer)

    def _password(self, key: str) -> bytes:
        """``--password-file``, or the provisioner's where it opens the intermediate's key too; else asked for."""
        for file in self.password_files:
            secret = read_password(file, key)
            with contextlib.suppress(KeyPasswordError):
                parse_private_key(read_file(Path(key)), secret, key)
                return secret
        question = f"Please enter the password to decrypt {key}"
        return terminal.ask_password(question, otherwise="--password-file does not open it; remove its password first")


def _verified(certificate: ClientCertificate, service: Service) -> bytes:
    """The leaf, DER, once it chains to the authority's roots, is in force and may be shown by clients.

    Raises:
        ChainError: it would not get through the handshake.
    """
    leaf, *rest = parse_certificates(certificate.chain, "certificate")
    authority = service.authority
    verify_path(leaf, (*rest, *authority.all_intermediates), authority.roots, now(), purpose=CLIENT_AUTH)
    return leaf.public_bytes(Encoding.DER)


def offline_authority(given: Mapping[str, Any]) -> OfflineAuthority:
    """The authority whose files are here: ``--ca-config``, or ``config/ca.json`` below the step path.

    Raises:
        TrothError: there is none, or it cannot be read.
    """
    path = ca_config(given["ca_config"]).absolute()
    configuration = _read(path)
    base = base_of(path)
    roots = [one for name in configuration.roots for one in parse_certificates(read_file(base / name), name)]
    address = Address(configuration.names[0], configuration.port)
    return OfflineAuthority(address, bundle_to_pem(roots), config=path, password_files=_password_files(given))


def _password_files(given: Mapping[str, Any]) -> tuple[str, ...]:
    """Where the intermediate's password may be; after ``init`` it is the provisioner's too unless two were given."""
    return tuple(given[name] for name in ("password_file", "provisioner_password_file") if given.get(name))


def _read(path: Path) -> Configuration:
    return parse_configuration(read_file(path).decode("utf-8", "replace"))
