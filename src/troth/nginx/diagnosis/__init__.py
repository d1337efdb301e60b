"""From a symptom to its cause: a line of a log, an answer or nothing at all, with what the situation tells.

One module per kind of symptom; each holds its rules and the verdicts behind them. The lines are those of nginx 1.22 to
1.31 with OpenSSL 3; alerts are told by their number, since their text differs between versions of OpenSSL.
"""

import re
from collections.abc import Iterable

from troth.nginx.diagnosis import answers, connections, peers, refusals, refused, silence, theirs
from troth.nginx.diagnosis.rule import REFUSED_CONFIG, filled
from troth.nginx.diagnosis.rule import Diagnosis as Diagnosis
from troth.nginx.diagnosis.rule import Rule as Rule
from troth.nginx.diagnosis.situation import Situation as Situation
from troth.nginx.diagnosis.symptom import Symptom as Symptom
from troth.nginx.diagnosis.symptom import family_of

RULES: tuple[Rule, ...] = (
    *refused.RULES,
    *theirs.RULES,
    *peers.RULES,
    *refusals.RULES,
    *connections.RULES,
    *answers.RULES,
    *silence.RULES,
)


def diagnose(symptom: Symptom, situation: Situation) -> Diagnosis | None:
    """The one cause of a symptom, as far as the situation tells; None where no rule knows it.

    A cause with evidence goes before one that is only possible; among equals the order of the rules decides.
    """
    found: list[tuple[Rule, re.Match[str], str]] = []
    for rule in RULES:
        said = rule.match(symptom.text) if _applies(rule, symptom) else None
        evidence = rule.judge(said, situation) if said is not None else None
        if said is not None and evidence is not None:
            found.append((rule, said, evidence))
    found.sort(key=lambda one: not one[2])
    if not found:
        return None
    rule, said, evidence = found[0]
    rest = tuple(other.id for other, _, proof in found[1:] if bool(proof) == bool(evidence))
    family = family_of(symptom.text)
    place = situation.place
    return Diagnosis(
        rule.id,
        filled(rule.cause, said, situation, family),
        tuple(one for one in (symptom.text, evidence) if one),
        filled(rule.fix, said, situation, family),
        rule.status,
        not rest or bool(evidence),
        rest if not evidence else (),
        place.where if place is not None else "",
    )


def needs_more(symptom: Symptom) -> bool:
    """Whether the same line has several causes, so that a handshake or a look into the files is worth it."""
    return any(rule.alike for rule in explaining(symptom))


def explaining(symptom: Symptom) -> Iterable[Rule]:
    """The rules that know a line, whatever the situation."""
    return (rule for rule in RULES if _applies(rule, symptom) and rule.match(symptom.text) is not None)


def _applies(rule: Rule, symptom: Symptom) -> bool:
    """Whether a symptom may be of a rule's kind: what is about a client was not said of a configuration."""
    if symptom.source:
        return rule.source == symptom.source
    return rule.source != REFUSED_CONFIG or ", client: " not in symptom.text
