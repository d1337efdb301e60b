"""What our reader makes of a configuration: every byte kept, and the words, values and lines that nginx sees."""

import contextlib
import itertools
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import crossplane
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.nginx.configurations import LUA, Expected, configurations
from tests.rig.nginx import program, programs
from troth.nginx.lexer import MARKS, SyntaxProblem, Token, tokenize
from troth.nginx.tree import Directive, parse_config

NAME = "/etc/nginx/nginx.conf"
COMMENTS_AND_BLANKS = re.compile(rb"(?:[ \t\r\n]|#[^\n]*(?=\n|\Z))*")
# Any text at all, dense in what matters to a lexer.
PIECES = [
    b"a", b"b1", b" ", b"\t", b"\n", b"\r\n", b"\r", b";", b"{", b"}", b'"', b"'", b"\\", b"\\\\", b"#", b"$", b"${",
    b"{2}", b"\\n", b'\\"', b")", b"(", b"\xe9", b"\xef\xbb\xbf",
]  # fmt: skip


def soup(pieces: list[bytes]) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(pieces), max_size=25).map(b"".join)


def rejoined(data: bytes, tokens: list[Token]) -> bytes:
    """Gaps and tokens one after the other; fails when a gap holds anything but blanks and comments."""
    parts, position = [], 0
    for token in tokens:
        gap = data[position : token.start]
        assert COMMENTS_AND_BLANKS.fullmatch(gap), gap
        parts += [gap, data[token.start : token.end]]
        position = token.end
    assert COMMENTS_AND_BLANKS.fullmatch(data[position:])
    return b"".join([*parts, data[position:]])


def parse(data: bytes) -> Directive:
    return parse_config({NAME: data}, NAME).root


def same(found: list[Directive], expected: list[Expected]) -> None:
    assert [one.name.encode("utf-8", "surrogateescape") for one in found] == [one.words[0] for one in expected]
    for one, wanted in zip(found, expected, strict=True):
        values = [value.encode("utf-8", "surrogateescape") for value in one.arguments]
        assert values == wanted.words[1:] + ([wanted.lua] if wanted.lua is not None else [])
        assert (one.start, one.end, one.line) == (*wanted.where, wanted.line)
        assert one.is_block == (wanted.children is not None or wanted.lua is not None)
        same(one.children, wanted.children or [])


@given(configurations())
def test_tokens_and_gaps_together_are_the_file(case: tuple[bytes, list[Expected]]) -> None:
    data, _ = case
    assert rejoined(data, tokenize(data)) == data


@given(configurations())
def test_words_lines_and_spans_are_those_that_were_written(case: tuple[bytes, list[Expected]]) -> None:
    data, expected = case
    same(parse(data).children, expected)


@given(configurations())
def test_a_directives_span_is_the_directive(case: tuple[bytes, list[Expected]]) -> None:
    data, _ = case
    for directive in parse(data).walk():
        alone = parse(data[directive.start : directive.end]).children
        assert [(one.name, one.arguments) for one in alone] == [(directive.name, directive.arguments)]
        assert data[directive.end - 1 : directive.end] == (b"}" if directive.is_block else b";")
        if directive.is_block:
            assert (data[directive.open : directive.open + 1], directive.close + 1) == (b"{", directive.end)


@given(soup([*PIECES, b"content_by_lua_block {", b"--[[", b"]]", b"[=["]))
def test_any_text_is_read_or_refused_with_its_line(data: bytes) -> None:
    try:
        tokens = tokenize(data, "x.conf")
    except SyntaxProblem as problem:
        assert re.match(r"x\.conf:\d+: ", problem.message)
        return
    assert all(one.end <= two.start for one, two in itertools.pairwise(tokens))
    assert all(token.line == data.count(b"\n", 0, token.start) + 1 for token in tokens)
    if b"#" not in data:  # a gap that ends inside a comment is no gap of its own
        assert rejoined(data, tokens) == data


@given(configurations(for_crossplane=True))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_crossplane_reads_the_same(case: tuple[bytes, list[Expected]]) -> None:
    data, _ = case
    with tempfile.NamedTemporaryFile(suffix=".conf") as file:
        Path(file.name).write_bytes(data)
        payload = crossplane.parse(file.name, check_ctx=False, check_args=False, single=True)
    assert payload["status"] == "ok", payload["errors"]
    agrees(parse(data).children, payload["config"][0]["parsed"])


def agrees(ours: list[Directive], theirs: list[dict[str, Any]]) -> None:
    """Same names, values, lines and blocks, as far as crossplane says: it keeps escapes and reads no bytes."""
    theirs = [two for two in theirs if two["directive"] != "#"]  # comments between words
    assert [one.name for one in ours] == [two["directive"] for two in theirs]
    for one, two in zip(ours, theirs, strict=True):
        assert one.line == two["line"]
        assert [plain(value) for value in one.arguments] == [plain(unescaped(value)) for value in two["args"]]
        assert one.is_block == ("block" in two)
        agrees(one.children, two.get("block", []))


