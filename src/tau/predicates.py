"""Predicates: conditions on the state, for edges and routes.

Any callable from a state to a truth value will do. The factories here give small frozen objects that also read well in
drawings and events, and whose meaning is part of the graph's fingerprint.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import reprlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tau.errors import GraphError

if TYPE_CHECKING:
    from tau.state import State

Condition = Callable[["State"], Any]
"""Any callable from a state to something true or false."""


class Predicate(ABC):
    """A condition that says what it is. Calling one raises what reading the state, or a condition in it, raises."""

    __slots__ = ()

    @abstractmethod
    def __call__(self, state: State) -> bool: ...

    @abstractmethod
    def describe(self) -> tuple[Any, ...]:
        """The factory's name and its arguments: all that decides what this predicate answers. Raises nothing."""

    def looks_at(self) -> tuple[str, ...]:
        """The keys of the state that it looks at, as far as it can tell, each once. Raises nothing."""
        return ()

    def __repr__(self) -> str:
        name, *arguments = self.describe()
        return f"{name}({', '.join(map(_shown, arguments))})"


def always() -> Predicate:
    """True for any state. Raises nothing."""
    return _Always()


def key_exists(key: str) -> Predicate:
    """True when the state has the key, whatever its value, ``None`` included.

    Raises `GraphError` for a key that is not text.
    """
    return _KeyExists(_checked_key("key_exists", key))


def key_equals(key: str, value: Any) -> Predicate:
    """True when the state has the key and its value equals ``value``, compared in depth.

    Numbers compare by value, whatever their type (``1``, ``1.0`` and ``Decimal(1)`` are equal), except that a bool
    equals only a bool: ``True`` is not ``1``. NaN equals NaN. Lists, tuples and sets equal only their own kind, element
    by element; mappings regardless of order; arrays when shape, dtype and all elements are equal; tables as their
    ``equals`` method says. Comparing never raises: what cannot be compared is not equal. Raises `GraphError` for a key
    that is not text.
    """
    return _KeyEquals(_checked_key("key_equals", key), value)


def not_(predicate: Condition) -> Predicate:
    """True when ``predicate`` is not. Raises `GraphError` for what is async or cannot be called."""
    return _Not(checked_condition("not_", predicate))


def and_(*predicates: Condition) -> Predicate:
    """True when all are, asked from left to right until one is not; true when there are none.

    Raises `GraphError` for what is async or cannot be called.
    """
    return _And(tuple(checked_condition("and_", one) for one in predicates))


def or_(*predicates: Condition) -> Predicate:
    """True when any is, asked from left to right until one is; false when there are none.

    Raises `GraphError` for what is async or cannot be called.
    """
    return _Or(tuple(checked_condition("or_", one) for one in predicates))


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class _Always(Predicate):
    def __call__(self, state: State) -> bool:
        return True

    def describe(self) -> tuple[Any, ...]:
        return ("always",)


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class _KeyExists(Predicate):
    key: str

    def __call__(self, state: State) -> bool:
        return self.key in state

    def describe(self) -> tuple[Any, ...]:
        return ("key_exists", self.key)

    def looks_at(self) -> tuple[str, ...]:
        return (self.key,)


@dataclasses.dataclass(frozen=True, slots=True, repr=False, eq=False)
class _KeyEquals(Predicate):
    key: str
    value: Any

    def __call__(self, state: State) -> bool:
        return self.key in state and equal(state[self.key], self.value)

    def describe(self) -> tuple[Any, ...]:
        return ("key_equals", self.key, self.value)

    def looks_at(self) -> tuple[str, ...]:
        return (self.key,)


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class _Not(Predicate):
    predicate: Condition

    def __call__(self, state: State) -> bool:
        return not self.predicate(state)

    def describe(self) -> tuple[Any, ...]:
        return ("not_", self.predicate)

    def looks_at(self) -> tuple[str, ...]:
        return keys_of((self.predicate,))


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class _And(Predicate):
    predicates: tuple[Condition, ...]

    def __call__(self, state: State) -> bool:
        return all(predicate(state) for predicate in self.predicates)

    def describe(self) -> tuple[Any, ...]:
        return ("and_", *self.predicates)

    def looks_at(self) -> tuple[str, ...]:
        return keys_of(self.predicates)


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class _Or(Predicate):
    predicates: tuple[Condition, ...]

    def __call__(self, state: State) -> bool:
        return any(predicate(state) for predicate in self.predicates)

    def describe(self) -> tuple[Any, ...]:
        return ("or_", *self.predicates)

    def looks_at(self) -> tuple[str, ...]:
        return keys_of(self.predicates)


