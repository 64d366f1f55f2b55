"""Digests of callables and of the data bound to them, equal in every process that has loaded the same code.

Two roads lead to a digest, by bytecode and by syntax tree; the data bound to code counts on both. Neither depends on
the seed of Python's hashing, on how the program was started, or on where in tau a thing of tau lies.

A digest is made by a rule, and rules may change: the first one called classes by the module that they were loaded as,
and took the code of tau for the user's. Both digests are given, so that what was stored by the first rule is compared
by it. The third rule counts more beside: the values of members of enumerations, which walks collect in ``members``, and
what ``bound_fields.py`` has for it.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import re
import types
from collections import deque
from collections.abc import Callable, Mapping
from datetime import date, time, timedelta, tzinfo
from enum import Enum
from pathlib import PurePath
from typing import Any, Final, NamedTuple

from tau.graph.bytecode_digest import bytecode_digest, unit_free_digest
from tau.graph.digesting import EXACT_REPR, Opaque, hashed, scalar
from tau.graph.loaded_names import first_module, full_name, home, is_own
from tau.graph.syntax_digest import loaded_source, module_digest, syntax_digest
from tau.predicates import Predicate

RULE: Final = 2
"""By which rule digests are made now."""

LATER_RULE: Final = 3
"""By which rule the digests are made that count beside them."""


class Digest(NamedTuple):
    """One thing's digest by the rule of now and by the first one; ``None`` where that rule finds none."""

    now: str | None
    first: str | None


def by_bytecode(function: Any, members: dict[int, Enum] | None = None) -> Digest:
    """The digest of what the interpreter runs. Raises `Opaque` for functions written in C."""
    walk = _Walk(_bytecode, home(function), members)
    now = walk.callable(function).hex()
    return Digest(now, _by_first_rule(_first_bytecode, function) if walk.named else now)


def by_syntax(function: Any) -> Digest:
    """The digest of the syntax tree; without any for lambdas and wherever the source is not at hand or not the same."""
    walk = _Walk(_syntax, home(function))
    try:
        now = walk.callable(function).hex()
    except Opaque:
        return Digest(None, _by_first_rule(_first_syntax, function))
    return Digest(now, _by_first_rule(_first_syntax, function) if walk.named else now)


def of_module(module: types.ModuleType) -> Digest:
    """The digest of a module's source. Raises `Opaque` without any."""
    first = module_digest(module)
    return Digest(hashed("tau", full_name(module, "").encode()).hex() if is_own(module) else first, first)


def of_value(value: Any, near: str = "", members: dict[int, Enum] | None = None) -> str:
    """The digest of plain data, whose classes are called as seen from the module ``near``."""
    return _Walk(_bytecode, near, members).value(value).hex()


def _by_first_rule(code: Callable[[types.FunctionType], bytes], function: Any) -> str | None:
    try:
        return _FirstRule(code, "").callable(function).hex()
    except Opaque:
        return None


def _bytecode(function: types.FunctionType) -> bytes:
    code = loaded_source(function)
    return unit_free_digest(code) if _is_lambda(function) else bytecode_digest(code)


def _first_bytecode(function: types.FunctionType) -> bytes:
    return bytecode_digest(function.__code__)


def _syntax(function: types.FunctionType) -> bytes:
    return syntax_digest(function, loaded_source(function))


def _first_syntax(function: types.FunctionType) -> bytes:
    return syntax_digest(function, function.__code__)


_MAX_DEPTH = 100


