"""Servers that ask for client certificates, and what they tell the application about who came."""

import re
from collections.abc import Iterator

from troth.nginx.findings.handshake import OLD
from troth.nginx.findings.rotation import seconds
from troth.nginx.findings.rule import ERROR, INFO, WARNING, Hit, Rule, Subject, of_guards
from troth.nginx.findings.verification import PUBLIC_BUNDLES
from troth.nginx.map import Guard, effective, effective_list, http_servers, listen_addresses, target_host
from troth.nginx.tree import Directive
from troth.nginx.variables import variables

LONGEST_SESSION_SECONDS = 3_600
FIXED_RESUMPTION = (1, 27, 4)
_PASSES = {"proxy_pass": "proxy_set_header", "grpc_pass": "grpc_set_header", "uwsgi_pass": "uwsgi_param"}
_PASSES |= {"fastcgi_pass": "fastcgi_param", "scgi_pass": "scgi_param"}
_WHO = re.compile(r"ssl_client_(s_dn|i_dn|serial|fingerprint|escaped_cert|cert|raw_cert)\w*")


def _mentions(node: Directive, name: str) -> bool:
    """Whether a variable is used in a block."""
    return any(name in variables(token.value) for one in node.walk() for token in one.tokens)


def _verdict_used(guard: Guard, subject: Subject) -> bool:
    """Whether ``$ssl_client_verify`` decides anything, or is told to the application."""
    http = subject.config.http
    maps = [node for node in http.children if node.name == "map"] if http is not None else []
    tested = {node.arguments[-1][1:] for node in maps if "ssl_client_verify" in variables(node.arguments[0])}
    return any(_mentions(guard.node, name) for name in {"ssl_client_verify", *tested})


def _unchecked(guard: Guard, subject: Subject) -> Iterator[Hit]:
    if guard.mode == "optional" and not _verdict_used(guard, subject):
        yield Hit(guard.where, "a client certificate is asked for, and nobody looks whether one came")


def _any_authority(guard: Guard, subject: Subject) -> Iterator[Hit]:
    if guard.mode == "optional_no_ca" and not _verdict_used(guard, subject):
        yield Hit(guard.where, "certificates of any authority are let in, and nobody looks at the verdict")


def _told(location: Directive, setter: str) -> dict[str, Directive]:
    """The lines in force that tell the application who came, by header in lower case."""
    lines = [d for d in effective_list(location, setter) if len(d.arguments) >= 2]
    return {d.arguments[0].lower(): d for d in lines if any(_WHO.fullmatch(name) for name in variables(d.arguments[1]))}


def _passing(subject: Subject) -> Iterator[tuple[Directive, Directive, str]]:
    """Every location with its ``*_pass`` line and the directive that sets headers there."""
    for server in http_servers(subject.config):
        for node in server.walk():
            if node.name in _PASSES and node.arguments and node.parent is not None:
                yield node.parent, node, _PASSES[node.name]


def _spoofable(subject: Subject) -> Iterator[Hit]:
    told: dict[tuple[str, str], dict[str, Directive]] = {}
    for location, target, setter in _passing(subject):
        told.setdefault((setter, target_host(target.arguments[0])), {}).update(_told(location, setter))
    for location, target, setter in _passing(subject):
        said = {d.arguments[0].lower() for d in effective_list(location, setter) if d.arguments}
        for header, line in told[(setter, target_host(target.arguments[0]))].items():
            if header not in said and "set_header" in setter:
                what = f"{line.arguments[0]} of the client's own gets through; at {line.where} nginx sets it"
                yield Hit(target.where, what)


def _dropped(subject: Subject) -> Iterator[Hit]:
    for location, target, setter in _passing(subject):
        own = location.find(setter)
        outer = _told(location.parent, setter) if own and location.parent is not None else {}
        lost = [d.arguments[0] for name, d in outer.items() if name not in {o.arguments[0].lower() for o in own}]
        if lost and "set_header" in setter:
            yield Hit(
                own[0].where,
                f"{', '.join(lost)} is not set for {target.name} {target.arguments[0]}: these lines replace outer ones",
            )


def _used(subject: Subject, *names: str) -> Iterator[tuple[Directive, str]]:
    for server in http_servers(subject.config):
        for node in server.walk():
            for token in node.tokens:
                for name in variables(token.value):
                    if name in names:
                        yield node, name


def _days_left(subject: Subject) -> Iterator[Hit]:
    for node, _ in _used(subject, "ssl_client_v_remain"):
        yield Hit(node.where, "$ssl_client_v_remain counts whole days")


def _raw_certificate(subject: Subject) -> Iterator[Hit]:
    for node, name in _used(subject, "ssl_client_cert", "ssl_client_raw_cert"):
        if node.name in _PASSES.values():
            yield Hit(node.where, f"${name} has line ends in it")


def _fingerprint(subject: Subject) -> Iterator[Hit]:
    tested = [node for node, _ in _used(subject, "ssl_client_fingerprint") if node.name == "if"]
    http = subject.config.http
    maps = [d for d in http.children if d.name == "map" and "$ssl_client_fingerprint" in d.arguments] if http else []
    for node in [*tested, *maps]:
        yield Hit(node.where, "clients are told apart by $ssl_client_fingerprint")


def _public_clients(guard: Guard, _: Subject) -> Iterator[Hit]:
    trust = guard.value("client_certificate") or guard.value("trusted_certificate")
    if guard.mode != "optional_no_ca" and PUBLIC_BUNDLES.search(trust):
        yield Hit(guard.where_of("client_certificate"), f"clients of the public authorities in {trust} are let in")


