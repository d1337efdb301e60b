"""Name constraints: a name below an authority must be permitted by it, and excluded by none (RFC 5280 §4.2.1.10)."""

import ipaddress
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from tests.x509.authorities import NOW, Issued, issue, name
from troth.x509.chains import ChainError, verify_path
from troth.x509.constraints import NameConstraintError, constraints_of
from troth.x509.names import split_names
from troth.x509.pem import bundle_to_pem

FORMS: dict[str, Callable[[str], x509.GeneralName]] = {
    "dns": x509.DNSName,
    "email": x509.RFC822Name,
    "uri": x509.UniformResourceIdentifier,
}


def tree(kind: str, *texts: str) -> list[x509.GeneralName]:
    if kind == "ip":
        return [x509.IPAddress(ipaddress.ip_network(text)) for text in texts]
    return [FORMS[kind](text) for text in texts]


def limited(permitted: list[x509.GeneralName] | None, excluded: list[x509.GeneralName] | None) -> Issued:
    limits = x509.NameConstraints(permitted, excluded)
    return issue("middle", ROOT, authority=True, extra=limits, extra_critical=True)


ROOT = issue("root", authority=True)


@pytest.mark.parametrize(
    ("kind", "constraint", "value", "inside"),
    [
        ("dns", "example.com", "example.com", True),
        ("dns", "example.com", "a.b.EXAMPLE.com", True),
        ("dns", "example.com", "*.example.com", True),
        ("dns", "example.com", "badexample.com", False),
        ("dns", "example.com", "example.com.evil", False),
        ("dns", "example.com", "com", False),
        ("dns", ".example.com", "a.example.com", True),
        ("dns", ".example.com", "example.com", False),
        ("dns", "", "anything.example", True),
        ("ip", "10.0.0.0/8", "10.1.2.3", True),
        ("ip", "10.0.0.0/8", "11.1.2.3", False),
        ("ip", "2001:db8::/32", "2001:db8::1", True),
        ("ip", "0.0.0.0/0", "::1", False),
        ("email", "jane@example.com", "jane@EXAMPLE.com", True),
        ("email", "jane@example.com", "mary@example.com", False),
        ("email", "example.com", "jane@example.com", True),
        ("email", "example.com", "jane@host.example.com", False),
        ("email", ".example.com", "jane@host.example.com", True),
        ("email", ".example.com", "jane@example.com", False),
        ("uri", "www.example.com", "https://www.example.com:8443/x", True),
        ("uri", ".example.com", "spiffe://a.example.com/x", True),
        ("uri", ".example.com", "spiffe://example.com/x", False),
    ],
)
def test_a_name_is_inside_or_outside_and_exclusion_is_the_opposite(
    kind: str, constraint: str, value: str, inside: bool
) -> None:
    names = split_names([value])
    for permitted, excluded, good in (
        (tree(kind, constraint), None, inside),
        (None, tree(kind, constraint), not inside),
    ):
        (found,) = constraints_of([limited(permitted, excluded).certificate])
        if good:
            found.check(names)
        else:
            with pytest.raises(NameConstraintError, match="'CN=middle'"):
                found.check(names)


@pytest.mark.parametrize("value", ["urn:uuid:1", "https://10.0.0.1/", "https://[::1]/", "https://"])
def test_a_uri_without_a_host_name_is_refused_where_uris_are_constrained(value: str) -> None:
    for permitted, excluded in ((tree("uri", ".example.com"), None), (None, tree("uri", ".example.com"))):
        (found,) = constraints_of([limited(permitted, excluded).certificate])
        with pytest.raises(NameConstraintError, match="cannot be held"):
            found.check(split_names([value]))


def test_kinds_that_nothing_is_said_of_are_free() -> None:
    (found,) = constraints_of([limited(tree("dns", "example.com"), None).certificate])
    found.check(split_names(["10.0.0.1", "jane@other.test", "https://other.test/", "www.example.com"]))
    assert constraints_of([ROOT.certificate]) == ()


def paths() -> list[tuple[str, Issued, list[Issued], bool]]:
    """What is drawn, the leaf, what stands between it and the root, and whether the path holds."""
    inside = limited(tree("dns", "example.com"), None)
    below = issue("low", inside, authority=True)
    narrow = x509.NameConstraints(tree("dns", "a.example.com"), None)
    lower = issue("low", inside, authority=True, extra=narrow, extra_critical=True)
    named = issue("low", inside, authority=True, names=("other.test",))
    return [
        ("permitted", issue("leaf", inside, names=("www.example.com",)), [inside], True),
        ("no names", issue("leaf", inside), [inside], True),
        ("outside", issue("leaf", inside, names=("www.other.test",)), [inside], False),
        ("one outside", issue("leaf", inside, names=("www.example.com", "www.other.test")), [inside], False),
        ("outside, two below", issue("leaf", below, names=("www.other.test",)), [below, inside], False),
        ("inside both", issue("leaf", lower, names=("x.a.example.com",)), [lower, inside], True),
        ("inside one", issue("leaf", lower, names=("b.example.com",)), [lower, inside], False),
        ("an authority outside", issue("leaf", named, names=("www.example.com",)), [named, inside], False),
    ]


@pytest.mark.parametrize("case", paths(), ids=lambda case: case[0])
def test_paths_hold_as_openssl_says(case: tuple[str, Issued, list[Issued], bool], tmp_path: Path) -> None:
    _, leaf, between, holds = case
    chain = [one.certificate for one in between]
    try:
        verify_path(leaf.certificate, chain, [ROOT.certificate], NOW)
    except ChainError as error:
        assert not holds, error.message
        assert "is not permitted by 'CN=middle'" in error.message or "by 'CN=low'" in error.message
    else:
        assert holds
    (tmp_path / "root").write_text(bundle_to_pem([ROOT.certificate]))
    (tmp_path / "between").write_text(bundle_to_pem(chain))
    (tmp_path / "leaf").write_text(bundle_to_pem([leaf.certificate]))
    moment = ("-attime", str(int(NOW.timestamp())))
    command = ["openssl", "verify", *moment, "-CAfile", "root", "-untrusted", "between", "leaf"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=20, check=False)
    assert (done.returncode == 0) is holds, done.stderr


def test_a_form_nobody_here_judges_is_not_ignored() -> None:
    middle = limited([x509.DirectoryName(name("Somebody"))], None)
    leaf = issue("leaf", middle, names=("www.example.com",))
    with pytest.raises(ChainError, match="not understood"):
        verify_path(leaf.certificate, [middle.certificate], [ROOT.certificate], NOW)
