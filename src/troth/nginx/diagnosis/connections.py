"""Lines about connections, and about files that nginx reads for each handshake."""

import re

from troth.nginx.diagnosis.rule import LOG, Rule
from troth.nginx.diagnosis.situation import Situation

_LOAD = r"(?:cannot load certificate(?P<kind> key)?|SSL_\w+\(|PEM_read_bio_\w+\(|BIO_new_file\()"
_RUNNING = r".*(?:to upstream|client:)"
# Once in 256 keys what a wrong password makes of it ends as if it were right, and fails as nonsense inside PKCS #8.
_ENCRYPTED = (
    _LOAD
    + r'\s*"?(?P<file>[^"]*)".*(?:UI routines|bad password read|bad decrypt|PKCS12 routines::decode error)'
    + _RUNNING
)


def _forgets(_: "re.Match[str]", situation: Situation) -> str | None:
    if situation.subject is None or not situation.has("ssl_password_file"):
        return None
    capabilities = situation.subject.capabilities
    forgets = (1, 23, 1) <= capabilities.version <= (1, 27, 4)
    return f"this is nginx {capabilities.version_text}" if forgets else None


def _own_fault(_: "re.Match[str]", situation: Situation) -> str | None:
    mine = situation.mine
    if mine is None:
        return ""
    return f"a handshake of ours is refused: alert {mine.alert}" if mine.alert is not None else None


def _all_down(_: "re.Match[str]", situation: Situation) -> str | None:
    probed = situation.probed
    if probed is None or probed.named is None:
        return ""
    return f"{probed.address}: {probed.named.problem}" if probed.named.problem else None


def _well_again(_: "re.Match[str]", situation: Situation) -> str | None:
    return "a handshake of ours succeeds now" if situation.let_in else None


def _plain(_: "re.Match[str]", situation: Situation) -> str | None:
    known = situation.probed.plain_http if situation.probed is not None else None
    return "it answers HTTP without TLS" if known else None


