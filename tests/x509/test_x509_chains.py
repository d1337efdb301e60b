"""A path is accepted when every link of it holds, and refused for the reason that is drawn above each test."""

from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from tests.x509.authorities import DAY, NOW, Issued, issue
from troth.x509.chains import CLIENT_AUTH, SERVER_AUTH, ChainError, check_dates, matches_host, verify_path
from troth.x509.keys import generate_key

ROOT = issue("root", authority=True, path_length=1)
MIDDLE = issue("middle", ROOT, authority=True, path_length=0)
LEAF = issue("leaf", MIDDLE, names=("leaf.example",), purposes=(CLIENT_AUTH, SERVER_AUTH))


def verified(
    leaf: Issued,
    *between: Issued,
    roots: tuple[Issued, ...] = (ROOT,),
    now: datetime = NOW,
    purpose: ObjectIdentifier | None = None,
) -> list[str]:
    """The common names along the path."""
    found = verify_path(
        leaf.certificate,
        [one.certificate for one in between],
        [one.certificate for one in roots],
        now,
        purpose=purpose,
    )
    return [certificate.subject.rfc4514_string().removeprefix("CN=") for certificate in found.certificates]


def test_root_middle_leaf_is_valid() -> None:
    """root -> middle -> leaf."""
    assert verified(LEAF, MIDDLE) == ["leaf", "middle", "root"]
    assert verified(LEAF, MIDDLE, purpose=CLIENT_AUTH) == ["leaf", "middle", "root"]


def test_order_and_strangers_do_not_matter() -> None:
    """root -> middle -> leaf, beside a foreign root and its intermediate of the same name."""
    foreign = issue("root", authority=True)
    twin = issue("middle", foreign, authority=True)
    assert verified(LEAF, twin, MIDDLE, roots=(foreign, ROOT)) == ["leaf", "middle", "root"]


def test_a_trusted_leaf_needs_no_path() -> None:
    """[leaf]."""
    assert verified(LEAF, roots=(LEAF,)) == ["leaf"]


@pytest.mark.parametrize("kind", [("RSA", ""), ("OKP", ""), ("EC", "P-384"), ("EC", "P-521")])
def test_every_kind_of_key_signs(kind: tuple[str, str]) -> None:
    """root(kind) -> leaf(kind)."""
    root = issue("r", authority=True, key=generate_key(*kind))
    assert verified(issue("l", root, key=generate_key(*kind)), roots=(root,)) == ["l", "r"]


def refused(reason: str, leaf: Issued, *between: Issued, **kwargs: object) -> None:
    with pytest.raises(ChainError, match=reason):
        verified(leaf, *between, **kwargs)  # type: ignore[arg-type]


def test_no_root_trusts_nobody() -> None:
    """? -> middle -> leaf."""
    refused("no trusted root", LEAF, MIDDLE, roots=())


def test_a_missing_intermediate() -> None:
    """root -> (nothing) -> leaf."""
    refused("unknown authority: no issuer 'CN=middle'", LEAF)


def test_a_foreign_root_of_the_same_name() -> None:
    """root' (another key) -> middle -> leaf: RFC 5280 §6.1.3 (a)(1), the signature must verify."""
    refused("signature of 'middle' was not made by 'root'", LEAF, MIDDLE, roots=(issue("root", authority=True),))


def test_a_forged_leaf() -> None:
    """root -> middle -> leaf signed by somebody else."""
    refused("signature of 'leaf'", issue("leaf", MIDDLE, signed_by=generate_key()), MIDDLE)


@pytest.mark.parametrize("which", ["leaf", "middle", "root"])
@pytest.mark.parametrize(("start", "end", "reason"), [(-3, -1, "expired on"), (1, 3, "is not valid before")])
def test_dates_of_every_link_count(which: str, start: int, end: int, reason: str) -> None:
    """root -> middle -> leaf with one of them out of date: §6.1.3 (a)(2)."""

    def dates(name: str) -> tuple[datetime, datetime]:
        return (NOW + start * DAY, NOW + end * DAY) if name == which else (NOW - DAY, NOW + DAY)

    root = issue("root", authority=True, start=dates("root")[0], end=dates("root")[1])
    middle = issue("middle", root, authority=True, start=dates("middle")[0], end=dates("middle")[1])
    leaf = issue("leaf", middle, start=dates("leaf")[0], end=dates("leaf")[1])
    refused(f"certificate of '{which}' {reason}", leaf, middle, roots=(root,))


def test_both_ends_of_the_period_are_inside() -> None:
    """§4.1.2.5: from notBefore through notAfter, inclusive."""
    certificate = LEAF.certificate
    for moment in (certificate.not_valid_before_utc, certificate.not_valid_after_utc):
        check_dates(certificate, moment)
    for moment in (
        certificate.not_valid_before_utc - timedelta(seconds=1),
        certificate.not_valid_after_utc + timedelta(seconds=1),
    ):
        with pytest.raises(ChainError):
            check_dates(certificate, moment)


