"""For each rule of `inspect` about behaviour a site that shows what the rule warns of, and the same site cured.

TLS stands for the directory of certificates, PORT2 for the port of the nginx that is the upstream.
"""

import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.nginx.causes import ASKS, GOOD, NAME, UP
from tests.nginx.reproducers import BOTH, CHECK, DIR, ID, VARIABLE, Prepare, gone, intermediate_first, nothing
from tests.nginx.spoilers import both, copied, readable, revoked, shown, stranger
from tests.rig.pki import HOUR, Pki
from troth.x509.pem import bundle_to_pem, parse_certificates

SERIAL = "return 200 $ssl_client_serial;"
REFUSED = "The SSL certificate error"


@dataclass(frozen=True)
class Site:
    """A request to `path` is answered with `status` and a text that `body` matches; `logged` is in the site's log.

    `lines` stand in the site's location, `inside` in that of the upstream, whose server begins with `up`. `spoil` makes
    the files bad before nginx starts; `later` does so after the paths of `first` were answered with 200.
    """

    lines: str = GOOD
    status: int = 200
    body: str = ""
    logged: str = ""
    up: str = UP + ASKS
    inside: str = SERIAL
    path: str = "/x"
    headers: dict[str, str] = field(default_factory=dict)
    first: tuple[str, ...] = ()
    later: Prepare = nothing
    spoil: Prepare = nothing
    target: str = "https://127.0.0.1:PORT2"
    more: str = ""


@dataclass(frozen=True)
class Symptom:
    """What is `bad` shows the symptom, and what is `good` does not."""

    bad: Site
    good: Site
    builds: tuple[str, ...] = BOTH
    root_only: bool = False


def pair(bad: Site, builds: tuple[str, ...] = BOTH, *, root_only: bool = False, **cure: object) -> Symptom:
    """The cure is what differs; the answer is a plain 200 unless it says so."""
    healed = {"status": 200, "body": "", "logged": "", **cure}
    return Symptom(bad, replace(bad, **healed), builds, root_only)  # type: ignore[arg-type]


def bundle_with(name: str) -> Prepare:
    """A bundle as an operating system has it: with our root among others, one of which issued for `name` too."""

    def write(directory: Path, pki: Pki) -> None:
        stranger(name)(directory, pki)
        roots = (directory / "foreign" / "ca.crt").read_bytes() + (directory / "ca.crt").read_bytes()
        (directory / "ca-bundle.crt").write_bytes(roots)

    return write


def root_ended(directory: Path, pki: Pki) -> None:
    """The root that is trusted is ours, but its time is over."""
    key = pki._root_key
    old = pki._sign("Test Root", key, "Test Root", key, length=1, shift=timedelta(days=-400))
    (directory / "ca.crt").write_text(bundle_to_pem([old]))


def ends_in(seconds: float) -> Prepare:
    return shown("client", shift=timedelta(seconds=seconds) - 24 * HOUR)


def until_ended(directory: Path, _: Pki) -> None:
    ends = parse_certificates((directory / "client.crt").read_bytes())[0].not_valid_after_utc
    time.sleep(max(0.0, (ends - datetime.now(UTC)).total_seconds()) + 1)


