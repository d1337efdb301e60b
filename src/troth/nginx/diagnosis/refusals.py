"""The upstream refuses us or the way we speak: alerts, told by their number, and what stands for a lost alert."""

import re
from collections.abc import Callable, Sequence

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from troth.nginx.diagnosis.rule import LOG, Rule
from troth.nginx.diagnosis.situation import RESET, Situation
from troth.nginx.material import is_root
from troth.nginx.variables import possible_values

EXPIRED = "SSL alert number 45"
Judge = Callable[["re.Match[str]", Situation], str | None]


def _alert(number: int) -> str:
    return rf"SSL alert number {number}\b"


def none_sent(_: "re.Match[str]", situation: Situation) -> str | None:
    if situation.place is None:
        return ""
    pair = [situation.place.value(name) for name in ("ssl_certificate", "ssl_certificate_key")]
    if all(pair):
        return None
    return "the location names a key and no certificate" if pair[1] else "the location names no certificate"


def _some_sent(_: "re.Match[str]", situation: Situation) -> str | None:
    if situation.place is None:
        return ""
    if not situation.has("ssl_certificate"):
        return None
    own = situation.probed.own if situation.probed is not None else None
    if own is not None and own.tls and own.alert is None:
        return "a handshake with the same certificate and OpenSSL's own ciphers succeeds"
    return ""


def unusable(_: "re.Match[str]", situation: Situation) -> str | None:
    """A certificate is shown, and the upstream saw none."""
    if not situation.has("ssl_certificate"):
        return None
    mine = situation.mine
    refused = mine is not None and (mine.alert in (40, 116) or "No required SSL certificate" in mine.body)
    return "a handshake of ours with its certificate and key is refused in the same way" if refused else ""


def chosen_empty(_: "re.Match[str]", situation: Situation) -> str | None:
    """A variable names the certificate, and can be empty."""
    place, subject = situation.place, situation.subject
    value = place.value("ssl_certificate") if place is not None else ""
    if "$" not in value or subject is None:
        return None
    return f"{value} can be empty" if "" in possible_values(subject.config, value) else None


def ended(_: "re.Match[str]", situation: Situation) -> str | None:
    """Our certificate is over; it is not known where nobody read it."""
    shown = situation.shown
    if not shown:
        return "" if situation.has("ssl_certificate") is not False else None
    over = [one for one in shown if one.not_valid_after_utc < situation.now]
    if not over:
        return None
    return f"{over[0].subject.rfc4514_string()} ended at {over[0].not_valid_after_utc:%Y-%m-%d %H:%M} UTC"


def _older(said: "re.Match[str]", situation: Situation) -> str | None:
    """The file is good, so an older one is in use."""
    pending = situation.findings.get("reload-pending")
    if situation.has("ssl_certificate") and situation.let_in and (pending or "SSL alert" in said[0]):
        return pending or "a handshake of ours with the certificate in the file is let in"
    shown = situation.shown if said[0] == EXPIRED else ()
    good = shown and all(one.not_valid_after_utc >= situation.now for one in shown)
    return f"the file is valid until {shown[0].not_valid_after_utc:%Y-%m-%d %H:%M} UTC" if good else None


def not_begun(_: "re.Match[str]", situation: Situation) -> str | None:
    shown = situation.shown
    if not shown:
        return "" if situation.has("ssl_certificate") is not False else None
    if shown[0].not_valid_before_utc <= situation.now:
        return None
    return f"it is valid from {shown[0].not_valid_before_utc:%Y-%m-%d %H:%M} UTC on"


def leaf_alone(_: "re.Match[str]", situation: Situation) -> str | None:
    shown = situation.shown
    if not shown:
        return "" if situation.has("ssl_certificate") is not False else None
    alone = len(shown) == 1 and not is_root(shown[0]) and not _issued_by_root(shown[0], situation)
    return f"the file holds one certificate, issued by {shown[0].issuer.rfc4514_string()}" if alone else None


def _issued_by_root(leaf: x509.Certificate, situation: Situation) -> bool:
    trusted: Sequence[x509.Certificate] = ()
    if situation.subject is not None and situation.place is not None:
        trusted = situation.subject.trust(situation.place)
    return leaf.issuer in {one.subject for one in trusted if is_root(one)}


