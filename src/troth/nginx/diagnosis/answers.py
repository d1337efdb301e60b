"""Answers that nginx upstreams give where TLS failed; the proxy's own error log stays empty."""

import re

from troth.nginx.diagnosis import refusals
from troth.nginx.diagnosis.refused import Judge
from troth.nginx.diagnosis.rule import ANSWER, Rule
from troth.nginx.diagnosis.situation import Situation
from troth.nginx.map import effective_list

_NONE = r"No required SSL certificate was sent"
_BAD = r"The SSL certificate error"


def _no_setting(_: "re.Match[str]", situation: Situation) -> str | None:
    if situation.place is None:
        return ""
    pair = [situation.place.value(name) for name in ("ssl_certificate", "ssl_certificate_key")]
    return "the location names neither certificate nor key" if not any(pair) else None


def _old(_: "re.Match[str]", situation: Situation) -> str | None:
    if not situation.has("ssl_certificate"):
        return None
    taken = "a handshake of ours with the certificate in the file is let in" if situation.let_in else None
    return situation.findings.get("reload-pending") or taken


def _two_hosts(_: "re.Match[str]", situation: Situation) -> str | None:
    if situation.place is None:
        return ""
    lines = effective_list(situation.place.node, f"{situation.place.family}_set_header")
    hosts = [line for line in lines if line.arguments and line.arguments[0].lower() == "host"]
    return f"{hosts[-1].where} sets Host once more" if len(hosts) > 1 else None


def _key_only(_: "re.Match[str]", situation: Situation) -> str | None:
    if situation.place is None:
        return None
    value = situation.place.value
    alone = value("ssl_certificate_key") and not value("ssl_certificate")
    return "the location names a key and no certificate, which nginx takes in silence" if alone else None


def _kept(_: "re.Match[str]", situation: Situation) -> str | None:
    shared = situation.findings.get("shared-identity") if situation.has("ssl_certificate") else None
    return shared or None


def _known_bad(judge: Judge) -> Judge:
    return lambda said, situation: judge(said, situation) or None


def _rule(name: str, pattern: str, cause: str, fix: str, judge: Judge | None = None, status: int = 400) -> Rule:
    if judge is None:
        return Rule(name, ANSWER, pattern, cause, fix, status)
    return Rule(name, ANSWER, pattern, cause, fix, status, True, judge)


RULES = (
    _rule(
        "shows-key-only",
        _NONE,
        "the location names a key and no certificate: nginx says nothing and sends none",
        "{family}_ssl_certificate beside the key",
        _key_only,
    ),
    _rule(
        "shows-nothing",
        _NONE,
        "the location shows no client certificate, and the upstream requires one",
        "{family}_ssl_certificate and {family}_ssl_certificate_key in this very location",
        _no_setting,
    ),
    _rule(
        "shows-nothing-chosen",
        _NONE,
        "the variable that names the certificate was empty for this request, and the upstream requires one",
        "a default in the map that names an identity",
        refusals.chosen_empty,
    ),
    _rule(
        "shows-nothing-kept",
        _NONE,
        "the location has a certificate, and rides on a session or connection that another location opened without",
        "an upstream group for each identity; {family}_ssl_session_reuse off;",
        _kept,
    ),
    _rule(
        "shows-unusable",
        _NONE,
        "the location has a certificate and sends none: the upstream accepts no signature of its kind of key",
        "a key of a kind that the upstream accepts (RSA, ECDSA)",
        refusals.unusable,
    ),
    _rule(
        "shows-expired",
        _BAD,
        "the certificate that this location shows has expired",
        "renew it, then reload nginx",
        _known_bad(refusals.ended),
    ),
    _rule(
        "shows-future",
        _BAD,
        "the certificate that this location shows is not valid yet: the clocks differ",
        "set the clocks (NTP); issue with a start some minutes ago",
        _known_bad(refusals.not_begun),
    ),
    _rule(
        "shows-purpose",
        _BAD,
        "the certificate that this location shows is not for clients: it lacks clientAuth",
        "issue it with the extended key usage clientAuth",
        _known_bad(refusals.not_for_clients),
    ),
    _rule(
        "shows-leaf-only",
        _BAD,
        "this location sends its leaf without the intermediate",
        "the intermediate after the leaf in the certificate file, and a reload",
        _known_bad(refusals.leaf_alone),
    ),
    _rule(
        "shows-old",
        _BAD,
        "the file is good, and nginx still shows the older certificate that it has in memory, a session or a "
        "connection",
        "reload nginx; {family}_ssl_session_reuse off;",
        _old,
    ),
    _rule(
        "shows-stranger",
        _BAD,
        "the upstream does not trust the authority of this location's certificate, has it revoked, or allows too few "
        "intermediates",
        "a certificate of the authority that the upstream trusts; ask it for its reason: error_log ... info",
    ),
    _rule(
        "plain-to-tls",
        r"plain HTTP request was sent to HTTPS port",
        "the location speaks HTTP to a port that speaks TLS",
        "https:// in {family}_pass",
    ),
    _rule(
        "misdirected",
        r"421 Misdirected Request",
        "the Host header is not the name that the handshake asked for, and an upstream that checks clients "
        "wants both equal",
        "{family}_set_header Host with the same name as {family}_ssl_name",
        status=421,
    ),
    _rule(
        "header-twice",
        r"(?:^|<title>)400 Bad Request",
        "the location sends Host twice, which the upstream takes for a broken request",
        "one {family}_set_header Host in this location, includes counted",
        _two_hosts,
    ),
)
