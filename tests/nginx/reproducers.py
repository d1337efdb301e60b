"""For each rule a configuration that shows what it finds, and the same one cured; ``#!`` marks the line of the finding.

TLS stands for the directory of certificates, PORT for a free port.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.rig.pki import CLIENT as CLIENT_AUTH
from tests.rig.pki import SERVER, Pki
from troth.x509.keys import generate_key
from troth.x509.pem import bundle_to_pem

BOTH = ("bundled", "system")
ID = "proxy_ssl_certificate TLS/client.crt; proxy_ssl_certificate_key TLS/client.key;"
CHECK = "proxy_ssl_verify on; proxy_ssl_trusted_certificate TLS/ca.crt;"
NAMED = f"{CHECK} proxy_ssl_name up.test;"
VARIABLE = "proxy_ssl_certificate $dir/client.crt; proxy_ssl_certificate_key $dir/client.key;"
DIR = "map $request_method $dir { default TLS; }\n"
Prepare = Callable[[Path, Pki], object]


def nothing(_: Path, __: Pki) -> None:
    """The files as they are are good."""


@dataclass(frozen=True)
class Reproducer:
    """`bad` triggers the rule, `good` does not; `spoil` makes the files bad, `cure` makes them good."""

    bad: str
    good: str
    builds: tuple[str, ...] = BOTH
    spoil: Prepare = nothing
    cure: Prepare = nothing
    head: str = ""
    root_only: bool = False


def site(lines: str, target: str = "proxy_pass https://127.0.0.1:1;", more: str = "") -> str:
    return f"{more}server {{\nlisten 127.0.0.1:PORT;\nlocation / {{\n{target}\n{lines}\n}}\n}}\n"


def two(first: str, second: str, target: str = "https://127.0.0.1:1", more: str = "") -> str:
    a = f"location /a {{\nproxy_pass {target};\n{first}\n}}\n"
    return f"{more}server {{\nlisten 127.0.0.1:PORT;\n{a}location /b {{\nproxy_pass {target};\n{second}\n}}\n}}\n"


def guarded(lines: str, inside: str = "return 204;", more: str = "") -> str:
    tls = "listen 127.0.0.1:PORT ssl;\nssl_certificate TLS/server.crt;\nssl_certificate_key TLS/server.key;\n"
    return f"{more}server {{\n{tls}{lines}\nlocation / {{\n{inside}\n}}\n}}\n"


def group(lines: str = "", name: str = "pool") -> str:
    return f"upstream {name} {{\nserver 127.0.0.1:1;\n{lines}\n}}\n"


ASKS = "ssl_client_certificate TLS/ca.crt;\nssl_verify_client on;"
TENANTS = "map $http_x_tenant $name { a client; default other; }\n"
TENANT = "proxy_ssl_certificate TLS/$name.crt; proxy_ssl_certificate_key TLS/$name.key;"
POOL = "proxy_pass https://pool;"
KEPT = 'proxy_http_version 1.1;\nproxy_set_header Connection "";\n'


def leaf(**fault: object) -> Prepare:
    """Another certificate for the client, with a fault."""

    def write(directory: Path, pki: Pki) -> None:
        pair = pki.leaf("client", file="made", **fault)  # type: ignore[arg-type]
        (directory / "client.crt").write_bytes(pair.certificate.read_bytes())
        (directory / "client.key").write_bytes(pair.key.read_bytes())

    return write


def _blocks(path: Path) -> list[bytes]:
    text = path.read_bytes()
    return [
        part + b"-----END CERTIFICATE-----\n" for part in text.split(b"-----END CERTIFICATE-----\n") if part.strip()
    ]


def first_block(directory: Path, _: Pki) -> None:
    """The client's certificate without its intermediate."""
    (directory / "client.crt").write_bytes(_blocks(directory / "client.crt")[0])


def turned(directory: Path, _: Pki) -> None:
    """The chain of the server, its root before its intermediate."""
    one, two = _blocks(directory / "client.crt")
    (directory / "client.crt").write_bytes(one + (directory / "ca.crt").read_bytes() + two)


def with_root(directory: Path, _: Pki) -> None:
    (directory / "client.crt").write_bytes(
        (directory / "client.crt").read_bytes() + (directory / "ca.crt").read_bytes()
    )