def not_for_clients(_: "re.Match[str]", situation: Situation) -> str | None:
    shown = situation.shown
    if not shown:
        return "" if situation.has("ssl_certificate") is not False else None
    try:
        usage = shown[0].extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return None
    wrong = ExtendedKeyUsageOID.CLIENT_AUTH not in usage
    return "its extended key usage lacks clientAuth" if wrong else None


def _said_by(number: int, judge: Judge, *, alone: bool = False) -> Judge:
    """An alert of its own says it; behind one that says nothing (Go sends 42 for much) only the file can show it.

    With `alone` its own alert is believed whatever the file shows.
    """

    def judged(said: "re.Match[str]", situation: Situation) -> str | None:
        found = judge(said, situation)
        if said[0] == f"SSL alert number {number}":
            return found or ("" if alone else found)
        return found or None

    return judged


def _sni(wanted: bool) -> Judge:
    def judge(_: "re.Match[str]", situation: Situation) -> str | None:
        if situation.place is None:
            return ""
        if situation.place.is_on("ssl_server_name") is not wanted:
            return None
        return f"the location asks for the name {situation.place.name}" if wanted else "{family}_ssl_server_name is off"

    return judge


def _reset(said: "re.Match[str]", situation: Situation) -> str | None:
    probed = situation.probed
    unknown = "" if "104:" in said[0] else None
    if probed is None or probed.named is None:
        return unknown
    if situation.place is None:
        asks = probed.named.alert in (40, 116)
        return f"it lets nobody in without a certificate: alert {probed.named.alert}" if asks else None
    mine = situation.mine
    if mine is None:
        return unknown
    return f"a handshake of ours got alert {mine.alert}" if mine.alert is not None else None


def _reset_by_network(_: "re.Match[str]", situation: Situation) -> str | None:
    probed = situation.probed
    if probed is None or probed.named is None:
        return ""
    if probed.named.problem == RESET:
        return "a handshake of ours is cut off too, without an alert"
    fine = situation.let_in if situation.place is not None else probed.named.tls and probed.named.alert is None
    return "a handshake of ours is let in now" if fine else None


def _plain(_: "re.Match[str]", situation: Situation) -> str | None:
    known = situation.probed.plain_http if situation.probed is not None else None
    return "" if known is None else "it answers HTTP without TLS" if known else None


def _rule(name: str, pattern: str, cause: str, fix: str, judge: Judge | None = None) -> Rule:
    if judge is None:
        return Rule(name, LOG, pattern, cause, fix)
    return Rule(name, LOG, pattern, cause, fix, 502, True, judge)


_MISSED = r"SSL alert number (?:40|116)\b"
_PAIR = "{family}_ssl_certificate and {family}_ssl_certificate_key in this very location"
_RESET = (
    r"(?:connect\(\)|recv\(\)|SSL_\w+\(\)|writev\(\)|send\(\)) failed \((?:SSL: )?.*\b104: Connection reset by peer\)"
    r'.*upstream: "(?:https|grpcs|suwsgi|\d|unix)'
    r"|peer closed connection in SSL handshake \(104: "
)
# nginx takes a reset that it meets while reading for an end.
_LOST = rf"{_RESET}|upstream prematurely closed connection while reading response header"

