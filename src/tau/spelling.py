"""What was meant by a name that is not known."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from inspect import CO_COROUTINE
from typing import Any, ParamSpec, TypeVar, cast

from tau.late_imports import load_module

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C")

_MANY = 1_000


def did_you_mean(name: Any, known: Iterable[str]) -> str:
    """The nearest of the ``known`` names, as in ``; did you mean 'client'?``; empty if none is near."""
    near = nearest(name, known)
    return f"; did you mean {near!r}?" if near else ""


def nearest(name: Any, known: Iterable[str]) -> str:
    """The nearest of the ``known`` names; empty if none is near, or there are very many."""
    names = list(known)
    if not isinstance(name, str) or len(names) > _MANY:
        return ""
    load_module("difflib")
    from difflib import get_close_matches  # only needed for a mistyped name

    return next(iter(get_close_matches(name, names, 1)), "")


def names_keywords(function: Callable[P, T]) -> Callable[P, T]:
    """Decorates a function: a keyword that it does not take is refused, as ever, with the one that was meant. An async
    one stays one, and refuses when it is awaited."""
    code = function.__code__
    known = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]

    def check(args: tuple[Any, ...], kwargs: Iterable[str]) -> None:
        for name in kwargs:
            if name not in known:
                words = load_module("tau.other_words")
                word = words.OF_KEYWORDS.get(name)
                near = f"; did you mean {word!r}?" if word in known else did_you_mean(name, known)
                elsewhere = words.OF_AGENTS.get(name) if function.__qualname__ == "Agent.__init__" else None
                takes = f"; it takes {', '.join(one for one in known if one != 'self')}"
                more = f"; {elsewhere}" if elsewhere else near or takes
                is_method = bool(args) and known[:1] == ("self",)
                called = f"{type(args[0]).__name__}.{function.__name__}" if is_method else function.__qualname__
                raise TypeError(f"{called}() got an unexpected keyword argument {name!r}{more}")

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        check(args, kwargs)
        return function(*args, **kwargs)

    @wraps(function)
    async def checked_later(*args: P.args, **kwargs: P.kwargs) -> Any:
        check(args, kwargs)
        return await function(*args, **kwargs)  # type: ignore[misc]

    return cast("Callable[P, T]", checked_later) if code.co_flags & CO_COROUTINE else checked


def named_fields(cls: type[C]) -> type[C]:
    """Decorates a class: the same for the keywords with which it is made."""
    cls.__init__ = names_keywords(cls.__init__)  # type: ignore[method-assign]
    return cls
