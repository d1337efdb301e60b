"""Names of a certificate as identifiers of an order (RFC 8555 §7.1.3, RFC 8738 §3)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from troth.acme import AcmeError
from troth.x509.domains import DNSSyntaxError, ascii_domain
from troth.x509.names import split_names

MAX_IDENTIFIERS = 100
_WHAT = "expected DNS names and IP addresses"


@dataclass(frozen=True, slots=True)
class Identifier:
    """``dns`` or ``ip``, and the name in its canonical form."""

    kind: str
    value: str

    def json(self) -> dict[str, str]:
        """As it is sent."""
        return {"type": self.kind, "value": self.value}


def identifiers_of(names: Iterable[str]) -> tuple[Identifier, ...]:
    """The identifiers of names, each once, in their order: DNS names in ASCII and lower case, addresses as RFC 5952.

    Raises:
        AcmeError: a name is neither, or a wildcard, which http-01 cannot prove (RFC 8555 §8.3).
    """
    found = [identifier_of(name) for name in names if name]
    unique = tuple(dict.fromkeys(found))
    if not unique:
        raise AcmeError(f"there is no name to order a certificate for: {_WHAT}")
    if len(unique) > MAX_IDENTIFIERS:
        raise AcmeError(f"{len(unique)} names are too many for one certificate: expected {MAX_IDENTIFIERS} at most")
    return unique


def identifier_of(name: str) -> Identifier:
    """Raises AcmeError, see `identifiers_of`."""
    split = split_names([name])
    if split.ips:
        return Identifier("ip", split.ips[0])
    if not split.dns:
        raise AcmeError(f"{name!r} cannot be ordered with ACME: {_WHAT}")
    if "*" in name:
        raise AcmeError(
            f"wildcard name {name!r} cannot be proven over HTTP: expected names without *",
            hint="use another provisioner, or name every host with --san",
        )
    try:
        return Identifier("dns", ascii_domain(name))
    except DNSSyntaxError as error:
        raise AcmeError(f"{error.message}: {_WHAT}") from error


def parse_identifier(value: object) -> Identifier:
    """An identifier as a server writes it.

    Raises:
        AcmeError: it is none.
    """
    if isinstance(value, Mapping) and isinstance(value.get("type"), str) and isinstance(value.get("value"), str):
        return Identifier(value["type"], value["value"])
    raise AcmeError("malformed identifier: expected type and value")
