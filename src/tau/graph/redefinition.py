"""Whether a function or condition is one that a graph has already: a notebook's cells are run again and again."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from types import CellType, CodeType, MethodType
from typing import Any

from tau.graph.edges import Edge
from tau.late_imports import load_module
from tau.predicates import Predicate

_SCALARS = (type(None), bool, int, float, str)


def same(function: Any, other: Any) -> bool:
    """Whether both are one object; each look-up of a method makes a new one, and other callables may compare in ways of
    their own."""
    return function is other or (
        isinstance(function, MethodType) and isinstance(other, MethodType) and function == other
    )


def same_home(function: Any, other: Any) -> bool:
    """Whether both were defined under one name in one place, as when a notebook's cell is run again."""
    name = getattr(function, "__qualname__", "")
    here = (getattr(function, "__module__", None), name)
    return (
        bool(name)
        and "<lambda>" not in name
        and here == (getattr(other, "__module__", None), getattr(other, "__qualname__", ""))
    )


def lines_of_both(around: CodeType, function: Any, other: Any) -> tuple[int, int] | None:
    """Where both are defined, if by two places of one piece of code that was compiled once: a cell or module that is
    run again, or edited, is compiled anew."""
    one, another = _code_of(function), _code_of(other)
    if one is None or another is None or one is another:
        return None
    inside = {id(constant) for constant in around.co_consts}
    return (one.co_firstlineno, another.co_firstlineno) if {id(one), id(another)} <= inside else None


def _code_of(function: Any) -> CodeType | None:
    """The code of a function, of what it wraps where it wraps one."""
    try:
        found = getattr(inspect.unwrap(function), "__code__", None)
    except ValueError:  # it wraps itself
        return None
    return found if isinstance(found, CodeType) else None


def same_code(function: Any, other: Any) -> bool:
    """Whether both do the same: equal code over the same closure."""
    if same(function, other) or same_condition(function, other):
        return True
    load_module("tau.graph.fingerprint")
    from tau.graph.fingerprint import of_code

    again = same_home(function, other) or both_lambdas(function, other)
    return again and _closure(function) == _closure(other) and of_code(function) == of_code(other)


def alike(part: Any, other: Any) -> bool:
    """Whether a node or route that is defined again is what it was."""
    names = ("fingerprint", "retry", "timeout", "idempotent", "executor", "targets", "name")
    return same_code(part.function, other.function) and all(
        getattr(part, name, None) == getattr(other, name, None) for name in names
    )


def same_condition(condition: Any, other: Any) -> bool:
    """Whether both are the same question: one object, or predicates of this library with equal arguments."""
    meaning = _meaning(condition)
    return condition is other or (meaning is not None and meaning == _meaning(other))


def same_source(condition: Any, other: Any) -> bool:
    """Whether both are functions of one name at the top of a module: made in a function they may differ by closure."""
    return same_home(condition, other) and "<locals>" not in condition.__qualname__


def both_lambdas(condition: Any, other: Any) -> bool:
    return getattr(condition, "__name__", "") == getattr(other, "__name__", None) == "<lambda>"


def meant_again(
    edges: Mapping[str, Sequence[Edge]], source: str, target: str, predicate: Any, label: str, *, named: bool = False
) -> Edge | None:
    """The edge that is meant where a notebook's cell is run again."""
    for edge in edges.get(source, ()):
        if edge.target != target:
            continue
        if predicate is None or edge.predicate is None:
            found = predicate is edge.predicate and label == edge.name
        else:
            found = same_condition(predicate, edge.predicate) or same_source(predicate, edge.predicate)
            found = label == edge.name and (found or (named and both_lambdas(predicate, edge.predicate)))
        if found:
            return edge
    return None


def _closure(function: Any) -> tuple[int | None, ...]:
    """The objects that a function closes over; ``None`` for a name that has no value yet."""
    return tuple(map(_content, getattr(function, "__closure__", None) or ()))


def _content(cell: CellType) -> int | None:
    try:
        return id(cell.cell_contents)
    except ValueError:
        return None


def _meaning(condition: Any) -> tuple[Any, ...] | None:
    """What a predicate asks, in scalars with their types; ``None`` where it holds anything else."""
    if not isinstance(condition, Predicate):
        return None
    found: list[Any] = []
    for part in condition.describe():
        meaning = (type(part), part) if type(part) in _SCALARS else _meaning(part)
        if meaning is None:
            return None
        found.append(meaning)
    return tuple(found)
