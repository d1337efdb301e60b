"""What nginx offers in the handshake, and what the request then says."""

import re
from collections.abc import Iterator

from troth.nginx.findings.rule import INFO, WARNING, Hit, Rule, Subject, at, of_places
from troth.nginx.map import Place, effective_list
from troth.nginx.target import host_of

OLD = ("SSLv2", "SSLv3", "TLSv1", "TLSv1.1")
_WEAK = re.compile(
    r"(^|\+)(ALL|COMPLEMENTOFALL|aNULL|eNULL|NULL|LOW|EXP(ORT)?|RC4|3?DES|MD5|ADH|AECDH)($|\+|-)|SECLEVEL=0"
)


def _no_server_name(place: Place, _: Subject) -> Iterator[Hit]:
    if not place.is_on("ssl_server_name"):
        yield at(place, "no server name is sent in the handshake", "ssl_server_name")


def _no_tls13(place: Place, subject: Subject) -> Iterator[Hit]:
    if "ssl_protocols" not in place.settings and not subject.capabilities.default_tls13:
        version = subject.capabilities.version_text
        yield at(place, f"nginx {version} offers TLS 1.0 to 1.2 to upstreams by default, and not 1.3")


def _old_protocol(place: Place, _: Subject) -> Iterator[Hit]:
    setting = place.settings.get("ssl_protocols")
    old = [one for one in setting.arguments if one in OLD] if setting is not None else []
    if old:
        yield at(place, f"{', '.join(old)} is offered to the upstream", "ssl_protocols")


def _weak_ciphers(place: Place, _: Subject) -> Iterator[Hit]:
    names = [name for name in re.split(r"[:, ]", place.value("ssl_ciphers")) if name and name[0] not in "!-"]
    weak = [name for name in names if _WEAK.search(name)]
    if weak:
        yield at(place, f"{', '.join(weak)} is among the ciphers offered to the upstream", "ssl_ciphers")


def _tls13_ciphers(place: Place, _: Subject) -> Iterator[Hit]:
    if "TLS_" in place.value("ssl_ciphers"):
        yield at(place, "a suite of TLS 1.3 stands in a list that is for TLS 1.2 only", "ssl_ciphers")


def _host_differs(place: Place, _: Subject) -> Iterator[Hit]:
    if not place.is_on("ssl_server_name") or place.module not in ("proxy", "grpc") or "$" in place.name:
        return
    for line in effective_list(place.node, f"{place.family}_set_header"):
        name, value = line.arguments[0].lower(), line.arguments[-1]
        if name == "host" and "$" not in value and host_of(value).lower() != host_of(place.name).lower():
            what = f"Host is {value}, the server name of the handshake is {place.name}"
            yield Hit(line.where, what, place.family)


def _command_identity(place: Place, _: Subject) -> Iterator[Hit]:
    for line in effective_list(place.node, f"{place.family}_ssl_conf_command"):
        if line.arguments and line.arguments[0] in ("Certificate", "PrivateKey"):
            yield Hit(line.where, f"{line.name} {line.arguments[0]} loads a client certificate", place.family)


def _relative(place: Place, _: Subject) -> Iterator[Hit]:
    for setting in ("ssl_certificate", "ssl_certificate_key", "ssl_trusted_certificate", "ssl_crl"):
        value = place.value(setting)
        if value and not value.startswith(("/", "$", "data:", "engine:", "store:")):
            yield at(place, f"{value!r} is a relative path", setting)


RULES = (
    Rule(
        "no-server-name",
        WARNING,
        "no server name is sent in the handshake",
        "the default is off: an upstream with several sites shows the wrong certificate, or refuses (alert 112)",
        "{family}_ssl_server_name on;",
        of_places(_no_server_name),
    ),
    Rule(
        "no-tls13",
        WARNING,
        "TLS 1.3 is not offered to the upstream",
        "before nginx 1.23.4 the default lacks it: an upstream that takes nothing else refuses with alert 70",
        "{family}_ssl_protocols TLSv1.2 TLSv1.3;",
        of_places(_no_tls13),
    ),
    Rule(
        "old-protocol",
        WARNING,
        "an outdated TLS version is offered to the upstream",
        "who stands in between may bring both sides down to it",
        "{family}_ssl_protocols TLSv1.2 TLSv1.3;",
        of_places(_old_protocol),
    ),
    Rule(
        "weak-ciphers",
        WARNING,
        "weak ciphers are offered to the upstream",
        "an upstream that takes one of them sends its answers, and gets requests, as good as in the clear",
        "{family}_ssl_ciphers ECDHE+AESGCM:ECDHE+CHACHA20;",
        of_places(_weak_ciphers),
    ),
    Rule(
        "tls13-ciphers",
        WARNING,
        "TLS 1.3 suites stand in a list for TLS 1.2",
        "they are ignored there: all suites of TLS 1.3 are offered, whatever the list says",
        "{family}_ssl_conf_command Ciphersuites TLS_AES_256_GCM_SHA384;",
        of_places(_tls13_ciphers),
    ),
    Rule(
        "host-differs",
        WARNING,
        "Host differs from the server name of the handshake",
        "an nginx upstream that asks for client certificates answers 421 and logs nothing",
        "{family}_set_header Host and {family}_ssl_name with the same name",
        of_places(_host_differs),
    ),
    Rule(
        "command-identity",
        WARNING,
        "a client certificate is loaded by a configuration command",
        "it is a second place to look for the identity, and one that no renewal knows",
        "{family}_ssl_certificate and {family}_ssl_certificate_key in its place",
        of_places(_command_identity),
    ),
    Rule(
        "relative-path",
        INFO,
        "a relative path",
        "it counts from the directory of the main file, not from the file it stands in and not from the prefix",
        "write the absolute path",
        of_places(_relative),
    ),
)
