"""The page of all rules, made of the rules: ``python -m troth.nginx.diagnosis.page > docs/reference/diagnosis.md``."""

from troth.nginx.diagnosis import RULES
from troth.nginx.diagnosis.rule import SOURCES

_HEAD = """# What `troth nginx doctor` knows

Made by `python -m troth.nginx.diagnosis.page`. Where the same line has several causes, the doctor looks into the files
and makes a handshake with the upstream to tell them apart. A test for each has a real nginx show the symptom, the
doctor name this cause and no other, and nothing left of it once cured: with nginx 1.22 and 1.31, except where the rule
says otherwise.
"""


def page() -> str:
    """All rules, by where their symptom is seen."""
    parts = [_HEAD]
    for source in SOURCES:
        parts.append(f"\n## Seen in: {source}\n")
        for rule in (one for one in RULES if one.source == source):
            status = f" (status {rule.status})" if rule.status else ""
            note = f" Not reproduced by a test: {rule.unseen}." if rule.unseen else ""
            note += f" Only with {rule.only}." if rule.only else ""
            told = " Told from others of the same line." if rule.alike else ""
            fix, cause = (text.replace("{family}", "proxy") for text in (rule.fix, rule.cause))
            parts.append(f"\n**{rule.id}**{status}: {cause}. Fix: {fix}.{told}{note}\n")
    return "".join(parts)


if __name__ == "__main__":
    print(page(), end="")
