"""Sprig's functions for regular expressions."""

import re
from collections.abc import Callable

from troth.ca.gotemplate.regex import Regex, Saved, compile_regex, find_all, search
from troth.ca.gotemplate.signatures import table
from troth.ca.gotemplate.values import TypedList, texts

_REFERENCE = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))", re.ASCII)


def _match(pattern: str, text: str) -> bool:
    return search(compile_regex(pattern), text) is not None


def _match_or_not(pattern: str, text: str) -> bool:
    try:
        return _match(pattern, text)
    except ValueError:
        return False


def _find(pattern: str, text: str) -> str:
    found = search(compile_regex(pattern), text)
    return text[found[0] : found[1]] if found is not None else ""


def _find_all(pattern: str, text: str, limit: int) -> TypedList:
    return texts([text[one[0] : one[1]] for one in find_all(compile_regex(pattern), text, limit)])


def _replaced(pattern: str, text: str, replacement: Callable[[Regex, Saved], str]) -> str:
    regex = compile_regex(pattern)
    pieces, at = [], 0
    for one in find_all(regex, text):
        pieces += [text[at : one[0]], replacement(regex, one)]
        at = one[1]
    return "".join([*pieces, text[at:]])


def _replace(pattern: str, text: str, template: str) -> str:
    def expanded(regex: Regex, found: Saved) -> str:
        def group(match: re.Match[str]) -> str:
            name = match[1] or match[2]
            if name is None:
                return "$"
            number = int(name) if name.isdecimal() else regex.names.get(name, -1)
            return text[found[2 * number] : found[2 * number + 1]] if 2 * number + 1 in found else ""

        return _REFERENCE.sub(group, template)

    return _replaced(pattern, text, expanded)


def _replace_literal(pattern: str, text: str, replacement: str) -> str:
    return _replaced(pattern, text, lambda regex, found: replacement)


def _split(pattern: str, text: str, limit: int) -> TypedList:
    """``Regexp.Split``"""
    if limit == 0:
        return texts([])
    if pattern and not text:
        return texts([""])
    pieces: list[str] = []
    begin = end = 0
    for one in find_all(compile_regex(pattern), text):
        if 0 < limit == len(pieces) + 1:
            break
        end = one[0]
        if one[1] != 0:
            pieces.append(text[begin:end])
        begin = one[1]
    if end != len(text):
        pieces.append(text[begin:])
    return texts(pieces)


def _quote(text: str) -> str:
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text)


REGEX = table(
    ("regexMatch", "string string", _match_or_not),
    ("mustRegexMatch", "string string", _match),
    ("regexFind mustRegexFind", "string string", _find),
    ("regexFindAll mustRegexFindAll", "string string int", _find_all),
    ("regexReplaceAll mustRegexReplaceAll", "string string string", _replace),
    ("regexReplaceAllLiteral mustRegexReplaceAllLiteral", "string string string", _replace_literal),
    ("regexSplit mustRegexSplit", "string string int", _split),
    ("regexQuoteMeta", "string", _quote),
)
