"""What is wrong with a configuration that nginx accepts: each finding with its line, why it matters, and the fix.

One module per subject; each holds its rules and the checks behind them. ``pairs`` and ``authorities`` judge the files
that are named, and say nothing where nobody read them.
"""

from collections.abc import Sequence

from troth.nginx.capabilities import Capabilities
from troth.nginx.findings import authorities, guards, handshake, identity, pairs, rotation, sharing, verification
from troth.nginx.findings.rule import SEVERITIES as SEVERITIES
from troth.nginx.findings.rule import Finding as Finding
from troth.nginx.findings.rule import Rule as Rule
from troth.nginx.findings.rule import Subject as Subject
from troth.nginx.map import Place
from troth.nginx.map import guards as guards_of
from troth.nginx.material import Facts
from troth.nginx.tree import Config

RULES: tuple[Rule, ...] = (
    *verification.RULES,
    *identity.RULES,
    *sharing.RULES,
    *handshake.RULES,
    *rotation.RULES,
    *guards.RULES,
    *pairs.RULES,
    *authorities.RULES,
)


def examine(
    config: Config, places: Sequence[Place], capabilities: Capabilities, facts: Facts | None = None
) -> list[Finding]:
    """Every finding, the gravest first, and then in the order of the rules."""
    subject = Subject(config, places, guards_of(config), capabilities, facts)
    found = [finding for rule in RULES for finding in rule.findings(subject)]
    return sorted(found, key=lambda finding: -SEVERITIES.index(finding.severity))
