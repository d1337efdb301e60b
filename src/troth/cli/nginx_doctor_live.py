"""``troth nginx doctor URL``: ask once, and explain the answer with what nginx logged meanwhile."""

from urllib.parse import urlsplit

from troth.agent import doctor as work
from troth.errors import UsageError
from troth.host.handshake import Call, connect, shake
from troth.host.http import get
from troth.host.nginx import LogTail
from troth.nginx.diagnosis import Diagnosis
from troth.nginx.diagnosis.rule import ANSWER, LOG
from troth.nginx.diagnosis.symptom import Symptom
from troth.nginx.map import Place


def of_url(url: str, known: work.Known | None) -> list[Diagnosis]:
    """Ask a URL and say why it fails; nothing where it does not.

    Raises:
        UsageError: it is no URL.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise UsageError(f"invalid URL {url!r}: expected http://HOST[:PORT]/PATH") from error
    if not host:
        raise UsageError(f"invalid URL {url!r}: expected http://HOST[:PORT]/PATH")
    path = parts.path or "/"
    place = work.place_of(Symptom("", server=host, path=path), known.subject) if known is not None else None
    tails = [LogTail(one) for one in work.log_files(known, [place] if place else [])] if known is not None else []
    text, status = _ask(parts.scheme, host, port, path)
    lines = [line for tail in tails for line in tail.news().splitlines()]
    if status and status < 400:
        return []
    found = list(work.from_log(lines, "", known, []))[:1]
    return found or _of_answer(text, status, known, place)


def _ask(scheme: str, host: str, port: int, path: str) -> tuple[str, int]:
    if scheme == "https":
        seen = shake(Call((host, port), host, host=host, path=path))
        if seen.alert is not None:
            return f"SSL alert number {seen.alert}", 0
        return (seen.body if seen.tls else seen.problem), seen.status
    try:
        connect((host, port), 3.0).close()
    except OSError as error:
        return f"connect() failed ({error.errno}: {error.strerror})", 0
    reply = get(port, path, host, host)
    return f"{reply.status} " + reply.body.decode("utf-8", "replace"), reply.status


def _of_answer(text: str, status: int, known: work.Known | None, place: Place | None) -> list[Diagnosis]:
    """The answer's own words, then the location's upstream."""
    symptom = Symptom(work.gist(text), ANSWER) if status else Symptom(text, LOG)
    found = work.explain(symptom, known, place)
    if found is None and known is not None and place is not None:
        found = next(work.examine_places(known, [place]), None)
    return [
        found or Diagnosis("unknown", f"it answers {status or 'nothing'}", (text[:200],), "see its log", status, False)
    ]
