"""The plain fields of objects that are bound to a callable: a configuration in a partial or a default argument.

Each is a digest of its own, so that a difference can be named. Only what is plain data counts: what an object holds
beside it (connections, locks, caches) belongs to a process. Left out are fields with a leading underscore, fields of
dataclasses that are not compared, and objects of tau and of the standard library, other than namespaces; and of what
has a name that suggests a secret, all that could be one (see ``guarded_fields.py``).
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any, NamedTuple

from tau.graph.digesting import EXACT_REPR
from tau.graph.guarded_fields import NOTHING, harmless, is_setting
from tau.redaction import is_secret

_PLAIN = (type(None), bool, int, float, str, bytes, Enum, *EXACT_REPR)
_NAMESPACES = {("types", "SimpleNamespace"), ("argparse", "Namespace")}
_MAX_DEPTH = 20
_MAX_FIELDS = 100


class Fields(NamedTuple):
    """Digests by field: of those that count since the second rule, and of those that the third one counts beside."""

    second: dict[str, str]
    third: dict[str, str]


class _Field(NamedTuple):
    path: str
    value: Any
    is_third: bool


def bound_fields(function: Any, digest: Callable[[Any], str]) -> Fields:
    """Maps the fields, as ``parameter.field``, to what ``digest`` gives for their values.

    A parameter that holds very many is one field.
    """
    found = Fields({}, {})
    for name, value in reversed(list(_arguments(function))):  # what is bound outside hides what is bound inside
        fields = [*_fields(name, value, (), digest)]
        if fields:
            for rule, is_third in zip(found, (False, True), strict=True):
                rule.update(_digests(name, [one for one in fields if one.is_third is is_third], digest))
    return found


def member_fields(members: dict[int, Enum], digest: Callable[[Any], str]) -> dict[str, str]:
    """Maps the members of enumerations, by class and name, to what ``digest`` gives for their values; of values that
    are not plain data, their types and plain fields. ``members`` may grow as ``digest`` meets more of them."""
    found: dict[str, set[str]] = {}
    done: set[int] = set()
    while left := [member for key, member in members.items() if key not in done]:
        done.update(map(id, left))
        for member in left:
            for field in _of_member(member, digest):
                found.setdefault(field.path, set()).add(digest(field.value)[:16])
    return {path: min(each) if len(each) == 1 else digest(each)[:16] for path, each in found.items()}


def _of_member(member: Enum, digest: Callable[[Any], str]) -> Iterator[_Field]:
    kind, value = type(member), member._value_
    if not _counts(kind):  # those of libraries go by their names
        return
    path = f"{kind.__qualname__}.{member._name_}"
    for name in (kind.__name__, str(member._name_)):
        if is_secret(name) and not is_setting(name):
            yield from _guarded(path, name, value, digest)
            return
    if not _is_plain(value):
        yield _Field(path, value if isinstance(value, type) else type(value), is_third=True)
    yield from _fields(path, value, (), digest, inside=True)


def _digests(name: str, fields: list[_Field], digest: Callable[[Any], str]) -> dict[str, str]:
    found = {field.path: digest(field.value)[:16] for field in fields}
    return found if len(found) <= _MAX_FIELDS else {name: digest(sorted(found.items()))[:16]}


def _arguments(function: Any) -> Iterator[tuple[str, Any]]:
    """What is bound: default values, arguments of partials, and the dataclass to which a method belongs."""
    for _ in range(_MAX_DEPTH):
        if isinstance(function, functools.partial):
            names = _parameters(function.func)
            yield from zip([*names, *map(str, range(len(names), len(function.args)))], function.args, strict=False)
            yield from function.keywords.items()
            function = function.func
        elif isinstance(function, types.MethodType):
            yield from _itself(function.__self__)
            function = function.__func__
        elif isinstance(function, types.FunctionType):
            defaults = function.__defaults__ or ()
            yield from zip(_names(function)[-len(defaults) :], defaults, strict=True) if defaults else ()
            yield from (function.__kwdefaults__ or {}).items()
            function = getattr(function, "__wrapped__", None)
        elif isinstance(function, type) or function is None:
            return
        else:
            yield from _itself(function)
            function = getattr(function, "__wrapped__", None) or getattr(type(function), "__call__", None)  # noqa: B004


def _itself(owner: Any) -> Iterator[tuple[str, Any]]:
    """An object with a method counts where it is a dataclass: others keep in it what they work on."""
    if dataclasses.is_dataclass(owner) and not isinstance(owner, type):
        yield "self", owner


def _parameters(function: Any) -> tuple[str, ...]:
    if isinstance(function, functools.partial):
        return _parameters(function.func)[len(function.args) :]
    if isinstance(function, types.MethodType):
        return _parameters(function.__func__)[1:]
    return _names(function) if isinstance(function, types.FunctionType) else ()


def _names(function: types.FunctionType) -> tuple[str, ...]:
    return function.__code__.co_varnames[: function.__code__.co_argcount]


def _fields(
    path: str,
    value: Any,
    above: tuple[int, ...],
    digest: Callable[[Any], str],
    *,
    inside: bool = False,
    is_third: bool = False,
) -> Iterator[_Field]:
    """The plain fields of ``value``; ``inside`` says that it is itself part of an object, which is plain data then."""
    if id(value) in above or len(above) > _MAX_DEPTH:
        return
    if _is_plain(value):
        if inside:
            yield _Field(path, value, is_third)
        return
    above = (*above, id(value))
    below = functools.partial(_fields, digest=digest, is_third=is_third)
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from below(f"{path}[{key!r:.80}]", item, above, inside=inside)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from below(f"{path}[{index}]", item, above, inside=inside)
    elif _counts(type(value)):
        for name, item in _held(value):
            if not is_secret(name):
                yield from below(f"{path}.{name}", item, above, inside=True)
            elif is_setting(name):
                yield from below(f"{path}.{name}", item, above, inside=True, is_third=True)
            else:
                yield from _guarded(f"{path}.{name}", name, item, digest)


def _guarded(path: str, name: str, value: Any, digest: Callable[[Any], str]) -> Iterator[_Field]:
    kept = harmless(name, value, digest) if _is_plain(value) else NOTHING
    if kept is not NOTHING:
        yield _Field(path, kept, is_third=True)


def _is_plain(value: Any, depth: int = _MAX_DEPTH) -> bool:
    if isinstance(value, _PLAIN):
        return True
    if depth and type(value) in (list, tuple, set, frozenset):
        return all(_is_plain(one, depth - 1) for one in value)
    if depth and type(value) is dict:
        return all(_is_plain(key, 0) and _is_plain(item, depth - 1) for key, item in value.items())
    dtype = getattr(value, "dtype", None)
    return hasattr(value, "tobytes") and not getattr(dtype, "hasobject", True)


def _counts(kind: type) -> bool:
    if issubclass(kind, (type, types.ModuleType)):
        return False
    top = kind.__module__.partition(".")[0]
    return (top, kind.__name__) in _NAMESPACES or not (top == "tau" or top in sys.stdlib_module_names)


def _held(value: Any) -> Iterator[tuple[str, Any]]:
    if dataclasses.is_dataclass(value):
        names = [one.name for one in dataclasses.fields(value) if one.compare]
    else:
        slots = [getattr(kind, "__slots__", ()) for kind in type(value).__mro__]
        found = [*vars(value)] if hasattr(value, "__dict__") else []
        found += [name for group in slots for name in ((group,) if isinstance(group, str) else group)]
        names = [name for name in found if not name.startswith("_")]
    for name in names:
        try:
            item = getattr(value, name)
        except Exception:  # not set; or a property of that name, which may raise anything
            continue
        yield name, item