RULES = (
    _rule(
        "client-none-12",
        r"SSL alert number (?:40|42)\b",
        "the upstream requires a client certificate and got none (it speaks TLS 1.2)",
        _PAIR,
        _said_by(40, none_sent),
    ),
    _rule(
        "no-common-cipher",
        _alert(40),
        "the upstream and this nginx have no cipher, group or signature algorithm in common",
        "compare {family}_ssl_ciphers with the upstream's ciphers and the kind of its key (RSA, ECDSA)",
        _some_sent,
    ),
    _rule(
        "client-none-chosen",
        _MISSED,
        "the upstream requires a client certificate and got none: the variable that names it was empty",
        "a default in the map that names an identity",
        chosen_empty,
    ),
    _rule(
        "client-none",
        _alert(116),
        "the upstream requires a client certificate and got none",
        _PAIR,
        none_sent,
    ),
    _rule(
        "client-unusable",
        _alert(116),
        "the location has a certificate and sends none: the upstream accepts no signature of its kind of key",
        "a key of a kind that the upstream accepts (RSA, ECDSA)",
        unusable,
    ),
    _rule(
        "client-old-in-memory",
        rf"SSL alert number 4[2-9]\b|{_LOST}",
        "the upstream takes the certificate in the file; nginx still shows the older one that it has in memory, in a "
        "session or on a connection",
        "reload nginx; {family}_ssl_session_reuse off; keepalive_time in the upstream group",
        _older,
    ),
    _rule(
        "client-expired",
        r"SSL alert number (?:42|45|46)\b",
        "the certificate that this location shows has expired",
        "renew it, then reload nginx",
        _said_by(45, ended),
    ),
    _rule(
        "client-future",
        _alert(42),
        "the certificate that this location shows is not valid yet: the clocks differ",
        "set the clocks (NTP); issue with a start some minutes ago",
        not_begun,
    ),
    _rule(
        "client-bad",
        _alert(42),
        "the upstream does not accept the certificate that this location shows; programs in Go say this for "
        "every reason",
        "see the upstream's log for its reason; then its authority, its dates, its purpose",
    ),
    _rule(
        "client-leaf-only",
        r"SSL alert number (?:42|46|48)\b",
        "this location sends its leaf without the intermediate, so the upstream finds no way to its root",
        "the intermediate after the leaf in the certificate file",
        _said_by(48, leaf_alone),
    ),
    _rule(
        "client-authority-unknown",
        _alert(48),
        "the upstream does not trust the authority of the certificate that this location shows",
        "a certificate of the authority that the upstream trusts, or that root into the upstream's trusted ones",
    ),
    _rule(
        "client-purpose",
        r"SSL alert number (?:42|43|46)\b",
        "the certificate that this location shows is not for clients: it lacks clientAuth",
        "issue it with the extended key usage clientAuth",
        _said_by(43, not_for_clients, alone=True),
    ),
    _rule(
        "client-revoked", _alert(44), "the certificate that this location shows is revoked", "issue a new certificate"
    ),
    _rule(
        "client-unknown-reason",
        _alert(46),
        "the upstream does not accept the certificate that this location shows, and does not say why",
        "see the upstream's log; then its authority, its dates, its purpose",
    ),
    _rule(
        "protocol-version",
        _alert(70),
        "the upstream speaks no TLS version that this location allows; before nginx 1.23.4 the default lacks 1.3",
        "{family}_ssl_protocols TLSv1.2 TLSv1.3;",
    ),
    _rule(
        "server-name-not-sent",
        _alert(112),
        "the upstream wants to be asked for by name, and the location sends none",
        "{family}_ssl_server_name on; and {family}_ssl_name with the upstream's DNS name",
        _sni(False),
    ),
    _rule(
        "server-name-unknown",
        _alert(112),
        "the upstream does not know the name that it is asked for",
        "{family}_ssl_name with a name that the upstream serves",
        _sni(True),
    ),
    _rule(
        "no-http2",
        _alert(120),
        "the upstream does not speak HTTP/2, which gRPC needs",
        "http2 on; at the upstream, or proxy_pass where it speaks HTTP/1.1",
    ),
    _rule(
        "upstream-plain",
        r"wrong version number|packet length too long",
        "the upstream's port speaks no TLS",
        "http:// in {family}_pass, or the upstream's TLS port",
        _plain,
    ),
    _rule(
        "client-refused-by-reset",
        _LOST,
        "the upstream refuses the client certificate, and its connection ended before the alert was read (TLS 1.3)",
        "look at what this location shows: its dates, its chain, its authority; none at all where it names none",
        _reset,
    ),
    _rule(
        "reset-by-network",
        _RESET,
        "the upstream, or something on the way to it, cuts the connection",
        "look at the upstream's own log, its limits, and firewalls on the way",
        _reset_by_network,
    ),
    _rule(
        "alert-internal",
        _alert(80),
        "the upstream failed inside: it could not choose a certificate, often for want of the name",
        "{family}_ssl_server_name on; and see the upstream's log",
    ),
    _rule(
        "alert-denied",
        _alert(49),
        "the upstream knows the certificate that this location shows and does not let it in",
        "permit its subject at the upstream, or show another identity",
    ),
    _rule(
        "alert-signature",
        _alert(51),
        "a signature of the handshake did not verify: the key that the location uses is not its "
        "certificate's, or a box on "
        "the way changes the handshake",
        "see that certificate and key are a pair; go without the box",
    ),
)
