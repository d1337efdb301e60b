"""From a declaration and the user's configuration to a plan: a value that prints as a diff and that apply executes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from troth.nginx import NginxError
from troth.nginx.capabilities import Capabilities
from troth.nginx.edits import Edit, after_brace, apply_edits, insertion, removal, unified
from troth.nginx.map import (
    effective,
    effective_list,
    http_servers,
    location_path,
    locations,
    server_names,
    upstream_groups,
)
from troth.nginx.render import (
    Binding,
    Header,
    Identity,
    Witnesses,
    render_http,
    render_identity,
    render_location,
    slug,
)
from troth.nginx.tree import Config, Directive

MARK = "# managed by troth"
# In a group, these do not choose the peer and are set by us, or make no sense in a copy.
_NOT_COPIED = {"server", "keepalive", "keepalive_time", "keepalive_timeout", "keepalive_requests"}
_UPSTREAM_LINE = re.compile(r"^# upstream: (\S+)$", re.MULTILINE)


class PlanError(NginxError):
    """The declaration does not fit the configuration; the message lists what does."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """One ``[[location]]`` of a troth.toml; upstream and name may be empty where the configuration tells them."""

    server: str
    path: str
    identity: Identity
    upstream: str = ""
    name: str = ""


@dataclass(frozen=True)
class Plan:
    """What would change. Empty when everything is as declared."""

    edits: tuple[Edit, ...]
    new_files: Mapping[str, bytes]
    before: Mapping[str, bytes]
    bindings: tuple[Binding, ...]
    notes: tuple[str, ...]

    @property
    def empty(self) -> bool:
        return not self.after()

    def after(self) -> dict[str, bytes]:
        """Every file whose bytes change, with its new bytes."""
        changed = apply_edits(self.before, self.edits)
        changed |= {name: data for name, data in self.new_files.items() if self.before.get(name) != data}
        return {name: data for name, data in changed.items() if self.before.get(name) != data}

    def diff(self) -> str:
        """A unified diff of all files, in order of their names."""
        after = self.after()
        return "".join(
            unified(self.before.get(name, b""), after[name], name, fresh=name not in self.before)
            for name in sorted(after)
        )


def make_plan(
    config: Config,
    declarations: Sequence[Declaration],
    identities: Sequence[Identity],
    capabilities: Capabilities,
    include_dir: str,
    witnesses: Witnesses,
) -> Plan:
    """Plan every declared location.

    Args:
        config: the whole configuration, as nginx reads it.
        declarations: what is wanted.
        identities: every identity that gets a file and a witness, used by a location or not.
        capabilities: of the nginx that will read the result.
        include_dir: absolute directory of the generated files.
        witnesses: ports and directory of the loopback witness.

    Raises:
        PlanError: a location does not exist, is not the only one, or cannot be bound as it stands.
    """
    if config.http is None:
        raise PlanError(f"{config.main} has no http block")
    edits: list[Edit] = []
    notes: list[str] = []
    bindings: list[Binding] = []
    for declaration in declarations:
        location = find_location(config, declaration.server, declaration.path)
        binding, more = _bind(config, location, declaration, include_dir)
        bindings.append(binding)
        notes += more
        edits += _location_edits(config, location, binding, include_dir)
    http_file = f"{include_dir}/http.conf"
    edits += _http_edits(config, http_file)
    set_min = not _sets_min_timeout(config, http_file)
    new_files = {
        http_file: render_http(
            bindings, identities, capabilities, include_dir, witnesses, set_min_timeout=set_min
        ).encode(),
        **{f"{include_dir}/identity-{one.name}.conf": render_identity(one).encode() for one in identities},
        **{f"{include_dir}/location-{one.name}.conf": render_location(one, include_dir).encode() for one in bindings},
    }
    return Plan(tuple(edits), new_files, config.files, tuple(bindings), tuple(dict.fromkeys(notes)))


def find_location(config: Config, server: str, path: str) -> Directive:
    """The one location a selector means; an empty server means any.

    Raises:
        PlanError: there is none, or several.
    """
    wanted = path.strip()
    candidates = [
        (one, location)
        for one in http_servers(config)
        if not server or server in server_names(one)
        for location in locations(one)
    ]
    exact = [location for _, location in candidates if wanted in (location_path(location), location.arguments[-1])]
    if len(exact) == 1:
        return exact[0]
    label = f"location {wanted!r}" + (f" of server {server!r}" if server else "")
    if exact:
        found = "; ".join(f"{location_path(location)} at {location.where}" for location in exact)
        raise PlanError(
            f"{label} is not the only one: {found}", hint="name the server, or the location with its modifier"
        )
    known = [f"{'/'.join(server_names(one))} {location_path(location)}" for one, location in candidates]
    if not known:
        known = [" ".join(server_names(one)) or "(no name)" for one in http_servers(config)]
    raise PlanError(f"there is no {label}; there are: {'; '.join(known) or 'no servers'}")


def _bind(config: Config, location: Directive, wanted: Declaration, include_dir: str) -> tuple[Binding, list[str]]:
    name = slug(wanted.server, wanted.path)
    target = location.first("proxy_pass")
    managed = target is not None and target.file.startswith(f"{include_dir}/")
    url = wanted.upstream or _original(config, target, managed)
    if not url:
        raise PlanError(
            f"location {location_path(location)} at {location.where} has no proxy_pass",
            hint='name the upstream: upstream = "https://host:port" in troth.toml, or --upstream',
        )
    if "$" in url:
        raise PlanError(
            f"proxy_pass {url} at {location.where} has variables: its upstream is not known before a request"
        )
    if not url.startswith("https://"):
        raise PlanError(f"upstream {url} is not usable: expected https://host[:port]")
    parts = urlsplit(url)
    group = upstream_groups(config).get(parts.netloc)
    verify = wanted.name or (parts.hostname or "")
    notes = _check_name(verify, group is not None, location)
    host, host_note = _host(parts.netloc, verify, group is not None)
    headers, header_notes = _headers(location, host, include_dir)
    if any(header.name.lower() == "host" and header.value == host for header in headers) and host_note:
        notes.append(host_note)
    uri = url[len(f"https://{parts.netloc}") :] or None
    own = [child for child in location.children if not child.file.startswith(f"{include_dir}/")]
    binding = Binding(
        name=name,
        identity=wanted.identity,
        url=url,
        peers=_peers(parts.netloc, group),
        balance=_balance(group),
        uri=uri,
        verify_name=verify,
        headers=headers,
        redirects=_redirects(location, url, uri, own),
        version=not any(child.name == "proxy_http_version" for child in own),
    )
    if effective(location, "proxy_cache") is not None and effective(location, "proxy_cache_key") is None:
        notes.append(f"{location.where}: cached answers get new keys, because the key holds the upstream's name")
    return binding, notes + header_notes


def _original(config: Config, target: Directive | None, managed: bool) -> str:
    if target is None or not target.arguments:
        return ""
    if not managed:
        return target.arguments[0]
    found = _UPSTREAM_LINE.search(config.files[target.file].decode("utf-8", "replace"))
    return found[1] if found else ""


def _check_name(name: str, is_group: bool, location: Directive) -> list[str]:
    if not name or ":" in name or name.replace(".", "").isdigit():
        raise PlanError(
            f"upstream of {location.where} is addressed by IP, and nginx checks DNS names only",
            hint='name it: name = "upstream.example" in troth.toml, or --name',
        )
    if is_group and "." not in name:
        return [
            f"{location.where}: the name checked is {name!r}, the group's name; set name if the certificate has another"
        ]
    return []


def _host(netloc: str, verify: str, is_group: bool) -> tuple[str, str]:
    """The Host the upstream shall receive, and a note when that is not what it received before.

    Before, it was ``$proxy_host``: host and port as written, the default port left out. An upstream nginx that asks for
    client certificates answers 421 when it differs from the server name of the handshake.
    """
    before = netloc.removesuffix(":443")
    if before.rpartition(":")[0] == verify or before == verify:
        return before, ""
    what = "the group's name" if is_group else "the address in proxy_pass"
    return verify, f"the upstream receives Host {verify} instead of {before}, {what}: it must equal the server name"


def _headers(location: Directive, host: str, include_dir: str) -> tuple[tuple[Header, ...], list[str]]:
    """The lines that must stand in the generated include so that the application sees what it saw.

    A location with lines of its own keeps them in its file and gets only what it lacks. One without gets copies of
    those it inherited, because ours would drop them.
    """
    own = [d for d in location.find("proxy_set_header") if not d.file.startswith(f"{include_dir}/")]
    inherited = [] if own or location.parent is None else effective_list(location.parent, "proxy_set_header")
    present = {d.arguments[0].lower() for d in (*own, *inherited) if d.arguments}
    copied = [Header(d.arguments[0], d.arguments[1]) for d in inherited if len(d.arguments) == 2]
    added = [Header("Connection", "")] if "connection" not in present else []
    added += [Header("Host", host)] if "host" not in present else []
    notes = []
    if "connection" in present:
        notes.append(
            f"{location.where}: Connection is set by the configuration and stays; upstream connections may not be kept"
        )
    return (*added, *copied), notes


def _redirects(location: Directive, url: str, uri: str | None, own: list[Directive]) -> tuple[str, ...]:
    """nginx's default rewriting of Location headers names the proxy_pass URL, which is ours now: say it explicitly."""
    if any(child.name == "proxy_redirect" for child in own):
        return ()
    outer = effective_list(location.parent, "proxy_redirect") if location.parent is not None else []
    if outer and [d.arguments for d in outer] != [("default",)]:
        return ()
    if any(modifier in location.arguments[:-1] for modifier in ("~", "~*")):
        return (f"{url}/ /",) if uri is None else ()
    return (f"{url}/ /",) if uri is None else (f"{url} {location.arguments[-1]}",)


