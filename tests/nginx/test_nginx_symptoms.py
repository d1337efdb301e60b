"""What `inspect` warns of happens with a real nginx: each rule about behaviour is shown, here or by another test.

`ELSEWHERE` names the cause of the doctor whose reproducer shows it, or the test that does; `ADVICE` says why there is
nothing to show.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.nginx.causes import ALONE, ASKS, CASES, GOOD, NAME, SILENT, UP, Case
from tests.nginx.reproducers import CHECK, ID, Prepare, nothing
from tests.nginx.sites import make_certificates
from tests.nginx.spoilers import revoked, shown, stranger
from tests.nginx.test_nginx_doctor import Scene, scene
from tests.rig.nginx import programs, short_directory
from tests.rig.pki import CLIENT, HOUR, Pki
from troth.nginx.findings import RULES
from troth.x509.keys import parse_private_key
from troth.x509.pem import bundle_to_pem, parse_certificates

ELSEWHERE = {
    "verify-off": "unchecked-off",
    "name-is-group": "name-is-group",
    "name-is-address": "name-is-address",
    "depth-zero": "depth-too-small",
    "key-without-certificate": "shows-key-only",
    "split-pair": "key-inherited",
    "plain-upstream": "plain-to-tls",
    "variable-race": "variable-pair-mismatch",
    "identity-by-request": "other-by-request",
    "shared-identity": "other-shared",
    "shared-verification": "unchecked-shared",
    "shared-trust": "session-poisoned",
    "session-reuse": "old-session",
    "no-server-name": "server-name-not-sent",
    "host-differs": "misdirected",
    "relative-path": "file-missing",
    "reload-races": "tests/agent/test_agent_rotation_load.py",
    "keepalive-time": "old-connection",
    "all-peers": "peers-shut-out-by-refusals",
    "spoofable-header": "tests/nginx/test_nginx_client_auth_live.py",
    "dropped-header": "tests/nginx/test_nginx_client_auth_live.py",
    "unusable-file": "variable-names-nothing",
    "expired": "shows-expired",
    "not-yet-valid": "shows-future",
    "pair-mismatch": "variable-pair-mismatch",
    "no-client-purpose": "shows-purpose",
    "authority-shown": "leaf-not-first",
    "leaf-alone": "shows-leaf-only",
    "unreadable-by-workers": "key-unreadable-by-workers",
    "reload-pending": "old-not-reloaded",
    "no-root": "root-missing",
    "expired-authority": "upstream-authority-expired",
    "depth-too-small": "depth-too-small",
    "list-incomplete": "list-incomplete",
    "list-expired": "list-expired",
}
ADVICE = {
    "public-trust": "it is about who else may get a certificate of a public authority",
    "public-clients": "it is about who else may get a certificate of a public authority",
    "variable-uncached": "it is about processor time",
    "no-keepalive": "it is about processor time",
    "root-sent": "it is about bytes in a handshake",
    "old-protocol": "OpenSSL 3 speaks no TLS 1.1 at its default level",
    "old-client-protocol": "OpenSSL 3 speaks no TLS 1.1 at its default level",
    "weak-ciphers": "it is about ciphers that an upstream might choose",
    "renewal-late": "it is about what comes later",
    "chain-order": "OpenSSL finds its way; it is about programs that do not",
    "open-key": "it is about other accounts of the machine",
    "sha1-fingerprint": "it is about a hash that can be forged",
    "long-sessions": "it is about a client that comes back within a day",
    "session-across-servers": "it is CVE-2025-23419; no test here shows it",
    "shutdown-timeout": "it is what the directive is for",
}


@dataclass(frozen=True)
class Shown:
    """A request to `path` is answered with `status` and a text that `body` matches; `logged` is in the site's log."""

    lines: str
    status: int = 200
    body: str = ""
    logged: str = ""
    up: str = f"{UP}{ASKS}"
    says: str = "$ssl_client_serial"
    path: str = "/x"
    first: str = ""
    spoil: Prepare = nothing
    target: str = "https://127.0.0.1:PORT2"
    more: str = ""
    builds: tuple[str, ...] = ("bundled", "system")