def unescaped(text: str) -> str:
    """A word as nginx unescapes it."""
    return re.sub(r"\\([\"'\\trn])", lambda found: {"t": "\t", "r": "\r", "n": "\n"}.get(found[1], found[1]), text)


def plain(text: str) -> str:
    """Without what crossplane changes while reading: bytes that are not UTF-8, and line ends."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")


def refusal(binary: Path, data: bytes) -> str:
    """nginx's word on a text: which directive it does not know, or why it cannot read it."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "x"
        file.write_bytes(data)
        done = subprocess.run(
            [binary, "-t", "-c", str(file), "-p", directory, "-e", "stderr"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=20,
            check=False,
        )
    text = done.stderr.replace(str(file).encode(), b"FILE").decode("utf-8", "surrogateescape")
    found = re.search(r"\[emerg\] \d+#\d+: (.*) in FILE:\d+$", text, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


@pytest.fixture(params=sorted(programs()))
def binary(request: pytest.FixtureRequest) -> Iterator[Path]:
    yield program(request.param)


def first_directive(text: bytes) -> list[Token]:
    """The tokens up to the first mark; none when the text ends or breaks before one."""
    for end in (index + 1 for index, byte in enumerate(text) if byte in b"{};"):
        with contextlib.suppress(SyntaxProblem):
            tokens = tokenize(text[:end])
            if any(tokens[-1].is_mark(mark) for mark in MARKS):
                return tokens
    return []


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=soup(PIECES))
@example(data=b' ""}')
def test_nginx_reads_a_word_as_we_do(binary: Path, data: bytes) -> None:
    """nginx names the first word it does not know, and so tells how it read it."""
    text = b"q" + data + b"\n;"
    said, tokens = refusal(binary, text), first_directive(text)
    if not tokens:
        # After a closing quote a brace that ends the block around is as unexpected as a letter.
        assert re.match(r'unexpected end of file|unexpected "[^{;]"', said, re.DOTALL), said
    elif tokens[-1].is_mark(b"}"):
        assert said == 'unexpected "}"'
    else:
        assert said == f'unknown directive "{tokens[0].value}"'


LUA_MODULES = [Path("/usr/lib/nginx/modules") / name for name in ("ndk_http_module.so", "ngx_http_lua_module.so")]
LUA_PIECES = [
    b"x", b"{", b"}", b"'", b'"', b"\\", b"-- ", b"--[[", b"[[", b"]]", b"[=[", b"]=]", b"--[==[", b"]==]", b"\n", b" ",
    b"[", b"]",
]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(body=st.one_of(LUA, soup(LUA_PIECES)))
@example(body=b"'\\\n{'")
@example(body=b"'a\\\nb'{'c' }")
@example(body=b'"\\\r{"')
def test_nginx_ends_a_lua_block_where_we_do(body: bytes) -> None:
    """What follows the block is the directive that nginx does not know."""
    if not all(module.exists() for module in LUA_MODULES):
        pytest.skip("nginx's Lua module is not installed")
    head = b"".join(b"load_module %s;" % bytes(module) for module in LUA_MODULES)
    text = head + b"events {} http { init_by_lua_block { x = 1 " + body + b"}\nq; }"
    said = refusal(program("system"), text)
    try:
        tokens = tokenize(text)
    except SyntaxProblem:
        tokens = []
    body_at = next((i for i, token in enumerate(tokens) if token.text.startswith(b" x =")), 0)
    follows = [token.text for token in tokens[body_at + 1 :]]
    ours = follows[:2] == [b"}", b"q"] or follows[:3] == [b"}", b"}", b"q"]
    assert (said == 'unknown directive "q"') == ours, said


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b'a\n"b', "x:2: quote is not closed"),
        (b"a 'b'c;", "x:1: unexpected 'c' after a closing quote"),
        (b"content_by_lua_block {\n x = '}'", "x:1: Lua block is not closed"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(text: bytes, problem: str) -> None:
    with pytest.raises(SyntaxProblem) as caught:
        tokenize(text, "x")
    assert caught.value.message == problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"a {\n b;", ':2: unexpected end of file, expected ";" or "}"'),
        (b"a b", ':1: unexpected end of file, expected ";" or "}"'),
        (b"a;\n}", ':2: unexpected "}"'),
        (b"a { b\n}", ':2: unexpected "}", expected ";" after \'b\''),
        (b";", ':1: unexpected ";"'),
        (b"\n{}", ':2: unexpected "{"'),
        (b"include nginx.conf;", " includes itself, or too many files are included"),
    ],
)
def test_what_nginx_would_not_read_is_no_tree(text: bytes, problem: str) -> None:
    with pytest.raises(SyntaxProblem) as caught:
        parse(text)
    assert caught.value.message == NAME + problem
