"""Whether plain data fits a JSON schema, so that an answer can be checked where the class of its form is not known.

What forms need is known here; whatever else a schema says is left to the class.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

_DEPTH: Final = 60
_MOST: Final = 20

_TYPES: Final[dict[str, Callable[[Any], bool]]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}

_BOUNDS: Final[tuple[tuple[str, Callable[[Any, Any], bool], str], ...]] = (
    ("minimum", lambda value, bound: value >= bound, "at least"),
    ("maximum", lambda value, bound: value <= bound, "at most"),
    ("exclusiveMinimum", lambda value, bound: value > bound, "above"),
    ("exclusiveMaximum", lambda value, bound: value < bound, "below"),
)
_SIZES: Final = {
    "minLength": (str, 1, "characters"), "maxLength": (str, -1, "characters"), "minItems": (list, 1, "items"),
    "maxItems": (list, -1, "items"),
}  # fmt: skip


def problems(schema: Mapping[str, Any], value: Any) -> list[str]:
    """Where the value does not fit, each with its place; empty if it fits. Never the values, which may be secret."""
    found = []
    for problem in _problems(schema, value, "", schema, _DEPTH):
        found.append(problem)
        if len(found) == _MOST:
            break
    return found


def summary_of(schema: Mapping[str, Any] | None) -> str:
    """A form in a line, as ``{ok: boolean, note?: string}``; empty for none."""
    return "" if schema is None else _short(schema, schema, 4)


def takes_text(schema: Mapping[str, Any] | None, name: str | None = None) -> bool:
    """Whether the value, or its field of that name, can only be text."""
    found = _followed(schema, schema or {})
    if name is not None:
        known = found.get("properties") if isinstance(found, Mapping) else None
        found = _followed(known.get(name), schema or {}) if isinstance(known, Mapping) else None
    return isinstance(found, Mapping) and found.get("type") == "string"


def _problems(schema: Any, value: Any, at: str, root: Mapping[str, Any], depth: int) -> Iterator[str]:
    schema = _followed(schema, root)
    if not isinstance(schema, Mapping) or depth == 0:
        return
    wanted = schema.get("type")
    names = [wanted] if isinstance(wanted, str) else wanted if isinstance(wanted, list) else []
    if names and not any(_TYPES.get(str(name), _anything)(value) for name in names):
        yield f"{_place(at)}expected {_or(names)}, found {_kind(value)}"
        return
    yield from _values(schema, value, at)
    yield from _choices(schema, value, at, root, depth)
    if isinstance(value, dict):
        yield from _fields(schema, value, at, root, depth)
    elif isinstance(value, list):
        yield from _elements(schema, value, at, root, depth)


def _values(schema: Mapping[str, Any], value: Any, at: str) -> Iterator[str]:
    choices = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if isinstance(choices, list) and not any(_same(value, one) for one in choices):
        yield f"{_place(at)}expected one of {', '.join(map(repr, choices))}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        for name, holds, text in _BOUNDS:
            bound = schema.get(name)
            if isinstance(bound, int | float) and not holds(value, bound):
                yield f"{_place(at)}expected {text} {bound}"
    for name, (kind, sign, what) in _SIZES.items():
        bound = schema.get(name)
        if isinstance(value, kind) and isinstance(bound, int) and sign * (len(value) - bound) < 0:
            yield f"{_place(at)}expected {'at least' if sign > 0 else 'at most'} {bound} {what}, found {len(value)}"
    pattern = schema.get("pattern")
    if isinstance(value, str) and isinstance(pattern, str) and not _matches(pattern, value):
        yield f"{_place(at)}expected text that matches {pattern}"


def _choices(schema: Mapping[str, Any], value: Any, at: str, root: Mapping[str, Any], depth: int) -> Iterator[str]:
    for part in _list(schema.get("allOf")):
        yield from _problems(part, value, at, root, depth - 1)
    for ways in (_list(schema.get("anyOf")), _list(schema.get("oneOf"))):
        found = [list(_problems(way, value, at, root, depth - 1)) for way in ways]
        if found and all(found):
            yield (
                min(found, key=len)[0]
                if len(found) == 1
                else (f"{_place(at)}expected {' or '.join(_short(way, root, 2) for way in ways)}, found {_kind(value)}")
            )


def _fields(
    schema: Mapping[str, Any], value: dict[str, Any], at: str, root: Mapping[str, Any], depth: int
) -> Iterator[str]:
    known = schema.get("properties")
    known = known if isinstance(known, Mapping) else {}
    for name in _list(schema.get("required")):
        if name not in value:
            yield f"{_place(at)}{name} is missing"
    others = schema.get("additionalProperties", not known)  # a name that no form has is a slip of the pen
    for name, one in value.items():
        inside = f"{at}.{name}" if at else str(name)
        if name in known:
            yield from _problems(known[name], one, inside, root, depth - 1)
        elif others is False:
            yield f"{_place(at)}{name} is not known; there {'are' if len(known) != 1 else 'is'} {', '.join(known)}"
        else:
            yield from _problems(others, one, inside, root, depth - 1)


def _elements(
    schema: Mapping[str, Any], value: list[Any], at: str, root: Mapping[str, Any], depth: int
) -> Iterator[str]:
    first = _list(schema.get("prefixItems"))
    for number, one in enumerate(value):
        what = first[number] if number < len(first) else schema.get("items")
        yield from _problems(what, one, f"{at}[{number}]", root, depth - 1)


def _followed(schema: Any, root: Mapping[str, Any]) -> Any:
    """What a reference within the schema leads to."""
    for _ in range(_DEPTH):
        name = schema.get("$ref") if isinstance(schema, Mapping) else None
        if not isinstance(name, str) or not name.startswith("#/"):
            return schema
        found: Any = root
        for part in name[2:].split("/"):
            found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
        schema = found
    return None


def _short(schema: Any, root: Mapping[str, Any], depth: int) -> str:
    schema = _followed(schema, root)
    if not isinstance(schema, Mapping) or depth == 0:
        return "..."
    choices = schema.get("enum", [schema["const"]] if "const" in schema else None)
    ways = [*_list(schema.get("anyOf")), *_list(schema.get("oneOf"))]
    known = schema.get("properties")
    if isinstance(choices, list):
        return "|".join(map(str, choices))
    if ways:
        return "|".join(_short(way, root, depth - 1) for way in ways)
    if isinstance(known, Mapping) and known:
        needed = _list(schema.get("required"))
        fields = [f"{key}{'' if key in needed else '?'}: {_short(one, root, depth - 1)}" for key, one in known.items()]
        return "{" + ", ".join(fields) + "}"
    if schema.get("type") == "array":
        return f"[{_short(schema.get('items'), root, depth - 1)}]"
    wanted = schema.get("type", "anything")
    return wanted if isinstance(wanted, str) else "|".join(map(str, _list(wanted)))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _anything(_: Any) -> bool:
    return True


def _same(value: Any, other: Any) -> bool:
    return isinstance(value, bool) is isinstance(other, bool) and bool(value == other)


def _matches(pattern: str, value: str) -> bool:
    try:
        return re.search(pattern, value) is not None
    except re.error:  # of another dialect: the class decides
        return True


def _kind(value: Any) -> str:
    return next((name for name, fits in _TYPES.items() if fits(value)), type(value).__name__)


def _or(names: list[Any]) -> str:
    return " or ".join(map(str, names))


def _place(at: str) -> str:
    return f"{at}: " if at else ""
