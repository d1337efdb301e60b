"""Strategies for configurations whose words, values and lines are known before anyone reads them."""

from dataclasses import dataclass, field

from hypothesis import strategies as st

from troth.nginx.family import PROXY, Family

SPECIAL = b" \t\r\n;{}\"'\\$#"
ESCAPES = {0x22: b'\\"', 0x27: b"\\'", 0x5C: b"\\\\", 0x09: b"\\t", 0x0D: b"\\r", 0x0A: b"\\n"}
# What a shell of real configurations is made of; latin-1 bytes are no UTF-8.
PIECES = st.sampled_from(
    [b"a", b"Z9", b"/", b".", b"~", b"=", b"\\.php$", b"on", b"10m", b"$host", b"${uri}", b"(?<n>x)", b"a{2,3}",
     b"\xe9", b"\xc3\xa9", b";", b"{", b"}", b"#", b" ", b"\t", b"\n", b'"', b"'", b"\\", b"$", b")", b"https://up.test:443"]
)  # fmt: skip
VALUES = st.lists(PIECES, max_size=6).map(b"".join)
LUA = st.lists(
    st.sampled_from(
        [b"ngx.say(1)", b"t = { a = { 1 } }", b"s = '}'", b's = "{\\"}"', b"-- } don't\n", b"--[[ } ' ]] ",
         b"[==[ } ]] ]==]", b"--[=[ { ]] ]=]\n", b"\n", b"\r\n", b"\t", b"x = 1 ", b"-- \xe9 {\n", b"f{}"]
    ),
    max_size=8,
).map(b" ".join)  # fmt: skip


@dataclass
class Expected:
    """A directive as nginx is to read it: values, the line it starts on, and its children (None: no block)."""

    words: list[bytes]
    line: int = 0
    children: "list[Expected] | None" = None
    lua: bytes | None = None
    where: tuple[int, int] = (0, 0)


@dataclass
class Text:
    """A configuration under construction."""

    data: bytearray = field(default_factory=bytearray)

    @property
    def line(self) -> int:
        return self.data.count(b"\n") + 1


def _written(draw: st.DrawFn, value: bytes) -> bytes:
    """One of the ways to write a value: plain, in either quotes, with escapes where they are needed."""
    styles = ["double", "single"]
    if value and not any(byte in SPECIAL for byte in value):
        styles.append("plain")
    style = draw(st.sampled_from(styles))
    if style == "plain":
        return value
    quote = 0x22 if style == "double" else 0x27
    written = bytearray([quote])
    for index, byte in enumerate(value):
        follows = value[index + 1 : index + 2]
        needed = byte == quote or (byte == 0x5C and (not follows or follows in b"\\\"'trn\t\r\n"))
        optional = byte in ESCAPES and byte not in (0x0A, 0x0D) and draw(st.booleans())
        written += ESCAPES[byte] if needed or optional else bytes([byte])
    written.append(quote)
    return bytes(written)


@dataclass(frozen=True)
class Style:
    """What a generated text may hold; crossplane takes lone carriage returns for line ends and Lua apart."""

    for_crossplane: bool = False
    eol: bytes = b"\n"
    names: tuple[bytes, ...] = (
        b"server",
        b"location",
        b"proxy_pass",
        b"add_header",
        b"x",
        b"map",
        b"types",
        b"caf\xc3\xa9",
    )


def _gap(draw: st.DrawFn, style: Style, *, needed: bool) -> bytes:
    blanks = [b" ", b"\t", b"    ", style.eol, style.eol + b"\t", b" # c" + style.eol, b" #{ \xe9 ;'" + style.eol]
    if not style.for_crossplane:
        blanks.append(b"\r")
    return b"".join(draw(st.lists(st.sampled_from(blanks), min_size=1 if needed else 0, max_size=2)))


def _directive(draw: st.DrawFn, text: Text, style: Style, depth: int) -> Expected:
    text.data += _gap(draw, style, needed=False)
    result = Expected([], text.line)
    start = len(text.data)
    if not style.for_crossplane and draw(st.integers(0, 9)) == 0:
        result.words = [b"content_by_lua_block"]
        result.lua = draw(LUA)
        text.data += b"content_by_lua_block" + _gap(draw, style, needed=False)
        text.data += b"{" + result.lua + b"}"
        result.where = (start, len(text.data))
        return result
    values = [draw(st.sampled_from(style.names)), *draw(st.lists(VALUES, max_size=3))]
    for index, value in enumerate(values):
        text.data += (_gap(draw, style, needed=True) if index else b"") + _written(draw, value)
    result.words = values
    text.data += _gap(draw, style, needed=False)
    if depth and draw(st.booleans()):
        text.data += b"{"
        result.children = _block(draw, text, style, depth - 1)
        text.data += b"}"
    else:
        text.data += b";"
    result.where = (start, len(text.data))
    return result


def _block(draw: st.DrawFn, text: Text, style: Style, depth: int) -> list[Expected]:
    children = [_directive(draw, text, style, depth) for _ in range(draw(st.integers(0, 3)))]
    text.data += _gap(draw, style, needed=False)
    return children


@st.composite
def configurations(draw: st.DrawFn, *, for_crossplane: bool = False) -> tuple[bytes, list[Expected]]:
    """A text and what it means."""
    style = Style(for_crossplane, draw(st.sampled_from([b"\n", b"\r\n"])))
    text = Text()
    expected = _block(draw, text, style, 3)
    # The last line of a file often ends without a newline, inside a comment too.
    text.data += draw(st.sampled_from([b"", b"\n", b" # end"]))
    return bytes(text.data), expected


@st.composite
def sites(draw: st.DrawFn, family: Family = PROXY) -> bytes:
    """A text with one location ``/x``, or stream server, that talks TLS, among lines that mean nothing to a plan."""
    style = Style(eol=draw(st.sampled_from([b"\n", b"\r\n"])), names=(b"add_header", b"x", b"map", b"if"))
    text = Text()

    def filler() -> None:
        _block(draw, text, style, 1)

    def say(*words: bytes, end: bytes = b";") -> None:
        text.data += _gap(draw, style, needed=False)
        for index, word in enumerate(words):
            text.data += (_gap(draw, style, needed=True) if index else b"") + word
        text.data += _gap(draw, style, needed=False) + end

    filler()
    say(family.level.encode(), end=b"{")
    filler()
    say(b"server", end=b"{")
    say(b"server_name", b"app.test")
    filler()
    if family.is_stream:
        say(b"listen", b"5432")
        say(b"proxy_ssl", b"on")
    else:
        say(b"location", b"/x", end=b"{")
    prefix, setter = family.prefix.encode(), family.setter.encode()
    lines = [
        (prefix + b"_pass", f"{family.scheme}up.test:8443".encode()),
        (prefix + b"_ssl_certificate", b"client.crt"),
        (prefix + b"_ssl_certificate_key", b"client.key"),
        (prefix + b"_ssl_verify", b"off"),
    ]
    if setter:
        lines += [(setter, b"X-A 'b c'"), (setter, b"Host $proxy_host")]
    if family is PROXY:
        lines.append((b"proxy_redirect", b"default"))
    for line in draw(st.permutations(lines))[: draw(st.integers(0, len(lines)))]:
        if line != lines[0]:
            say(*line)
    say(*lines[0])
    filler()
    for _ in range(2 if family.is_stream else 3):
        text.data += _gap(draw, style, needed=False) + b"}"
    text.data += draw(st.sampled_from([b"", b"\n", b" # end"]))
    return bytes(text.data)
