"""From a declared `ClientAuth` to edits and generated files: the server asks, and every location tells who came."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from troth.nginx.client_auth import (
    INHERITED,
    MAPS_FILE,
    ClientAuth,
    render_guard,
    render_headers,
    render_maps,
    value_of,
)
from troth.nginx.client_headers import (
    SETTERS,
    blocks_with_lines,
    doubled,
    header_lines,
    lets_underscores_through,
    own_lines,
    said,
    setters_in_use,
)
from troth.nginx.declaration import PlanError
from troth.nginx.edits import Edit, after_brace, replacement
from troth.nginx.levels import MARK, level_edits
from troth.nginx.map import effective, http_servers, location_path, server_names, target_host
from troth.nginx.preserve import in_force, is_ours, lines_in_force
from troth.nginx.render import quote
from troth.nginx.selector import answers
from troth.nginx.tree import Config, Directive

_REPLACED = ("ssl_verify_client", "ssl_client_certificate", "ssl_verify_depth")


@dataclass(frozen=True, slots=True)
class Guarded:
    """What one declaration makes of its server."""

    edits: tuple[Edit, ...]
    files: Mapping[str, str]
    notes: tuple[str, ...]


def find_guarded(config: Config, wanted: ClientAuth) -> Directive:
    """The one server meant; where a name is also served in the clear, that with TLS.

    Raises:
        PlanError: there is none, or several, or it does not listen with TLS alone.
    """
    found = [server for server in http_servers(config) if answers(server, wanted.server)]
    secure = _secure_addresses(config)
    tls = [server for server in found if set(_addresses(server)) & secure]
    if len(tls) == 1:
        _check_clear(tls[0], wanted, secure)
        return tls[0]
    if tls:
        places = "; ".join(one.where for one in tls)
        raise PlanError(f"server {wanted.server!r} is not the only one: {places}", hint="name its port: name:443")
    if found:
        raise PlanError(
            f"server {wanted.server!r} at {found[0].where} does not listen with TLS: nobody can show a certificate"
        )
    known = "; ".join("/".join(server_names(one)) or "(no name)" for one in http_servers(config))
    raise PlanError(f"there is no server {wanted.server!r}; there are: {known or 'no servers'}")


def _addresses(server: Directive) -> list[str]:
    return [d.arguments[0] for d in server.find("listen") if d.arguments]


def _secure_addresses(config: Config) -> set[str]:
    """What is listened on with TLS: one server saying so is enough for all of an address."""
    servers = http_servers(config)
    marked = {d.arguments[0] for one in servers for d in one.find("listen") if {"ssl", "quic"} & set(d.arguments[1:])}
    switched = [one for one in servers if (on := effective(one, "ssl")) is not None and on.arguments == ("on",)]
    return marked | {address for one in switched for address in _addresses(one)}


def _check_clear(server: Directive, wanted: ClientAuth, secure: set[str]) -> None:
    clear = next((d for d in server.find("listen") if d.arguments and d.arguments[0] not in secure), None)
    if clear is not None and wanted.mode == "on":
        raise PlanError(
            f"server {wanted.server!r} also listens without TLS at {clear.where}: nobody is asked for one there",
            hint="give the port in the clear to a server of its own that redirects",
        )


def guard_server(
    config: Config, wanted: ClientAuth, server: Directive, bound: Collection[int], include_dir: str
) -> Guarded:
    """Work out the changes of one server.

    Args:
        bound: ``id`` of locations that get header lines from other includes of this plan.

    Raises:
        PlanError: it cannot be done as it stands; the message says why.
    """
    _check_once(config, server)
    _check_other_trust(server, wanted)
    underscores = lets_underscores_through(config)
    edits, notes = _server_edits(config, server, wanted, include_dir)
    lines: dict[str, list[str]] = {}
    copies: dict[str, list[str]] = {}
    files: dict[str, str] = {}
    for setter in setters_in_use(server):
        lines[setter] = header_lines(wanted, setter, underscores=underscores)
        if _inherits(config, server, setter, wanted, include_dir):
            outer = lines_in_force(server.parent, setter, include_dir)
            copies[setter] = [said(one) for one in outer if one not in doubled(outer, wanted)]
        blocks = blocks_with_lines(server, setter)
        blocks += [node for node in server.walk() if id(node) in bound and node not in blocks and _uses(node, setter)]
        for block in [server, *blocks]:
            edits += _without_doubled(config, block, setter, wanted, include_dir)
        for block in blocks:
            file = _headers_file(block, setter, wanted, include_dir)
            edits += _include(config, block, file)
            files[file] = render_headers(lines[setter])
    files[f"{include_dir}/{wanted.file}"] = render_guard(wanted, lines, copies)
    notes += [*_stripped_note(lines, wanted, server), *_open_doors(config, server, wanted)]
    return Guarded(tuple(edits), files, tuple(notes))


def _check_once(config: Config, block: Directive) -> None:
    """Raises: PlanError: the block is in a file that is included several times."""
    same = [d for d in config.root.walk() if (d.file, d.start) == (block.file, block.start)]
    if len(same) > 1:
        what = f"location {location_path(block)}" if block.name == "location" else block.name
        raise PlanError(
            f"{block.file} with {what} is included {len(same)} times: the change would be made in all of them",
            hint=f"write the {block.name} where it shall ask for certificates, then plan again",
        )


def _check_other_trust(server: Directive, wanted: ClientAuth) -> None:
    """Both files vouch for clients: one meant for stapling lets in everybody whom its public authority knows."""
    other = effective(server, "ssl_trusted_certificate")
    if other is not None and other.arguments and other.arguments[0] != wanted.trust:
        raise PlanError(
            f"ssl_trusted_certificate {other.arguments[0]} at {other.where} vouches for clients beside {wanted.trust}",
            hint="take it out; stapling goes on without it when ssl_stapling_verify is off",
        )


def _server_edits(
    config: Config, server: Directive, wanted: ClientAuth, include_dir: str
) -> tuple[list[Edit], list[str]]:
    file = f"{include_dir}/{wanted.file}"
    before = in_force(server, "ssl_verify_client", include_dir)
    notes = []
    if before is not None and before.arguments and before.arguments[0] not in ("off", wanted.mode):
        notes.append(f"{before.where}: ssl_verify_client {before.arguments[0]} becomes {wanted.mode}")
    replaced = [d for d in server.children if d.name in _REPLACED and not is_ours(d, include_dir)]
    if _includes(server, file):
        return [], notes
    spans = _spans(replaced, server)
    data = config.files[server.file]
    line = f"include {quote(file)};  {MARK}".encode("utf-8", "surrogateescape")
    if not spans:
        return [after_brace(data, server.open, line, server.file)], notes
    return replacement(data, spans, line, server.file), notes


def _spans(lines: Sequence[Directive], block: Directive) -> list[tuple[int, int]]:
    elsewhere = next((d for d in lines if d.file != block.file), None)
    if elsewhere is not None:
        raise PlanError(
            f"{elsewhere.name} {elsewhere.arguments[0]} of the {block.name} at {block.where} stands in "
            f"{elsewhere.where}, an included file",
            hint=f"move the line into the {block.name}, then plan again",
        )
    return [(d.start, d.end) for d in lines]


def _inherits(config: Config, server: Directive, setter: str, wanted: ClientAuth, include_dir: str) -> bool:
    """Whether the server had no lines of its own, before ours came."""
    file = f"{include_dir}/{wanted.file}"
    if _includes(server, file) and file in config.files:
        text = config.files[file].decode("utf-8", "replace")
        return f"\n{setter} " not in text or INHERITED in text
    return not own_lines(server, setter, include_dir)


def _headers_file(block: Directive, setter: str, wanted: ClientAuth, include_dir: str) -> str:
    own = f"{include_dir}/{wanted.headers_file(setter, own=True)}"
    if _includes(block, own) or own_lines(block, setter, include_dir):
        return own
    return f"{include_dir}/{wanted.headers_file(setter, own=False)}"


def _uses(location: Directive, setter: str) -> bool:
    return any(SETTERS.get(child.name) == setter for child in location.children)


def _includes(block: Directive, file: str) -> bool:
    return any(child.name == "include" and child.arguments == (file,) for child in block.children)


def _without_doubled(config: Config, block: Directive, setter: str, wanted: ClientAuth, include_dir: str) -> list[Edit]:
    lines = doubled(own_lines(block, setter, include_dir), wanted)
    if not lines:
        return []
    _check_once(config, block)
    return replacement(config.files[block.file], _spans(lines, block), None, block.file)


def _include(config: Config, block: Directive, file: str) -> list[Edit]:
    if _includes(block, file):
        return []
    _check_once(config, block)
    line = f"include {quote(file)};  {MARK}".encode("utf-8", "surrogateescape")
    return [after_brace(config.files[block.file], block.open, line, block.file)]


def _stripped_note(lines: Mapping[str, Sequence[str]], wanted: ClientAuth, server: Directive) -> list[str]:
    if not lines:
        return []
    told = ", ".join(name for name, _ in wanted.headers) or "nothing"
    return [
        f"{server.where}: applications receive {told} from nginx; these and the other headers by which proxies tell "
        "of client certificates are no longer taken from clients"
    ]


def _open_doors(config: Config, server: Directive, wanted: ClientAuth) -> list[str]:
    """Other servers in front of the same applications, through which anybody can send these headers."""
    targets = {target_host(d.arguments[0]) for d in server.walk() if d.name in SETTERS and d.arguments}
    notes = []
    for other in http_servers(config) if wanted.headers else ():
        for node in other.walk() if other is not server else ():
            host = target_host(node.arguments[0]) if node.name in SETTERS and node.arguments else ""
            if host and host in targets:
                name = wanted.headers[0][0]
                notes.append(f"{node.where}: {host} is reached from here too, where a client may send {name} itself")
    return notes


def client_maps(config: Config, guards: Sequence[ClientAuth], include_dir: str) -> tuple[str, list[Edit]]:
    """The file of the maps, those of other declarations too, and the edit that pulls it in."""
    http = config.http
    assert http is not None
    ours = {f"{include_dir}/{one.file}" for one in guards}
    left = (n for n in http.walk() if n.file.startswith(f"{include_dir}/client-auth-") and n.file not in ours)
    values = {value_of(source) for one in guards for _, source in one.headers}
    values |= {node.arguments[-1] for node in left if node.arguments}
    text, file = render_maps(values), f"{include_dir}/{MAPS_FILE}"
    return text, level_edits(config, "http", file)
