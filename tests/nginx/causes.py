"""For each cause that the doctor knows a site that has it, and the same site cured.

TLS stands for the directory of certificates, PORT for the site's port, PORT2 for that of an nginx that is the
upstream, ODD for that of another upstream.
"""

import ssl
from dataclasses import dataclass

from tests.nginx import odd_upstreams as odd
from tests.nginx.reproducers import (
    BOTH,
    CHECK,
    ID,
    Prepare,
    intermediate_first,
    intermediate_trusted,
    list_of_intermediate,
    mode,
    nothing,
)
from tests.nginx.spoilers import (
    after,
    both,
    copied,
    cut,
    days,
    der,
    encrypted,
    foreign_root,
    intermediate_ended,
    readable,
    revoked,
    rsa_1024,
    self_signed,
    shown,
    stranger,
    text,
    with_own_root,
)
from tests.rig.pki import CLIENT, HOUR, SERVER
from troth.nginx.diagnosis.silence import OLD, OTHER, UNCHECKED

NAME = "proxy_ssl_name up.test; proxy_ssl_server_name on; proxy_set_header Host up.test;"
UP = (
    "listen 127.0.0.1:PORT2 ssl; server_name up.test; error_log TLS/up.log info; "
    "ssl_certificate TLS/server.crt; ssl_certificate_key TLS/server.key;"
)
ASKS = "ssl_client_certificate TLS/ca.crt; ssl_verify_client on; ssl_verify_depth 2;"
GOOD = f"{ID} {CHECK} {NAME}"
ODD = "https://127.0.0.1:ODD"
ALL_TLS = "proxy_ssl_protocols TLSv1.2 TLSv1.3;"


@dataclass(frozen=True)
class Case:
    """`bad` in the location shows the symptom, `good` cures it; `up` is the upstream's server.

    `spoil` makes the files bad before nginx starts, `later` while it runs; `first` are paths that are asked before.
    `upstream` serves whoever names ODD; with `heals` the cured site too. With `reloaded` the cure is a reload of the
    running site. `status` is what the client gets where it is not what the rule says.
    """

    bad: str
    good: str = GOOD
    up: str = UP + ASKS
    target: str = "https://127.0.0.1:PORT2"
    spoil: Prepare = nothing
    more: str = ""
    around: str = ""
    builds: tuple[str, ...] = BOTH
    upstream: odd.Upstream | None = None
    heals: bool = False
    first: tuple[str, ...] = ()
    later: Prepare = nothing
    reloaded: bool = False
    status: int | None = None
    root_only: bool = False


def refused(lines: str = "", **more: object) -> Case:
    """nginx does not take it."""
    return Case(f"{GOOD} {lines}", **more)  # type: ignore[arg-type]


def spoilt(spoil: Prepare, **more: object) -> Case:
    """The configuration is good, a file is not."""
    return Case(GOOD, spoil=spoil, **more)  # type: ignore[arg-type]


def strict(spoil: Prepare = nothing, lines: str = GOOD, *, server: odd.Upstream | None = None, **more: object) -> Case:
    """The upstream refuses in the handshake."""
    server = server or odd.strict()
    good = f"{GOOD} {ALL_TLS}"
    return Case(f"{lines} {ALL_TLS}", good, target=ODD, spoil=spoil, upstream=server, heals=True, **more)  # type: ignore[arg-type]


def broken(upstream: odd.Upstream, lines: str = GOOD, **more: object) -> Case:
    """The upstream itself is at fault, and the cured site has another."""
    return Case(f"{lines} proxy_connect_timeout 1s; proxy_read_timeout 1s;", target=ODD, upstream=upstream, **more)  # type: ignore[arg-type]


def told(alert: int) -> Case:
    """The upstream sends this alert to everybody."""
    return Case(GOOD, target=ODD, upstream=odd.strict(alert=alert))


