"""What the application and the upstream saw before, and must see after: Host, headers, redirects, the protocol version.

nginx ties these to the host in ``proxy_pass``, which becomes a group's name; each is said explicitly instead, or named
in the plan.
"""

import re
from collections.abc import Collection, Iterator

from troth.nginx.capabilities import Capabilities
from troth.nginx.declaration import PlanError
from troth.nginx.edits import Edit
from troth.nginx.family import GRPC, PROXY, Family
from troth.nginx.map import effective
from troth.nginx.render import CIPHERS, PROTOCOLS, Header
from troth.nginx.target import Target
from troth.nginx.tree import Config, Directive

_PROXY_VARIABLE = re.compile(rb"\$(?:\{(proxy_host|proxy_port)\}|(proxy_host|proxy_port)(?![A-Za-z0-9_]))")


def in_force(location: Directive, name: str, include_dir: str) -> Directive | None:
    """The directive in effect that the user wrote: those of our own include do not count."""
    node: Directive | None = location
    while node is not None:
        found = next((d for d in node.find(name) if not is_ours(d, include_dir)), None)
        if found is not None:
            return found
        node = node.parent
    return None


def lines_in_force(block: Directive | None, name: str, include_dir: str) -> list[Directive]:
    """A list directive in effect, as the user wrote it; a block that has only lines of ours in their stead has none."""
    while block is not None:
        found = [d for d in block.find(name) if not is_ours(d, include_dir)]
        if found or _stands_for_lines(block, name, include_dir):
            return found
        block = block.parent
    return []


def _stands_for_lines(block: Directive, name: str, include_dir: str) -> bool:
    """Whether the header lines for clients' certificates took the place of all that a block had."""
    if block.name == "server":
        ours = [d for d in block.find(name) if d.file.startswith(f"{include_dir}/client-auth-")]
        said = {plain(d.arguments[0]) for d in ours}
        outer = lines_in_force(block.parent, name, include_dir)
        # Where the server had inherited, ours carry what it inherited.
        return bool(ours) and not any(plain(d.arguments[0]) in said for d in outer if d.arguments)
    family = name.partition("_")[0]
    files = [d.arguments[0] for d in block.find("include") if d.arguments] if block.name == "location" else []
    return any(file.startswith(f"{include_dir}/client-headers-") and file.endswith(f"-{family}.conf") for file in files)


def plain(name: str) -> str:
    """A header name as an application may read it: CGI and its kin make both signs the same."""
    return name.lower().replace("_", "-")


def is_ours(directive: Directive, include_dir: str) -> bool:
    return directive.file.startswith(f"{include_dir}/")


def host_sent(target: Target, verify: str, *, is_group: bool) -> tuple[str, str]:
    """The Host the upstream shall receive, and a note when that is not what it received before.

    Before, it was ``$proxy_host``: host and port as written, the default port left out. An upstream nginx that asks for
    client certificates answers 421 when it differs from the server name of the handshake.
    """
    before = target.proxy_host
    if before.rpartition(":")[0] == verify or before == verify:
        return before, ""
    what = "the group's name" if is_group else "the address in proxy_pass"
    return verify, f"the upstream receives Host {verify} instead of {before}, {what}: it must equal the server name"


def headers(
    location: Directive, family: Family, target: Target, host: str, told: Collection[str], include_dir: str
) -> tuple[tuple[Header, ...], list[str]]:
    """The lines that must stand in the generated include so that the application sees what it saw.

    A location with lines of its own keeps them in its file and gets only what it lacks. One without gets copies of
    those it inherited, because ours would drop them, but for those `told` by other lines of ours. uwsgi and stream send
    no name of the upstream, and need none.
    """
    if not family.setter:
        return (), []
    own = [d for d in location.find(family.setter) if not is_ours(d, include_dir)]
    alone = own or _stands_for_lines(location, family.setter, include_dir)
    inherited = [] if alone else lines_in_force(location.parent, family.setter, include_dir)
    inherited = [d for d in inherited if d.arguments and plain(d.arguments[0]) not in told]
    present = {d.arguments[0].lower(): d for d in (*own, *inherited) if d.arguments}
    copied = [Header(d.arguments[0], _said(d.arguments[1], target)) for d in inherited if len(d.arguments) == 2]
    added = [Header("Connection", "")] if family is PROXY and "connection" not in present else []
    added += [Header("Host", host)] if "host" not in present else []
    notes = []
    if family is PROXY and "connection" in present:
        notes.append(
            f"{location.where}: Connection is set by the configuration and stays; upstream connections may not be kept"
        )
    if family is GRPC and "host" not in present:
        # nginx puts the name in grpc_pass into :authority, which is our group's, unless there is a Host.
        notes.append(
            f"{location.where}: the upstream receives its name as host instead of :authority (RFC 9113 §8.3.1)"
        )
    # nginx sends its own Host after the lines of the configuration.
    return (*copied, *added), notes