def _peers(netloc: str, group: Directive | None) -> tuple[str, ...]:
    if group is not None:
        return tuple(" ".join(server.arguments) for server in group.find("server"))
    return (netloc if ":" in netloc.rpartition("]")[2] else f"{netloc}:443",)


def _balance(group: Directive | None) -> tuple[str, ...]:
    children = group.children if group is not None else []
    return tuple(" ".join((c.name, *c.arguments)) for c in children if c.name not in _NOT_COPIED and not c.is_block)


def _location_edits(config: Config, location: Directive, binding: Binding, include_dir: str) -> list[Edit]:
    file = f"{include_dir}/location-{binding.name}.conf"
    if any(child.name == "include" and child.arguments == (file,) for child in location.children):
        return []
    replaced = [c for c in location.children if c.name == "proxy_pass" or c.name.startswith("proxy_ssl_")]
    elsewhere = next((c for c in replaced if c.file != location.file), None)
    if elsewhere is not None:
        raise PlanError(
            f"{elsewhere.name} of location {location_path(location)} stands in {elsewhere.where}, an included file",
            hint="move the line into the location, then plan again",
        )
    data = config.files[location.file]
    line = f"include {file};  {MARK}".encode()
    edits = [removal(data, c.start, c.end, location.file) for c in replaced]
    if not replaced:
        return [after_brace(data, location.open, line, location.file)]
    place = insertion(data, replaced[0].start, line, location.file)
    return [_joined(edits[0], place), *edits[1:]]


def _joined(first: Edit, place: Edit) -> Edit:
    """The insertion stands where the first removed directive stood."""
    return Edit(first.file, first.start, first.end, place.text)


def _http_edits(config: Config, http_file: str) -> list[Edit]:
    http = config.http
    assert http is not None
    if any(child.name == "include" and child.arguments == (http_file,) for child in http.children):
        return []
    return [after_brace(config.files[http.file], http.open, f"include {http_file};  {MARK}".encode(), http.file)]


def _sets_min_timeout(config: Config, http_file: str) -> bool:
    found = config.http.find("keepalive_min_timeout") if config.http is not None else []
    return any(directive.file != http_file for directive in found)
