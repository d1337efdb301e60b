"""Sprig's functions for lists, dictionaries, defaults, JSON and types."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from troth.ca.gotemplate.json_form import from_json, to_json
from troth.ca.gotemplate.signatures import MAX_ITEMS, table
from troth.ca.gotemplate.sprig_numbers import to_integer
from troth.ca.gotemplate.sprig_text import strval
from troth.ca.gotemplate.values import Struct, TypedList, is_nil, kind_name, texts, truth, type_name


def deep_equal(one: Any, other: Any) -> bool:
    """``reflect.DeepEqual``: also the types are the same."""
    if is_nil(one) or is_nil(other):
        return is_nil(one) and is_nil(other)
    if type_name(one) != type_name(other):
        return False
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(deep_equal(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(deep_equal, one, other))
    if isinstance(one, Struct):
        return deep_equal(one.fields, other.fields) and one.text == other.text
    return bool(one == other)


def _listed(verb: str) -> Callable[[Any], list[Any]]:
    def check(value: Any) -> list[Any]:
        if isinstance(value, list | bytes):
            return list(value)
        raise ValueError(f"Cannot {verb} type {kind_name(value)}")

    return check


def _find(verb: str, value: Any) -> list[Any]:
    return _listed(f"find {verb} on")(value)


def _unique(value: Any) -> list[Any]:
    found: list[Any] = []
    for item in _find("uniq", value):
        if not _in(found, item):
            found.append(item)
    return found


def _in(items: Sequence[Any], wanted: Any) -> bool:
    return any(deep_equal(wanted, item) for item in items)


def _has(wanted: Any, items: Any) -> bool:
    return items is not None and _in(_find("has", items), wanted)


def _without(items: Any, *omitted: Any) -> list[Any]:
    return [item for item in _find("without", items) if not _in(omitted, item)]


def _slice(items: Any, *bounds: Any) -> Any:
    if not isinstance(items, list):
        raise ValueError(f"list should be type of slice or array but {kind_name(items)}")
    if not items:
        return None
    start = to_integer(bounds[0]) if bounds else 0
    end = to_integer(bounds[1]) if len(bounds) > 1 else len(items)
    if not 0 <= start <= end <= len(items):
        raise ValueError(f"reflect.Value.Slice: slice index out of bounds [{start}:{end}]")
    part = items[start:end]
    return TypedList(items.go_type, part) if isinstance(items, TypedList) else part


def _chunk(size: int, value: Any) -> TypedList:
    items = _listed("chunk")(value)
    if size < 1:
        raise ValueError("size of chunks is not positive")
    return TypedList("[][]interface {}", [items[at : at + size] for at in range(0, len(items), size)] or [[]])


def _concat(*lists: Any) -> Any:
    joined: list[Any] = []
    for value in lists:
        if not isinstance(value, list):
            raise ValueError(f"Cannot concat type {kind_name(value)} as list")
        joined += value
        if len(joined) > MAX_ITEMS:
            raise ValueError(f"more than {MAX_ITEMS} items")
    return joined or None


def _dict(*pairs: Any) -> dict[str, Any]:
    padded = [*pairs, ""] if len(pairs) % 2 else list(pairs)
    return {strval(padded[at]): padded[at + 1] for at in range(0, len(padded), 2)}


def _set(target: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    target[key] = value
    return target


def _unset(target: dict[str, Any], key: str) -> dict[str, Any]:
    target.pop(key, None)
    return target


def _merge(overwrite: bool) -> Callable[..., dict[str, Any]]:
    def into(target: dict[str, Any], source: Mapping[str, Any]) -> None:
        for key, value in source.items():
            present = target.get(key)
            if isinstance(present, dict) and isinstance(value, Mapping):
                into(present, value)
            elif (overwrite and truth(value)) or not truth(present):
                target[key] = copy.deepcopy(value) if isinstance(value, dict) else value

    def merge(target: dict[str, Any], *sources: Mapping[str, Any]) -> dict[str, Any]:
        for source in sources:
            into(target, source)
        return target

    return merge


def _dig(*arguments: Any) -> Any:
    if len(arguments) < 3:
        raise ValueError("dig needs at least three arguments")
    *path, default, found = arguments
    for key in path:
        if not isinstance(found, Mapping) or not isinstance(key, str):
            raise ValueError(
                f"interface conversion: interface {{}} is {type_name(found)}, not map[string]interface {{}}"
            )
        if key not in found:
            return default
        found = found[key]
    return found


def _from_json(text: str) -> Any:
    try:
        return from_json(text)
    except ValueError:
        return None


def _quiet(write: Callable[[Any], str]) -> Callable[[Any], str]:
    def written(value: Any) -> str:
        try:
            return write(value)
        except ValueError:
            return ""

    return written


def _pretty(value: Any) -> str:
    return to_json(value, indent="  ")


def _raw(value: Any) -> str:
    return to_json(value, markup=True)


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, TypedList):
        return TypedList(value.go_type, [_copied(item) for item in value])
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _is_like(target: str, value: Any) -> bool:
    return type_name(value) in (target, "*" + target)


DATA = table(
    ("list tuple", "any...", lambda *items: list(items)),
    ("first mustFirst", "any", lambda items: next(iter(_find("first", items)), None)),
    ("last mustLast", "any", lambda items: next(reversed(_find("last", items)), None)),
    ("rest mustRest", "any", lambda items: _find("rest", items)[1:] if items else _find("rest", items) and None),
    ("initial mustInitial", "any", lambda items: _find("initial", items)[:-1] if items else None),
    ("append push mustAppend mustPush", "any any", lambda items, item: [*_listed("push on")(items), item]),
    ("prepend mustPrepend", "any any", lambda items, item: [item, *_listed("prepend on")(items)]),
    ("reverse mustReverse", "any", lambda items: _find("reverse", items)[::-1]),
    ("compact mustCompact", "any", lambda items: [item for item in _listed("compact on")(items) if truth(item)]),
    ("uniq mustUniq", "any", _unique),
    ("without mustWithout", "any any...", _without),
    ("has mustHas", "any any", _has),
    ("slice mustSlice", "any any...", _slice),
    ("chunk mustChunk", "int any", _chunk),
    ("concat", "any...", _concat),
    ("dict", "any...", _dict),
    ("get", "map string", lambda target, key: target.get(key, "")),
    ("set", "map string any", _set),
    ("unset", "map string", _unset),
    ("hasKey", "map string", lambda target, key: key in target),
    ("pluck", "string map...", lambda key, *targets: [target[key] for target in targets if key in target]),
    ("keys", "map...", lambda *targets: texts([key for target in targets for key in sorted(target)])),
    ("values", "map", lambda target: [target[key] for key in sorted(target)]),
    ("pick", "map string...", lambda target, *keys: {key: target[key] for key in keys if key in target}),
    ("omit", "map string...", lambda target, *keys: {key: value for key, value in target.items() if key not in keys}),
    ("merge mustMerge", "map map...", _merge(False)),
    ("mergeOverwrite mustMergeOverwrite", "map map...", _merge(True)),
    ("dig", "any...", _dig),
    ("deepCopy mustDeepCopy", "any", _copied),
    ("default", "any any...", lambda default, *given: given[0] if given and truth(given[0]) else default),
    ("empty", "any", lambda value: not truth(value)),
    ("coalesce", "any...", lambda *values: next((value for value in values if truth(value)), None)),
    ("all", "any...", lambda *values: all(map(truth, values))),
    ("any", "any...", lambda *values: any(map(truth, values))),
    ("ternary", "any any bool", lambda yes, no, condition: yes if condition else no),
    ("fromJson", "string", _from_json),
    ("mustFromJson", "string", from_json),
    ("toJson", "any", _quiet(to_json)),
    ("mustToJson", "any", to_json),
    ("toPrettyJson", "any", _quiet(_pretty)),
    ("mustToPrettyJson", "any", _pretty),
    ("toRawJson mustToRawJson", "any", _raw),
    ("typeOf", "any", type_name),
    ("typeIs", "string any", lambda target, value: type_name(value) == target),
    ("typeIsLike", "string any", _is_like),
    ("kindOf", "any", kind_name),
    ("kindIs", "string any", lambda target, value: kind_name(value) == target),
    ("deepEqual", "any any", deep_equal),
)
