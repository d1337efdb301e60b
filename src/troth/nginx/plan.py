"""From a declaration and the user's configuration to a plan: a value that prints as a diff and that apply executes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from troth.nginx.binding import bind, label
from troth.nginx.capabilities import Capabilities
from troth.nginx.client_auth import MAPS_FILE, ClientAuth, read_guard
from troth.nginx.declaration import Declaration as Declaration
from troth.nginx.declaration import PlanError as PlanError
from troth.nginx.edits import Edit, after_brace, after_line, apply_edits, replacement, unified
from troth.nginx.family import LEVELS, PROXY, Family
from troth.nginx.guarding import client_maps, find_guarded, guard_server
from troth.nginx.levels import MARK, level_edits, level_text, present_name, shown_by
from troth.nginx.modes import Shown, in_modes
from troth.nginx.preserve import last_header_end, plain, variable_edits
from troth.nginx.render import Binding, Identity, Witnesses, quote, render_identity, render_location, slug
from troth.nginx.selector import find_location as find_location
from troth.nginx.selector import find_place
from troth.nginx.target import parse_target
from troth.nginx.tree import Config, Directive

# What the generated includes say; the same line twice in a block is refused by nginx.
_REPLACED = (
    "pass",
    "ssl",
    "ssl_certificate",
    "ssl_certificate_cache",
    "ssl_certificate_key",
    "ssl_ciphers",
    "ssl_name",
    "ssl_protocols",
    "ssl_server_name",
    "ssl_session_reuse",
    "ssl_trusted_certificate",
    "ssl_verify",
    "ssl_verify_depth",
)


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
    guards: Sequence[ClientAuth] = (),
) -> Plan:
    """Plan every declared location, server of stream, and server that asks for client certificates.

    Args:
        config: the whole configuration, as nginx reads it.
        declarations: what is wanted.
        identities: every identity that gets a file and a witness, used by a location or not.
        capabilities: of the nginx that will read the result.
        include_dir: absolute directory of the generated files.
        witnesses: ports and directory of the loopback witness.
        guards: servers that ask for client certificates.

    Raises:
        PlanError: a location does not exist, is not the only one, or cannot be bound as it stands.
    """
    found = [(one, find_place(config, one)) for one in declarations]
    _check_once(found)
    declared = {id(location) for _, location in found}
    asked = [(one, find_guarded(config, one)) for one in guards]
    _check_guards(asked)
    guarded = [*asked, *_standing([place for _, place in found], [server for _, server in asked], include_dir)]
    names = _names(found, include_dir)
    edits: list[Edit] = []
    notes: list[str] = []
    bindings: list[Binding] = []
    for (declaration, location), name in zip(found, names, strict=True):
        told = [plain(n) for one, server in guarded if location.enclosing("server") is server for n, _ in one.headers]
        binding, more = bind(config, location, declaration, name, declared, include_dir, capabilities, told)
        bindings.append(binding)
        notes += more
        edits += _place_edits(config, location, binding, told, include_dir)
    shown = [Shown(*one, binding.family) for one, binding in zip(found, bindings, strict=True)]
    identities, said = in_modes(config, shown, identities, capabilities)
    in_mode = {one.name: one for one in identities}
    bindings = [replace(one, identity=in_mode.get(one.identity.name, one.identity)) for one in bindings]
    new_files = {
        **{
            f"{include_dir}/{family.identity_file(one.name)}": render_identity(one, family)
            for family, one in shown_by(bindings, identities)
        },
        **{f"{include_dir}/{one.file}": render_location(one, include_dir) for one in bindings},
    }
    bound = {id(place) for (_, place), one in zip(found, bindings, strict=True) if one.headers}
    for number, (guard, server) in enumerate(guarded):
        made = guard_server(config, guard, server, bound, include_dir)
        edits += made.edits
        notes += made.notes if number < len(asked) else ()
        new_files |= made.files
    if guarded:
        text, more_edits = client_maps(config, [guard for guard, _ in guarded], include_dir)
        new_files[f"{include_dir}/{MAPS_FILE}"] = text
        edits += more_edits
    for level in LEVELS:
        text = level_text(config, level, bindings, identities, capabilities, include_dir, witnesses)
        if text:
            new_files[f"{include_dir}/{level}.conf"] = text
            edits += level_edits(config, level, f"{include_dir}/{level}.conf")
    texts = {name: text.encode("utf-8", "surrogateescape") for name, text in new_files.items()}
    return Plan(tuple(edits), texts, config.files, tuple(bindings), tuple(dict.fromkeys([*said, *notes])))


def _check_once(found: Sequence[tuple[Declaration, Directive]]) -> None:
    """Raises: PlanError: two declarations mean the same block."""
    seen: dict[int, Declaration] = {}
    for declaration, place in found:
        other = seen.setdefault(id(place), declaration)
        if other is not declaration:
            raise PlanError(
                f"{label(place)} at {place.where} is declared twice: for {other.identity.name} "
                f"and for {declaration.identity.name}"
            )


def _check_guards(guarded: Sequence[tuple[ClientAuth, Directive]]) -> None:
    """Raises: PlanError: two declarations mean the same server, or get the same files."""
    for number, (one, server) in enumerate(guarded):
        for other, same in guarded[:number]:
            if server is same or one.name == other.name:
                raise PlanError(f"servers {other.server!r} and {one.server!r} of client-auth are one and the same")


def _standing(
    places: Sequence[Directive], asked: Sequence[Directive], include_dir: str
) -> list[tuple[ClientAuth, Directive]]:
    """Servers of these places, not `asked` now, that ask for certificates under an earlier declaration of ours.

    A location that gets header lines inherits none: without these it would pass on what a client says it is.
    """
    around = {id(server): server for place in places if (server := place.enclosing("server")) is not None}
    others = [server for key, server in around.items() if key not in {id(one) for one in asked}]
    return [(guard, server) for server in others if (guard := read_guard(server, include_dir)) is not None]


def _names(found: Sequence[tuple[Declaration, Directive]], include_dir: str) -> list[str]:
    """A name per binding, for files and groups: the one it has, else one that no other has."""
    present = [present_name(location, include_dir) for _, location in found]
    taken = {name for name in present if name}
    names = []
    for (declaration, _), name in zip(found, present, strict=True):
        if not name:
            plain = slug(declaration.server, declaration.path, declaration.listen)
            choices = (plain, *(f"{plain}_{number}" for number in range(2, len(found) + 2)))
            name = next(one for one in choices if one not in taken)
            taken.add(name)
        names.append(name)
    return names


def _place_edits(
    config: Config, place: Directive, binding: Binding, told: Sequence[str], include_dir: str
) -> list[Edit]:
    file = f"{include_dir}/{binding.file}"
    if any(child.name == "include" and child.arguments == (file,) for child in place.children):
        return []
    replaced = [child for child in place.children if _is_replaced(child, binding.family)]
    elsewhere = next((c for c in replaced if c.file != place.file), None)
    if elsewhere is not None:
        raise PlanError(
            f"{elsewhere.name} of {label(place)} stands in {elsewhere.where}, an included file",
            hint=f"move the line into the {place.name}, then plan again",
        )
    data = config.files[place.file]
    line = f"include {quote(file)};  {MARK}".encode("utf-8", "surrogateescape")
    edits: list[Edit] = []
    if binding.family is PROXY:
        edits = variable_edits(config, place, parse_target(binding.url), told, include_dir)
        edits = [edit for edit in edits if not any(c.start <= edit.start < c.end for c in replaced)]
    spans = [(c.start, c.end) for c in replaced]
    after = last_header_end(place, binding.family, told, include_dir)
    if any(header.name == "Host" for header in binding.headers) and after > min(spans, default=(0, 0))[0]:
        return [*replacement(data, spans, None, place.file), after_line(data, after, line, place.file), *edits]
    if not replaced:
        return [after_brace(data, place.open, line, place.file), *edits]
    return [*replacement(data, spans, line, place.file), *edits]


def _is_replaced(directive: Directive, family: Family) -> bool:
    """Whether the generated include takes its place."""
    if directive.name == "proxy_redirect":
        return family is PROXY and directive.arguments == ("default",)
    if directive.name == f"{family.prefix}_ssl_conf_command":
        return directive.arguments[0] in ("Certificate", "PrivateKey")
    return directive.name.startswith(f"{family.prefix}_") and directive.name[len(family.prefix) + 1 :] in _REPLACED
