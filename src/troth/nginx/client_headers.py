"""The header lines that say who came, in every block of a server where they would otherwise be missing or doubled.

``proxy_set_header`` and the like are inherited as a whole: a location with one line of its own gets none of the
server's, ours too. A header that nobody sets goes to the application as the client sent it.
"""

import itertools
import re
from collections.abc import Iterator, Sequence

from troth.nginx.client_auth import FORBIDDEN, ClientAuth, value_of
from troth.nginx.preserve import is_ours, plain
from troth.nginx.render import quote
from troth.nginx.tree import Config, Directive

SETTERS = {
    "proxy_pass": "proxy_set_header",
    "grpc_pass": "grpc_set_header",
    "uwsgi_pass": "uwsgi_param",
    "fastcgi_pass": "fastcgi_param",
    "scgi_pass": "scgi_param",
}
_MOST_SPELLINGS = 64


def setters_in_use(server: Directive) -> list[str]:
    """The directives by which a server's locations tell their applications things."""
    used = {SETTERS[node.name] for node in server.walk() if node.name in SETTERS}
    return [setter for setter in SETTERS.values() if setter in used]


def header_lines(guard: ClientAuth, setter: str, *, underscores: bool) -> list[str]:
    """The lines without semicolons. An empty one takes nothing from a line of the user's that sets the same header.

    Args:
        guard: as declared.
        setter: ``proxy_set_header``, ``uwsgi_param`` ...
        underscores: whether nginx lets headers with underscores through, which applications take for ours.
    """
    told = dict(guard.headers)
    known = {plain(name) for name in told}
    emptied = [name for name in FORBIDDEN if plain(name) not in known]
    if setter.endswith("_param"):
        # A parameter keeps every spelling of the header away: nginx compares them as it names them (1.22, 1.31).
        values = [(name, value_of(source)) for name, source in told.items()] + [(n, '""') for n in emptied]
        return [f"{setter} {parameter(name)} {value} if_not_empty" for name, value in values]
    lines = [f"{setter} {name} {value_of(source)}" for name, source in told.items()]
    others = [other for name in (*told, *emptied) for other in spellings(name)] if underscores else []
    return lines + [f'{setter} {name} ""' for name in (*emptied, *others)]


def header_of(line: Directive) -> str:
    """The header that a line sets, `plain`; empty for a parameter that is none."""
    name = plain(line.arguments[0])
    if line.name.endswith("_param"):
        return name.removeprefix("http-") if name.startswith("http-") else ""
    return name


def parameter(name: str) -> str:
    """The name of a header among the parameters of uwsgi, FastCGI and SCGI."""
    return "HTTP_" + name.upper().replace("-", "_")


def spellings(name: str) -> Iterator[str]:
    """The other ways to write a header that become the same name of a CGI variable."""
    parts = name.split("-")
    for signs in itertools.islice(itertools.product("-_", repeat=len(parts) - 1), 1, _MOST_SPELLINGS):
        yield "".join(itertools.chain.from_iterable(zip(parts, (*signs, ""), strict=True)))


def lets_underscores_through(config: Config) -> bool:
    """Whether any server does: the one that decides is the default server of the address, not the one that answers."""
    assert config.http is not None
    return any(
        (node.name == "underscores_in_headers" and node.arguments == ("on",))
        or (node.name == "ignore_invalid_headers" and node.arguments == ("off",))
        for node in config.http.walk()
    )


def own_lines(block: Directive, setter: str, include_dir: str) -> list[Directive]:
    """The user's lines of a block, from files it includes too."""
    return [d for d in block.find(setter) if d.arguments and not is_ours(d, include_dir)]


def blocks_with_lines(server: Directive, setter: str) -> list[Directive]:
    """The locations below a server that have lines of their own, ours too, and so inherit none."""
    return [node for node in server.walk() if node.name == "location" and node.first(setter) is not None]


def doubled(lines: Sequence[Directive], guard: ClientAuth) -> list[Directive]:
    """Lines that set what ours set, and go."""
    told = {plain(name) for name, _ in guard.headers}
    return [line for line in lines if header_of(line) in told]


def said(line: Directive) -> str:
    """A line of the user's as it is written again, without the semicolon."""
    return " ".join((line.name, *map(quote, line.arguments)))


def is_header_name(text: str) -> bool:
    """Whether nginx lets such a header through everywhere: letters, digits and dashes."""
    return re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,63}", text) is not None