def last_header_end(location: Directive, family: Family, told: Collection[str], include_dir: str) -> int:
    """Where the location's own header lines end in its file, those it includes too; -1 when it has none.

    Lines of headers that are `told` by others of ours do not count: they go.
    """
    end, last = -1, -1
    for child in location.children:
        if child.file == location.file:
            last = child.end
        ours = is_ours(child, include_dir) or (child.arguments and plain(child.arguments[0]) in told)
        if child.name == family.setter and not ours:
            end = last
    return end


def host_note(location: Directive, family: Family, target: Target, verify: str, include_dir: str) -> str:
    """Said when a Host of the user's own may differ from the server name, which was perhaps not sent before."""
    before = in_force(location, f"{family.prefix}_ssl_server_name", include_dir)
    lines = lines_in_force(location, family.setter, include_dir)
    given = [d for d in lines if d.arguments and d.arguments[0].lower() == "host"]
    if not given or (before is not None and before.arguments == ("on",)):
        return ""
    value = _said(given[0].arguments[-1], target)
    if value.partition(":")[0] == verify:
        return ""
    return (
        f"{given[0].where}: Host stays {value}, the server name is now sent and is {verify}: "
        "an upstream nginx that asks for client certificates answers 421 when they differ"
    )


def redirects(location: Directive, target: Target, include_dir: str) -> tuple[tuple[str, str], ...]:
    """nginx's default rewriting of Location headers names the proxy_pass URL, which is ours now: say it explicitly."""
    lines = location.find("proxy_redirect")
    own = [d.arguments for d in lines if not is_ours(d, include_dir)]
    outer = [] if own else lines_in_force(location.parent, "proxy_redirect", include_dir)
    # Beside lines of the user's own ours stand for a "default" that we took away.
    default = not own or ("default",) in own or len(own) < len(lines)
    if outer or ("off",) in own or not default:
        return ()
    if target.uri is None:
        return ((f"{target.text}/", "/"),)
    return ((target.text, location.arguments[-1]),)


def version_is_ours(location: Directive, capabilities: Capabilities, include_dir: str) -> tuple[bool, str]:
    """Whether the include sets HTTP/1.1, without which no connection is kept, and a note when that is a change."""
    given = in_force(location, "proxy_http_version", include_dir)
    if given is not None:
        note = f"{given.where}: HTTP/1.0 stays, so every request opens a connection of its own"
        return False, note if given.arguments == ("1.0",) else ""
    if capabilities.default_http11_upstream:
        return True, ""
    return True, f"{location.where}: requests to the upstream are HTTP/1.1 instead of 1.0, so that connections are kept"


def tls_notes(location: Directive, family: Family, include_dir: str) -> Iterator[str]:
    """Settings of the user that ours replace by something that is not the same."""
    for name, ours in ((f"{family.prefix}_ssl_protocols", PROTOCOLS), (f"{family.prefix}_ssl_ciphers", CIPHERS)):
        before = in_force(location, name, include_dir)
        if before is not None and " ".join(before.arguments) != ours:
            yield f"{before.where}: {name} {' '.join(before.arguments)} becomes {ours} here"


def variable_edits(
    config: Config, location: Directive, target: Target, told: Collection[str], include_dir: str
) -> list[Edit]:
    """``$proxy_host`` and ``$proxy_port`` written out inside the location: they would name our group.

    Raises:
        PlanError: one stands in an included file.
    """
    edits = []
    for directive in location.walk():
        if directive.name == "proxy_set_header" and plain(directive.arguments[0]) in told:
            continue
        for token in directive.tokens:
            if is_ours(directive, include_dir) or _PROXY_VARIABLE.search(token.text) is None:
                continue
            if directive.file != location.file:
                raise PlanError(
                    f"{directive.name} in {directive.where}, an included file, uses $proxy_host, which would change",
                    hint="write the upstream's host there, or move the line into the location",
                )
            raw = config.files[directive.file][token.start : token.end]
            said = _said(raw.decode("utf-8", "surrogateescape"), target).encode("utf-8", "surrogateescape")
            edits.append(Edit(directive.file, token.start, token.end, said))
    return edits


def variable_notes(config: Config, location: Directive, group: str) -> Iterator[str]:
    """Where ``$proxy_host`` is used outside of locations, and will be the group's name."""
    assert config.http is not None
    for node in config.http.walk():
        if node.enclosing("location") is not None or node.name == "proxy_set_header":
            continue
        if any(_PROXY_VARIABLE.search(token.text) for token in node.tokens):
            yield f"{node.where}: {node.name} uses $proxy_host, which is {group} for {location.where}"


def cache_note(location: Directive) -> str:
    """The default key of a cache holds the upstream's name."""
    cache = effective(location, "proxy_cache")
    if cache is None or cache.arguments == ("off",) or effective(location, "proxy_cache_key") is not None:
        return ""
    return f"{location.where}: cached answers get new keys, because the key holds the upstream's name"


def _said(text: str, target: Target) -> str:
    values = {b"proxy_host": target.proxy_host, b"proxy_port": target.port}
    raw = text.encode("utf-8", "surrogateescape")
    said = _PROXY_VARIABLE.sub(lambda found: values[found[1] or found[2]].encode(), raw)
    return said.decode("utf-8", "surrogateescape")
