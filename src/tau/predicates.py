"""Predicates: conditions on the state, for edges and routes.

A predicate can be any callable from a state to a truth value. The factories here give small frozen objects that also
read well in drawings and events, and whose meaning is part of the graph's fingerprint.
"""

from __future__ import annotations

import inspect
import reprlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from tau.errors import GraphError
from tau.values.equality import equal

if TYPE_CHECKING:
    from tau.state import State

Condition = Callable[["State"], Any]
"""Any callable from a state to something true or false."""


class Predicate(ABC):
    """A condition that can describe itself. Calling one raises what reading the state or calling an inner condition
    raises."""

    __slots__ = ()

    @abstractmethod
    def __call__(self, state: State) -> bool: ...

    @abstractmethod
    def describe(self) -> tuple[Any, ...]:
        """The factory's name and its arguments: everything that decides the result. Raises nothing."""

    def looks_at(self) -> tuple[str, ...]:
        """The keys of the state that it reads, as far as it knows, each once. Raises nothing."""
        return ()

    def __repr__(self) -> str:
        name, *arguments = self.describe()
        return f"{name}({', '.join(map(_shown, arguments))})"


def always() -> Predicate:
    """True for any state. Raises nothing.

    >>> from tau import State, always
    >>> always()(State())
    True
    """
    return _Always()


def key_exists(key: str) -> Predicate:
    """True when the state has the key, whatever its value, ``None`` included.

    Raises `GraphError` for a key that is not text.

    >>> from tau import State, key_exists
    >>> key_exists("error")(State({"error": None})), key_exists("error")(State())
    (True, False)
    """
    return KeyExists(_checked_key("key_exists", key))


def key_equals(key: str, value: Any) -> Predicate:
    """True when the state has the key and its value equals ``value``, compared in depth.

    Numbers compare by value, whatever their type (``1``, ``1.0`` and ``Decimal(1)`` are equal), except that a bool
    equals only a bool: ``True`` is not ``1``. NaN equals NaN. Lists, tuples and sets equal only their own kind, element
    by element; mappings regardless of order; arrays when shape, dtype and all elements are equal; tables when they are
    stored as the same bytes. Comparing never raises: what cannot be compared is not equal. States are compared in the
    same way. Raises `GraphError` for a key that is not text.

    >>> from tau import State, key_equals
    >>> key_equals("status", "ready")(State({"status": "ready"}))
    True
    """
    return _KeyEquals(_checked_key("key_equals", key), value)


def not_(predicate: Condition) -> Predicate:
    """True when ``predicate`` is false. Raises `GraphError` for one that is async or cannot be called.

    >>> from tau import State, key_exists, not_
    >>> not_(key_exists("error"))(State())
    True
    """
    return _Not(checked_condition("not_", predicate))


def and_(*predicates: Condition) -> Predicate:
    """True when all are true, called from left to right until one is false; true when there are none.

    Raises `GraphError` for one that is async or cannot be called.

    >>> from tau import State, and_, key_equals, key_exists
    >>> and_(key_exists("n"), key_equals("good", True))(State({"n": 1, "good": False}))
    False
    """
    return _And(tuple(checked_condition("and_", one) for one in predicates))


def or_(*predicates: Condition) -> Predicate:
    """True when any is true, called from left to right until one is; false when there are none.

    Raises `GraphError` for one that is async or cannot be called.

    >>> from tau import State, key_equals, or_
    >>> or_(key_equals("kind", "a"), key_equals("kind", "b"))(State({"kind": "b"}))
    True
    """
    return _Or(tuple(checked_condition("or_", one) for one in predicates))


class _Fixed(Predicate):
    """One that keeps what it was made with, and is equal to another of its kind that was made with the same."""

    __slots__: tuple[str, ...] = ()

    def __init__(self, *arguments: Any) -> None:
        for name, argument in zip(self.__slots__, arguments, strict=True):
            object.__setattr__(self, name, argument)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        return self._arguments() == other._arguments() if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._arguments())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._arguments()

    def _arguments(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)


class _Always(_Fixed):
    __slots__ = ()

    def __call__(self, state: State) -> bool:
        return True

    def describe(self) -> tuple[Any, ...]:
        return ("always",)


class KeyExists(_Fixed):
    __slots__ = ("key",)

    key: str

    def __call__(self, state: State) -> bool:
        return self.key in state

    def describe(self) -> tuple[Any, ...]:
        return ("key_exists", self.key)

    def looks_at(self) -> tuple[str, ...]:
        return (self.key,)


class _KeyEquals(_Fixed):
    __slots__ = ("key", "value")

    key: str
    value: Any

    __eq__ = object.__eq__  # the value may be an array, for one
    __hash__ = object.__hash__

    def __call__(self, state: State) -> bool:
        return self.key in state and equal(state[self.key], self.value)

    def describe(self) -> tuple[Any, ...]:
        return ("key_equals", self.key, self.value)

    def looks_at(self) -> tuple[str, ...]:
        return (self.key,)


class _Not(_Fixed):
    __slots__ = ("predicate",)

    predicate: Condition

    def __call__(self, state: State) -> bool:
        return not self.predicate(state)

    def describe(self) -> tuple[Any, ...]:
        return ("not_", self.predicate)

    def looks_at(self) -> tuple[str, ...]:
        return keys_of((self.predicate,))


class _And(_Fixed):
    __slots__ = ("predicates",)

    predicates: tuple[Condition, ...]

    def __call__(self, state: State) -> bool:
        return all(predicate(state) for predicate in self.predicates)

    def describe(self) -> tuple[Any, ...]:
        return ("and_", *self.predicates)

    def looks_at(self) -> tuple[str, ...]:
        return keys_of(self.predicates)


class _Or(_Fixed):
    __slots__ = ("predicates",)

    predicates: tuple[Condition, ...]

    def __call__(self, state: State) -> bool:
        return any(predicate(state) for predicate in self.predicates)

    def describe(self) -> tuple[Any, ...]:
        return ("or_", *self.predicates)

    def looks_at(self) -> tuple[str, ...]:
        return keys_of(self.predicates)


def check_takes_state(what: str, function: Callable[..., Any]) -> None:
    """Raises `GraphError` for what cannot be called with the state alone; ``what`` says what it is."""
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        raise GraphError(
            f"{what} cannot be called with the state alone ({error}); write it as lambda state: ..., or bind its other "
            "arguments with functools.partial"
        ) from None
    except ValueError:  # many callables in C do not say
        pass


def checked_condition(where: str, predicate: Any) -> Condition:
    """``predicate`` if it is a plain callable that takes the state; otherwise raises `GraphError`.

    An async one is refused: the coroutine that it returns is always true, so the edge would always be taken.
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
    check_takes_state(f"{where}: {_shown(predicate)}", predicate)
    condition: Condition = predicate
    return condition


def keys_of(predicates: Iterable[Condition | None]) -> tuple[str, ...]:
    """The keys that these read, each once; those of plain functions are not known. Raises nothing."""
    found = (key for one in predicates if isinstance(one, Predicate) for key in one.looks_at())
    return tuple(dict.fromkeys(found))


def predicate_name(predicate: Condition | None) -> str:
    """A readable name: the definition of a predicate, the name of a function, ``""`` for none. Raises nothing."""
    if predicate is None:
        return ""
    return repr(predicate) if isinstance(predicate, Predicate) else _shown(predicate)


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
