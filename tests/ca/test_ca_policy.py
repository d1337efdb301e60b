"""Name policies: which names an entry matches, what an allow entry excludes, and which entries are refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troth.ca import ConfigurationError, ForbiddenError
from troth.ca.policy import KINDS, parse_policy
from troth.x509.names import split_names

WHAT, WHERE = "the authority", "authority.policy"


def refusal(raw: dict[str, Any], *names: str, cn: str = "") -> str:
    """Why the names are refused; empty when they are not."""
    policy = parse_policy({"x509": raw}, WHAT, WHERE)
    if policy is None:
        return ""
    try:
        policy.check(cn, split_names(names))
    except ForbiddenError as error:
        return error.message
    return ""


@pytest.mark.parametrize(
    ("kind", "entry", "name", "matches"),
    [
        ("dns", "www.example.com", "www.example.com", True),
        ("dns", "www.example.com", "WWW.Example.COM", True),
        ("dns", " WWW.example.com ", "www.example.com", True),
        ("dns", "www.example.com", "a.www.example.com", False),
        ("dns", "example.com", "www.example.com", False),
        ("dns", "*.example.com", "www.example.com", True),
        ("dns", "*.example.com", "example.com", False),
        ("dns", "*.example.com", "a.b.example.com", False),
        ("dns", "*.example.com", "badexample.com", False),
        ("dns", "*.bücher.example", "www.xn--bcher-kva.example", True),
        ("dns", "bücher.example", "BÜCHER.example", True),
        ("dns", "localhost", "localhost", True),
        ("ip", "10.0.0.0/8", "10.1.2.3", True),
        ("ip", "10.9.9.9/8", "10.1.2.3", True),
        ("ip", "10.0.0.0/8", "11.1.2.3", False),
        ("ip", "127.0.0.1", "127.0.0.1", True),
        ("ip", "127.0.0.1", "127.0.0.2", False),
        ("ip", "127.0.0.1", "::ffff:127.0.0.1", True),
        ("ip", "::ffff:10.0.0.0/104", "10.3.2.1", True),
        ("ip", "2001:db8::/32", "2001:db8::1", True),
        ("ip", "2001:db8::/32", "2001:db9::1", False),
        ("ip", "0.0.0.0/0", "::1", False),
        ("email", "jane@example.com", "jane@example.com", True),
        ("email", "jane@example.com", "jane@EXAMPLE.com", True),
        ("email", "jane@example.com", "mary@example.com", False),
        ("email", "@example.com", "jane@example.com", True),
        ("email", "example.com", "jane@example.com", True),
        ("email", "@example.com", "jane@sub.example.com", False),
        ("email", "@example.com", '"jane doe"@example.com', True),
        ("uri", "www.example.com", "https://www.example.com/path?q=1", True),
        ("uri", "www.example.com", "spiffe://www.example.com:8443/x", True),
        ("uri", "www.example.com", "https://example.com", False),
        ("uri", "*.example.com", "https://www.example.com", True),
        ("uri", "*.example.com", "https://example.com", False),
    ],
)
def test_an_entry_matches_or_not_and_deny_is_the_opposite_of_allow(
    kind: str, entry: str, name: str, matches: bool
) -> None:
    assert (refusal({"allow": {kind: [entry]}}, name) == "") is matches
    assert (refusal({"deny": {kind: [entry]}}, name) == "") is not matches


def test_deny_goes_before_allow() -> None:
    raw = {"allow": {"dns": ["*.example.com"]}, "deny": {"dns": ["bad.example.com"]}}
    assert refusal(raw, "good.example.com") == ""
    assert refusal(raw, "bad.example.com") == (
        "dns name 'bad.example.com' is not allowed by the policy of the authority: denied"
    )
    assert "denied" in refusal(raw, "good.example.com", "bad.example.com")


@pytest.mark.parametrize("name", ["10.0.0.1", "jane@example.com", "https://www.example.com", "urn:uuid:1", "a.example"])
def test_one_allow_entry_of_any_kind_excludes_all_other_names(name: str) -> None:
    assert "not among the allowed names" in refusal({"allow": {"dns": ["www.example.com"]}}, name)
    raw = {"allow": {"cn": ["Somebody"]}, "deny": {"dns": ["x.example"], "ip": ["9.9.9.9"], "email": ["@x.example"]}}
    assert "not among the allowed names" in refusal(raw, name)


@pytest.mark.parametrize("name", ["10.0.0.1", "jane@example.com", "https://www.example.com", "urn:uuid:1", "a.example"])
def test_with_deny_entries_alone_everything_else_is_allowed(name: str) -> None:
    assert refusal({"deny": {"dns": ["www.example.com"]}}, name, cn=name) == ""


def test_a_wildcard_name_needs_the_switch_and_an_entry() -> None:
    allow = {"allow": {"dns": ["*.example.com"]}}
    assert "wildcard names are not allowed" in refusal(allow, "*.example.com")
    assert refusal({**allow, "allowWildcardNames": True}, "*.example.com") == ""
    assert refusal({**allow, "allowWildcardNames": True}, "*.other.com") != ""
    assert refusal({"allow": {"dns": ["example.com"]}, "allowWildcardNames": True}, "*.example.com") != ""
    assert "wildcard names are not allowed" in refusal({"deny": {"dns": ["bad.com"]}}, "*.example.com")
    assert refusal({"deny": {"dns": ["*.bad.com"]}, "allowWildcardNames": True}, "*.bad.com") != ""


@pytest.mark.parametrize(
    "name",
    ["*", "**.example.com", "*a.example.com", "a.*.example.com", "under_score.example.com", "a..b", ".a", "a.", "-a"],
)
def test_what_is_no_domain_name_is_refused_where_there_is_a_policy(name: str) -> None:
    for raw in ({"allow": {"dns": ["*.example.com"]}}, {"deny": {"dns": ["x.com"]}}):
        assert refusal({**raw, "allowWildcardNames": True}, name) != ""
    assert refusal({}, name) == ""


@pytest.mark.parametrize(
    "name", ["urn:uuid:1", "https://10.0.0.1/", "https://[::1]/", "https://*.example.com/", "https://"]
)
def test_a_uri_without_a_host_name_is_refused_where_uris_are_spoken_of(name: str) -> None:
    for side in ("allow", "deny"):
        assert "no host" in refusal({side: {"uri": ["*.example.com"]}}, name)


def test_a_common_name_is_matched_by_its_own_entries_or_as_the_name_it_looks_like() -> None:
    allow = {"allow": {"cn": ["My CA User"], "dns": ["*.example.com"], "ip": ["10.0.0.0/8"]}}
    for cn in ("my ca user", "www.example.com", "10.1.1.1", ""):
        assert refusal(allow, "a.example.com", cn=cn) == ""
    for cn in ("other", "www.other.com", "11.1.1.1", "jane@example.com"):
        assert refusal(allow, "a.example.com", cn=cn).startswith(f"cn name {cn!r}")
    assert refusal({"allow": {"cn": ["www.other.com"]}}, "www.other.com", cn="www.other.com").startswith("dns name")


def test_a_denied_common_name_is_refused_whatever_else_would_allow_it() -> None:
    assert "denied" in refusal({"deny": {"cn": ["Evil.example"]}}, cn="evil.EXAMPLE")
    assert "denied" in refusal({"deny": {"cn": ["a.b"]}, "allow": {"dns": ["a.b"], "cn": ["a.b"]}}, cn="a.b")
    assert refusal({"deny": {"cn": ["a.b"]}, "allow": {"dns": ["a.c"]}}, cn="x.y") != ""


@pytest.mark.parametrize(
    "raw", [None, {}, {"x509": None}, {"x509": {}}, {"x509": {"allow": {"dns": []}, "deny": None}}]
)
def test_no_entries_are_no_policy(raw: Any) -> None:
    assert parse_policy(raw, WHAT, WHERE) is None
    assert parse_policy({"x509": {"allowWildcardNames": False}}, WHAT, WHERE) is None


@pytest.mark.parametrize(
    ("kind", "entry"),
    [
        ("dns", ""),
        ("dns", " "),
        ("dns", "*"),
        ("dns", "*local"),
        ("dns", ".example.com"),
        ("dns", "*..com"),
        ("dns", "a..b"),
        ("dns", "a.*.b"),
        ("dns", "a b"),
        ("dns", "*.*.a"),
        ("dns", "example.com."),
        ("ip", ""),
        ("ip", "10.0.0.0/33"),
        ("ip", "10.0.0.0/255.0.0.0"),
        ("ip", "10.0.0"),
        ("ip", "fe80::1%eth0"),
        ("ip", "www.example.com"),
        ("email", ""),
        ("email", "@"),
        ("email", "*@example.com"),
        ("email", "a@b@c"),
        ("email", "@.example.com"),
        ("email", ".example.com"),
        ("email", "j ane@example.com"),
        ("uri", ""),
        ("uri", "https://example.com"),
        ("uri", "example.com:8080"),
        ("uri", "10.0.0.1"),
        ("uri", "[::1]"),
        ("uri", "*example.com"),
        ("cn", ""),
        ("cn", "*"),
    ],
)
def test_an_entry_that_could_never_do_what_it_says_is_refused_with_its_place(kind: str, entry: str) -> None:
    for side in ("allow", "deny"):
        with pytest.raises(ConfigurationError) as caught:
            parse_policy({"x509": {side: {kind: ["fine.example", entry] if kind == "dns" else [entry]}}}, WHAT, WHERE)
        assert caught.value.message.startswith(f"authority.policy.x509.{side}.{kind}: {entry!r}")


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        ([], "authority.policy:"),
        ({"x509": []}, "authority.policy.x509:"),
        ({"x509": {"allow": []}}, "authority.policy.x509.allow:"),
        ({"x509": {"allow": {"dns": "a.b"}}}, "authority.policy.x509.allow.dns:"),
        ({"x509": {"deny": {"ip": [1]}}}, "authority.policy.x509.deny.ip:"),
        ({"x509": {"allowWildcardNames": "yes"}}, "authority.policy.x509.allowWildcardNames:"),
    ],
)
def test_a_wrong_type_is_refused_with_its_place(raw: Any, place: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_policy(raw, WHAT, WHERE)
    assert caught.value.message.startswith(place)


@pytest.mark.parametrize(
    "raw", [{"x508": {}}, {"x509": {"alow": {}}}, {"x509": {"allow": {"dn": []}}}, {"x509": {"allowWildcards": True}}]
)
def test_unknown_members_are_ignored_in_ca_json_and_refused_in_ours(raw: dict[str, Any]) -> None:
    assert parse_policy(raw, WHAT, WHERE) is None
    with pytest.raises(ConfigurationError, match="unknown member"):
        parse_policy(raw, WHAT, WHERE, strict=True)


LABEL = st.from_regex(r"[a-z]([a-z0-9]{0,6}[a-z0-9])?", fullmatch=True)
DOMAIN = st.lists(LABEL, min_size=1, max_size=4).map(".".join)


@given(st.lists(DOMAIN, max_size=3), st.lists(DOMAIN, max_size=3), DOMAIN)
def test_exact_entries_are_set_membership(allow: list[str], deny: list[str], name: str) -> None:
    expected = name not in deny and (not allow or name in allow)
    assert (refusal({"allow": {"dns": allow}, "deny": {"dns": deny}}, name, cn=name) == "") is expected


@given(st.text(max_size=30), st.sampled_from(KINDS))
def test_whatever_the_name_it_is_judged_without_another_error(name: str, kind: str) -> None:
    entry = "10.0.0.0/8" if kind == "ip" else "example.com"
    for side in ("allow", "deny"):
        refusal({side: {kind: [entry]}, "allowWildcardNames": True}, name, cn=name)


@given(st.text(max_size=20), st.sampled_from(KINDS))
def test_whatever_the_entry_it_is_taken_or_refused_by_its_place(entry: str, kind: str) -> None:
    try:
        parse_policy({"x509": {"allow": {kind: [entry]}}}, WHAT, WHERE)
    except ConfigurationError as error:
        assert error.message.startswith(f"authority.policy.x509.allow.{kind}")