UNASKED = UP
POOL = "upstream pool { server 127.0.0.1:PORT2; keepalive 4; }\n"
LIVE = {
    "trust-unused": Shown(
        f"{ID} {NAME} proxy_ssl_trusted_certificate TLS/ca.crt;", up=UNASKED, spoil=stranger("server")
    ),
    "crl-unused": Shown(
        f"{ID} {NAME} proxy_ssl_trusted_certificate TLS/ca.crt; proxy_ssl_crl TLS/crl.pem;",
        spoil=revoked("server", "crl.pem"),
    ),
    "name-from-client": Shown(f"{ID} {CHECK} proxy_ssl_name $arg_n;", path="/x?n=up.test"),
    "name-empty": Shown(f'{ID} {CHECK} proxy_ssl_name "";', 502, logged='does not match ""'),
    "name-is-uri": Shown(f"{ID} {CHECK} proxy_ssl_name spiffe://test/up;", 502, logged='does not match "spiffe"'),
    "wrong-family": Shown(
        GOOD, 400, "No required SSL certificate", up=f"{UP.replace(' ssl;', ' ssl http2;')}{ASKS}",
        target="grpcs://127.0.0.1:PORT2",
    ),
    "half-variable": Shown(
        "set $f TLS/client; proxy_ssl_certificate $f.crt; proxy_ssl_certificate_key TLS/client.key;", 500,
        logged="Permission denied",
    ),
    "no-tls13": Shown(
        GOOD, 502, logged="SSL alert number 70", up=f"{UP}{ASKS} ssl_protocols TLSv1.3;", builds=("system",)
    ),
    "tls13-ciphers": Shown(
        f"{GOOD} proxy_ssl_protocols TLSv1.3; proxy_ssl_ciphers HIGH:TLS_CHACHA20_POLY1305_SHA256;",
        body="^TLS_AES_256_GCM_SHA384$", says="$ssl_cipher", up=f"{UP}{ASKS} ssl_protocols TLSv1.3;",
    ),
    "command-identity": Shown(
        f"{CHECK} {NAME} proxy_ssl_conf_command Certificate TLS/client.crt; "
        "proxy_ssl_conf_command PrivateKey TLS/client.key;", body="^[0-9A-F]{8,}$",
    ),
    "keepalive-unused": Shown(
        f"{GOOD} proxy_http_version 1.1; proxy_set_header Connection close;", body="^1$", first="/x",
        says="$connection_requests", target="https://pool", more=POOL,
    ),
    "optional-unchecked": Shown(
        f"{CHECK} {NAME}", body="^NONE$", says="$ssl_client_verify",
        up=f"{UP}{ASKS.replace('client on', 'client optional')}",
    ),
    "any-authority": Shown(
        GOOD, body="^FAILED:.*CN=client$", says='"$ssl_client_verify $ssl_client_s_dn"', spoil=stranger("client"),
        up=f"{UP}{ASKS.replace('client on', 'client optional_no_ca')}",
    ),
    "raw-certificate": Shown(GOOD, body="\n\t", says='"$ssl_client_cert"'),
    "days-left": Shown(GOOD, body="^0$", says="$ssl_client_v_remain", spoil=shown("client", shift=-HOUR)),
    "client-depth-zero": Shown(GOOD, 400, "The SSL certificate error", up=f"{UP}{ASKS.replace('depth 2', 'depth 0')}"),
    "silent-refusals": Shown(
        GOOD, 400, "The SSL certificate error", up=f"{UP.replace('up.log info', 'up.log warn')}{ASKS}",
        spoil=shown("client", ended=True),
    ),
    "stale-time": Shown(GOOD, builds=("bundled",)),
}  # fmt: skip


@pytest.fixture(scope="module")
def pki() -> Iterator[Pki]:
    with short_directory("symptoms-pki") as directory:
        yield make_certificates(directory / "tls")


def test_every_rule_is_shown_somewhere_or_says_why_there_is_nothing_to_show() -> None:
    assert {rule.id for rule in RULES} == set(ELSEWHERE) | set(ADVICE) | set(LIVE)
    assert len(RULES) == len(ELSEWHERE) + len(ADVICE) + len(LIVE)
    for where in ELSEWHERE.values():
        known = where in CASES | ALONE | SILENT
        assert known or (Path(__file__).parents[2] / where).is_file(), where


@pytest.mark.parametrize("rule", sorted(LIVE))
@pytest.mark.parametrize("build", sorted(programs()))
def test_what_inspect_warns_of_happens(build: str, rule: str, pki: Pki) -> None:
    one = LIVE[rule]
    up = f"{one.up} location /x {{ return 200 {one.says}; }}"
    case = Case(one.lines, up=up, target=one.target, spoil=one.spoil, more=one.more, builds=one.builds)
    with scene(case, build, pki) as made:
        made.nginx.start()
        if one.first:
            made.get(one.first)
        status, body = made.get(one.path)
        assert (status, bool(re.search(one.body, body.decode()))) == (one.status, True), body
        assert one.logged in made.log.read_text()
        if rule == "silent-refusals":
            assert "client SSL certificate verify error" not in (made.directory / "tls" / "up.log").read_text()
        if rule == "name-from-client":
            assert made.get("/x?n=else.test")[0] == 502
        if rule == "stale-time":
            assert_stale(made.directory / "tls", body, made)


def assert_stale(tls: Path, before: bytes, made: Scene) -> None:
    """Another certificate of the same key, written in place with the old time: a reload keeps the old one."""
    path, old = tls / "client.crt", (tls / "client.crt").stat()
    leaf, intermediate = parse_certificates(path.read_bytes())
    key = parse_private_key((tls / "client.key").read_bytes())
    mine = made.pki
    new = mine._sign("client", key, "Test Intermediate", mine._key, purposes=(CLIENT,))
    path.write_text(bundle_to_pem([new, intermediate]))
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    made.nginx.reload()
    assert int(before, 16) == leaf.serial_number
    assert int(made.get("/x")[1], 16) == leaf.serial_number
    os.utime(path)
    made.nginx.reload()
    assert int(made.get("/x")[1], 16) == new.serial_number