OFF = "proxy_ssl_session_reuse off;"
KEPT = 'proxy_http_version 1.1; proxy_set_header Connection "";'
POOL = "upstream pool { server 127.0.0.1:PORT2; keepalive 4; }\n"
COUNT = "return 200 $connection_requests;"
TLS12 = "proxy_ssl_protocols TLSv1.2;"
LEVEL = "ssl_protocols {}; ssl_ciphers ALL:@SECLEVEL=0;"
OLD_TLS = 'proxy_ssl_ciphers "ALL:@SECLEVEL=0"; proxy_ssl_protocols {};'
APP = "server { listen unix:TLS/app.sock; location / { return 200 $http_x_who; } }\n"
WHO = "proxy_set_header X-Who $ssl_client_s_dn;"
TO_APP = "proxy_pass http://unix:TLS/app.sock;"
SPOOF = {"X-Who": "CN=root"}
PASSED_OFF = both(copied("client.crt", "server.crt"), copied("client.key", "server.key"))
UPSTREAM = {
    "trust-unused": pair(
        Site(f"{ID} {NAME} proxy_ssl_trusted_certificate TLS/ca.crt;", up=UP, spoil=stranger("server")),
        lines=GOOD, status=502, logged="verify error: (20:",
    ),
    "crl-unused": pair(
        Site(
            f"{ID} {NAME} proxy_ssl_trusted_certificate TLS/ca.crt; proxy_ssl_crl TLS/crl.pem;",
            spoil=revoked("server", "crl.pem"),
        ),
        lines=f"{GOOD} proxy_ssl_crl TLS/crl.pem;", status=502, logged="verify error: (23:",
    ),
    "name-from-client": pair(
        Site(f"{ID} {CHECK} proxy_ssl_name $arg_n;", path="/x?n=client", spoil=PASSED_OFF),
        lines=f"{ID} {CHECK} proxy_ssl_name up.test;", status=502, logged='does not match "up.test"',
    ),
    "name-empty": pair(Site(f'{ID} {CHECK} proxy_ssl_name "";', 502, logged='does not match ""'), lines=GOOD),
    "name-is-uri": pair(
        Site(f"{ID} {CHECK} proxy_ssl_name spiffe://test/up;", 502, logged='does not match "spiffe"'), lines=GOOD
    ),
    "public-trust": pair(
        Site(GOOD.replace("ca.crt", "ca-bundle.crt"), up=UP, spoil=bundle_with("server")),
        lines=GOOD, status=502, logged="verify error: (20:",
    ),
    "authority-shown": pair(
        Site(f"{VARIABLE} {CHECK} {NAME}", 500, logged="key values mismatch", more=DIR,
             spoil=both(readable, intermediate_first)),
        spoil=readable,
    ),
    "expired-authority": pair(
        Site(GOOD, 502, logged="verify error: (10:", up=UP, spoil=root_ended), spoil=nothing
    ),
    "wrong-family": pair(
        Site(
            GOOD, 400, "No required SSL certificate", up=f"{UP.replace(' ssl;', ' ssl http2;')}{ASKS}",
            target="grpcs://127.0.0.1:PORT2",
        ),
        lines=GOOD.replace("proxy_", "grpc_"), body="^[0-9A-F]{8,}$",
    ),
    "half-variable": pair(
        Site(
            "set $f TLS/client; proxy_ssl_certificate $f.crt; proxy_ssl_certificate_key TLS/client.key;", 500,
            logged="Permission denied",
        ),
        root_only=True, lines=ID,
    ),
    "variable-uncached": pair(
        Site(
            f"{VARIABLE} {OFF}", 500, logged="No such file", more=DIR, spoil=readable, first=("/x",), later=gone
        ),
        ("bundled",), lines=f"{VARIABLE} {OFF} proxy_ssl_certificate_cache max=64 valid=10s;",
    ),
    "command-identity": pair(
        Site(
            f"{CHECK} {NAME} proxy_ssl_conf_command Certificate TLS/client.crt; "
            "proxy_ssl_conf_command PrivateKey TLS/client.key;", body="^[0-9A-F]{8,}$",
        ),
        lines=f"{CHECK} {NAME}", status=400, body="No required SSL certificate",
    ),
    "no-tls13": pair(
        Site(GOOD, 502, logged="SSL alert number 70", up=f"{UP}{ASKS} ssl_protocols TLSv1.3;"),
        ("system",), lines=f"{GOOD} proxy_ssl_protocols TLSv1.2 TLSv1.3;",
    ),
    "tls13-ciphers": pair(
        Site(
            f"{GOOD} proxy_ssl_protocols TLSv1.3; proxy_ssl_ciphers HIGH:TLS_CHACHA20_POLY1305_SHA256;",
            body="^TLS_AES_256_GCM_SHA384$", inside="return 200 $ssl_cipher;", up=f"{UP}{ASKS} ssl_protocols TLSv1.3;",
        ),
        lines=f"{GOOD} proxy_ssl_protocols TLSv1.3; "
        "proxy_ssl_conf_command Ciphersuites TLS_CHACHA20_POLY1305_SHA256;",
        body="^TLS_CHACHA20_POLY1305_SHA256$",
    ),
    "old-protocol": pair(
        Site(
            GOOD + OLD_TLS.format("TLSv1.1 TLSv1.2"), body="^TLSv1.1$", inside="return 200 $ssl_protocol;",
            up=UP + ASKS + LEVEL.format("TLSv1.1"),
        ),
        lines=GOOD + OLD_TLS.format("TLSv1.2 TLSv1.3"), status=502, logged="SSL alert number 70",
    ),
    "weak-ciphers": pair(
        Site(
            f"{GOOD} {TLS12} proxy_ssl_ciphers eNULL:ALL:@SECLEVEL=0;", body="-NULL-",
            inside="return 200 $ssl_cipher;", up=f"{UP}{ASKS} ssl_ciphers eNULL:@SECLEVEL=0;",
        ),
        lines=f"{GOOD} {TLS12} proxy_ssl_ciphers ECDHE+AESGCM:ECDHE+CHACHA20;", status=502,
        logged="SSL alert number 40",
    ),
    "no-keepalive": pair(
        Site(GOOD, body="^1$", first=("/x",), inside=COUNT),
        lines=f"{GOOD} {KEPT}", target="https://pool", more=POOL, body="^2$",
    ),
    "keepalive-unused": pair(
        Site(
            f"{GOOD} proxy_http_version 1.1; proxy_set_header Connection close;", body="^1$", first=("/x",),
            inside=COUNT, target="https://pool", more=POOL,
        ),
        lines=f"{GOOD} {KEPT}", body="^2$",
    ),
    "renewal-late": pair(
        Site(f"{GOOD} {OFF}", 400, REFUSED, spoil=ends_in(3), first=("/x",), later=until_ended), spoil=nothing,
        later=nothing,
    ),
}  # fmt: skip
SERVER = {
    "optional-unchecked": pair(
        Site(
            f"{CHECK} {NAME}", body="^who: $", inside='return 200 "who: $ssl_client_s_dn";',
            up=f"{UP}{ASKS.replace('client on', 'client optional')}",
        ),
        inside="if ($ssl_client_verify != SUCCESS) { return 403; }", status=403,
    ),
    "any-authority": pair(
        Site(
            GOOD, body="^CN=client$", inside='return 200 "$ssl_client_s_dn";', spoil=stranger("client"),
            up=f"{UP}{ASKS.replace('client on', 'client optional_no_ca')}",
        ),
        up=UP + ASKS, status=400, body=REFUSED,
    ),
    "spoofable-header": pair(
        Site(
            GOOD, body="^CN=root$", headers=SPOOF, inside=TO_APP, more=APP,
            up=f"{UP}{ASKS} location /y {{ {WHO} {TO_APP} }}",
        ),
        inside=f'proxy_set_header X-Who ""; {TO_APP}', body="^$",
    ),
    "dropped-header": pair(
        Site(
            GOOD, body="^CN=root$", headers=SPOOF, inside=f"proxy_set_header Host app.test; {TO_APP}", more=APP,
            up=f"{UP}{ASKS} {WHO}",
        ),
        inside=f"proxy_set_header Host app.test; {WHO} {TO_APP}", body="^CN=client$",
    ),
    "public-clients": pair(
        Site(GOOD, up=UP + ASKS.replace("ca.crt", "ca-bundle.crt"), spoil=bundle_with("client")),
        up=UP + ASKS, status=400, body=REFUSED,
    ),
    "long-sessions": pair(
        Site(
            f"{GOOD} {TLS12}", up=f"{UP}{ASKS} ssl_session_timeout 1d;", spoil=ends_in(3), first=("/x",),
            later=until_ended,
        ),
        up=f"{UP}{ASKS} ssl_session_timeout 1s;", status=400, body=REFUSED,
    ),
    "raw-certificate": pair(
        Site(
            GOOD, 400, "Bad Request", inside=f"proxy_set_header X-Who $ssl_client_raw_cert; {TO_APP}", more=APP
        ),
        inside=f"proxy_set_header X-Who $ssl_client_escaped_cert; {TO_APP}", body="^-----BEGIN%20CERTIFICATE",
    ),
    "days-left": pair(
        Site(GOOD, body="^0$", inside="return 200 $ssl_client_v_remain;", spoil=shown("client", shift=-HOUR)),
        inside="return 200 $ssl_client_v_end;", body="^[A-Z][a-z]{2} .* GMT$",
    ),
    "old-client-protocol": pair(
        Site(
            GOOD + OLD_TLS.format("TLSv1.1"), body="^TLSv1.1$", inside="return 200 $ssl_protocol;",
            up=UP + ASKS + LEVEL.format("TLSv1.1 TLSv1.2"),
        ),
        up=UP + ASKS + LEVEL.format("TLSv1.2 TLSv1.3"), status=502, logged="SSL alert number 70",
    ),
    "client-depth-zero": pair(
        Site(GOOD, 400, REFUSED, up=f"{UP}{ASKS.replace('depth 2', 'depth 0')}"), up=UP + ASKS
    ),
}  # fmt: skip
SYMPTOMS = UPSTREAM | SERVER
