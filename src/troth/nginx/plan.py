"""From a declaration and the user's configuration to a plan: a value that prints as a diff and that apply executes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from troth.nginx.binding import bind
from troth.nginx.capabilities import Capabilities
from troth.nginx.declaration import Declaration as Declaration
from troth.nginx.declaration import PlanError as PlanError
from troth.nginx.edits import Edit, after_brace, after_line, apply_edits, replacement, unified
from troth.nginx.map import http_servers, listen_ports, location_path, locations, server_names
from troth.nginx.preserve import last_header_end, variable_edits
from troth.nginx.render import (
    Binding,
    Identity,
    Witnesses,
    quote,
    render_http,
    render_identity,
    render_location,
    slug,
    without_header,
)
from troth.nginx.target import parse_target
from troth.nginx.tree import Config, Directive

MARK = "# managed by troth"
# What the generated includes say; the same line twice in a location is refused by nginx.
REPLACED = {"proxy_pass"} | {
    f"proxy_ssl_{name}"
    for name in (
        "certificate",
        "certificate_key",
        "ciphers",
        "name",
        "protocols",
        "server_name",
        "session_reuse",
        "trusted_certificate",
        "verify",
        "verify_depth",
    )
}


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
    found = [(one, find_location(config, one.server, one.path)) for one in declarations]
    declared = {id(location) for _, location in found}
    names = _names(found, include_dir)
    edits: list[Edit] = []
    notes: list[str] = []
    bindings: list[Binding] = []
    for (declaration, location), name in zip(found, names, strict=True):
        binding, more = bind(config, location, declaration, name, declared, include_dir, capabilities)
        bindings.append(binding)
        notes += more
        edits += _location_edits(config, location, binding, include_dir)
    http_file = f"{include_dir}/http.conf"
    edits += _http_edits(config, http_file)
    set_min = not _sets_min_timeout(config, http_file)
    others = _others(config, names, [one.name for one in identities], include_dir)
    new_files = {
        http_file: render_http(
            bindings, identities, capabilities, include_dir, witnesses, set_min_timeout=set_min, others=others
        ),
        **{f"{include_dir}/identity-{one.name}.conf": render_identity(one) for one in identities},
        **{f"{include_dir}/location-{one.name}.conf": render_location(one, include_dir) for one in bindings},
    }
    texts = {name: text.encode("utf-8", "surrogateescape") for name, text in new_files.items()}
    return Plan(tuple(edits), texts, config.files, tuple(bindings), tuple(dict.fromkeys(notes)))


def find_location(config: Config, server: str, path: str) -> Directive:
    """The one location a selector means.

    Args:
        server: a name the server answers to, ``name:port`` or ``:port``; empty means any.
        path: as written, with its modifier where another location has the same path.

    Raises:
        PlanError: there is none, or several.
    """
    wanted = path.strip()
    candidates = [
        (one, location)
        for one in http_servers(config)
        if not server or _answers(one, server)
        for location in locations(one)
    ]
    exact = [location for _, location in candidates if wanted == location_path(location)]
    exact = exact or [location for _, location in candidates if wanted == location.arguments[-1]]
    if len(exact) == 1:
        return exact[0]
    label = f"location {wanted!r}" + (f" of server {server!r}" if server else "")
    if exact:
        found = "; ".join(f"{location_path(location)} at {location.where}" for location in exact)
        raise PlanError(
            f"{label} is not the only one: {found}",
            hint="name the server, with its port as in app.example:443, or the location with its modifier",
        )
    known = [f"{'/'.join(server_names(one))} {location_path(location)}" for one, location in candidates]
    if not known:
        known = [" ".join(server_names(one)) or "(no name)" for one in http_servers(config)]
    raise PlanError(f"there is no {label}; there are: {'; '.join(known) or 'no servers'}")


def _answers(server: Directive, wanted: str) -> bool:
    names = server_names(server)
    if wanted in names:
        return True
    name, colon, port = wanted.rpartition(":")
    return bool(colon) and (not name or name in names) and port in listen_ports(server)


def _names(found: Sequence[tuple[Declaration, Directive]], include_dir: str) -> list[str]:
    """A name per binding, for files and groups: the one it has, else one that no other has."""
    present = [_present_name(location, include_dir) for _, location in found]
    taken = {name for name in present if name}
    names = []
    for (declaration, _), name in zip(found, present, strict=True):
        if not name:
            plain = slug(declaration.server, declaration.path)
            choices = (plain, *(f"{plain}_{number}" for number in range(2, len(found) + 2)))
            name = next(one for one in choices if one not in taken)
            taken.add(name)
        names.append(name)
    return names


def _present_name(location: Directive, include_dir: str) -> str:
    start, end = f"{include_dir}/location-", ".conf"
    files = (child.arguments[0] for child in location.find("include") if child.arguments)
    return next((file[len(start) : -len(end)] for file in files if file.startswith(start) and file.endswith(end)), "")


def _others(config: Config, names: Sequence[str], identities: Sequence[str], include_dir: str) -> list[str]:
    """Groups and witnesses of locations that were applied under another declaration and are still included."""
    assert config.http is not None
    used = [node for node in config.root.walk() if node.name == "include" and node.parent is not None]
    groups = {
        f"troth_{name}"
        for node in used
        if node.parent is not None and (name := _present_name(node.parent, include_dir)) and name not in names
    }
    shown = {
        node.arguments[0]
        for node in used
        if any(f"{include_dir}/location-{name.removeprefix('troth_')}.conf" == node.file for name in groups)
    } - {f"{include_dir}/identity-{name}.conf" for name in identities}
    file = f"{include_dir}/http.conf"
    data = config.files.get(file, b"")
    kept, position = [], 0
    for child in (one for one in config.http.children if one.file == file):
        belongs = child.name == "upstream" and child.arguments[0] in groups
        belongs |= child.name == "server" and any(n.name == "include" and n.arguments[0] in shown for n in child.walk())
        if belongs:
            kept.append(without_header(data[position : child.end].decode("utf-8", "surrogateescape")))
        position = child.end
    return kept


def _location_edits(config: Config, location: Directive, binding: Binding, include_dir: str) -> list[Edit]:
    file = f"{include_dir}/location-{binding.name}.conf"
    if any(child.name == "include" and child.arguments == (file,) for child in location.children):
        return []
    replaced = [child for child in location.children if _is_replaced(child)]
    elsewhere = next((c for c in replaced if c.file != location.file), None)
    if elsewhere is not None:
        raise PlanError(
            f"{elsewhere.name} of location {location_path(location)} stands in {elsewhere.where}, an included file",
            hint="move the line into the location, then plan again",
        )
    data = config.files[location.file]
    line = f"include {quote(file)};  {MARK}".encode("utf-8", "surrogateescape")
    edits = variable_edits(config, location, parse_target(binding.url), include_dir)
    edits = [edit for edit in edits if not any(c.start <= edit.start < c.end for c in replaced)]
    spans = [(c.start, c.end) for c in replaced]
    place = last_header_end(location, include_dir)
    if any(header.name == "Host" for header in binding.headers) and place > min(spans, default=(0, 0))[0]:
        return [*replacement(data, spans, None, location.file), after_line(data, place, line, location.file), *edits]
    if not replaced:
        return [after_brace(data, location.open, line, location.file), *edits]
    return [*replacement(data, spans, line, location.file), *edits]


def _is_replaced(directive: Directive) -> bool:
    """Whether the generated include takes its place."""
    if directive.name == "proxy_redirect":
        return directive.arguments == ("default",)
    if directive.name == "proxy_ssl_conf_command":
        return directive.arguments[0] in ("Certificate", "PrivateKey")
    return directive.name in REPLACED


def _http_edits(config: Config, http_file: str) -> list[Edit]:
    http = config.http
    assert http is not None
    if any(child.name == "include" and child.arguments == (http_file,) for child in http.children):
        return []
    line = f"include {quote(http_file)};  {MARK}".encode("utf-8", "surrogateescape")
    return [after_brace(config.files[http.file], http.open, line, http.file)]


def _sets_min_timeout(config: Config, http_file: str) -> bool:
    found = config.http.find("keepalive_min_timeout") if config.http is not None else []
    return any(directive.file != http_file for directive in found)