CHOICE = 'map $http_x_tenant $choice { default ""; a TLS/client; }\n'
EMPTY = "proxy_ssl_certificate $choice; proxy_ssl_certificate_key $choice;"
KEY = "proxy_ssl_certificate_key TLS/client.key;"
VARIABLE = "set $f TLS/client; proxy_ssl_certificate $f.crt; proxy_ssl_certificate_key $f.key;"
TLS12, TLS13 = "ssl_protocols TLSv1.2;", "ssl_protocols TLSv1.3;"
POOL = "upstream pool { server 127.0.0.1:PORT2; }\n"

REFUSED = {
    "key-inherited": Case(
        f"proxy_ssl_certificate TLS/client.crt; {CHECK} {NAME}", more="proxy_ssl_certificate_key TLS/other.key;\n"
    ),
    "leaf-not-first": spoilt(intermediate_first),
    "pair-mismatch": Case(f"proxy_ssl_certificate TLS/client.crt; proxy_ssl_certificate_key TLS/other.key; {NAME}"),
    "key-encrypted": spoilt(encrypted),
    "password-wrong": refused("proxy_ssl_password_file TLS/words;", spoil=encrypted),
    "key-not-named": Case("proxy_ssl_certificate TLS/client.crt;"),
    "certificate-emptied": Case(f'proxy_ssl_certificate ""; {CHECK} {NAME}', more=f"{ID}\n", builds=("system",)),
    "variable-in-trust": Case("set $ca x; proxy_ssl_verify on; proxy_ssl_trusted_certificate TLS/$ca;"),
    "list-missing-file": refused("proxy_ssl_crl TLS/gone.pem;"),
    "file-missing": Case("proxy_ssl_certificate TLS/gone.crt; proxy_ssl_certificate_key TLS/client.key;"),
    "file-empty": spoilt(text("client.crt", "")),
    "files-swapped": Case("proxy_ssl_certificate TLS/client.key; proxy_ssl_certificate_key TLS/client.crt;"),
    "file-der": spoilt(der),
    "no-pem": spoilt(text("client.crt", "hello\n")),
    "pem-broken": spoilt(cut("client.crt")),
    "key-too-small": spoilt(rsa_1024),
    "trust-not-named": Case("proxy_ssl_verify on;"),
    "clients-authority-missing": Case(GOOD, up=UP + "ssl_verify_client on;"),
    "server-certificate-missing": Case(GOOD, up="listen 127.0.0.1:PORT2 ssl;"),
    "cipher-unknown": refused("proxy_ssl_ciphers TLS_AES_256_GCM_SHA384;"),
    "conf-command-refused": refused("proxy_ssl_conf_command Groups nonsense;"),
    "directive-newer": refused("proxy_ssl_certificate_cache max=4;", builds=("system",)),
    "directive-of-plus": refused("proxy_ssl_key_log TLS/keys;"),
    "no-tls-in-module": refused("fastcgi_ssl_verify on;"),
    "module-missing": refused("brotli on;"),
    "directive-misspelt": refused("proxy_ssl_certifcate x;"),
    "value-invalid": refused("proxy_ssl_protocols TLSv9;"),
    "directive-twice": refused("proxy_ssl_verify on;"),
    "wrong-level": refused("upstream x { server 127.0.0.1:1; }"),
    "upstream-unresolved": Case(GOOD, target="https://nowhere.invalid"),
    "include-missing": refused("include TLS/gone.conf;"),
    "not-terminated": refused("proxy_ssl_verify_depth 2"),
}
THEIRS = {
    "they-got-none": Case(f"{CHECK} {NAME}"),
    "they-say-expired": spoilt(shown("client", ended=True)),
    "they-say-future": spoilt(shown("client", shift=5 * HOUR)),
    "they-say-stranger": spoilt(stranger("client")),
    "they-say-leaf-only": spoilt(shown("client", leaf_only=True)),
    "they-say-self-signed": spoilt(self_signed("client")),
    "they-say-purpose": spoilt(shown("client", purposes=(SERVER,))),
    "they-miss-a-list": spoilt(list_of_intermediate, up=f"{UP} {ASKS} ssl_crl TLS/crl.pem;"),
    "they-have-an-old-list": spoilt(days(-9), up=f"{UP} {ASKS} ssl_crl TLS/crl.pem;"),
    "they-say-revoked": spoilt(revoked("client", "crl.pem"), up=f"{UP} {ASKS} ssl_crl TLS/crl.pem;"),
    "they-cannot-ask": Case(GOOD, up=f"{UP} {ASKS} ssl_ocsp on; ssl_ocsp_responder http://127.0.0.1:1/;"),
    "they-share-no-cipher": Case(f"{GOOD} proxy_ssl_ciphers RSA;", up=f"{UP} {ASKS} {TLS12}", status=502),
}
PEERS = {
    "upstream-expired": spoilt(shown("server", ended=True)),
    "upstream-authority-expired": spoilt(intermediate_ended),
    "upstream-future": spoilt(shown("server", shift=5 * HOUR)),
    "depth-too-small": refused("proxy_ssl_verify_depth 0;"),
    "upstream-leaf-only": spoilt(shown("server", leaf_only=True)),
    "authority-unknown": spoilt(foreign_root, up=UP),
    "root-missing": refused("proxy_ssl_verify_depth 2;", up=UP, spoil=intermediate_trusted),
    "upstream-self-signed": spoilt(self_signed("server"), up=UP),
    "root-untrusted": spoilt(with_own_root, up=UP),
    "upstream-purpose": spoilt(shown("server", purposes=(CLIENT,))),
    "list-incomplete": refused("proxy_ssl_crl TLS/crl.pem;", spoil=list_of_intermediate),
    "list-expired": refused("proxy_ssl_crl TLS/crl.pem;", spoil=days(-9)),
    "upstream-revoked": refused("proxy_ssl_crl TLS/crl.pem;", spoil=revoked("server", "crl.pem")),
    "name-is-address": Case(f"{ID} {CHECK}"),
    "name-is-group": Case(f"{ID} {CHECK}", target="https://pool", more=POOL),
    "name-wrong": Case(f"{ID} {CHECK} proxy_ssl_name else.test;"),
    "session-poisoned": Case(
        f"{GOOD} {TLS12.replace('ssl_', 'proxy_ssl_')}",
        f"{GOOD} proxy_ssl_session_reuse off;",
        around=f"location /bad {{ proxy_pass https://127.0.0.1:PORT2; {ID} {NAME} proxy_ssl_protocols TLSv1.2; "
        "proxy_ssl_verify on; proxy_ssl_trusted_certificate TLS/foreign.crt; }\n",
        up=f"{UP} {ASKS} {TLS12}", first=("/bad",),
    ),
    "trust-in-memory": Case(
        GOOD, spoil=both(copied("ca.crt", "good.crt"), foreign_root), up=UP,
        later=both(after(1.2), copied("good.crt", "ca.crt")),
        reloaded=True,
    ),
}  # fmt: skip
H2 = f"{UP.replace(' ssl;', ' ssl http2;')} {ASKS}"
REFUSALS = {
    "client-none-12": strict(lines=f"{CHECK} {NAME}", server=odd.strict(tls12=True)),
    "no-common-cipher": Case(f"{GOOD} proxy_ssl_ciphers RSA;", up=f"{UP} {ASKS} {TLS12}"),
    "client-none": strict(lines=f"{CHECK} {NAME}"),
    "client-unusable": Case(f"{GOOD} {ALL_TLS}", target=ODD, upstream=odd.signing_with_rsa_only),
    "client-none-chosen": strict(lines=f"{EMPTY} {CHECK} {NAME}", more=CHOICE),
    "client-expired": strict(shown("client", ended=True)),
    "client-old-in-memory": strict(
        both(copied("client.crt", "good.crt"), copied("client.key", "good.key"), shown("client", ended=True)),
        later=both(copied("good.crt", "client.crt"), copied("good.key", "client.key")), reloaded=True,
    ),
    "client-future": strict(shown("client", shift=5 * HOUR)),
    "client-bad": told(ssl.ALERT_DESCRIPTION_BAD_CERTIFICATE),
    "client-leaf-only": strict(shown("client", leaf_only=True)),
    "client-authority-unknown": strict(stranger("client")),
    "client-purpose": strict(shown("client", purposes=(SERVER,))),
    "client-revoked": strict(revoked("client", "theirs.pem"), server=odd.strict(lists=True)),
    "client-unknown-reason": told(ssl.ALERT_DESCRIPTION_CERTIFICATE_UNKNOWN),
    "protocol-version": Case(f"{GOOD} proxy_ssl_protocols TLSv1.2;", up=f"{UP} {ASKS} {TLS13}"),
    "server-name-not-sent": Case(
        f"{ID} {CHECK} proxy_ssl_name up.test;",
        up=f"{UP} {ASKS} }} server {{ listen 127.0.0.1:PORT2 ssl default_server; ssl_reject_handshake on;",
    ),
    "server-name-unknown": Case(
        GOOD.replace("ssl_name up.test", "ssl_name else.test"),
        up=f"{UP} {ASKS} }} server {{ listen 127.0.0.1:PORT2 ssl default_server; ssl_reject_handshake on;",
    ),
    "no-http2": Case(
        GOOD.replace("proxy_", "grpc_"), GOOD.replace("proxy_", "grpc_"), target="grpcs://127.0.0.1:PORT2"
    ),
    "upstream-plain": Case(GOOD, up="listen 127.0.0.1:PORT2;"),
    "reset-by-network": broken(odd.resetting),
    "alert-internal": Case(
        f"{ID} {CHECK} proxy_ssl_name up.test;",
        up=f"{UP.replace('server.crt', '$ssl_server_name.crt').replace('server.key', '$ssl_server_name.key')} {ASKS}",
        spoil=both(copied("server.crt", "up.test.crt"), copied("server.key", "up.test.key"), readable),
    ),
    "alert-denied": told(ssl.ALERT_DESCRIPTION_ACCESS_DENIED),
    "alert-signature": Case(
        f"{GOOD} proxy_ssl_protocols TLSv1.2;", target=ODD, upstream=odd.through_a_box(odd.strict())
    ),
}  # fmt: skip
TWO = "upstream pool { server 127.0.0.1:ODD; server 127.0.0.1:ODD; }\n"
GONE = "upstream pool { server 127.0.0.1:1; server 127.0.0.2:1; }\n"
BIG = " ".join(f'add_header X-{n} "{"x" * 3000}";' for n in range(6))
CONNECTIONS = {
    "variable-pair-mismatch": Case(
        f"set $f TLS/client; proxy_ssl_certificate $f.crt; proxy_ssl_certificate_key TLS/other.key; {CHECK} {NAME}",
        spoil=readable,
    ),
    "variable-names-nothing": Case(
        f"set $f TLS/gone; proxy_ssl_certificate $f.crt; proxy_ssl_certificate_key $f.key; {CHECK} {NAME}"
    ),
    "key-unreadable-by-workers": Case(f"{VARIABLE} {CHECK} {NAME}", root_only=True),
    "variable-file-broken": Case(f"{VARIABLE} {CHECK} {NAME}", spoil=both(readable, text("client.crt", ""))),
    "variable-key-encrypted": Case(f"{VARIABLE} {CHECK} {NAME}", spoil=both(encrypted, readable)),
    "refused-connection": Case(GOOD, target="https://127.0.0.1:1"),
    "no-route": Case(GOOD, target="https://127.255.255.255:443"),
    "socket-missing": Case(GOOD, target="https://unix:/nonexistent/up.sock:"),
    "socket-denied": Case(
        GOOD, target="https://unix:TLS/up.sock:", up=UP.replace("127.0.0.1:PORT2", "unix:TLS/up.sock"),
        later=mode("up.sock", 0o600), root_only=True,
    ),
    "connect-timeout": broken(odd.full),
    "handshake-with-plain-server": broken(odd.http_alone),
    "handshake-timeout": broken(odd.waiting),
    "closed-in-handshake": broken(odd.hanging_up),
    "answer-timeout": Case(
        f"{GOOD} proxy_read_timeout 1s;", up=f"{UP} {ASKS} location /x {{ proxy_pass http://127.0.0.1:ODD; }}",
        upstream=odd.waiting,
    ),
    "closed-before-answer": Case(GOOD, up=f"{UP} {ASKS} location /x {{ return 444; }}"),
    "peers-shut-out-by-refusals": Case(
        GOOD, target="https://pool", more=TWO, spoil=shown("client", ended=True), upstream=odd.strict(), heals=True,
        first=("/x",),
    ),
    "peers-down": Case(GOOD, target="https://pool", more=GONE, first=("/x",)),
    "peers-waited-for": Case(
        GOOD, target="https://pool", more=TWO, upstream=odd.ill_at_first(2, odd.strict()), first=("/x",), reloaded=True
    ),
    "resolver-missing": refused("set $up up.invalid;", target="https://$up"),
    "name-unresolved": Case(
        f"{GOOD} set $up up.test; resolver 127.0.0.1:ODD; resolver_timeout 1s;", target="https://$up",
        upstream=odd.names_nobody,
    ),
    "header-too-big": Case(GOOD, up=f"{UP} {ASKS} {BIG}"),
    "not-http": Case(
        GOOD.replace("proxy_", "grpc_"), GOOD.replace("proxy_", "grpc_"), target="grpcs://127.0.0.1:ODD",
        upstream=odd.strict(answer=b"HTTP/1.1 400 \r\n"),
    ),
}  # fmt: skip
BARE = f"location /bare {{ proxy_pass https://127.0.0.1:PORT2; {CHECK} {NAME} }}\n"
ANSWERS = {
    "shows-key-only": Case(f"{CHECK} {NAME} {KEY}"),
    "shows-nothing": Case(f"{CHECK} {NAME}"),
    "shows-nothing-chosen": Case(f"{EMPTY} {CHECK} {NAME}", more=CHOICE),
    "shows-nothing-kept": Case(
        GOOD, f"{GOOD} proxy_ssl_session_reuse off;", around=BARE, first=("/bare",),
        up=f"{UP} {ASKS.replace('client on', 'client optional')} "
        "location /x { if ($ssl_client_verify != SUCCESS) { return 496; } return 204; }",
    ),
    "shows-unusable": Case(GOOD, up=f"{UP} {ASKS} {TLS12} ssl_conf_command ClientSignatureAlgorithms RSA+SHA256;"),
    "shows-expired": spoilt(shown("client", ended=True)),
    "shows-future": spoilt(shown("client", shift=5 * HOUR)),
    "shows-purpose": spoilt(shown("client", purposes=(SERVER,))),
    "shows-leaf-only": spoilt(shown("client", leaf_only=True)),
    "shows-old": spoilt(
        both(copied("client.crt", "good.crt"), copied("client.key", "good.key"), shown("client", ended=True)),
        later=both(copied("good.crt", "client.crt"), copied("good.key", "client.key")), reloaded=True,
    ),
    "shows-stranger": spoilt(stranger("client")),
    "plain-to-tls": Case(GOOD, target="http://127.0.0.1:PORT2"),
    "misdirected": Case(
        f"{ID} {CHECK} proxy_ssl_name up.test; proxy_ssl_server_name on; proxy_set_header Host else.test;",
        up=f"{UP} {ASKS} }} server {{ {UP.replace('up.test', 'else.test')} {ASKS}",
    ),
    "header-twice": refused("proxy_set_header Host up.test;"),
}  # fmt: skip
CASES = REFUSED | THEIRS | PEERS | REFUSALS | CONNECTIONS | ANSWERS
# Those that need more than a request: each has a test of its own.
ALONE = {
    "file-denied": Case(GOOD, root_only=True),
    "port-taken": Case(GOOD, upstream=odd.waiting, up=UP.replace("PORT2", "ODD")),
    "client-refused-by-reset": strict(lines=f"{CHECK} {NAME}", server=odd.losing_an_alert(odd.strict())),
}


