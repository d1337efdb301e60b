"""Findings in SARIF 2.1.0, which code scanners and CI systems show at the line."""

from collections.abc import Sequence
from urllib.parse import quote

from troth.nginx.findings import RULES, Finding

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {"info": "note", "warning": "warning", "error": "error"}


def to_sarif(findings: Sequence[Finding], version: str, refused: str = "") -> dict[str, object]:
    """One run of this program.

    Args:
        findings: from `examine`.
        version: of this program.
        refused: nginx's word where it does not take the configuration: what was found is then read without it.
    """
    ids = [rule.id for rule in RULES]
    driver = {
        "name": "troth",
        "version": version,
        "rules": [
            {
                "id": rule.id,
                "shortDescription": {"text": rule.title},
                "fullDescription": {"text": f"{rule.title}: {rule.why}"},
                "help": {"text": f"{rule.why}\nfix: {rule.fix.replace('{family}', 'proxy')}"},
                "defaultConfiguration": {"level": _LEVELS[rule.severity]},
            }
            for rule in RULES
        ],
    }
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "invocations": [_invocation(refused)],
                "results": [_result(one, ids) for one in findings],
            }
        ],
    }


def _invocation(refused: str) -> dict[str, object]:
    if not refused:
        return {"executionSuccessful": True}
    notice = {"level": "error", "message": {"text": refused}}
    return {"executionSuccessful": False, "toolConfigurationNotifications": [notice]}


def _result(finding: Finding, ids: Sequence[str]) -> dict[str, object]:
    file, _, line = finding.where.rpartition(":")
    place = {
        "artifactLocation": {"uri": "file://" + quote(file, errors="surrogateescape")},
        "region": {"startLine": int(line)},
    }
    return {
        "ruleId": finding.id,
        "ruleIndex": ids.index(finding.id),
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{finding.what}: {finding.why}\nfix: {finding.fix}"},
        "locations": [{"physicalLocation": place}],
    }
