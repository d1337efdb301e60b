"""The authority under load, as its clients load it: HTTPS, keep-alive, ``POST /1.0/sign`` with a fresh token each.

The server's CPU time is read from its process and divided by the crypto floor measured in the same run: what OpenSSL
alone needs to check a token, check a request and sign a certificate. Rates move with the machine; the ratio does not.
"""

import asyncio
import json
import os
import re
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from troth.ca.jwk import decrypt_provisioner_key
from troth.client.provisioners import SigningKey
from troth.client.tokens import Validity, sign_token
from troth.host.ports import free_ports

NAME = "bench.test"
CONNECTIONS = 32
WARM_UP = 300
MEASURED = 6000
ROUNDS = 12
FLOOR_TIMES = 600
PASSWORD = "benchmark"  # of a throw-away authority
PROVISIONER = "bench"
START_SECONDS = 20.0
RUN_SECONDS = 120.0
HEAD = b"POST /1.0/sign HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
TROTH = str(Path(sys.executable).with_name("troth"))
TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Authority:
    """A running ``troth ca serve`` with one worker."""

    pid: int
    url: str
    tls: ssl.SSLContext
    key: SigningKey

    def cpu_us(self) -> float:
        """CPU time the process has used, user and system, in microseconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK_US

    def items(self, count: int, csr: str) -> list[bytes]:
        """Bodies of `count` requests, each with a token of its own."""
        now = datetime.now(UTC)
        span = Validity(now, now + timedelta(minutes=5))
        claims = {"sans": [NAME]}
        tokens = (sign_token(self.key, f"{self.url}/1.0/sign", NAME, span, claims) for _ in range(count))
        return [json.dumps({"csr": csr, "ott": token}).encode() for token in tokens]


def run() -> dict[str, object]:
    """Certificates a second, latencies in milliseconds, CPU a certificate in microseconds, and the ratio."""
    with tempfile.TemporaryDirectory(prefix="bench-ca-") as name:
        base = Path(name)
        process = start(base)
        try:
            return measure(authority(base, process.pid))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=20)


def start(base: Path) -> "subprocess.Popen[bytes]":
    """A new authority in `base`, listening."""
    port = free_ports(1)[0]
    (base / "password").write_text(PASSWORD)
    environment = {**os.environ, "STEPPATH": str(base)}
    flags = ["--name", "Bench", "--dns", "127.0.0.1", "--address", f"127.0.0.1:{port}", "--provisioner", PROVISIONER]
    password = ["--password-file", str(base / "password")]
    subprocess.run([TROTH, "ca", "init", *flags, *password], env=environment, check=True, capture_output=True)
    command = [TROTH, "ca", "serve", str(base / "config" / "ca.json"), *password, "--quiet"]
    process = subprocess.Popen(command, env=environment, stderr=(base / "log").open("wb"))
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return process
        except OSError:
            time.sleep(0.05)
    process.kill()
    raise RuntimeError(f"the authority did not start: {(base / 'log').read_text()}")


def authority(base: Path, pid: int) -> Authority:
    """What a client of the authority needs: its address, trust, and the provisioner's key."""
    raw = json.loads((base / "config" / "ca.json").read_text())
    (provisioner,) = raw["authority"]["provisioners"]
    opened = decrypt_provisioner_key(provisioner["encryptedKey"], PASSWORD.encode())
    tls = ssl.create_default_context(cafile=str(base / "certs" / "root_ca.crt"))
    return Authority(pid, f"https://{raw['address']}", tls, SigningKey(PROVISIONER, opened["kid"], opened))


def measure(server: Authority) -> dict[str, object]:
    """Warm up, then issue in rounds.

    Neighbours on a shared machine only ever add CPU time, to the server and to the floor alike: the least disturbed
    round of each gives the ratio that is judged, and the median is shown beside it.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    csr = request.public_bytes(Encoding.PEM).decode()
    uvloop.run(issue(server, server.items(WARM_UP, csr)))
    rounds = [one_round(server, server.items(MEASURED // ROUNDS, csr)) for _ in range(ROUNDS)]
    latencies = [seconds for one in rounds for seconds in one.latencies]
    percentiles = statistics.quantiles(latencies, n=100)
    ratios = [one.cpu_us / one.floor_us for one in rounds]
    return {
        "certificates": len(latencies),
        "connections": CONNECTIONS,
        "certs_per_second": len(latencies) / sum(one.seconds for one in rounds),
        "p50_ms": percentiles[49] * 1000,
        "p99_ms": percentiles[98] * 1000,
        "cpu_us_per_certificate": min(one.cpu_us for one in rounds),
        "floor_us": min(one.floor_us for one in rounds),
        "ratio": min(one.cpu_us for one in rounds) / min(one.floor_us for one in rounds),
        "ratio_median": statistics.median(ratios),
        "ratio_of_each_round": " ".join(f"{ratio:.2f}" for ratio in ratios),
    }


@dataclass(frozen=True)
class Round:
    """Some certificates and the floor around them; CPU and floor are microseconds a certificate."""

    cpu_us: float
    floor_us: float
    seconds: float
    latencies: list[float]


def one_round(server: Authority, items: list[bytes]) -> Round:
    """The floor is measured just before and just after, since a shared machine's speed changes within a run."""
    before = floor_us()
    cpu, started = server.cpu_us(), time.perf_counter()
    latencies = uvloop.run(issue(server, items))
    seconds, cpu = time.perf_counter() - started, server.cpu_us() - cpu
    return Round(cpu / len(items), (before + floor_us()) / 2, seconds, latencies)


async def issue(server: Authority, items: list[bytes]) -> list[float]:
    """Send every item over `CONNECTIONS` kept connections; seconds each took. Anything but 201 ends the run.

    The client is the plainest that speaks HTTP, so that the server is what is measured.
    """
    taken: list[float] = []
    waiting = iter(items)
    host, port = server.url.removeprefix("https://").split(":")

    async def one_connection() -> None:
        reader, writer = await asyncio.open_connection(host, int(port), ssl=server.tls)
        try:
            for body in waiting:
                begun = time.perf_counter()
                writer.write(HEAD % (host.encode(), len(body)) + body)
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: (\d+)", head)
                answer = await reader.readexactly(int(length[1]) if length else 0)
                if not head.startswith(b"HTTP/1.1 201 "):
                    raise RuntimeError(f"/sign answered {head.splitlines()[0]!r}: {answer[:200]!r}")
                taken.append(time.perf_counter() - begun)
        finally:
            writer.close()

    async with asyncio.timeout(RUN_SECONDS):
        await asyncio.gather(*(one_connection() for _ in range(CONNECTIONS)))
    return taken


def floor_us() -> float:
    """CPU microseconds of one P-256 signature and two P-256 verifications: the least a certificate can cost."""
    key = ec.generate_private_key(ec.SECP256R1())
    public, data, algorithm = key.public_key(), b"x" * 400, ec.ECDSA(hashes.SHA256())
    signature = key.sign(data, algorithm)

    def cost(work: Callable[[], object]) -> float:
        rounds = []
        for _ in range(5):
            begun = time.process_time_ns()
            for _ in range(FLOOR_TIMES // 5):
                work()
            rounds.append((time.process_time_ns() - begun) / (FLOOR_TIMES // 5) / 1000)
        return statistics.median(rounds)

    return cost(lambda: key.sign(data, algorithm)) + 2 * cost(lambda: public.verify(signature, data, algorithm))
