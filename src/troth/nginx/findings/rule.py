"""What is wrong with a configuration that nginx accepts: each finding with its line, why it matters, and the fix."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from troth.nginx.capabilities import Capabilities
from troth.nginx.map import Place, effective
from troth.nginx.tree import Config

SEVERITIES = ("info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding; `id` is stable, `where` is file:line."""

    id: str
    severity: str
    where: str
    what: str
    fix: str


Rule = Callable[[Place, Capabilities], Iterator[Finding]]


def examine(config: Config, places: Sequence[Place], capabilities: Capabilities) -> list[Finding]:
    """Every finding, in the order of the configuration."""
    found = [finding for place in places for rule in RULES for finding in rule(place, capabilities)]
    found += shared_peers(places)
    found += reload_races(config, places, capabilities)
    return found


def _finding(place: Place, rule: str, severity: str, what: str, fix: str, setting: str = "") -> Finding:
    where = place.settings[setting].where if setting in place.settings else place.where
    return Finding(rule, severity, where, what, fix)


def verification_off(place: Place, _: Capabilities) -> Iterator[Finding]:
    if place.value("ssl_verify", "off") != "on":
        what = "the upstream's certificate is not checked: anyone on the way can answer in its place"
        yield _finding(
            place, "verify-off", "error", what, "proxy_ssl_verify on; proxy_ssl_trusted_certificate /path/ca.crt;"
        )


def certificate_without_key(place: Place, _: Capabilities) -> Iterator[Finding]:
    if place.value("ssl_certificate_key") and not place.value("ssl_certificate"):
        what = "a key is set but no certificate: nginx shows none and does not say so"
        fix = "set proxy_ssl_certificate beside the key"
        yield _finding(place, "key-without-certificate", "error", what, fix, "ssl_certificate_key")


def server_name_off(place: Place, _: Capabilities) -> Iterator[Finding]:
    if place.value("ssl_server_name", "off") != "on":
        what = "no server name is sent in the handshake: an upstream with several sites shows the wrong certificate"
        yield _finding(place, "no-server-name", "warning", what, "proxy_ssl_server_name on;")


def session_reuse(place: Place, _: Capabilities) -> Iterator[Finding]:
    if place.value("ssl_certificate") and place.value("ssl_session_reuse", "on") == "on":
        what = "session reuse is on: a resumed session goes on under the certificate it began with, renewed or expired"
        yield _finding(place, "session-reuse", "warning", what, "proxy_ssl_session_reuse off;", "ssl_session_reuse")


def name_not_checkable(place: Place, _: Capabilities) -> Iterator[Finding]:
    if place.value("ssl_verify", "off") != "on" or place.value("ssl_name"):
        return
    host = place.target.partition("://")[2].partition("/")[0].rpartition("]")[2]
    name = host.partition(":")[0]
    if place.group:
        what = f"the name checked is that of the upstream group, {place.group!r}, which no certificate has"
        yield _finding(place, "name-is-group", "error", what, "proxy_ssl_name upstream.example;")
    elif not name or name.replace(".", "").isdigit():
        what = "the upstream is addressed by IP, and nginx compares DNS names only: no certificate can match"
        yield _finding(place, "name-is-address", "error", what, "proxy_ssl_name upstream.example;")


def depth_too_small(place: Place, _: Capabilities) -> Iterator[Finding]:
    if place.value("ssl_verify", "off") == "on" and place.value("ssl_verify_depth", "1") == "0":
        what = "verify depth 0 allows no intermediate; the error nginx logs then is that of a wrong CA"
        yield _finding(place, "depth-zero", "warning", what, "proxy_ssl_verify_depth 2;", "ssl_verify_depth")


def relative_files(place: Place, _: Capabilities) -> Iterator[Finding]:
    for setting in ("ssl_certificate", "ssl_certificate_key", "ssl_trusted_certificate", "ssl_crl"):
        value = place.value(setting)
        if value and not value.startswith(("/", "$", "data:", "engine:", "store:")):
            what = f"{value!r} is relative to the directory of nginx.conf, not to this file or the prefix"
            yield _finding(place, "relative-path", "info", what, "write the absolute path", setting)


