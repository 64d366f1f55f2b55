"""One equality in depth: of states, and of what `key_equals` asks for."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tau.signals import pass_on
from tau.values.encoding import encode
from tau.values.refusal import Refused

_QUICK = frozenset({int, str, bytes, bool, type(None)})


def equal(left: Any, right: Any) -> bool:
    """Whether two values are equal in depth. Never raises, short of running out of memory.

    Numbers compare by value, whatever their type (``1``, ``1.0`` and ``Decimal(1)`` are equal), except that a bool
    equals only a bool: ``True`` is not ``1``. NaN equals NaN. Lists, tuples and sets equal only their own kind, element
    by element; mappings regardless of order; arrays when shape, dtype and all elements are equal. All else is equal
    when ``==`` says so. Where that gives no bool, or raises, as for most tables, values are equal when both are stored
    as the same bytes or, where they cannot be stored, as their ``equals`` method says.
    """
    try:
        return _equal(left, right)
    except MemoryError:
        raise
    except Exception as error:  # nested deeper than the stack is here, or of a class with surprises
        pass_on(error)
        return _stored_alike(left, right)


def _equal(left: Any, right: Any) -> bool:  # noqa: PLR0911
    if left is right:
        return True
    if type(left) is type(right) and type(left) in _QUICK:
        return bool(left == right)
    left, right = _scalar(left), _scalar(right)
    if isinstance(left, bool) or isinstance(right, bool):
        return isinstance(left, bool) and isinstance(right, bool) and left == right
    if isinstance(left, (list, tuple)):
        kind = list if isinstance(left, list) else tuple
        return isinstance(right, kind) and len(left) == len(right) and all(map(_equal, left, right))
    if dataclasses.is_dataclass(left) and type(left) is type(right):
        return all(_equal(getattr(left, f.name), getattr(right, f.name)) for f in dataclasses.fields(left) if f.compare)
    if _is_table(left) or _is_table(right):  # a grid may be a mapping, too
        return _as_they_say(left, right)
    if isinstance(left, Mapping):
        return isinstance(right, Mapping) and _equal_mappings(left, right)
    if isinstance(left, (set, frozenset)):
        return isinstance(right, (set, frozenset)) and {_apart(x) for x in left} == {_apart(x) for x in right}
    if hasattr(left, "dtype") or hasattr(right, "dtype"):
        return type(left) is type(right) and _equal_arrays(left, right)
    if _is_nan(left) or _is_nan(right):
        return _is_nan(left) and _is_nan(right)
    return _as_they_say(left, right)


def _as_they_say(left: Any, right: Any) -> bool:
    try:
        answer = left == right
    except Exception as error:
        pass_on(error)
        answer = None
    if type(answer).__name__ == "bool":  # Python's, or NumPy's of the same name
        return bool(answer)
    return _stored_alike(left, right)


def _stored_alike(left: Any, right: Any) -> bool:
    """What decides where ``==`` does not."""
    try:
        return encode(left) == encode(right)
    except Refused:
        pass
    try:
        return type(left) is type(right) and _is_table(left) and bool(left.equals(right))
    except Exception as error:
        pass_on(error)
        return False


def _equal_mappings(left: Mapping[Any, Any], right: Mapping[Any, Any]) -> bool:
    if len(left) != len(right):
        return False
    others = {_apart(key): value for key, value in right.items()}
    return all(_apart(key) in others and _equal(value, others[_apart(key)]) for key, value in left.items())


def _equal_arrays(left: Any, right: Any) -> bool:
    # Arrays are met without importing their libraries: who made the value has imported them.
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    if left.dtype.hasobject or left.dtype.names is not None:
        return _equal(left.tolist(), right.tolist())
    return bool(((left == right) | ((left != left) & (right != right))).all())  # noqa: PLR0124


def _is_table(value: Any) -> bool:
    return not isinstance(value, type) and callable(getattr(value, "equals", None))


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
