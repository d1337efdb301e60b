"""The generated files of http and stream level: this plan's groups and witnesses, and what other declarations left."""

from collections.abc import Collection, Sequence

from troth.nginx.capabilities import Capabilities
from troth.nginx.edits import Edit, after_brace, after_line
from troth.nginx.family import FAMILIES, PROXY, Family
from troth.nginx.render import (
    Binding,
    Identity,
    Witnesses,
    quote,
    render_http,
    render_stream,
    variable_name,
    without_header,
)
from troth.nginx.tree import Config, Directive

MARK = "# managed by troth"


def shown_by(bindings: Sequence[Binding], identities: Sequence[Identity]) -> list[tuple[Family, Identity]]:
    """Which module shows which identity; one that no binding shows is shown to the witness by proxy."""
    shown = []
    for one in identities:
        by = [
            family for family in FAMILIES if any(b.family is family and b.identity.name == one.name for b in bindings)
        ]
        shown += [(family, one) for family in by or [PROXY]]
    return shown


def level_text(
    config: Config,
    level: str,
    bindings: Sequence[Binding],
    identities: Sequence[Identity],
    capabilities: Capabilities,
    include_dir: str,
    witnesses: Witnesses,
) -> str:
    """The generated file of http or stream level; empty where none is needed."""
    here = [one for one in bindings if one.family.level == level]
    shown = [(family, one) for family, one in shown_by(bindings, identities) if family.level == level]
    file = f"{include_dir}/{level}.conf"
    block = config.level(level)
    if block is None or (not here and not shown and file not in config.files):
        return ""
    others = _others(config, block, [one.file for one in here], shown, include_dir)
    present = config.files.get(file, b"").decode("utf-8", "surrogateescape")
    if level == "stream":
        return render_stream(here, shown, capabilities, include_dir, witnesses, others=others, present=present)
    set_min = not _sets_min_timeout(config, file)
    return render_http(
        here, shown, capabilities, include_dir, witnesses, set_min_timeout=set_min, others=others, present=present
    )


def level_edits(config: Config, level: str, file: str) -> list[Edit]:
    """The edit that pulls a generated file into http or stream; none where it is there already.

    It goes first, so that what follows may use it; but a map fixes the sizes of ``map_hash_*``, and for nginx a line
    behind it that sets one is a duplicate.
    """
    block = config.level(level)
    assert block is not None
    if any(child.name == "include" and child.arguments == (file,) for child in block.children):
        return []
    line = f"include {quote(file)};  {MARK}".encode("utf-8", "surrogateescape")
    sizes = [child for child in block.children if child.name in ("map_hash_max_size", "map_hash_bucket_size")]
    if sizes:
        last = sizes[-1]
        return [after_line(config.files[last.file], last.end, line, last.file)]
    return [after_brace(config.files[block.file], block.open, line, block.file)]


def _sets_min_timeout(config: Config, http_file: str) -> bool:
    found = config.http.find("keepalive_min_timeout") if config.http is not None else []
    return any(directive.file != http_file for directive in found)


def present_name(place: Directive, include_dir: str) -> str:
    file = present_file(place, include_dir)
    return file.partition("-")[2].removesuffix(".conf")


def present_file(place: Directive, include_dir: str) -> str:
    """The generated file that a block includes already, without its directory; empty when there is none."""
    files = (child.arguments[0] for child in place.find("include") if child.arguments)
    names = (file.removeprefix(f"{include_dir}/") for file in files if file.startswith(f"{include_dir}/"))
    return next((name for name in names if name.startswith(("location-", "server-"))), "")


def _others(
    config: Config,
    block: Directive,
    files: Sequence[str],
    shown: Sequence[tuple[Family, Identity]],
    include_dir: str,
) -> list[str]:
    """Groups, witnesses and variables of what was applied under another declaration and is still included."""
    used = [node for node in block.walk() if node.name == "include" and node.parent is not None]
    left = {
        f"{include_dir}/{name}"
        for node in used
        if node.parent is not None and (name := present_file(node.parent, include_dir)) and name not in files
    }
    groups = {
        f"troth_{name.partition('-')[2].removesuffix('.conf')}" for name in (f[len(include_dir) + 1 :] for f in left)
    }
    ours = {f"{include_dir}/{family.identity_file(one.name)}" for family, one in shown}
    identities = {node.arguments[0] for node in used if node.file in left} - ours
    variables = _variables_in(block, identities) - {
        f"${variable_name(one.name, what)}" for _, one in shown if one.variable for what in ("certificate", "key")
    }
    file = f"{include_dir}/{block.name}.conf"
    data = config.files.get(file, b"")
    kept: list[str] = []
    position = 0
    for child in (one for one in block.children if one.file == file):
        if _belongs(child, groups, identities, variables):
            text = data[position : child.end].decode("utf-8", "surrogateescape")
            # The second map of an identity has no comment of its own, and stays with the first.
            if child.name == "map" and kept and data[position : child.start].isspace():
                kept[-1] += text
            else:
                kept.append(without_header(text))
        position = child.end
    return kept


def _variables_in(block: Directive, files: Collection[str]) -> set[str]:
    """The variables by which these files name certificates and keys, with their dollar signs."""
    named = (node.arguments[0] for node in block.walk() if node.file in files and node.arguments)
    return {argument for argument in named if argument.startswith("$")}


def _belongs(
    child: Directive, groups: Collection[str], identities: Collection[str], variables: Collection[str]
) -> bool:
    """Whether it is one of these groups, a witness of these identities' files, or the map of one of these variables."""
    if child.name == "upstream":
        return child.arguments[0] in groups
    if child.name == "map":
        return child.arguments[-1] in variables
    return child.name == "server" and any(
        node.name == "include" and node.arguments[0] in identities for node in child.walk()
    )