def test_a_leaf_signs_nobody() -> None:
    """root -> middle -> leaf -> below: §6.1.4 (k), an issuer must have cA set."""
    wide = issue("wide", authority=True)
    leaf = issue("leaf", wide)
    refused("'leaf' is not a certificate authority", issue("below", leaf), leaf, roots=(wide,))


def test_an_authority_without_basic_constraints() -> None:
    """root -> middle (no basicConstraints) -> leaf: §6.1.4 (k)."""
    middle = issue("middle", ROOT, authority=True, constraints=False)
    refused("'middle' is not a certificate authority", issue("leaf", middle), middle)


def test_path_length_zero_allows_no_intermediate_below() -> None:
    """root -> middle (pathlen 0) -> lower CA -> leaf: §4.2.1.9."""
    lower = issue("lower", MIDDLE, authority=True)
    refused("path length 0 of 'middle' is exceeded", issue("leaf", lower), lower, MIDDLE)


def test_path_length_one_allows_one_intermediate() -> None:
    """root (pathlen 1) -> a -> b -> leaf: §4.2.1.9."""
    a = issue("a", ROOT, authority=True)
    b = issue("b", a, authority=True)
    assert verified(issue("leaf", a), a) == ["leaf", "a", "root"]
    refused("path length 1 of 'root' is exceeded", issue("leaf", b), a, b)


def test_an_issuer_without_key_cert_sign() -> None:
    """root -> middle (keyUsage cRLSign only) -> leaf: §6.1.4 (n)."""
    middle = issue("middle", ROOT, authority=True, usages=("crl_sign",))
    refused("'middle' may not sign certificates", issue("leaf", middle), middle)


def test_an_issuer_without_key_usage_may_sign() -> None:
    """root -> middle (no keyUsage) -> leaf: §6.1.4 (n) asks only if the extension is present."""
    middle = issue("middle", ROOT, authority=True, usages=())
    assert verified(issue("leaf", middle), middle) == ["leaf", "middle", "root"]


@pytest.mark.parametrize("where", ["leaf", "middle"])
def test_an_unknown_critical_extension(where: str) -> None:
    """root -> middle -> leaf, one with an extension nobody knows marked critical: §4.2 MUST reject."""
    unknown = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    middle = issue("middle", ROOT, authority=True, extra=unknown, extra_critical=where == "middle")
    leaf = issue("leaf", middle, extra=unknown, extra_critical=where == "leaf")
    refused(f"certificate of '{where}' has an unknown critical extension 1.2.3.4", leaf, middle)


def test_purpose() -> None:
    """root -> middle -> leaf (serverAuth only): §4.2.1.12; absent or any allows all."""
    server = issue("leaf", MIDDLE, purposes=(SERVER_AUTH,))
    assert verified(server, MIDDLE, purpose=SERVER_AUTH)[0] == "leaf"
    refused("may not be used for clientAuth", server, MIDDLE, purpose=CLIENT_AUTH)
    for leaf in (issue("leaf", MIDDLE), issue("leaf", MIDDLE, purposes=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,))):
        assert verified(leaf, MIDDLE, purpose=CLIENT_AUTH)[0] == "leaf"


def test_a_ring_of_cross_certificates_ends() -> None:
    """a <-> b, each certified by the other, no root: the search must stop."""
    key_a, key_b = generate_key(), generate_key()
    a, b = issue("a", authority=True, key=key_a), issue("b", authority=True, key=key_b)
    a_by_b, b_by_a = issue("a", b, authority=True, key=key_a), issue("b", a, authority=True, key=key_b)
    refused("unknown authority|longer than", issue("leaf", a), a_by_b, b_by_a)


def test_a_path_beyond_every_use_is_cut() -> None:
    """root -> c0 -> ... -> c9 -> leaf."""
    root = last = issue("r", authority=True)
    between = []
    for number in range(10):
        last = issue(f"c{number}", last, authority=True)
        between.append(last)
    refused("longer than 8", issue("leaf", last), *between, roots=(root,))


@pytest.mark.parametrize(
    ("names", "host", "expected"),
    [
        (("a.example",), "a.example", True),
        (("a.example",), "A.Example.", True),
        (("*.example",), "a.example", True),
        (("*.example",), "a.b.example", False),
        (("*.example",), "example", False),
        (("a.example",), "b.example", False),
        (("10.0.0.1",), "10.0.0.1", True),
        (("10.0.0.1",), "10.0.0.2", False),
        (("me@a.example",), "a.example", False),
        ((), "leaf", False),
    ],
)
def test_hosts(names: tuple[str, ...], host: str, expected: bool) -> None:
    """RFC 6125 §6.4: one left-most label for a wildcard, and never the common name."""
    assert matches_host(issue("leaf", MIDDLE, names=names).certificate, host) == expected
