"""The plain fields of objects that are bound to a callable: a configuration in a partial or a default argument.

Each is a digest of its own, so that a difference can be named. Only what is plain data counts: what an object holds
beside it (connections, locks, caches) belongs to a process. Left out are fields with a leading underscore, those whose
name suggests a secret, and objects of tau and of the standard library, other than namespaces.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any

from tau.graph.digesting import EXACT_REPR
from tau.redaction import is_secret

_PLAIN = (type(None), bool, int, float, str, bytes, Enum, *EXACT_REPR)
_NAMESPACES = {("types", "SimpleNamespace"), ("argparse", "Namespace")}
_MAX_DEPTH = 20
_MAX_FIELDS = 100


def bound_fields(function: Any, digest: Callable[[Any], str]) -> dict[str, str]:
    """Maps the fields, as ``parameter.field``, to what ``digest`` gives for their values.

    A parameter that holds very many is one field.
    """
    found: dict[str, str] = {}
    for name, value in reversed(list(_arguments(function))):  # what is bound outside hides what is bound inside
        fields = {path: digest(item)[:16] for path, item in _fields(name, value, ())}
        found |= fields if len(fields) <= _MAX_FIELDS else {name: digest(sorted(fields.items()))[:16]}
    return found


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


def _fields(path: str, value: Any, above: tuple[int, ...], inside: bool = False) -> Iterator[tuple[str, Any]]:
    """The plain fields of ``value``; ``inside`` says that it is itself part of an object, which is plain data then."""
    if id(value) in above or len(above) > _MAX_DEPTH:
        return
    if _is_plain(value):
        if inside:
            yield path, value
        return
    above = (*above, id(value))
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _fields(f"{path}[{key!r:.80}]", item, above, inside)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _fields(f"{path}[{index}]", item, above, inside)
    elif _counts(type(value)):
        for name, item in _held(value):
            yield from _fields(f"{path}.{name}", item, above, inside=True)


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
        if not is_secret(name) and hasattr(value, name):
            yield name, getattr(value, name)
