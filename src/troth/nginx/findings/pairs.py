"""Certificates and keys in files, as they are on disk now."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from troth.nginx.findings.files import AUTHORITIES, KEYS, LISTS, OWN, SHOWN, each, label
from troth.nginx.findings.rule import ERROR, INFO, WARNING, Hit, Rule, Subject
from troth.nginx.material import FileFacts, is_authority, is_root
from troth.x509.chains import CLIENT_AUTH, allows
from troth.x509.keys import spki_of

SOON = 6  # of its lifetime, the part that may be left before a renewal is late
CACHED_ACROSS_RELOADS = (1, 27, 2)
RENEW = "troth agent run --config troth.toml --once"


def _problem(file: FileFacts, _: Subject) -> str:
    return f"{file.path}: {file.problem}" if file.problem else ""


def _expired(file: FileFacts, subject: Subject) -> str:
    for leaf in file.certificates[:1]:
        if leaf.not_valid_after_utc < subject.now:
            return f"{label(leaf)} in {file.path} expired at {_moment(leaf.not_valid_after_utc)}"
    return ""


def _early(file: FileFacts, subject: Subject) -> str:
    for leaf in file.certificates[:1]:
        if leaf.not_valid_before_utc > subject.now:
            return f"{label(leaf)} in {file.path} is valid from {_moment(leaf.not_valid_before_utc)} on"
    return ""


def _late(file: FileFacts, subject: Subject) -> str:
    for leaf in file.certificates[:1]:
        left, life = leaf.not_valid_after_utc - subject.now, leaf.not_valid_after_utc - leaf.not_valid_before_utc
        if timedelta(0) <= left < life / SOON:
            return f"{label(leaf)} in {file.path} expires at {_moment(leaf.not_valid_after_utc)}"
    return ""


def _no_client_purpose(file: FileFacts, _: Subject) -> str:
    wrong = any(not allows(leaf, CLIENT_AUTH) for leaf in file.certificates[:1])
    return f"the extended key usage of {file.path} lacks clientAuth" if wrong else ""


def _authority(file: FileFacts, _: Subject) -> str:
    authority = any(is_authority(leaf) for leaf in file.certificates[:1])
    return f"the first certificate of {file.path} is an authority's" if authority else ""


def _order(file: FileFacts, _: Subject) -> str:
    for one, two in zip(file.certificates, file.certificates[1:], strict=False):
        if one.issuer != two.subject:
            return f"in {file.path} {label(two)} follows {label(one)}, and did not issue it"
    return ""


def _root_sent(file: FileFacts, _: Subject) -> str:
    roots = [label(one) for one in file.certificates[1:] if is_root(one)]
    return f"{file.path} ends with the root {roots[0]}" if roots else ""


def _open_key(file: FileFacts, _: Subject) -> str:
    return f"{file.path} has mode {file.mode:04o}: every user may read the key" if file.mode & 0o004 else ""


def _old_time(file: FileFacts, subject: Subject) -> str:
    if subject.capabilities.version < CACHED_ACROSS_RELOADS:
        return ""
    issued = [(one.not_valid_before_utc - timedelta(days=1)).timestamp() for one in file.certificates[:1]]
    old = any(file.modified < moment for moment in issued)
    return f"{file.path} says it was last changed before the certificate in it was issued" if old else ""


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _reload_pending(subject: Subject) -> Iterator[Hit]:
    since = subject.facts.workers_since if subject.facts is not None else None
    for place in subject.places:
        for name in (*OWN, "ssl_trusted_certificate", "ssl_crl"):
            static = "$" not in place.value(name)
            for file in subject.files(place.value(name)):
                if since is not None and static and not file.problem and file.modified > since + 1:
                    yield Hit(place.where_of(name), f"{file.path} was changed after the workers started", place.family)


def _mismatch(subject: Subject) -> Iterator[Hit]:
    for place in subject.places:
        pairs = zip(*(subject.files(place.value(name)) for name in OWN), strict=False)
        for certificate, key in pairs:
            if certificate.certificates and key.key and spki_of(certificate.certificates[0]) != key.key:
                what = f"{key.path} is not the key of {certificate.path}"
                yield Hit(place.where_of("ssl_certificate"), what, place.family)


def _unreadable(subject: Subject) -> Iterator[Hit]:
    for place in subject.places:
        if not any("$" in place.value(name) for name in OWN):
            continue
        for name in OWN:
            for file in subject.files(place.value(name)):
                if not file.problem and not file.for_workers:
                    what = f"workers may not read {file.path}, mode {file.mode:04o}"
                    yield Hit(place.where_of(name), what, place.family)


def _leaf_alone(subject: Subject) -> Iterator[Hit]:
    for place in subject.places:
        roots = {one.subject for one in subject.trust(place) if is_root(one)}
        for file in subject.files(place.value("ssl_certificate")):
            issuers = [one.issuer for one in file.certificates if not is_root(one)]
            if roots and len(issuers) == len(file.certificates) == 1 and issuers[0] not in roots:
                what = f"{file.path} holds the certificate alone, without {issuers[0].rfc4514_string()}"
                yield Hit(place.where_of("ssl_certificate"), what, place.family)


RULES = (
    Rule(
        "unusable-file",
        ERROR,
        "a file that is named cannot be used",
        "nginx refuses it at the next reload, or, where a variable names it, answers 500",
        "put it in place, or name another",
        each(_problem, *SHOWN, *AUTHORITIES, *KEYS, *LISTS, unusable=True),
    ),
    Rule(
        "expired",
        ERROR,
        "a certificate has expired",
        "the other side refuses it; for a client certificate this nginx logs nothing, or a connection reset",
        RENEW,
        each(_expired, *SHOWN),
    ),
    Rule(
        "not-yet-valid",
        ERROR,
        "a certificate is not valid yet",
        "the other side refuses it: the clock of one of the machines is wrong",
        "set the clocks, and have certificates issued with a notBefore some minutes back",
        each(_early, *SHOWN),
    ),
    Rule(
        "renewal-late",
        WARNING,
        "a certificate expires soon, and is not renewed",
        "less than a sixth of its life is left: what should renew it does not run",
        RENEW,
        each(_late, *SHOWN),
    ),
    Rule(
        "pair-mismatch",
        ERROR,
        "certificate and key do not belong together",
        "the next reload fails and a restart would not start; a variable answers 500 at once",
        "both files of one generation, replaced together",
        _mismatch,
    ),
    Rule(
        "no-client-purpose",
        ERROR,
        "the client certificate is not for clients",
        "the upstream refuses it: unsuitable certificate purpose, alert 43",
        "a certificate with clientAuth in its extended key usage, or with none",
        each(_no_client_purpose, "ssl_certificate"),
    ),
    Rule(
        "authority-shown",
        ERROR,
        "an authority's certificate is shown as the client's",
        "its key could sign for anyone and lies on a proxy; in front of the leaf it makes nginx refuse the pair",
        "the leaf first, then the intermediates",
        each(_authority, "ssl_certificate"),
    ),
    Rule(
        "leaf-alone",
        WARNING,
        "the client certificate comes without its intermediate",
        "an upstream that knows the root alone refuses it: unable to verify the first certificate",
        "append the intermediate to the certificate file",
        _leaf_alone,
    ),
    Rule(
        "chain-order",
        WARNING,
        "a chain is not in order",
        "some upstreams find no path through it",
        "the leaf first, each followed by its issuer",
        each(_order, *SHOWN),
        unseen="nginx, as every program on OpenSSL, finds its way through such a chain",
    ),
    Rule(
        "root-sent",
        INFO,
        "the root is sent along",
        "the other side has it or does not trust it: it only makes handshakes longer",
        "end the chain with the last intermediate",
        each(_root_sent, *SHOWN),
    ),
    Rule(
        "open-key",
        ERROR,
        "every user may read a key",
        "whoever has an account, or a way into any service of the machine, is this client",
        "chmod 0600; the master reads it as root",
        each(_open_key, *KEYS),
    ),
    Rule(
        "unreadable-by-workers",
        ERROR,
        "workers may not read a file that they must read",
        "a variable has the workers read it at every handshake: each request ends with 500, and nginx -t finds nothing",
        "chgrp to the workers' group and chmod 0640, with x on the directories; or static files",
        _unreadable,
    ),
    Rule(
        "reload-pending",
        WARNING,
        "a file was changed after nginx read it",
        "static files are read at start and reload only: the workers show and trust the old one",
        "nginx -s reload",
        _reload_pending,
    ),
    Rule(
        "stale-time",
        WARNING,
        "a certificate file bears an old time",
        "from 1.27.2 on nginx takes a file for unchanged when inode and time are: a reload may keep the old one",
        "replace files by rename, and do not carry times over (cp -p, rsync -t)",
        each(_old_time, *SHOWN),
    ),
)
