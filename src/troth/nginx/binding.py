"""From one declaration and what it means to the binding that is rendered, with notes on all that changes."""

import re
from collections.abc import Collection
from dataclasses import replace

from troth.nginx.capabilities import Capabilities
from troth.nginx.declaration import Declaration, PlanError
from troth.nginx.family import OF_HTTP, PROXY, STREAM, Family, family_of_scheme
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
from troth.nginx.target import Target, host_of, is_address, parse_target, unusable_upstream
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
    told: Collection[str] = (),
) -> tuple[Binding, list[str]]:
    """Work out a location's binding.

    Args:
        name: of the binding, unique among all.
        declared: ``id`` of every location that is declared, this one included.
        told: headers, in lower case with dashes, that other lines of ours set there.

    Raises:
        PlanError: it cannot be bound as it stands; the message says why.
    """
    _check_copies(config, location)
    family = _family(location, wanted, include_dir)
    written = _written(config, location, family, include_dir)
    target = _target(location, family, wanted, written)
    group = upstream_groups(config, family.level).get(target.authority.lower())
    if group is None and not family.has_port and not target.is_unix and not target.port:
        raise PlanError(f"upstream {target.text} has no port: expected {family.expected}")
    _check_group(group)
    _check_nested(location, family, declared, include_dir)
    verify, notes = _verify_name(location, family, wanted, target, written, group, include_dir)
    binding = Binding(
        name=name,
        identity=wanted.identity,
        url=target.text,
        peers=_peers(target, group),
        balance=_balance(group),
        uri=target.uri,
        verify_name=verify,
        headers=(),
        redirects=(),
        depth=_depth(location, family),
        family=family,
    )
    if family.setter:
        host, note = host_sent(target, verify, is_group=group is not None)
        lines, more = headers(location, family, target, host, told, include_dir)
        sent = any(line.name.lower() == "host" and line.value == host for line in lines)
        notes.append(note if sent else host_note(location, family, target, verify, include_dir))
        notes += more
        binding = replace(binding, headers=lines)
    if family is PROXY:
        version, version_note = version_is_ours(location, capabilities, include_dir)
        notes += [version_note, cache_note(location)]
        binding = replace(binding, version=version, redirects=redirects(location, target, include_dir))
        notes += variable_notes(config, location, binding.group)
    notes += tls_notes(location, family, include_dir)
    return binding, [note for note in notes if note]


def label(place: Directive) -> str:
    """A location or server of stream, in words."""
    return f"location {location_path(place)}" if place.name == "location" else "stream server"


def _check_copies(config: Config, location: Directive) -> None:
    same = [d for d in config.root.walk() if (d.file, d.start) == (location.file, location.start)]
    if len(same) > 1:
        raise PlanError(
            f"{location.file} with {label(location)} is included {len(same)} times: "
            "the change would be made in all of them",
            hint=f"write the {location.name} into the block that shall have it, then plan again",
        )


def _family(place: Directive, wanted: Declaration, include_dir: str) -> Family:
    """The module that talks to the upstream: that of the ``*_pass`` that stands there, else the declared scheme's.

    Raises:
        PlanError: what stands there and what is declared are of different modules, or it cannot talk TLS.
    """
    if place.name == "server":
        _check_stream(place, wanted, include_dir)
        return STREAM
    declared = family_of_scheme(parse_target(wanted.upstream).scheme) if wanted.upstream else None
    present = next((one for one in OF_HTTP if place.first(one.pass_name) is not None), None)
    if declared is not None and present is not None and declared is not present:
        found = place.first(present.pass_name)
        assert found is not None
        raise PlanError(
            f"upstream {wanted.upstream} of {label(place)} is for {declared.pass_name}, "
            f"and it has {present.pass_name} at {found.where}",
            hint=f"expected {present.expected}, or take {present.pass_name} out of the location first",
        )
    return present or declared or PROXY