def protocols(place: Place, capabilities: Capabilities) -> Iterator[Finding]:
    setting = place.settings.get("ssl_protocols")
    if setting is None and not capabilities.default_tls13:
        what = (
            f"nginx {capabilities.version_text} does not offer TLS 1.3 to upstreams by default, but offers 1.0 and 1.1"
        )
        yield _finding(place, "no-tls13", "warning", what, "proxy_ssl_protocols TLSv1.2 TLSv1.3;")
    if setting is not None:
        old = [one for one in setting.arguments if one in ("SSLv2", "SSLv3", "TLSv1", "TLSv1.1")]
        if old:
            what = f"{', '.join(old)} is offered to the upstream"
            yield _finding(
                place, "old-protocol", "warning", what, "proxy_ssl_protocols TLSv1.2 TLSv1.3;", "ssl_protocols"
            )


def tls13_cipher_names(place: Place, _: Capabilities) -> Iterator[Finding]:
    if "TLS_" in place.value("ssl_ciphers"):
        what = "TLS 1.3 suites cannot be chosen here, this list is for TLS 1.2"
        fix = "proxy_ssl_conf_command Ciphersuites TLS_AES_256_GCM_SHA384;"
        yield _finding(place, "tls13-ciphers", "warning", what, fix, "ssl_ciphers")


def variable_certificate(place: Place, capabilities: Capabilities) -> Iterator[Finding]:
    if "$" in place.value("ssl_certificate") + place.value("ssl_certificate_key"):
        if not capabilities.certificate_cache:
            what = f"a variable names the pair, and nginx {capabilities.version_text} may read one old and one new file"
            fix = "use static files and reload, or nginx 1.27.4"
            yield _finding(place, "variable-race", "warning", what, fix, "ssl_certificate")
        elif "ssl_certificate_cache" not in place.settings:
            what = "a variable names the pair: both files are read again in every handshake"
            fix = "proxy_ssl_certificate_cache max=64 valid=10s;"
            yield _finding(place, "variable-uncached", "info", what, fix, "ssl_certificate")


RULES: tuple[Rule, ...] = (
    verification_off,
    certificate_without_key,
    server_name_off,
    session_reuse,
    name_not_checkable,
    depth_too_small,
    relative_files,
    protocols,
    tls13_cipher_names,
    variable_certificate,
)


def shared_peers(places: Sequence[Place]) -> Iterator[Finding]:
    """Sessions and idle connections are kept by peer: places that share one share what they negotiated."""
    by_peer: dict[tuple[str, str], Place] = {}
    for place in places:
        key = (place.module, place.group or place.target.partition("://")[2].partition("/")[0])
        first = by_peer.setdefault(key, place)
        if first is place:
            continue
        if place.value("ssl_certificate") != first.value("ssl_certificate"):
            what = f"shares its upstream with {first.where} under another identity: one is seen as the other"
            yield Finding("shared-identity", "error", place.where, what, "give each identity an upstream{} of its own")
        if place.value("ssl_verify", "off") != first.value("ssl_verify", "off"):
            what = f"shares its upstream with {first.where}, of which one does not verify: connections are used by both"
            yield Finding("shared-verification", "error", place.where, what, "give each an upstream{} of its own")


def reload_races(config: Config, places: Sequence[Place], capabilities: Capabilities) -> Iterator[Finding]:
    """A reload closes idle client connections while a request may be on its way."""
    if config.http is None or not any(place.module != "stream" for place in places):
        return
    if capabilities.keepalive_min_timeout and effective(config.http, "keepalive_min_timeout") is None:
        what = "every reload loses requests of kept-alive clients"
        yield Finding("reload-races", "warning", config.http.where, what, "keepalive_min_timeout 5s; in http{}")