class _Walk:
    """One walk over a callable and everything bound to it; ``code`` digests the functions met, ``named`` tells whether
    anything was met that the first rule calls by another name, ``members`` are those of enumerations, by identity."""

    def __init__(
        self, code: Callable[[types.FunctionType], bytes], near: str, members: dict[int, Enum] | None = None
    ) -> None:
        self.code = code
        self.near = near
        self.members = {} if members is None else members
        self.named = False
        self.open: set[int] = set()

    def callable(self, function: Any) -> bytes:
        """The digest of a callable. Raises `Opaque` where there is no code."""
        if id(function) in self.open or len(self.open) > _MAX_DEPTH:
            return hashed("recursion")
        self.open.add(id(function))
        try:
            return self._callable(function)
        finally:
            self.open.discard(id(function))

    def _callable(self, function: Any) -> bytes:  # noqa: PLR0911
        if isinstance(function, Predicate):
            return hashed("predicate", *map(self.value, function.describe()))
        if isinstance(function, functools.partial):
            bound = (function.args, sorted(function.keywords.items()))
            return hashed("partial", self.callable(function.func), self.value(bound))
        if isinstance(function, types.MethodType):
            return hashed("method", self.callable(function.__func__), self.instance(function.__self__))
        if isinstance(function, types.FunctionType):
            return self.function(function)
        if isinstance(function, type):
            return self.cls(function)
        if callable(getattr(function, "__wrapped__", None)):  # lru_cache, staticmethod and their like
            return hashed("wrapper", self.callable(function.__wrapped__))
        call = getattr(type(function), "__call__", None)  # noqa: B004
        if isinstance(call, types.FunctionType):
            return hashed("instance", self.callable(call), self.instance(function))
        raise Opaque(f"{getattr(function, '__qualname__', type(function).__qualname__)} is not written in Python")

    def function(self, function: types.FunctionType) -> bytes:
        """The digest of a function; one of tau goes by its name."""
        if is_own(function):
            return self._name("tau", function)
        if _is_lambda(function) or function.__code__ is not loaded_source(function):
            self.named = True
        return self.code_of(function)

    def code_of(self, function: types.FunctionType) -> bytes:
        keywords = sorted((function.__kwdefaults__ or {}).items())
        parts = [self.code(function), self.value(function.__defaults__), self.value(keywords)]
        wrapped = getattr(function, "__wrapped__", None)
        if wrapped is not None:
            parts.append(self.value(wrapped))
        return hashed("function", *parts)

    def cls(self, cls: type) -> bytes:
        """The digest of a class that is called; one of tau goes by its name."""
        return self._name("tau", cls) if is_own(cls) else self.body_of(cls)

    def body_of(self, cls: type) -> bytes:
        """A class by its own body: methods, and attributes that are plain data. Its bases are not covered."""
        body = {name: item for name, item in vars(cls).items() if not name.startswith("__") or _is_method(item)}
        if not any(map(_is_method, body.values())):
            raise Opaque(f"class {cls.__qualname__} has no methods of its own that are written in Python")
        parts = []
        for name in sorted(body.keys() - {"__annotate__", "__annotate_func__"}):
            item = body[name]
            parts.append(
                self.value([name, item.fget, item.fset, item.fdel] if isinstance(item, property) else [name, item])
            )
        return hashed("class", *parts)

    def instance(self, instance: Any) -> bytes:
        """The data of an object counts here only where it cannot change: in a frozen dataclass."""
        if not _is_frozen(instance):
            return b""
        fields = dataclasses.fields(instance)
        if is_own(type(instance)):  # whose next version may have more fields
            return self.value(
                [[one.name, getattr(instance, one.name)] for one in fields if not _left_out(one, instance)]
            )
        return self.value([getattr(instance, one.name) for one in fields])

    def value(self, value: Any) -> bytes:
        """The digest of a value bound to code. Of objects that are neither plain data nor code, their type."""
        if id(value) in self.open or len(self.open) > _MAX_DEPTH:
            return hashed("recursion")
        if isinstance(value, types.CodeType):
            return bytecode_digest(value)
        kind = type(value)
        if value is None or value is Ellipsis or kind in (bool, int, str, bytes, float) or kind in EXACT_REPR:
            return scalar(value)
        if isinstance(value, PurePath):
            return hashed("path", str(value).encode(errors="surrogatepass"))
        if isinstance(value, Enum):
            self.members[id(value)] = value
            return hashed("enum", f"{kind.__qualname__}.{value.name}".encode())
        self.open.add(id(value))
        try:
            return self._compound(value)
        finally:
            self.open.discard(id(value))

    def _compound(self, value: Any) -> bytes:  # noqa: PLR0911
        if isinstance(value, (list, tuple)):
            return hashed(type(value).__name__, *map(self.value, value))
        if isinstance(value, (set, frozenset)):
            return hashed(type(value).__name__, *sorted(map(self.value, value)))
        if isinstance(value, Mapping):
            return hashed("mapping", *sorted(self.value(key) + self.value(item) for key, item in value.items()))
        if isinstance(value, slice):
            return hashed("slice", *map(self.value, (value.start, value.stop, value.step)))
        if isinstance(value, (type, types.ModuleType)):
            return self.named_thing(value)
        if callable(value) or isinstance(value, (staticmethod, classmethod)):
            self.open.discard(id(value))
            try:
                return self.callable(value)
            except Opaque:
                if self.code in (_syntax, _first_syntax) and _has_code(value):
                    raise
                return self.without_code(value)
        if hasattr(value, "dtype") and hasattr(value, "tobytes") and not getattr(value.dtype, "hasobject", True):
            return hashed("array", f"{value.dtype}{getattr(value, 'shape', '')}".encode(), value.tobytes())
        return self.object(value)

    def _name(self, tag: str, thing: Any, *data: bytes) -> bytes:
        self.named = True
        return hashed(tag, full_name(thing, self.near).encode(errors="surrogatepass"), *data)

    def named_thing(self, thing: Any) -> bytes:
        return self._name("named", thing)

    def without_code(self, function: Any) -> bytes:
        """A callable written in C, with what is bound to it."""
        if isinstance(function, functools.partial):
            bound = [function.func, function.args, sorted(function.keywords.items())]
            return self._name("opaque", functools.partial, self.value(bound))
        if isinstance(function, (operator.itemgetter, operator.attrgetter, operator.methodcaller)):
            return self._name("opaque", type(function), self.value(list(function.__reduce__()[:2])))
        owner = getattr(function, "__self__", None)
        bound_to = b"" if owner is None or isinstance(owner, types.ModuleType) else self.value(owner)
        return self._name("opaque", function, bound_to)

    def object(self, value: Any) -> bytes:
        """An object by its type; with its data where that cannot change."""
        data = _data(value)
        return self._name("object", type(value), self.instance(value) if data is None else self.value(data))