@dataclass(frozen=True)
class Silent:
    """Nobody logs it: what the upstream sees at `/x` is wrong in one of the ways that ``--why`` knows.

    With `renewed` the client's files are replaced after the first request, and the upstream should see the new
    certificate; else it should see that of client.crt, or, for an upstream that is a stranger's, nothing. `pause` is in
    seconds, before the last of the requests, which are so many as `asks` says: a connection that is too old serves one
    more.
    """

    why: str
    bad: str
    good: str
    more: str = ""
    around: str = ""
    cured_around: str = ""
    cured_more: str = ""
    target: str = "https://127.0.0.1:PORT2"
    first: tuple[str, ...] = ("/x",)
    renewed: bool = False
    stranger: bool = False
    reloaded: bool = False
    pause: float = 0
    asks: int = 1


CHOSEN = f"{VARIABLE} {CHECK} {NAME}"
OFF = "proxy_ssl_session_reuse off;"
KEPT = 'proxy_http_version 1.1; proxy_set_header Connection "";'
KEEPS = "upstream pool { server 127.0.0.1:PORT2; keepalive 4; }\n"
Y = (
    "location /y {{ proxy_pass {}; {} proxy_ssl_certificate TLS/other.crt; "
    "proxy_ssl_certificate_key TLS/other.key; }}\n"
)
HERE = "https://127.0.0.1:PORT2"
TENANTS = "map $arg_t $who { default TLS/client; b TLS/other; }\n"
TENANT = f"proxy_ssl_certificate $who.crt; proxy_ssl_certificate_key $who.key; {CHECK} {NAME}"
SILENT = {
    "old-not-reloaded": Silent(OLD, f"{GOOD} {OFF}", f"{GOOD} {OFF}", renewed=True, reloaded=True, pause=1.2),
    "old-session": Silent(OLD, CHOSEN, f"{CHOSEN} {OFF}", renewed=True),
    "old-connection": Silent(
        OLD, f"{CHOSEN} {OFF} {KEPT}", f"{CHOSEN} {OFF} {KEPT}", more=KEEPS, target="https://pool", renewed=True,
        cured_more=KEEPS.replace("keepalive 4;", "keepalive 4; keepalive_time 1s;"), pause=1.2, asks=2,
    ),
    "other-shared": Silent(
        OTHER, GOOD, f"{GOOD} {OFF}", around=Y.format(HERE, f"{CHECK} {NAME}"),
        cured_around=Y.format(HERE, f"{CHECK} {NAME} {OFF}"), first=("/y",),
    ),
    "other-by-request": Silent(OTHER, TENANT, f"{TENANT} {OFF}", more=TENANTS, first=("/x?t=b",)),
    "unchecked-shared": Silent(
        UNCHECKED, f"{GOOD} {KEPT}", f"{GOOD} {OFF}", more=KEEPS, target="https://pool", first=("/y",), stranger=True,
        around=Y.format("https://pool", f"{NAME} {KEPT}"), cured_around=Y.format(HERE, f"{NAME} {OFF}"),
    ),
    "unchecked-off": Silent(UNCHECKED, f"{ID} {NAME}", GOOD, stranger=True),
}  # fmt: skip
