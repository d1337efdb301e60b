"""``troth certificate lint``."""

import click

from troth.cli import flags

EXAMPLES = """
troth certificate lint client.crt
troth certificate lint client.crt --fail-on warning
troth certificate lint https://ca.internal:9000 --roots root_ca.crt
"""
# zlint, whose report step prints, says so too; a script that asks these goes on working.
SUMMARY = ("notice", "warning", "error", "fatal")


@flags.command("lint", EXAMPLES)
@click.argument("source", metavar="FILE|URL|-")
@click.option("--fail-on", metavar="SEVERITY", default="", help="Exit 2 from fatal, error, warning or notice on.")
@flags.REMOTE
def lint(source: str, fail_on: str, roots: str, servername: str, insecure: bool) -> int:
    """Print what an RFC 5280 linter (pkilint) has against a certificate, as JSON. It exits 0 unless --fail-on says
    otherwise.
    """
    import json
    from dataclasses import asdict

    from troth.cli.sources import certificates_of
    from troth.errors import UsageError
    from troth.host.terminal import note
    from troth.x509.lint import SEVERITIES, linter
    from troth.x509.lint import lint as findings_of

    if fail_on and fail_on.lower() not in SUMMARY:
        raise UsageError(f"unknown --fail-on {fail_on!r}: expected fatal, error, warning or notice")
    findings = findings_of(certificates_of(source, roots, servername, insecure)[0])
    counts = {name: sum(one.severity == name for one in findings) for name in SUMMARY}
    summary = {f"{name}s_present": bool(count) for name, count in counts.items()}
    report = {"linter": linter(), "findings": [asdict(one) for one in findings], **summary}
    print(json.dumps(report, indent=1, ensure_ascii=False))
    failing = SEVERITIES[: SEVERITIES.index(fail_on.lower()) + 1] if fail_on else ()
    count = sum(one.severity in failing for one in findings)
    if count:
        note(f"error: {count} {'finding' if count == 1 else 'findings'} of severity {fail_on.lower()} or worse")
    return 2 if count else 0
