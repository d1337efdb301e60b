"""What a renewal meets: reloads, connections that outlive it, and upstreams that are given up on."""

import re
from collections.abc import Iterator

from troth.nginx.findings.rule import INFO, WARNING, Hit, Rule, Subject, at, of_places
from troth.nginx.map import Place, effective, effective_list, upstream_groups
from troth.nginx.tree import Directive

LONGEST_SECONDS = 600
DEFAULT_KEEPALIVE_SECONDS = 3_600
_UNITS = {"ms": 0, "s": 1, "": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800, "M": 2_592_000, "y": 31_536_000}
_TIME = re.compile(r"(\d+)(ms|[smhdwMy]?)\s*")


def seconds(text: str) -> int:
    """An nginx time in whole seconds: ``75``, ``1h 30m``, ``500ms``."""
    return sum(int(number) * _UNITS[unit] for number, unit in _TIME.findall(text))


def _group(place: Place, subject: Subject) -> Directive | None:
    return upstream_groups(subject.config).get(place.group.lower()) if place.module in ("proxy", "grpc") else None


def _keeps(place: Place, subject: Subject) -> bool:
    """Whether idle connections to the upstream are kept."""
    group = _group(place, subject)
    line = group.first("keepalive") if group is not None else None
    if line is not None:
        return line.arguments[:1] != ("0",)
    return group is not None and subject.capabilities.default_http11_upstream


def _reload_races(subject: Subject) -> Iterator[Hit]:
    http = subject.config.http
    if http is None or not any(place.module != "stream" for place in subject.places):
        return
    if subject.capabilities.keepalive_min_timeout and effective(http, "keepalive_min_timeout") is None:
        yield Hit(http.where, "idle connections of clients are closed at once by a reload")


def _shutdown_timeout(subject: Subject) -> Iterator[Hit]:
    line = subject.config.root.first("worker_shutdown_timeout")
    if line is not None and subject.places:
        yield Hit(line.where, f"requests that last longer than {' '.join(line.arguments)} after a reload are cut")


def kept_seconds(place: Place, subject: Subject) -> int:
    """How long a busy connection to the upstream goes on under the identity it was opened with; 0: it is not kept."""
    group = _group(place, subject)
    if group is None or not _keeps(place, subject):
        return 0
    line = group.first("keepalive_time")
    return seconds(" ".join(line.arguments)) if line is not None else DEFAULT_KEEPALIVE_SECONDS


def _keepalive_time(place: Place, subject: Subject) -> Iterator[Hit]:
    group, lasts = _group(place, subject), kept_seconds(place, subject)
    if group is None or not place.value("ssl_certificate"):
        return
    line = group.first("keepalive_time")
    if lasts > LONGEST_SECONDS and subject.capabilities.keepalive_time:
        what = f"connections of upstream {place.group} go on under their identity for {lasts} s"
        yield Hit(line.where if line is not None else group.where, what, place.family)


def _keepalive_unused(place: Place, subject: Subject) -> Iterator[Hit]:
    group = _group(place, subject)
    if place.module != "proxy" or group is None or not _keeps(place, subject):
        return
    version, new = effective(place.node, "proxy_http_version"), subject.capabilities.default_http11_upstream
    given = effective_list(place.node, "proxy_set_header")
    lines = [line for line in given if line.arguments[0].lower() == "connection"]
    closing = [line for line in lines if line.arguments[-1] and "$" not in line.arguments[-1]]
    reasons = [f"sent Connection: {line.arguments[-1]}" for line in closing]
    if not lines and not new:
        reasons.append("sent Connection: close")
    if (version is None and not new) or (version is not None and version.arguments == ("1.0",)):
        reasons.append("asked with HTTP/1.0")
    if reasons:
        where = closing[0].where if closing else place.where
        yield Hit(where, f"upstream {place.group} keeps connections, but is {' and '.join(reasons)}", place.family)


def _no_keepalive(place: Place, subject: Subject) -> Iterator[Hit]:
    if place.module in ("proxy", "grpc") and place.value("ssl_certificate") and not _keeps(place, subject):
        yield at(place, "every request opens a connection of its own, with a full handshake")


def _all_peers(place: Place, subject: Subject) -> Iterator[Hit]:
    group = _group(place, subject)
    peers = group.find("server") if group is not None else []
    counted = [peer for peer in peers if "max_fails=0" not in peer.arguments and "down" not in peer.arguments]
    if group is not None and place.value("ssl_certificate") and len(peers) > 1 and len(counted) == len(peers):
        yield Hit(
            group.where,
            f"upstream {place.group} counts refusals of our own certificate against every peer",
            place.family,
        )


RULES = (
    Rule(
        "reload-races",
        WARNING,
        "a reload closes idle connections of clients",
        "a request that is on its way on one of them is lost: about ten a reload with 16 busy clients",
        "keepalive_min_timeout 5s; in http{}",
        _reload_races,
    ),
    Rule(
        "shutdown-timeout",
        WARNING,
        "long requests are cut by a reload",
        "every renewal reloads; answers that take longer end in the middle",
        "no worker_shutdown_timeout, or one longer than the longest request",
        _shutdown_timeout,
    ),
    Rule(
        "keepalive-time",
        WARNING,
        "busy connections to the upstream outlive a renewal",
        "a connection keeps the identity it was opened with, an expired one too; under load only this time ends it",
        "keepalive_time 10m; in the upstream{}",
        of_places(_keepalive_time),
    ),
    Rule(
        "keepalive-unused",
        WARNING,
        "connections to the upstream are to be kept, and cannot be",
        "every request pays for a handshake, 25 to 100 times the processor time of one on a kept connection",
        'proxy_http_version 1.1; proxy_set_header Connection "";',
        of_places(_keepalive_unused),
    ),
    Rule(
        "no-keepalive",
        INFO,
        "connections to the upstream are not kept",
        "every request pays for a handshake, 25 to 100 times the processor time of one on a kept connection",
        "an upstream{} with keepalive 32; before nginx 1.29.7 with HTTP/1.1 and an empty Connection header too",
        of_places(_no_keepalive),
    ),
    Rule(
        "all-peers",
        INFO,
        "one bad certificate takes every peer of an upstream out",
        "each refusal counts against the peer: all are given up for fail_timeout, and stay so 10 s after the cure",
        "max_fails=0 on the peers, or a certificate that is renewed in time",
        of_places(_all_peers),
    ),
)