def checked_condition(where: str, predicate: Any) -> Condition:
    """``predicate`` if it is a plain callable; else raises `GraphError`.

    An async one is refused: the coroutine that it returns is always true, which would route silently.
    """
    if not callable(predicate):
        raise GraphError(
            f"{where}: a predicate must be callable, found {type(predicate).__name__}: {_shown(predicate)}"
        )
    call = predicate if inspect.isroutine(predicate) else getattr(predicate, "__call__", None)  # noqa: B004
    if inspect.iscoroutinefunction(predicate) or inspect.iscoroutinefunction(call):
        raise GraphError(
            f"{where}: {_shown(predicate)} is async; decide in a node and let the predicate read the state"
        )
    condition: Condition = predicate
    return condition


def keys_of(predicates: Iterable[Condition | None]) -> tuple[str, ...]:
    """The keys that these look at, each once; those of plain functions are not known."""
    found = (key for one in predicates if isinstance(one, Predicate) for key in one.looks_at())
    return tuple(dict.fromkeys(found))


def predicate_name(predicate: Condition | None) -> str:
    """A name for people: of a predicate its definition, of a function its name, ``""`` for none."""
    if predicate is None:
        return ""
    return repr(predicate) if isinstance(predicate, Predicate) else _shown(predicate)


def equal(left: Any, right: Any) -> bool:
    """Equality as `key_equals` documents it. Never raises, short of running out of memory."""
    try:
        return _equal(left, right)
    except MemoryError:
        raise
    except Exception:
        return False


def _equal(left: Any, right: Any) -> bool:  # noqa: PLR0911
    if left is right:
        return True
    left, right = _scalar(left), _scalar(right)
    if isinstance(left, bool) or isinstance(right, bool):
        return isinstance(left, bool) and isinstance(right, bool) and left == right
    if isinstance(left, (list, tuple)):
        kind = list if isinstance(left, list) else tuple
        return isinstance(right, kind) and len(left) == len(right) and all(map(_equal, left, right))
    if isinstance(left, Mapping):
        return isinstance(right, Mapping) and _equal_mappings(left, right)
    if isinstance(left, (set, frozenset)):
        return isinstance(right, (set, frozenset)) and {_apart(x) for x in left} == {_apart(x) for x in right}
    if hasattr(left, "dtype") or hasattr(right, "dtype"):
        return _equal_arrays(left, right)
    if _is_nan(left) or _is_nan(right):
        return _is_nan(left) and _is_nan(right)
    if dataclasses.is_dataclass(left) and type(left) is type(right):
        return all(_equal(getattr(left, f.name), getattr(right, f.name)) for f in dataclasses.fields(left) if f.compare)
    return bool(left == right)


def _equal_mappings(left: Mapping[Any, Any], right: Mapping[Any, Any]) -> bool:
    if len(left) != len(right):
        return False
    others = {_apart(key): value for key, value in right.items()}
    return all(_apart(key) in others and _equal(value, others[_apart(key)]) for key, value in left.items())


def _equal_arrays(left: Any, right: Any) -> bool:
    # Arrays and tables are compared without importing their libraries: the code that made the value has imported them.
    if type(left) is not type(right):
        return False
    if callable(getattr(left, "equals", None)):
        return bool(left.equals(right))
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    if left.dtype.hasobject or left.dtype.names is not None:
        return _equal(left.tolist(), right.tolist())
    return bool(((left == right) | ((left != left) & (right != right))).all())  # noqa: PLR0124


def _scalar(value: Any) -> Any:
    """A numpy scalar as the Python value that it stands for; anything else as it is."""
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == () and hasattr(value, "item"):
        found = value.item()
        return value if hasattr(found, "dtype") else found
    return value


def _apart(key: Any) -> tuple[bool, Any]:
    return isinstance(key, bool), key


def _is_nan(value: Any) -> bool:
    if isinstance(value, float):
        return math.isnan(value)
    if isinstance(value, Decimal):
        return value.is_nan()
    return isinstance(value, complex) and (math.isnan(value.real) or math.isnan(value.imag))


def _checked_key(where: str, key: Any) -> str:
    if not isinstance(key, str):
        raise GraphError(f"{where}: a key of the state must be text, found {type(key).__name__}: {_shown(key)}")
    return key


def _shown(value: Any) -> str:
    if isinstance(value, Predicate):
        return repr(value)
    if callable(value):
        return str(getattr(value, "__name__", None) or type(value).__name__)
    try:
        return reprlib.repr(value)
    except Exception:
        return f"<{type(value).__name__}>"