def intermediate_first(directory: Path, pki: Pki) -> None:
    one, two = _blocks(directory / "client.crt")
    (directory / "client.crt").write_bytes(two + one)


def intermediate_trusted(directory: Path, _: Pki) -> None:
    (directory / "ca.crt").write_bytes(_blocks(directory / "client.crt")[1])


def mode(file: str, bits: int) -> Prepare:
    return lambda directory, _: (directory / file).chmod(bits)


def old_time(directory: Path, _: Pki) -> None:
    moment = (datetime.now(UTC) - timedelta(days=30)).timestamp()
    os.utime(directory / "client.crt", (moment, moment))


def other_key(directory: Path, _: Pki) -> None:
    (directory / "client.key").write_bytes((directory / "other.key").read_bytes())


def gone(directory: Path, _: Pki) -> None:
    (directory / "client.crt").unlink()


def list_of_intermediate(directory: Path, pki: Pki) -> None:
    pki.crl(directory / "crl.pem")
    text = (directory / "crl.pem").read_text()
    (directory / "crl.pem").write_text(text[text.rindex("-----BEGIN") :])


def lists(days: int) -> Prepare:
    return lambda directory, pki: pki.crl(directory / "crl.pem", shift=timedelta(days=days))


def old_root(directory: Path, pki: Pki) -> None:
    """A root that ended last year beside the one of today."""
    key = generate_key()
    ended = pki._sign("Old Root", key, "Old Root", key, length=1, shift=timedelta(days=-400))
    (directory / "ca.crt").write_text(bundle_to_pem([pki.root, ended]))


def bundle(directory: Path, _: Pki) -> None:
    (directory / "ca-bundle.crt").write_bytes((directory / "ca.crt").read_bytes())


def today(directory: Path, pki: Pki) -> None:
    (directory / "ca.crt").write_text(bundle_to_pem([pki.root]))


def fresh(directory: Path, pki: Pki) -> None:
    leaf()(directory, pki)


