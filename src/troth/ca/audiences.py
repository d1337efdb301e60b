"""Which audiences a token may name: our names and paths, the port ignored, everything else exact (step's rule)."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit, urlunsplit

LITERAL = "step-certificate-authority"
_PATHS = {
    "sign": ("/1.0/sign", "/sign", "/1.0/ssh/sign", "/ssh/sign"),
    "renew": ("/1.0/renew", "/renew"),
    "revoke": ("/1.0/revoke", "/revoke"),
}


@dataclass(frozen=True, slots=True)
class Audiences:
    """The accepted audiences by purpose (``sign``, ``renew``, ``revoke``), without ports."""

    accepted: dict[str, frozenset[str]]

    def match(self, purpose: str, audiences: Iterable[str], fragment: str = "") -> bool:
        """Whether one of a token's audiences is accepted, carrying exactly this fragment."""
        allowed = self.accepted[purpose]
        return any(_plain(audience) in allowed and fragment_of(audience) == fragment for audience in audiences)

    def match_any(self, audiences: Iterable[str]) -> bool:
        """Whether one of them is for this authority at all, whatever its purpose and fragment."""
        return any(_plain(audience) in allowed for allowed in self.accepted.values() for audience in audiences)


def audiences_for(names: Iterable[str]) -> Audiences:
    """The audiences of an authority with these DNS names and IP addresses."""
    hosts = [f"[{name}]" if ":" in name else name for name in names]
    accepted = {
        purpose: {f"https://{host}{path}" for host in hosts for path in paths} for purpose, paths in _PATHS.items()
    }
    for purpose in ("sign", "revoke"):
        accepted[purpose].add(LITERAL)
    return Audiences({purpose: frozenset(values) for purpose, values in accepted.items()})


def fragment_of(audience: str) -> str:
    """The part after ``#``, which names a provisioner for X5C and its kin."""
    return audience.partition("#")[2]


@lru_cache(maxsize=64)
def _plain(audience: str) -> str:
    """Without fragment and port."""
    bare = audience.partition("#")[0]
    try:
        parts = urlsplit(bare)
        if parts.port is None:
            return bare
    except ValueError:
        return bare
    host = parts.netloc.rpartition(":")[0]
    return urlunsplit(parts._replace(netloc=host))
