"""What a value with variables can become, as far as the configuration itself tells: ``map``, ``set`` and constants."""

import itertools
import re

from troth.nginx.tree import Config

MOST_VALUES = 64
_DEPTH = 5
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_OF_CLIENT = re.compile(
    r"(host|http_\w+|arg_\w+|args|cookie_\w+|uri|document_uri|request_uri|query_string|is_args|ssl_server_name|remote_user"
    r"|ssl_preread_\w+|ssl_client_\w+|request_method|http2|request_body|\d)"
)


def variables(text: str) -> list[str]:
    """The names of the variables in a value."""
    return [found[1] or found[2] for found in _VARIABLE.finditer(text)]


def possible_values(config: Config, text: str) -> tuple[str, ...]:
    """Every value that `text` can have; empty when one of its variables comes from elsewhere, or there are too many."""
    return tuple(_values(config, text, _DEPTH))


def _values(config: Config, text: str, depth: int) -> list[str]:
    names = list(dict.fromkeys(variables(text)))
    choices = [_of_variable(config, name, depth) for name in names]
    if not all(choices) or depth == 0:
        return [] if names else [text]
    found = []
    for values in itertools.islice(itertools.product(*choices), MOST_VALUES):
        said = dict(zip(names, values, strict=True))
        found.append(_VARIABLE.sub(lambda one, said=said: said[one[1] or one[2]], text))  # type: ignore[misc]
    return list(dict.fromkeys(found))


def _of_variable(config: Config, name: str, depth: int) -> list[str]:
    return [value for text in definitions(config, name) for value in _values(config, text, depth - 1)]


def definitions(config: Config, name: str) -> list[str]:
    """What ``map``, ``geo``, ``split_clients`` and ``set`` give a variable."""
    found = []
    for node in config.root.walk():
        if node.name in ("map", "geo", "split_clients") and node.arguments and node.arguments[-1] == f"${name}":
            entries = [d for d in node.children if d.name not in ("include", "hostnames", "volatile") and d.arguments]
            found += [entry.arguments[-1] for entry in entries]
        elif node.name == "set" and len(node.arguments) == 2 and node.arguments[0] == f"${name}":
            found.append(node.arguments[1])
    return found


def of_client(config: Config, text: str, depth: int = _DEPTH) -> bool:
    """Whether who sends the request chooses the value: directly, or through a map with more than one outcome."""
    for name in variables(text):
        if _OF_CLIENT.fullmatch(name):
            return True
        if depth and any(of_client(config, source, depth - 1) for source in _sources(config, name)):
            return True
    return False


def _sources(config: Config, name: str) -> list[str]:
    """What a variable is made from: the inputs of its maps, and what they and ``set`` give it."""
    given = definitions(config, name)
    maps = [d for d in config.root.walk() if d.name == "map" and len(d.arguments) == 2 and d.arguments[1] == f"${name}"]
    inputs = [node.arguments[0] for node in maps if len(set(given)) > 1]
    return inputs + [text for text in given if "$" in text]