RULES = (
    Rule(
        "variable-pair-mismatch",
        LOG,
        r'SSL_use_PrivateKey\("(?P<file>[^"]*)"\) failed.*key values mismatch',
        "certificate and key, read for this handshake, are of different generations: they are not replaced at once",
        "one file with key and chain, replaced by rename; or a link to a directory with both",
        500,
    ),
    Rule(
        "variable-names-nothing",
        LOG,
        _LOAD + r'\s*"?(?P<file>[^"]*)".*No such file' + _RUNNING,
        "a variable became the name of a file that does not exist",
        "write {file}, or correct the map's value; give the map a default",
        500,
    ),
    Rule(
        "key-unreadable-by-workers",
        LOG,
        _LOAD + r'\s*"?(?P<file>[^"]*)".*Permission denied' + _RUNNING,
        "with a variable the workers read the key themselves, and their account may not",
        "chgrp it to the workers' group with mode 0640, the directories with x; or no variable",
        500,
    ),
    Rule(
        "variable-file-broken",
        LOG,
        _LOAD + r'\s*"?(?P<file>[^"]*)".*(?:no start line|bad end line|bad base64)' + _RUNNING,
        "a file that is read for each handshake is empty, cut off or of another kind: it is written in place",
        "write to a temporary file, then rename it to {file}",
        500,
    ),
    Rule(
        "variable-password-ignored",
        LOG,
        _ENCRYPTED,
        "a variable names an encrypted key, and this nginx forgets the password file for such ones",
        "a key without a password, with mode 0640 for the workers' group; or nginx 1.27.5 or later",
        500,
        True,
        _forgets,
        unseen="the tests have nginx 1.22 and 1.31",
        only="nginx 1.23.1 to 1.27.4",
    ),
    Rule(
        "variable-key-encrypted",
        LOG,
        _ENCRYPTED,
        "a key that is read for each handshake is encrypted, and no password fits",
        "{family}_ssl_password_file FILE; or a key without a password, with mode 0640 for the workers' group",
        500,
    ),
    Rule(
        "refused-connection",
        LOG,
        r"connect\(\) failed \(111: Connection refused\)",
        "nothing listens at the upstream's address: it is down, or listens on another port or address",
        "start it, or correct the address in {family}_pass",
    ),
    Rule(
        "no-route",
        LOG,
        r"connect\(\) failed \((?:113|101): |connect\(\) to .* failed \((?:113|101): ",
        "there is no way to the upstream's address",
        "correct the address or the routes",
    ),
    Rule(
        "socket-missing",
        LOG,
        r"connect\(\) to unix:(?P<file>\S+) failed \(2: No such file",
        "the upstream's socket does not exist: it is down or makes another",
        "start it, or correct the path {file}",
    ),
    Rule(
        "socket-denied",
        LOG,
        r"connect\(\) to unix:(?P<file>\S+) failed \(13: Permission denied",
        "nginx's workers may not write to the upstream's socket",
        "let the workers' group write to {file}",
    ),
    Rule(
        "connect-timeout",
        LOG,
        r"upstream timed out \(110: [^)]*\) while connecting to upstream",
        "the upstream's address does not answer: a firewall drops the packets, or the host is down",
        "look for firewalls on the way, and at the address",
        504,
    ),
    Rule(
        "handshake-with-plain-server",
        LOG,
        r"upstream timed out \(110: [^)]*\) while SSL handshaking to upstream|peer closed connection in SSL handshake",
        "the upstream's port speaks no TLS: it waits for more, or hangs up",
        "http:// in {family}_pass, or the upstream's TLS port",
        504,
        True,
        _plain,
    ),
    Rule(
        "handshake-timeout",
        LOG,
        r"upstream timed out \(110: [^)]*\) while SSL handshaking to upstream",
        "the upstream accepts connections and does not answer the handshake: it is overloaded, or expects "
        "another protocol",
        "look at the upstream; a port that speaks TLS at once",
        504,
    ),
    Rule(
        "closed-in-handshake",
        LOG,
        r"peer closed connection in SSL handshake|unexpected eof while reading.*while SSL handshaking",
        "the upstream hangs up during the handshake without a word: it wants a name or a certificate, or speaks no TLS",
        "{family}_ssl_server_name on; a client certificate; see the upstream's log",
    ),
    Rule(
        "answer-timeout",
        LOG,
        r"upstream timed out \(110: [^)]*\) while reading response header from upstream",
        "TLS is fine; the upstream took longer for its answer than proxy_read_timeout",
        "look at the upstream; a longer {family}_read_timeout where it needs it",
        504,
    ),
    Rule(
        "closed-before-answer",
        LOG,
        r"upstream prematurely closed connection while reading response header",
        "the upstream closed a connection without an answer: it ended, or it refuses our certificate by hanging up",
        "see the upstream's log; then what this location shows",
    ),
    Rule(
        "peers-shut-out-by-refusals",
        LOG,
        r"no live upstreams",
        "all peers refuse what this location shows, and nginx takes them for dead",
        "cure the refusal; nginx tries again after fail_timeout (10 s) or a reload",
        502,
        True,
        _own_fault,
    ),
    Rule(
        "peers-down",
        LOG,
        r"no live upstreams",
        "all peers of the group are down",
        "start them; nginx tries again after fail_timeout (10 s)",
        502,
        True,
        _all_down,
    ),
    Rule(
        "peers-waited-for",
        LOG,
        r"no live upstreams",
        "the peers are well again, and nginx waits out fail_timeout after failures",
        "wait 10 s (fail_timeout), or reload",
        502,
        True,
        _well_again,
    ),
    Rule(
        "resolver-missing",
        LOG,
        r"no resolver defined to resolve (?P<name>[^\s,]+)",
        "the upstream's name comes from a variable, and nginx has no resolver to look it up with",
        "resolver ADDRESS; in http, or the name without a variable",
    ),
    Rule(
        "name-unresolved",
        LOG,
        r"(?<!\S)(?P<name>\S+) could not be resolved \(",
        "the resolver does not know the upstream's name",
        "correct {name} or its DNS, or the resolver",
    ),
    Rule(
        "header-too-big",
        LOG,
        r"upstream sent too big header",
        "TLS is fine; the upstream's header is larger than the buffer",
        "{family}_buffer_size 16k;",
    ),
    Rule(
        "not-http",
        LOG,
        r"upstream sent (?:no valid HTTP/1\.0 header|invalid header|too large http2 frame)",
        "the upstream speaks another protocol than this location",
        "the port that speaks HTTP, or {family}_pass of the right kind",
        502,
    ),
)