class _FirstRule(_Walk):
    """What stores hold that were written by the first rule. Never changed."""

    def function(self, function: types.FunctionType) -> bytes:
        return self.code_of(function)

    def cls(self, cls: type) -> bytes:
        return self.body_of(cls)

    def instance(self, instance: Any) -> bytes:
        if not _is_frozen(instance):
            return b""
        return self.value([getattr(instance, one.name) for one in dataclasses.fields(instance)])

    def named_thing(self, thing: Any) -> bytes:
        module = first_module(thing) if isinstance(thing, type) else ""
        return hashed("named", f"{module}.{thing.__name__}".encode())

    def without_code(self, function: Any) -> bytes:
        return hashed("opaque", getattr(function, "__qualname__", type(function).__qualname__).encode())

    def object(self, value: Any) -> bytes:
        kind = type(value)
        return hashed("object", f"{first_module(kind)}.{kind.__qualname__}".encode(), self.instance(value))


def _is_frozen(instance: Any) -> bool:
    params = getattr(type(instance), "__dataclass_params__", None)
    return params is not None and params.frozen and not isinstance(instance, type)


def _left_out(field: dataclasses.Field[Any], instance: Any) -> bool:
    value = getattr(instance, field.name)
    return type(value) is type(field.default) and bool(value == field.default)


def _is_lambda(function: types.FunctionType) -> bool:
    """It has only its bytecode to go by."""
    return function.__code__.co_name == "<lambda>"


def _is_method(item: Any) -> bool:
    return isinstance(item, (types.FunctionType, property, staticmethod, classmethod))


def _has_code(function: Any) -> bool:
    try:
        by_bytecode(function)
    except Opaque:
        return False
    return True


_EXACT = {int: int.__index__, float: float.__float__, str: str.__str__, bytes: bytes.hex}


def _data(value: Any) -> Any:
    """What an object that cannot be changed holds, as plain data; ``None`` for all others."""
    for base, exact in _EXACT.items():
        if isinstance(value, base):
            return exact(value)  # type: ignore[operator]
    if isinstance(value, (date, time)):
        return value.isoformat(), str(getattr(value, "tzinfo", None))
    if isinstance(value, (timedelta, tzinfo)):
        return str(value)
    if isinstance(value, re.Pattern):
        return value.pattern, value.flags
    return list(value) if isinstance(value, (bytearray, deque)) else None
