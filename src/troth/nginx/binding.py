"""From one declaration and its location to the binding that is rendered, with notes on all that changes."""

import re

from troth.nginx.capabilities import Capabilities
from troth.nginx.declaration import Declaration, PlanError
from troth.nginx.map import effective, location_path, upstream_groups
from troth.nginx.preserve import (
    cache_note,
    headers,
    host_note,
    host_sent,
    in_force,
    is_ours,
    redirects,
    tls_notes,
    variable_notes,
    version_is_ours,
)
from troth.nginx.render import Binding, quote
from troth.nginx.target import Target, host_of, is_address, parse_target
from troth.nginx.tree import Config, Directive

LEAST_DEPTH = 2
# In a group, these do not choose the peer and are set by us, or make no sense in a copy.
_NOT_COPIED = {"server", "keepalive", "keepalive_time", "keepalive_timeout", "keepalive_requests"}
_UPSTREAM_LINE = re.compile(r"^# upstream: (\S+)$", re.MULTILINE)


def bind(
    config: Config,
    location: Directive,
    wanted: Declaration,
    name: str,
    declared: set[int],
    include_dir: str,
    capabilities: Capabilities,
) -> tuple[Binding, list[str]]:
    """Work out a location's binding.

    Args:
        name: of the binding, unique among all.
        declared: ``id`` of every location that is declared, this one included.

    Raises:
        PlanError: it cannot be bound as it stands; the message says why.
    """
    _check_copies(config, location)
    written = _written(config, location, include_dir)
    target = _target(location, wanted, written)
    group = upstream_groups(config).get(target.authority.lower())
    _check_group(group)
    _check_nested(location, declared, include_dir)
    verify, notes = _verify_name(location, wanted, target, written, group, include_dir)
    host, note = host_sent(target, verify, is_group=group is not None)
    lines, more = headers(location, target, host, include_dir)
    version, version_note = version_is_ours(location, capabilities, include_dir)
    if any(line.name.lower() == "host" and line.value == host for line in lines):
        notes.append(note)
    else:
        notes.append(host_note(location, target, verify, include_dir))
    binding = Binding(
        name=name,
        identity=wanted.identity,
        url=target.text,
        peers=_peers(target, group),
        balance=_balance(group),
        uri=target.uri,
        verify_name=verify,
        headers=lines,
        redirects=redirects(location, target, include_dir),
        depth=_depth(location),
        version=version,
    )
    notes += [*more, version_note, cache_note(location), *tls_notes(location, include_dir)]
    notes += variable_notes(config, location, binding.group)
    return binding, [note for note in notes if note]


def _check_copies(config: Config, location: Directive) -> None:
    same = [d for d in config.root.walk() if (d.file, d.start) == (location.file, location.start)]
    if len(same) > 1:
        raise PlanError(
            f"{location.file} with location {location_path(location)} is included {len(same)} times: "
            "the change would be made in all of them",
            hint="write the location into the server that shall have it, then plan again",
        )


def _written(config: Config, location: Directive, include_dir: str) -> str:
    """What the user's ``proxy_pass`` said: now, or before ours took its place."""
    found = location.first("proxy_pass")
    if found is None or not found.arguments:
        return ""
    if not is_ours(found, include_dir):
        return found.arguments[0]
    line = _UPSTREAM_LINE.search(config.files[found.file].decode("utf-8", "replace"))
    return line[1] if line else ""


def _target(location: Directive, wanted: Declaration, written: str) -> Target:
    text = wanted.upstream or written
    if not text:
        other = next((d for d in location.walk() if d.name.endswith("_pass") and d.arguments), None)
        beside = f", only {other.name} at {other.where}" if other is not None else ""
        raise PlanError(
            f"location {location_path(location)} at {location.where} has no proxy_pass{beside}",
            hint='name the upstream: upstream = "https://host:port" in troth.toml, or --upstream',
        )
    if wanted.upstream and parse_target(text).uri is None:
        text += parse_target(written).uri or ""
    target = parse_target(text)
    if "$" in text:
        raise PlanError(
            f"proxy_pass {text} at {location.where} has variables: its upstream is not known before a request",
            hint='name it: upstream = "https://host:port" in troth.toml, or --upstream',
        )
    if target.scheme != "https" or not target.authority:
        raise PlanError(f"upstream {text} is not usable: expected https://host[:port]")
    return target


def _check_group(group: Directive | None) -> None:
    block = next((child for child in group.children if child.is_block), None) if group is not None else None
    if block is not None:
        raise PlanError(
            f"{block.name} at {block.where} chooses the peers of the upstream: it cannot stand in our group"
        )


def _check_nested(location: Directive, declared: set[int], include_dir: str) -> None:
    """What is inside the location inherits ours; a place with an upstream of its own must not."""
    for node in location.walk():
        inside = node.parent
        if node.name != "proxy_pass" or inside is None or inside is location or is_ours(node, include_dir):
            continue
        if id(inside) not in declared:
            what = f"{inside.name} {location_path(inside)}" if inside.name == "location" else inside.name
            raise PlanError(
                f"{what} at {inside.where} would inherit the identity and headers of "
                f"location {location_path(location)} for an upstream of its own",
                hint="declare it too, or move it out of the location",
            )


def _verify_name(
    location: Directive,
    wanted: Declaration,
    target: Target,
    written: str,
    group: Directive | None,
    include_dir: str,
) -> tuple[str, list[str]]:
    """The DNS name the upstream's certificate must have: declared, configured, or that of the upstream."""
    name, notes = wanted.name, []
    configured = in_force(location, "proxy_ssl_name", include_dir)
    if configured is None and parse_target(written).authority == target.authority:
        configured = effective(location, "proxy_ssl_name")
    if not name and configured is not None and configured.arguments and "$" not in configured.arguments[0]:
        name = host_of(configured.arguments[0])
    if not name and group is not None:
        hosts = {host_of(peer.arguments[0]) for peer in group.find("server") if peer.arguments}
        name = hosts.pop() if len(hosts) == 1 else ""
        if is_address(name) or name == "unix":
            name = target.host
            if "." not in name:
                notes = [f"{location.where}: the name checked is {name!r}, the group's name; set name if it is another"]
    name = name or target.host
    if is_address(name):
        raise PlanError(
            f"upstream of {location.where} is addressed by IP, and nginx checks DNS names only",
            hint='name it: name = "upstream.example" in troth.toml, or --name',
        )
    return name, notes


def _peers(target: Target, group: Directive | None) -> tuple[str, ...]:
    if group is not None:
        return tuple(" ".join(map(quote, server.arguments)) for server in group.find("server"))
    return (quote(target.peer),)


def _balance(group: Directive | None) -> tuple[str, ...]:
    children = group.children if group is not None else []
    return tuple(" ".join((c.name, *map(quote, c.arguments))) for c in children if c.name not in _NOT_COPIED)


def _depth(location: Directive) -> int:
    found = effective(location, "proxy_ssl_verify_depth")
    text = found.arguments[0] if found is not None and found.arguments else ""
    return max(LEAST_DEPTH, int(text)) if text.isdigit() else LEAST_DEPTH
