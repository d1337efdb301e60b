"""A directory that the official step-ca made, with what it issued, revoked and spent, for each kind of database."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from cryptography import x509

from tests.interop.stage import PASSWORD, free_port, initialise, serving
from tests.rig.authority import Served
from troth.ca.jwk import decrypt_provisioner_key
from troth.client.provisioners import SigningKey
from troth.x509.keys import PrivateKey, generate_key, private_key_to_pem
from troth.x509.pem import parse_certificates
from troth.x509.requests import create_request, request_to_pem

AT_ONCE = 8


@dataclass(frozen=True)
class Held:
    """A certificate that step-ca issued, its key, and the token it was asked with."""

    chain: tuple[x509.Certificate, ...]
    key: PrivateKey
    token: str

    @property
    def serial(self) -> int:
        return self.chain[0].serial_number

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        """The pair as files."""
        from troth.x509.pem import bundle_to_pem

        certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
        certificate.write_text(bundle_to_pem(list(self.chain)))
        key.write_bytes(private_key_to_pem(self.key))
        return certificate, key


@dataclass
class StepDirectory:
    """What step-ca left behind."""

    served: Served
    issued: list[Held] = field(default_factory=list)

    @property
    def database(self) -> Path:
        return self.served.directory / "db"

    def edit(self, change: Mapping[str, Any]) -> None:
        """Set members of ca.json."""
        path = self.served.configuration
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))

    @contextmanager
    def running(self) -> "Iterator[subprocess.Popen[bytes]]":
        """The official step-ca serves the directory."""
        with serving([str(shutil.which("step-ca"))], self.served.directory, self.served.port) as process:
            yield process

    def issue(self, count: int, name: str = "host{}.example.com", **claims: Any) -> None:
        """Issue certificates while it runs; all share a key, for speed."""
        self.issued += asyncio.run(self._issue(count, name, claims))

    def post(self, path: str, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """One request to whoever serves."""

        async def ask() -> tuple[int, dict[str, Any]]:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self.served.tls())) as session:
                return await _post(session, self.served.url + path, body)

        return asyncio.run(ask())

    def revoke(self, one: Held, **more: Any) -> int:
        """Revoke by token; the status."""
        token = self.served.token(str(one.serial), "/1.0/revoke")
        return self.post("/1.0/revoke", {"serial": str(one.serial), "ott": token, "passive": True, **more})[0]

    async def _issue(self, count: int, name: str, claims: Mapping[str, Any]) -> list[Held]:
        key, gate = generate_key(), asyncio.Semaphore(AT_ONCE)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self.served.tls())) as session:

            async def one(index: int) -> Held:
                async with gate:
                    subject = name.format(index)
                    token = self.served.token(subject, **claims)
                    names = list(claims.get("sans", [subject]))
                    csr = request_to_pem(create_request(key, subject, names))
                    status, answer = await _post(session, self.served.url + "/1.0/sign", {"csr": csr, "ott": token})
                    assert status == 201, answer
                    return Held(tuple(parse_certificates("".join(answer["certChain"]).encode())), key, token)

            return list(await asyncio.gather(*(one(index) for index in range(count))))


async def _post(session: aiohttp.ClientSession, url: str, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    async with session.post(url, json=body) as response:
        return response.status, json.loads(await response.text())


def founded_by_step(directory: Path, kind: str = "badgerv2", **authority: Any) -> StepDirectory:
    """``step ca init``, then ca.json changed to the kind of database; `authority` are members of ``authority``."""
    port = free_port()
    initialise([str(shutil.which("step"))], directory, port)
    raw = json.loads((directory / "config" / "ca.json").read_text())
    source = directory / "db"
    if kind == "bbolt":
        source.rmdir()
    raw["db"] = {"type": kind, "dataSource": str(source)}
    raw["authority"].update(authority)
    (directory / "config" / "ca.json").write_text(json.dumps(raw))
    opened = decrypt_provisioner_key(raw["authority"]["provisioners"][0]["encryptedKey"], PASSWORD.encode())
    name = raw["authority"]["provisioners"][0]["name"]
    return StepDirectory(Served(directory, port, SigningKey(name, opened["kid"], opened)))
