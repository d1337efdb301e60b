"""``troth nginx doctor URL``: ask once, and explain the answer with what nginx logged meanwhile."""

import socket
from dataclasses import dataclass
from itertools import islice
from urllib.parse import urlsplit

from troth.agent import doctor as work
from troth.agent import logs
from troth.errors import UsageError
from troth.host.handshake import Call, connect, shake
from troth.host.http import get
from troth.host.nginx import LogTail
from troth.nginx.diagnosis import Diagnosis
from troth.nginx.diagnosis.rule import ANSWER, LOG
from troth.nginx.diagnosis.symptom import Symptom
from troth.nginx.map import Place

TIMEOUT_SECONDS = 3.0
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Url:
    """A URL taken apart; `target` is its path with what follows."""

    scheme: str
    host: str
    port: int
    path: str
    target: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status (0: no answer), the text, an alert in its place, or why there was no connection."""

    status: int = 0
    text: str = ""
    alert: int | None = None
    problem: str = ""


def of_url(text: str, known: work.Known | None) -> list[Diagnosis]:
    """Ask a URL and say why it fails; nothing where it does not.

    Raises:
        UsageError: it is no URL.
    """
    url = _parse(text)
    place = work.place_of(Symptom("", server=url.host, path=url.path), known.subject) if known is not None else None
    tails = [LogTail(one) for one in logs.log_files(known, [place] if place else [])] if known is not None else []
    answer = _ask(url)
    lines = [line for tail in tails for line in tail.news().splitlines()]
    if answer.status and answer.status < 400:
        return []
    if answer.problem:
        return [_unreachable(url, answer.problem)]
    found = list(islice(logs.from_log(reversed(lines), "", known, []), 1))
    return found or [_of_answer(answer, known, place)]


def _parse(text: str) -> Url:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port or PORTS[parts.scheme]
    except ValueError as error:
        raise UsageError(f"invalid URL {text!r}: expected http://HOST[:PORT]/PATH") from error
    if not host:
        raise UsageError(f"invalid URL {text!r}: expected http://HOST[:PORT]/PATH")
    path = parts.path or "/"
    return Url(parts.scheme, host, port, path, f"{path}?{parts.query}" if parts.query else path)


def _ask(url: Url) -> Answer:
    try:
        connect((url.host, url.port), TIMEOUT_SECONDS).close()
    except socket.gaierror:
        return Answer(problem="the name has no address")
    except TimeoutError:
        return Answer(problem="it does not answer: a firewall drops the packets, or the host is down")
    except OSError as error:
        return Answer(problem=(error.strerror or str(error)).lower())
    if url.scheme == "https":
        seen = shake(Call((url.host, url.port), url.host, host=url.host, path=url.target))
        if not seen.tls and seen.alert is None:
            return Answer(problem="the port speaks no TLS" if seen.problem == "no TLS" else f"handshake {seen.problem}")
        return Answer(seen.status, seen.body, seen.alert)
    reply = get(url.port, url.target, url.host, url.host)
    return Answer(reply.status, f"{reply.status} " + reply.body.decode("utf-8", "replace"))


def _unreachable(url: Url, problem: str) -> Diagnosis:
    """The URL itself leads nowhere: nothing can be said about an upstream."""
    fix = "correct the URL; see whether nginx runs, and what its listen lines say"
    return Diagnosis("no-answer", f"nothing answers at {url.host}:{url.port}", (problem,), fix, 0, True)


def _of_answer(answer: Answer, known: work.Known | None, place: Place | None) -> Diagnosis:
    """The answer's own words, then the location's upstream."""
    gist = work.gist(answer.text)
    symptom = Symptom(gist, ANSWER) if answer.alert is None else Symptom(f"SSL alert number {answer.alert}", LOG)
    found = work.explain(symptom, known, place)
    if found is None and known is not None and place is not None:
        found = next(work.examine_places(known, [place]), None)
    if found is not None:
        return found
    if answer.status and answer.status < 500:
        cause = "the application answers so, or a rule of this nginx's own: no upstream was refused over TLS"
        return Diagnosis("application", cause, (gist[:200],), "look at the application", answer.status, False)
    cause = f"it answers {answer.status or 'nothing'}, and no rule knows why"
    fix = "see its error log" if known is not None else "ask where that nginx runs: the reason is in its error log"
    return Diagnosis("unknown", cause, (gist[:200],), fix, answer.status, False)
