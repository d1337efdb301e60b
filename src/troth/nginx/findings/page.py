"""The page of all rules, made of the rules: ``python -m troth.nginx.findings.page > docs/reference/findings.md``."""

from troth.nginx.findings import RULES, SEVERITIES

_HEAD = """# What `troth nginx inspect` finds

Made by `python -m troth.nginx.findings.page`. Each finding has the line it is about; `--json` and `--sarif`
print them for programs, and `--fail-on SEVERITY` says from which severity on the exit code is 2. A test for each has a
real nginx show what the rule warns of, the rule name that configuration, and neither once cured: with nginx 1.22 and
1.31 where both have it, except where the rule says otherwise.
"""


def page() -> str:
    """All rules, the gravest first."""
    parts = [_HEAD]
    for severity in reversed(SEVERITIES):
        parts.append(f"\n## {severity.capitalize()}\n")
        for rule in (one for one in RULES if one.severity == severity):
            fix = rule.fix.replace("{family}", "proxy")
            note = f". Not shown by a test: {rule.unseen}." if rule.unseen else ""
            parts.append(f"\n**{rule.id}**: {rule.title}. Why: {rule.why}. Fix: `{fix}`{note}\n")
    return "".join(parts)


if __name__ == "__main__":
    print(page(), end="")
