"""What a location as troth writes it costs, against the best that is written by hand and against a plain HTTP upstream.

All are locations of one nginx with one worker, loaded by wrk in turns; a figure is the median of the ratio within a
pair of runs, with its standard error: pairs are added until that is small, or there are too many to go on. Two loads: a
constant of 12 bytes, which measures nothing but nginx, TLS and the client on shared cores; and a page that the upstream
compresses for each request, to stand for an application that works half a millisecond for two kilobytes. Against the
hand-written location the first is judged; against plain HTTP the second, on 1.22: with nothing else to do TLS records
cost the proxy a third more CPU whoever writes the configuration, and `hand_to_plain` says so beside `ours_to_plain`.
"""

import contextlib
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.rig.nginx import frame, programs
from tests.rig.pki import Pki
from troth.agent.apply import apply_plan
from troth.agent.reading import read_config
from troth.host import clock
from troth.host.nginx import Nginx
from troth.host.ports import free_ports
from troth.nginx.plan import Declaration, make_plan
from troth.nginx.render import Identity, Witnesses

FEWEST, MOST = 12, 80
ERROR = 0.01
WARM_SECONDS = 1
SECONDS = 1
CONNECTIONS = 32
BODY = "0123456789ab"
PAGE_LINES = 12_000
TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")
OURS, HAND, PLAIN = "ours", "hand", "plain"
PAGE = "/page"  # after a location's name: the page instead of the constant
_REQUESTS = re.compile(r"(\d+) requests in")
_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
_BAD = re.compile(r"(Non-2xx.*|Socket errors.*)")

PROXY = """\
    {min_timeout}upstream hand {{
        server 127.0.0.1:{tls};
        keepalive 32;
        keepalive_time 10m;
        keepalive_requests 10000;
    }}
    upstream plain {{
        server 127.0.0.1:{plain};
        keepalive 32;
        keepalive_time 10m;
        keepalive_requests 10000;
    }}
    server {{
        listen 127.0.0.1:{port};
        server_name app.test;
        keepalive_requests 1000000;
        location /hand {{
            proxy_pass https://hand;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host up.test;
            proxy_ssl_certificate     {pair.certificate};
            proxy_ssl_certificate_key {pair.key};
            proxy_ssl_trusted_certificate {trust};
            proxy_ssl_verify       on;
            proxy_ssl_verify_depth 2;
            proxy_ssl_server_name  on;
            proxy_ssl_name         up.test;
            proxy_ssl_protocols    TLSv1.2 TLSv1.3;
            proxy_ssl_ciphers      ECDHE+AESGCM:ECDHE+CHACHA20;
            proxy_ssl_session_reuse on;
        }}
        location /plain {{
            proxy_pass http://plain;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host up.test;
        }}
        location /ours {{
            proxy_pass https://127.0.0.1:{tls};
        }}
    }}
"""
UPSTREAM = """\
    server {{
        listen 127.0.0.1:{plain};
        keepalive_requests 1000000;
        location / {{ return 200 "{body}"; }}
        {page}
    }}
    server {{
        listen 127.0.0.1:{tls} ssl;
        server_name up.test;
        keepalive_requests 1000000;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_certificate {pair.certificate};
        ssl_certificate_key {pair.key};
        ssl_client_certificate {trust};
        ssl_verify_client on;
        ssl_verify_depth 2;
        location / {{ return 200 "{body}"; }}
        {page}
    }}
"""
PAGE_LOCATION = """location ~ /page$ {
            root %s;
            try_files /page =404;
            default_type text/html;
            gzip on;
            gzip_proxied any;
            gzip_http_version 1.0;
        }
"""


@dataclass(frozen=True)
class Run:
    """Requests a second, and the proxy's CPU microseconds a request."""

    rate: float
    cpu_us: float


