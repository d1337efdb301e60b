"""Nothing is logged and nothing refused, and still the wrong thing happens: asked for by ``--why``."""

import re
from collections.abc import Callable

from troth.nginx.diagnosis.rule import SILENCE, Rule
from troth.nginx.diagnosis.situation import Situation

OLD, OTHER, UNCHECKED = "old-identity", "other-identity", "unchecked"
WHYS = (OLD, OTHER, UNCHECKED)


def _found(*ids: str) -> Callable[["re.Match[str]", Situation], str | None]:
    def judge(_: "re.Match[str]", situation: Situation) -> str | None:
        return next((situation.findings[one] for one in ids if one in situation.findings), None)

    return judge


def _rule(name: str, why: str, cause: str, fix: str, *findings: str) -> Rule:
    return Rule(name, SILENCE, f"^{why}$", cause, fix, 0, True, _found(*findings))


RULES = (
    _rule(
        "old-not-reloaded",
        OLD,
        "the file was replaced after the workers started, and nginx reads it at a reload only",
        "nginx -s reload",
        "reload-pending",
    ),
    _rule(
        "old-session",
        OLD,
        "sessions are resumed, and a resumed one keeps the identity of its first handshake",
        "{family}_ssl_session_reuse off;",
        "session-reuse",
    ),
    _rule(
        "old-connection",
        OLD,
        "connections to the upstream are kept open, up to keepalive_time (an hour if not set), with their "
        "first identity",
        "keepalive_time 60s; in the upstream group",
        "keepalive-time",
    ),
    _rule(
        "other-shared",
        OTHER,
        "two identities share an upstream: sessions and connections are kept by address, not by certificate",
        "an upstream group for each identity",
        "shared-identity",
    ),
    _rule(
        "other-by-request",
        OTHER,
        "the request chooses the identity, and its sessions and connections serve requests that choose another",
        "an upstream group for each identity; {family}_ssl_session_reuse off;",
        "identity-by-request",
    ),
    _rule(
        "unchecked-shared",
        UNCHECKED,
        "a location that checks the upstream shares its connections and sessions with one that does not",
        "an upstream group for each kind of check",
        "shared-verification",
    ),
    _rule(
        "unchecked-off",
        UNCHECKED,
        "the location does not check the upstream's certificate: {family}_ssl_verify is off by default",
        "{family}_ssl_verify on; with {family}_ssl_trusted_certificate and {family}_ssl_name",
        "verify-off",
    ),
)
