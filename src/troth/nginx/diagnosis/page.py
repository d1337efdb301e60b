"""The page of all rules, made of the rules: ``python -m troth.nginx.diagnosis.page > docs/reference/diagnosis.md``."""

from troth.nginx.diagnosis import RULES
from troth.nginx.diagnosis.rule import SOURCES

# Known from nginx's source, its documentation or reports; no test shows them yet, or none can here.
UNREPRODUCED = frozenset(
    (
        "key-inherited",
        "file-denied",
        "no-pem",
        "key-too-small",
        "directive-newer",
        "module-missing",
        "port-taken",
        "they-got-none",
        "they-say-stranger",
        "they-say-self-signed",
        "they-miss-a-list",
        "they-have-an-old-list",
        "they-say-revoked",
        "they-cannot-ask",
        "they-share-no-cipher",
        "upstream-authority-expired",
        "upstream-self-signed",
        "root-untrusted",
        "client-none-12",
        "no-common-cipher",
        "client-expired-in-memory",
        "client-future",
        "client-bad",
        "client-authority-unknown",
        "client-revoked",
        "client-unknown-reason",
        "server-name-not-sent",
        "server-name-unknown",
        "no-http2",
        "client-refused-by-reset",
        "reset-by-network",
        "alert-internal",
        "alert-denied",
        "alert-signature",
        "no-route",
        "socket-denied",
        "connect-timeout",
        "handshake-with-plain-server",
        "handshake-timeout",
        "closed-in-handshake",
        "answer-timeout",
        "closed-before-answer",
        "peers-shut-out-by-refusals",
        "peers-down",
        "peers-waited-for",
        "name-unresolved",
        "header-too-big",
        "not-http",
        "shows-nothing-kept",
        "shows-unusable",
        "shows-old",
        "shows-stranger",
        "header-twice",
        "old-not-reloaded",
        "old-session",
        "old-connection",
        "other-shared",
        "unchecked-shared",
        "unchecked-off",
    )
)
_HEAD = """# What `troth nginx doctor` knows

Made by `python -m troth.nginx.diagnosis.page`. Where the same line has several causes, the doctor looks into the files
and makes a handshake with the upstream to tell them apart. Tests show each cause with
nginx 1.22 and 1.31, except for the rules that say otherwise.
"""


def page() -> str:
    """All rules, by where their symptom is seen."""
    parts = [_HEAD]
    for source in SOURCES:
        parts.append(f"\n## Seen in: {source}\n")
        for rule in (one for one in RULES if one.source == source):
            status = f" (status {rule.status})" if rule.status else ""
            note = (
                f" Not reproduced by a test{': ' if rule.unseen else ''}{rule.unseen}."
                if rule.id in UNREPRODUCED
                else ""
            )
            told = " Told from others of the same line." if rule.alike else ""
            fix, cause = (text.replace("{family}", "proxy") for text in (rule.fix, rule.cause))
            parts.append(f"\n**{rule.id}**{status}: {cause}. Fix: {fix}.{told}{note}\n")
    return "".join(parts)


if __name__ == "__main__":
    print(page(), end="")