def run() -> dict[str, object]:
    """Ratios of requests a second, and CPU microseconds a request in the proxy, on each nginx of this machine."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed: apt-get install wrk")
    results: dict[str, object] = {}
    for name, binary in sorted(programs().items()):
        if binary is None:
            raise SystemExit(f"no {name} nginx on this machine")
        version = "_".join(map(str, Nginx(binary).capabilities().version[:2]))
        for key, value in measure(binary).items():
            results[f"{key}_{version}"] = value.median if isinstance(value, Ratio) else value
            if isinstance(value, Ratio):
                results[f"{key}_{version}_error"] = value.error
    return results


def measure(binary: Path) -> dict[str, "Ratio | float"]:
    """All pairs on one build."""
    with started(binary) as (nginx, port):
        worker = next(iter(nginx.generation().workers))
        for path in (PLAIN, HAND, OURS, OURS + PAGE, PLAIN + PAGE):
            load(port, path, WARM_SECONDS)
        judged = pairs(port, worker, OURS, HAND, MOST)
        pages = pairs(port, worker, OURS + PAGE, PLAIN + PAGE, MOST)
        ours = pairs(port, worker, OURS, PLAIN, FEWEST)
        hand = pairs(port, worker, HAND, PLAIN, FEWEST)
    return {
        "ours_to_hand": ratio(judged),
        "page_ours_to_plain": ratio(pages),
        "ours_to_plain": ratio(ours),
        "hand_to_plain": ratio(hand),
        "ours_rate": round(statistics.median(one.rate for one, _ in judged)),
        "page_ours_rate": round(statistics.median(one.rate for one, _ in pages)),
        "ours_cpu_us": statistics.median(one.cpu_us for one, _ in judged),
        "hand_cpu_us": statistics.median(two.cpu_us for _, two in judged),
        "plain_cpu_us": statistics.median(two.cpu_us for _, two in hand),
    }


@dataclass(frozen=True)
class Ratio:
    """A median and its standard error."""

    median: float
    error: float


def ratio(found: list[tuple[Run, Run]]) -> Ratio:
    """The median ratio of the rates; its error from the spread of the middle half, which outliers do not widen."""
    values = [one.rate / two.rate for one, two in found]
    low, median, high = statistics.quantiles(values, n=4)
    # For a normal spread: sigma is the interquartile range / 1.349, a median's error 1.253 sigma / sqrt(n).
    return Ratio(median, 1.253 * (high - low) / 1.349 / len(values) ** 0.5)


def pairs(port: int, worker: int, one: str, two: str, most: int) -> list[tuple[Run, Run]]:
    """At least `FEWEST` pairs of runs; who goes first alternates."""
    found: list[tuple[Run, Run]] = []
    while len(found) < FEWEST or (len(found) < most and ratio(found).error > ERROR):
        seen = {path: one_run(port, worker, path) for path in ((one, two) if len(found) % 2 else (two, one))}
        found.append((seen[one], seen[two]))
    return found


def one_run(port: int, worker: int, path: str) -> Run:
    before = cpu_us(worker)
    requests, rate = load(port, path, SECONDS)
    return Run(rate, (cpu_us(worker) - before) / requests)


def load(port: int, path: str, seconds: int) -> tuple[int, float]:
    """Requests, and requests a second, of one run of wrk; every one must be answered well."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-H", "Host: app.test", "-H", "Accept-Encoding: gzip"]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/{path}"], capture_output=True, text=True, timeout=60, check=True
    )
    bad, count, rate = _BAD.search(done.stdout), _REQUESTS.search(done.stdout), _RATE.search(done.stdout)
    if bad or not count or not rate:
        raise SystemExit(f"/{path}: {bad[1] if bad else done.stdout}")
    return int(count[1]), float(rate[1])


def cpu_us(pid: int) -> float:
    """CPU time of a process so far, user and system, in microseconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_US


@contextlib.contextmanager
def started(binary: Path) -> Iterator[tuple[Nginx, int]]:
    """The proxy, with ``/ours`` as planned and applied, and its port; the upstream is a process of its own."""
    with contextlib.ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="bench-nginx-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        directory.chmod(0o755)
        pki = Pki(directory / "pki")
        pair, server = pki.leaf("client"), pki.leaf("up.test")
        port, tls, plain = free_ports(3)
        upstream = Nginx(binary, directory / "upstream" / "nginx.conf", directory / "upstream")
        proxy = Nginx(binary, directory / "proxy" / "nginx.conf", directory / "proxy")
        (directory / "page").write_text("<p>a line of a long page</p>\n" * PAGE_LINES)
        page = PAGE_LOCATION % directory
        body = UPSTREAM.format(plain=plain, tls=tls, pair=server, trust=pki.trust, body=BODY, page=page)
        write(upstream, body)
        min_timeout = "keepalive_min_timeout 5s;\n    " if proxy.capabilities().keepalive_min_timeout else ""
        ports = {"port": port, "tls": tls, "plain": plain}
        write(proxy, PROXY.format(min_timeout=min_timeout, pair=pair, trust=pki.trust, **ports))
        identity = Identity("client", str(pair.certificate), str(pair.key), str(pki.trust))
        wanted = [Declaration("app.test", "/ours", identity, name="up.test")]
        witnesses = Witnesses(str(directory / "witness"), {})
        include = str(directory / "proxy" / "troth")
        plan = make_plan(read_config(proxy), wanted, [identity], proxy.capabilities(), include, witnesses)
        apply_plan(plan, proxy, directory / "state", now=clock.now())
        for nginx in (upstream, proxy):
            nginx.start()
            stack.callback(nginx.stop)
        yield proxy, port


def write(nginx: Nginx, body: str) -> None:
    """A configuration with one worker and the given ``http`` block."""
    nginx.main.parent.mkdir(parents=True)
    text = frame(nginx.main.parent, body, workers=1).replace("error.log info", "error.log error")
    nginx.main.write_text(text.replace("events {}", "events { worker_connections 1024; }"))
