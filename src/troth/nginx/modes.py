"""How a new certificate gets into nginx: by a reload, or read by the workers at each handshake (a variable names it).

A reload is the default: the master reads the files, a bad pair never gets in, and the key stays root's. The other way
spares the reload, for locations whose requests outlive it, and asks for more: nginx 1.27.4, which reads a pair again
when its halves do not fit and can keep what it read, and a key that the workers may read. Seen on 1.22.1 and 1.31.3.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from troth.nginx.capabilities import Capabilities
from troth.nginx.declaration import Declaration, PlanError
from troth.nginx.family import GRPC, Family
from troth.nginx.map import effective, effective_list
from troth.nginx.render import Identity
from troth.nginx.tree import Config, Directive

STATIC, VARIABLE, AUTO = "static", "variable", "auto"
MODES = (STATIC, VARIABLE, AUTO)


@dataclass(frozen=True, slots=True)
class Shown:
    """A declaration, the block it means, and the module that talks upstream there."""

    declaration: Declaration
    place: Directive
    family: Family


def in_modes(
    config: Config, shown: Sequence[Shown], identities: Sequence[Identity], capabilities: Capabilities
) -> tuple[list[Identity], list[str]]:
    """Every identity in the mode it is rotated in, and notes on what was chosen for which reason.

    One that several places show is rotated in one mode: a reload for one of them is a reload for all.

    Raises:
        PlanError: places of one identity ask for different modes, or its workers may not read the key.
    """
    found: list[Identity] = []
    notes: list[str] = []
    for identity in identities:
        places = [one for one in shown if one.declaration.identity.name == identity.name]
        variable, note = _mode(config, identity, places, capabilities)
        found.append(replace(identity, variable=variable))
        notes += [note] if note else []
    return found, notes


def _mode(config: Config, identity: Identity, places: Sequence[Shown], capabilities: Capabilities) -> tuple[bool, str]:
    wanted = {one.declaration.mode for one in places}
    name = f"identity {identity.name}"
    if {STATIC, VARIABLE} <= wanted:
        raise PlanError(
            f"{name} is shown in mode static and in mode variable: expected one mode",
            hint="a reload for one of its locations is a reload for all: declare the same mode for each",
        )
    if VARIABLE in wanted:
        reason = _too_old(capabilities)
        if not reason and identity.unfit:
            raise PlanError(f"{name} cannot be in mode variable: {identity.unfit}", hint=identity.mending or None)
        if reason:
            return False, f"{name} is rotated by reloads, though mode variable is declared: {reason}"
        return True, _explained(name, "mode variable is declared", places)
    if wanted != {AUTO}:
        return False, ""
    reason = _too_old(capabilities) or identity.unfit
    need = next((need for one in places if (need := _need(config, one))), "")
    if need and reason:
        return False, f"{name} is rotated by reloads, though {need}: {reason}"
    if need:
        return True, _explained(name, need, places)
    return False, f"{name} is rotated by reloads: no request is known to outlive one, and the key stays the master's"


def _too_old(capabilities: Capabilities) -> str:
    if not capabilities.variable_certificates:
        return f"nginx {capabilities.version_text} takes no variable in the name of a certificate (1.21.0 does)"
    if not capabilities.certificate_cache:
        return (
            f"nginx {capabilities.version_text} answers 500 when it reads between a new certificate and its key "
            "(1.27.4 reads again)"
        )
    if capabilities.has_argument("without-http_map_module"):
        return "this nginx is built without its map module"
    return ""


def _explained(name: str, why: str, places: Sequence[Shown]) -> str:
    said = f"{name} is read by the workers at each handshake, without reloads: {why}"
    if any(one.family.is_stream for one in places):
        return f"{said}; a connection of stream goes on under the identity it began with until it ends"
    return said


def _need(config: Config, one: Shown) -> str:
    """Why a reload would hurt a place: its requests last, so old workers linger or are cut off; else empty."""
    place, where = one.place, one.place.where
    cut = config.root.first("worker_shutdown_timeout")
    if cut is not None:
        return f"{cut.where} cuts the requests of old workers after {' '.join(cut.arguments)}"
    if one.family is GRPC:
        return f"calls of gRPC at {where} may last"
    if one.family.is_stream:
        return f"connections of stream at {where} may last"
    headers = effective_list(place, "proxy_set_header")
    if any(header.arguments[:1] and header.arguments[0].lower() == "upgrade" for header in headers):
        return f"connections are upgraded at {where} and may last"
    buffering = effective(place, "proxy_buffering")
    if buffering is not None and buffering.arguments == ("off",):
        return f"answers are passed on unbuffered at {where} and may last"
    return ""