VERIFICATION = {
    "verify-off": Reproducer(site(f"{ID}", "proxy_pass https://127.0.0.1:1; #!"), site(ID + NAMED)),
    "trust-unused": Reproducer(site("proxy_ssl_trusted_certificate TLS/ca.crt; #!"), site(NAMED)),
    "crl-unused": Reproducer(site("proxy_ssl_crl TLS/crl.pem; #!"), site(f"proxy_ssl_crl TLS/crl.pem;{NAMED}")),
    "name-is-group": Reproducer(site(CHECK, f"{POOL} #!", group()), site(NAMED, POOL, group())),
    "name-is-address": Reproducer(site(CHECK, "proxy_pass https://127.0.0.1:1; #!"), site(NAMED)),
    "name-from-client": Reproducer(
        site(f"{CHECK}\nproxy_ssl_name $wanted; #!", more="map $http_x_up $wanted { a a.test; default b.test; }\n"),
        site(f"{CHECK}\nproxy_ssl_name $wanted;", more="map $http_x_up $wanted { default b.test; }\n"),
    ),
    "name-empty": Reproducer(site(f'{CHECK}\nproxy_ssl_name ""; #!'), site(NAMED)),
    "name-is-uri": Reproducer(site(f"{CHECK}\nproxy_ssl_name spiffe://test/up; #!"), site(NAMED)),
    "depth-zero": Reproducer(site(f"{NAMED}\nproxy_ssl_verify_depth 0; #!"), site(f"{NAMED}proxy_ssl_verify_depth 2;")),
    "public-trust": Reproducer(
        site(f"{ID} proxy_ssl_verify on;\nproxy_ssl_trusted_certificate TLS/ca-bundle.crt; #!"),
        site(ID + CHECK),
        spoil=bundle,
    ),
}
IDENTITY = {
    "key-without-certificate": Reproducer(site("proxy_ssl_certificate_key TLS/client.key; #!"), site(ID)),
    "split-pair": Reproducer(
        site("proxy_ssl_certificate TLS/client.crt; #!", more="proxy_ssl_certificate_key TLS/client.key;\n"), site(ID)
    ),
    "plain-upstream": Reproducer(
        site(
            "proxy_ssl_certificate TLS/client.crt; #!\nproxy_ssl_certificate_key x;", "proxy_pass http://127.0.0.1:1;"
        ),
        site(ID),
    ),
    "wrong-family": Reproducer(
        site(
            "proxy_ssl_certificate TLS/client.crt; #!\nproxy_ssl_certificate_key TLS/client.key;",
            "grpc_pass grpcs://127.0.0.1:1;",
        ),
        site(ID.replace("proxy_", "grpc_"), "grpc_pass grpcs://127.0.0.1:1;"),
    ),
    "variable-race": Reproducer(site(VARIABLE.replace(".crt; ", ".crt; #!\n"), more=DIR), site(ID), builds=("system",)),
    "variable-uncached": Reproducer(
        site(VARIABLE.replace(".crt; ", ".crt; #!\n"), more=DIR),
        site(VARIABLE + "proxy_ssl_certificate_cache max=4;", more=DIR),
        builds=("bundled",),
    ),
    "half-variable": Reproducer(
        site("proxy_ssl_certificate $dir/client.crt;\nproxy_ssl_certificate_key TLS/client.key; #!", more=DIR),
        site(VARIABLE, more=DIR),
    ),
    "identity-by-request": Reproducer(
        site(
            "proxy_ssl_certificate TLS/$name.crt; #!\nproxy_ssl_certificate_key TLS/$name.key;", POOL, TENANTS + group()
        ),
        site(f"proxy_ssl_session_reuse off; {TENANT}", more=TENANTS),
    ),
}
SHARING = {
    "shared-identity": Reproducer(
        two(ID, "").replace("https://127.0.0.1:1;\n\n", "https://127.0.0.1:1; #!\n\n"),
        two(f"{ID} proxy_ssl_session_reuse off;", "proxy_ssl_session_reuse off;"),
    ),
    "shared-verification": Reproducer(
        two(NAMED, "proxy_ssl_session_reuse off;", "https://pool", group("keepalive 4;")).replace(
            "pool;\nproxy_ssl_session_reuse", "pool; #!\nproxy_ssl_session_reuse"
        ),
        two(NAMED, NAMED, "https://pool", group("keepalive 4;")),
    ),
    "shared-trust": Reproducer(
        two(f"{CHECK} proxy_ssl_name a.test;", f"{CHECK}\nproxy_ssl_name b.test; #!"),
        two(f"{CHECK} proxy_ssl_name a.test; proxy_ssl_session_reuse off;", f"{CHECK} proxy_ssl_name b.test;"),
    ),
    "session-reuse": Reproducer(
        site(f"{ID}\nproxy_ssl_session_reuse on; #!"), site(f"{ID} proxy_ssl_session_reuse off;")
    ),
}
HANDSHAKE = {
    "no-server-name": Reproducer(site("proxy_ssl_server_name off; #!"), site("proxy_ssl_server_name on;")),
    "no-tls13": Reproducer(
        site("", "proxy_pass https://127.0.0.1:1; #!"), site("proxy_ssl_protocols TLSv1.2 TLSv1.3;"), builds=("system",)
    ),
    "old-protocol": Reproducer(site("proxy_ssl_protocols TLSv1.1 TLSv1.2; #!"), site("proxy_ssl_protocols TLSv1.2;")),
    "weak-ciphers": Reproducer(site("proxy_ssl_ciphers ALL:!aNULL; #!"), site("proxy_ssl_ciphers HIGH:!aNULL:!MD5;")),
    "tls13-ciphers": Reproducer(
        site("proxy_ssl_ciphers HIGH:TLS_AES_256_GCM_SHA384; #!"),
        site("proxy_ssl_conf_command Ciphersuites TLS_AES_256_GCM_SHA384;"),
    ),
    "host-differs": Reproducer(
        site("proxy_set_header Host a.test; #!\nproxy_ssl_server_name on; proxy_ssl_name b.test;"),
        site("proxy_set_header Host b.test; proxy_ssl_server_name on; proxy_ssl_name b.test;"),
    ),
    "command-identity": Reproducer(
        site("proxy_ssl_conf_command Certificate TLS/client.crt; #!"),
        site("proxy_ssl_conf_command MinProtocol TLSv1.2;"),
    ),
    "relative-path": Reproducer(site("proxy_ssl_trusted_certificate tls/ca.crt; #!"), site(NAMED)),
}
ROTATION = {
    "reload-races": Reproducer(site(ID), site(ID, more="keepalive_min_timeout 5s;"), builds=("bundled",)),
    "shutdown-timeout": Reproducer(site(ID), site(ID), head="worker_shutdown_timeout 2s; #!\n"),
    "keepalive-time": Reproducer(
        site(ID, POOL, group("keepalive 4;\nkeepalive_time 2h; #!")),
        site(ID, POOL, group("keepalive 4; keepalive_time 5m;")),
    ),
    "keepalive-unused": Reproducer(
        site("proxy_set_header Connection close; #!\nproxy_http_version 1.1;", POOL, group("keepalive 4;")),
        site(KEPT, POOL, group("keepalive 4;")),
    ),
    "no-keepalive": Reproducer(
        site(ID, "proxy_pass https://127.0.0.1:1; #!"), site(ID + KEPT, POOL, group("keepalive 4;"))
    ),
    "all-peers": Reproducer(
        site(ID, POOL, "upstream pool { #!\nserver 127.0.0.1:1; server 127.0.0.1:2; }\n"),
        site(ID, POOL, "upstream pool { server 127.0.0.1:1 max_fails=0; server 127.0.0.1:2 max_fails=0; }\n"),
    ),
}
GUARDS = {
    "optional-unchecked": Reproducer(
        guarded("ssl_client_certificate TLS/ca.crt;\nssl_verify_client optional; #!"),
        guarded(
            "ssl_client_certificate TLS/ca.crt; ssl_verify_client optional;",
            "if ($let_in = no) { return 403; }",
            "map $ssl_client_verify $let_in { SUCCESS yes; default no; }\n",
        ),
    ),
    "any-authority": Reproducer(
        guarded("ssl_client_certificate TLS/ca.crt;\nssl_verify_client optional_no_ca; #!"),
        guarded(
            "ssl_client_certificate TLS/ca.crt; ssl_verify_client optional_no_ca;",
            "proxy_pass http://127.0.0.1:1; proxy_set_header X-Verify $ssl_client_verify;",
        ),
    ),
    "spoofable-header": Reproducer(
        guarded(ASKS, "proxy_pass http://127.0.0.1:1; proxy_set_header X-Who $ssl_client_s_dn;")
        + site("", "proxy_pass http://127.0.0.1:1; #!").replace("PORT", "PORT2"),
        guarded(ASKS, "proxy_pass http://127.0.0.1:1; proxy_set_header X-Who $ssl_client_s_dn;")
        + site('proxy_set_header X-Who "";', "proxy_pass http://127.0.0.1:1;").replace("PORT", "PORT2"),
    ),
    "dropped-header": Reproducer(
        guarded(
            f"{ASKS} proxy_set_header X-Who $ssl_client_s_dn;",
            "proxy_set_header Host app.test; #!\nproxy_pass http://127.0.0.1:1;",
        ),
        guarded(
            f"{ASKS} proxy_set_header X-Who $ssl_client_s_dn;",
            "proxy_set_header Host app.test; proxy_set_header X-Who $ssl_client_s_dn; proxy_pass http://127.0.0.1:1;",
        ),
    ),
    "public-clients": Reproducer(
        guarded("ssl_client_certificate TLS/ca-bundle.crt; #!\nssl_verify_client on;"), guarded(ASKS), spoil=bundle
    ),
    "session-across-servers": Reproducer(
        guarded(ASKS + " #!") + guarded("server_name other.test;"), guarded(ASKS) + guarded(ASKS), builds=("system",)
    ),
    "long-sessions": Reproducer(
        guarded(f"{ASKS}\nssl_session_timeout 1d; #!"),
        guarded(f"{ASKS} ssl_session_timeout 1d; ssl_session_tickets off;"),
    ),
    "raw-certificate": Reproducer(
        guarded(ASKS, "proxy_pass http://127.0.0.1:1;\nproxy_set_header X-Cert $ssl_client_cert; #!"),
        guarded(ASKS, "proxy_pass http://127.0.0.1:1; proxy_set_header X-Cert $ssl_client_escaped_cert;"),
    ),
    "days-left": Reproducer(
        guarded(ASKS, "add_header X-Left $ssl_client_v_remain; #!"),
        guarded(ASKS, "add_header X-End $ssl_client_v_end;"),
    ),
    "old-client-protocol": Reproducer(
        guarded(f"{ASKS}\nssl_protocols TLSv1 TLSv1.2; #!"), guarded(f"{ASKS} ssl_protocols TLSv1.2 TLSv1.3;")
    ),
    "client-depth-zero": Reproducer(guarded(f"{ASKS}\nssl_verify_depth 0; #!"), guarded(f"{ASKS} ssl_verify_depth 2;")),
    "sha1-fingerprint": Reproducer(
        guarded(ASKS, more="map $ssl_client_fingerprint $who { #!\ndefault nobody; }\n"),
        guarded(ASKS, more="map $ssl_client_s_dn $who { default nobody; }\n"),
    ),
    "silent-refusals": Reproducer(
        guarded(f"{ASKS}\nerror_log stderr warn; #!"), guarded(f"{ASKS} error_log stderr info;")
    ),
}
CLIENT = site("proxy_ssl_certificate TLS/client.crt; #!\nproxy_ssl_certificate_key TLS/client.key;")
SHOWN = site(f"proxy_ssl_certificate $dir/client.crt; #!\nproxy_ssl_certificate_key $dir/client.key; {CHECK}", more=DIR)
PAIRS = {
    "unusable-file": Reproducer(SHOWN, SHOWN, spoil=gone, cure=fresh),
    "expired": Reproducer(CLIENT, CLIENT, spoil=leaf(ended=True), cure=fresh),
    "not-yet-valid": Reproducer(CLIENT, CLIENT, spoil=leaf(shift=timedelta(hours=3)), cure=fresh),
    "renewal-late": Reproducer(CLIENT, CLIENT, spoil=leaf(shift=timedelta(hours=-22)), cure=fresh),
    "pair-mismatch": Reproducer(SHOWN, SHOWN, spoil=other_key, cure=fresh),
    "no-client-purpose": Reproducer(CLIENT, CLIENT, spoil=leaf(purposes=(SERVER,)), cure=leaf(purposes=(CLIENT_AUTH,))),
    "authority-shown": Reproducer(SHOWN, SHOWN, spoil=intermediate_first, cure=fresh),
    "leaf-alone": Reproducer(SHOWN, SHOWN, spoil=first_block, cure=fresh),
    "chain-order": Reproducer(CLIENT, CLIENT, spoil=turned, cure=fresh),
    "root-sent": Reproducer(CLIENT, CLIENT, spoil=with_root, cure=fresh),
    "open-key": Reproducer(
        site("proxy_ssl_certificate TLS/client.crt;\nproxy_ssl_certificate_key TLS/client.key; #!"), site(ID),
        spoil=mode("client.key", 0o644), cure=mode("client.key", 0o600),
    ),
    "unreadable-by-workers": Reproducer(
        site("proxy_ssl_certificate $dir/client.crt;\nproxy_ssl_certificate_key $dir/client.key; #!", more=DIR),
        site(VARIABLE, more=DIR), spoil=mode("client.key", 0o600), cure=mode("client.key", 0o644), root_only=True,
    ),
    "stale-time": Reproducer(CLIENT, CLIENT, builds=("bundled",), spoil=old_time, cure=fresh),
}  # fmt: skip
TRUSTED = site("proxy_ssl_verify on; proxy_ssl_name up.test;\nproxy_ssl_trusted_certificate TLS/ca.crt; #!")
LISTED = site(f"{NAMED}\nproxy_ssl_crl TLS/crl.pem; #!")
AUTHORITIES = {
    "no-root": Reproducer(TRUSTED, TRUSTED, spoil=intermediate_trusted, cure=today),
    "expired-authority": Reproducer(TRUSTED, TRUSTED, spoil=old_root, cure=today),
    "depth-too-small": Reproducer(
        site(f"{ID}{NAMED}\nproxy_ssl_verify_depth 0; #!"), site(f"{ID}{NAMED}\nproxy_ssl_verify_depth 1;")
    ),
    "list-incomplete": Reproducer(LISTED, LISTED, spoil=list_of_intermediate, cure=lists(0)),
    "list-expired": Reproducer(LISTED, LISTED, spoil=lists(-7), cure=lists(0)),
}
REPRODUCERS = VERIFICATION | IDENTITY | SHARING | HANDSHAKE | ROTATION | GUARDS | PAIRS | AUTHORITIES