def _long_sessions(guard: Guard, _: Subject) -> Iterator[Hit]:
    lasts = seconds(guard.value("session_timeout", "5m"))
    tickets = guard.value("session_tickets", "on") == "on"
    cached = guard.value("session_cache", "none") not in ("none", "off")
    if lasts > LONGEST_SESSION_SECONDS and (tickets or cached):
        yield Hit(guard.where_of("session_timeout"), f"a client's session may be resumed for {lasts} s")


def _across_servers(guard: Guard, subject: Subject) -> Iterator[Hit]:
    version = subject.capabilities.version
    if version >= FIXED_RESUMPTION or (1, 26, 3) <= version < (1, 27):
        return
    for other in http_servers(subject.config):
        shared = set(listen_addresses(other)) & set(guard.listens)
        if other is guard.node or not shared or _asks(other) == _asks(guard.node):
            continue
        what = f"shares {', '.join(sorted(shared))} with the server at {other.where}, which lets in others"
        yield Hit(guard.where, what)


def _asks(server: Directive) -> tuple[tuple[str, ...], ...]:
    lines = (
        effective(server, f"ssl_{name}") for name in ("verify_client", "client_certificate", "trusted_certificate")
    )
    return tuple(line.arguments if line is not None else () for line in lines)


def _silent(guard: Guard, _: Subject) -> Iterator[Hit]:
    log = effective(guard.node, "error_log")
    level = log.arguments[1] if log is not None and len(log.arguments) > 1 else "error"
    if level not in ("info", "debug", "debug_http"):
        yield Hit(log.where if log is not None else guard.where, f"the error log keeps {level} and above")


def _old_guard(guard: Guard, _: Subject) -> Iterator[Hit]:
    setting = guard.settings.get("protocols")
    old = [one for one in setting.arguments if one in OLD] if setting is not None else []
    if setting is not None and old:
        yield Hit(setting.where, f"{', '.join(old)} is spoken with clients that show certificates")


def _client_depth(guard: Guard, _: Subject) -> Iterator[Hit]:
    if guard.value("verify_depth", "1") == "0":
        yield Hit(guard.where_of("verify_depth"), "verify depth 0 allows no intermediate certificate")


RULES = (
    Rule(
        "optional-unchecked",
        ERROR,
        "a client certificate is optional, and nobody looks whether one came",
        "everyone is let in, with a certificate or without",
        "ssl_verify_client on; or if ($ssl_client_verify != SUCCESS) { return 403; }",
        of_guards(_unchecked),
    ),
    Rule(
        "any-authority",
        ERROR,
        "certificates of any authority are let in, and nobody looks at the verdict",
        "names in such a certificate are what the client wrote into it",
        "ssl_verify_client on; with ssl_client_certificate, or hand $ssl_client_verify on",
        of_guards(_any_authority),
    ),
    Rule(
        "spoofable-header",
        ERROR,
        "a header that names the client can be sent by the client itself",
        "the application believes it, because nginx sets it elsewhere",
        'proxy_set_header with the same name here, with "" where there is no certificate',
        _spoofable,
    ),
    Rule(
        "dropped-header",
        ERROR,
        "a header that names the client is lost where a location has header lines of its own",
        "nginx inherits the lines only where there are none: the client's own header gets through instead",
        "the outer proxy_set_header lines again in this location",
        _dropped,
    ),
    Rule(
        "public-clients",
        ERROR,
        "clients are trusted by public authorities",
        "whoever has a certificate of any of them, for any name, is let in",
        "ssl_client_certificate with the root of your own authority alone",
        of_guards(_public_clients),
    ),
    Rule(
        "session-across-servers",
        WARNING,
        "a session of one server is good for another that asks for other certificates",
        "CVE-2025-23419: with TLS 1.3 it gets in there; closed in 1.26.3, 1.27.4 and by some distributions",
        "nginx 1.27.4; or ssl_session_tickets off; and an ssl_session_cache of its own for each server",
        of_guards(_across_servers),
        unseen="both nginx of the tests have the correction, Debian's 1.22.1 by a patch",
    ),
    Rule(
        "long-sessions",
        WARNING,
        "sessions of clients last long",
        "a resumed session is not checked again: a certificate that expired or was revoked gets in as long as that",
        "ssl_session_timeout 10m;",
        of_guards(_long_sessions),
    ),
    Rule(
        "raw-certificate",
        WARNING,
        "a certificate with line ends is put into a header",
        "the header is broken or refused by the application's server",
        "$ssl_client_escaped_cert",
        _raw_certificate,
    ),
    Rule(
        "days-left",
        WARNING,
        "what is left of a certificate is counted in whole days",
        "for a certificate of 24 hours it is always 0",
        "$ssl_client_v_end",
        _days_left,
    ),
    Rule(
        "old-client-protocol",
        WARNING,
        "an outdated TLS version is spoken with clients",
        "who stands in between may bring both sides down to it, and before TLS 1.3 sees the client's certificate",
        "ssl_protocols TLSv1.2 TLSv1.3;",
        of_guards(_old_guard),
    ),
    Rule(
        "client-depth-zero",
        WARNING,
        "verify depth 0 for clients",
        "a client whose certificate comes from an intermediate gets 400, The SSL certificate error",
        "ssl_verify_depth 2;",
        of_guards(_client_depth),
    ),
    Rule(
        "sha1-fingerprint",
        INFO,
        "clients are told apart by a SHA-1 fingerprint",
        "it changes with every renewal, and SHA-1 does not withstand who can make two certificates",
        "the subject or serial of a verified certificate: $ssl_client_s_dn",
        _fingerprint,
    ),
    Rule(
        "silent-refusals",
        INFO,
        "refused client certificates are not logged",
        "nginx says why at level info: without it a 400 has no reason anywhere",
        "error_log /path/error.log info; in this server",
        of_guards(_silent),
    ),
)
