"""A declared upstream is one, and its text can never be more than the one word that it stands for."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.nginx.test_nginx_plan import MAIN, NEW, ONE, http, plan, proxied, server
from troth.nginx.declaration import Declaration, PlanError
from troth.nginx.target import unusable_upstream
from troth.nginx.tree import parse_config


@pytest.mark.parametrize(
    "text",
    [
        "https://up.test", "https://up.test:8443", "https://up.test:8443/base/?a=b;c", "https://10.0.0.1:1",
        "https://[2001:db8::1]", "https://[::1]:65535/x", "grpcs://a_group", "db:5432", "localhost", "up.test.:443",
        "https://unix:/run/app.sock", "https://unix:/run/app.sock:/uri", "unix:/run/db-1.sock", "https://x/a%20b\u00e9",
    ],
)  # fmt: skip
def test_what_nginx_can_be_given(text: str) -> None:
    assert unusable_upstream(text) == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("https://a;b", "expected a DNS name, an address or a group's name, not 'a;b'"),
        ("https://a b", "expected no space and no control character"),
        ("https://a\n}", "expected no space and no control character"),
        ("https://a\x7f", "expected no space and no control character"),
        ("https://a\u2028b", "expected no space and no control character"),
        ("https://", "not ''"),
        ("https://:443", "not ''"),
        ("https://x:99999", "expected a port from 1 to 65535, not '99999'"),
        ("https://x:0", "not '0'"),
        ("https://x:", "not ''"),
        ("https://x:80:90", "not '80:90'"),
        ("https://x:\u0664", "expected a port"),
        ("https://user@x", "not 'user@x'"),
        ("https://b\u00fccher.test", "not 'b\u00fccher.test'"),
        ("https://[::1", "not '['"),
        ("https://[::1]x", "not '['"),
        ('https://a"b', "not 'a\"b'"),
        ("https://a{b}", "not 'a{b}'"),
        ("https://unix:run/x.sock", "expected unix:/path"),
        ("https://unix:/run/x;y", "expected unix:/path"),
        ("https://x/" + "a" * 3_000, "longer than 2048 characters"),
    ],
)
def test_what_it_cannot(text: str, reason: str) -> None:
    assert reason in unusable_upstream(text)


def test_the_plan_refuses_it_with_the_form_that_is_expected() -> None:
    with pytest.raises(PlanError, match=r"^upstream 'https://a;b' is not usable") as refused:
        plan(http(server(proxied())), Declaration("app.test", "/", ONE, "https://a;b"))
    assert refused.value.hint is not None and "https://host[:port]" in refused.value.hint


def written(upstream: str) -> list[list[str]]:
    """Names of the directives of each generated file, in order."""
    made = plan(http(server(proxied())), Declaration("app.test", "/", ONE, upstream, "up.test"), capabilities=NEW)
    files = sorted(made.new_files.items())
    return [[one.name for one in parse_config({MAIN: text}, MAIN).root.walk()] for _, text in files]


@given(
    st.text(max_size=12),
    st.sampled_from(["", ";", "\n", " ", '"', "'", "}", "{", "#", "\\", "\\\n", "$", ";proxy_ssl_verify off;"]),
    st.sampled_from(
        ["https://{}", "https://up.test{}", "https://up.test:1{}", "https://up.test/{}", "https://unix:/{}:"]
    ),
)
@settings(deadline=None, max_examples=300)
def test_no_upstream_writes_other_directives(text: str, special: str, form: str) -> None:
    upstream = form.format(special + text)
    try:
        made = written(upstream)
    except PlanError:
        return
    plain = "https://up.test/x" if "/" in upstream.partition("://")[2] else "https://up.test"
    plain = "https://unix:/x:" if "//unix:" in upstream else plain
    if upstream.startswith("https://unix:") and not upstream.endswith(":"):
        plain = "https://unix:/x:/y"
    assert made == written(plain)
