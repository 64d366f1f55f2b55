"""Random generators that are given to steps: one that two steps share draws other numbers after a resume.

A step that is finished is not called again, so that what it drew is not drawn: the steps behind it would go on from
another place in the sequence, without a word.
"""

from __future__ import annotations

import functools
import random
import sys
import threading
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tau.errors import ConfigError
from tau.state import State

_NEVER = frozenset({type(None), bool, int, float, str, bytes, list, tuple, dict, set, types.FunctionType, State})
"""Types that are passed over at once."""

_MODULES = ("random", "numpy.random")
_KINDS = {"numpy.random": ("Generator", "RandomState", "BitGenerator"), "torch": ("Generator",)}


class Generators:
    """Which step of a visit was given which generator. Thread-safe."""

    def __init__(self) -> None:
        self._given: dict[int, tuple[Any, str, str]] = {}
        self._lock = threading.Lock()

    def check(
        self, name: str, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, kind: str = "step"
    ) -> None:
        """Raises `ConfigError` where another step or call was given one of these generators."""
        if type(function) is types.FunctionType and not (
            args or kwargs or function.__closure__ or function.__defaults__
        ):
            return  # the short way, which most steps go
        for one in _found(function, args, kwargs):
            state = getattr(one, "bit_generator", one)  # NumPy's generators may share what draws for them
            with self._lock:
                _, other, first = self._given.setdefault(id(state), (state, kind, name))
            if (other, first) != (kind, name):
                raise ConfigError(
                    f"{kind} {name!r} is given the random generator that {other} {first!r} was given: after a resume, "
                    f"which does not call {first!r} again, it would draw other numbers. Give each one its own, as in "
                    "numpy.random.default_rng(ctx.seed(name, number)), or one of "
                    "numpy.random.SeedSequence(seed).spawn(steps)"
                )


def refuse_shared(what: str, function: Any) -> None:
    """Raises `ConfigError` where the function of a map or chain, ``what``, brings a generator along: its items would
    share it."""
    if _found(function, (), {}):
        raise ConfigError(
            f"{what} has one random generator for all its items: after a resume, which does not call the finished ones "
            "again, the others would draw other numbers. Give each item one of its own, made in the function: "
            "numpy.random.default_rng(tau.current().seed(name, number))"
        )


def _found(function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Any]:
    """The generators among the arguments of a call, and what is bound to what is called."""
    given = [one for one in [*args, *kwargs.values(), *_bound(function)] if type(one) not in _NEVER]
    if not given:
        return []
    kinds = _kinds()
    return [one for one in given if isinstance(one, kinds) and not isinstance(one, random.SystemRandom)]


def _bound(function: Callable[..., Any]) -> Sequence[Any]:
    if type(function) is types.FunctionType:
        return [*(function.__defaults__ or ()), *map(_content, function.__closure__ or ())]
    if isinstance(function, functools.partial):
        return [*function.args, *function.keywords.values(), *_bound(function.func)]
    owner = getattr(function, "__self__", None)
    return () if owner is None or _is_of_a_module(function) else [owner]


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name without a value yet
        return None


def _is_of_a_module(function: Any) -> bool:
    """Whether it is ``random.gauss`` or its like, which belong to a generator that was not made for these steps."""
    name = getattr(function, "__name__", "")
    return any(function is getattr(sys.modules.get(module), name, None) for module in _MODULES)


def _kinds() -> tuple[type, ...]:
    """The classes of generators, of the libraries that are loaded."""
    loaded = [(module, names) for name, names in _KINDS.items() if (module := sys.modules.get(name)) is not None]
    return (random.Random, *(getattr(module, name) for module, names in loaded for name in names))