def _check_stream(server: Directive, wanted: Declaration, include_dir: str) -> None:
    """A server of stream says neither by its upstream nor by a scheme that it talks TLS.

    Raises:
        PlanError: it does not, or it is for datagrams.
    """
    datagrams = next((d for d in server.find("listen") if "udp" in d.arguments[1:]), None)
    if datagrams is not None:
        raise PlanError(
            f"stream server at {server.where} listens for UDP at {datagrams.where}: nginx talks TLS over TCP only"
        )
    switch = effective(server, "proxy_ssl")
    if not wanted.upstream and (switch is None or switch.arguments != ("on",)):
        raise PlanError(
            f"stream server at {server.where} does not talk TLS to its upstream: proxy_ssl is off",
            hint='when the upstream takes TLS, name it: upstream = "host:port" in troth.toml, or --upstream',
        )


def _written(config: Config, location: Directive, family: Family, include_dir: str) -> str:
    """What the user's ``proxy_pass`` or the like said: now, or before ours took its place."""
    found = location.first(family.pass_name)
    if found is None or not found.arguments:
        return ""
    if not is_ours(found, include_dir):
        return found.arguments[0]
    line = _UPSTREAM_LINE.search(config.files[found.file].decode("utf-8", "replace"))
    return line[1] if line else ""


def _target(location: Directive, family: Family, wanted: Declaration, written: str) -> Target:
    text = wanted.upstream or written
    if not text:
        other = next((d for d in location.walk() if d.name.endswith("_pass") and d.arguments), None)
        beside = f", only {other.name} at {other.where}" if other is not None else ""
        raise PlanError(
            f"{label(location)} at {location.where} has no {family.pass_name}{beside}",
            hint=f'name the upstream: upstream = "{family.expected}" in troth.toml, or --upstream',
        )
    if wanted.upstream and parse_target(text).uri is None:
        text += parse_target(written).uri or ""
    target = parse_target(text)
    if "$" in text:
        raise PlanError(
            f"{family.pass_name} {text} at {location.where} has variables: its upstream is not known before a request",
            hint=f'name it: upstream = "{family.expected}" in troth.toml, or --upstream',
        )
    if wanted.upstream and (wrong := unusable_upstream(wanted.upstream)):
        raise PlanError(wrong, hint=f'expected {family.expected}: upstream = "..." in troth.toml, or --upstream')
    if f"{target.scheme}://" != (family.scheme or "://") or not target.authority:
        raise PlanError(f"upstream {text} is not usable: expected {family.expected}")
    if family is not PROXY and target.uri is not None:
        raise PlanError(f"upstream {text} is not usable: expected {family.expected}, nothing behind it")
    return target


def _check_group(group: Directive | None) -> None:
    block = next((child for child in group.children if child.is_block), None) if group is not None else None
    if block is not None:
        raise PlanError(
            f"{block.name} at {block.where} chooses the peers of the upstream: it cannot stand in our group"
        )


def _check_nested(location: Directive, family: Family, declared: set[int], include_dir: str) -> None:
    """What is inside the location inherits ours; a place with an upstream of its own must not."""
    for node in location.walk():
        inside = node.parent
        if node.name != family.pass_name or inside is None or inside is location or is_ours(node, include_dir):
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
    family: Family,
    wanted: Declaration,
    target: Target,
    written: str,
    group: Directive | None,
    include_dir: str,
) -> tuple[str, list[str]]:
    """The DNS name the upstream's certificate must have: declared, configured, or that of the upstream."""
    name, notes = wanted.name, []
    configured = in_force(location, f"{family.prefix}_ssl_name", include_dir)
    if configured is None and parse_target(written).authority == target.authority:
        configured = effective(location, f"{family.prefix}_ssl_name")
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


def _depth(location: Directive, family: Family) -> int:
    found = effective(location, f"{family.prefix}_ssl_verify_depth")
    text = found.arguments[0] if found is not None and found.arguments else ""
    return max(LEAST_DEPTH, int(text)) if text.isdigit() else LEAST_DEPTH
