"""`help()` of everything public says what it raises, or that it raises nothing."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import tau
import tau.agents
import tau.observers
import tau.predicates
import tau.testing
from tau.forks import Forked
from tau.stores.contract import Store
from tau.stores.file import FileStore
from tau.stores.memory import MemoryStore
from tau.stores.postgres import PostgresStore
from tau.stores.redis import RedisStore
from tau.stores.s3 import S3Store
from tau.stores.sqlite import SQLiteStore

WHOLE = (tau, tau.agents, tau.observers, tau.testing)
CLASSES = {Store, MemoryStore, FileStore, SQLiteStore, PostgresStore, RedisStore, S3Store, tau.predicates.Predicate}
# Methods that users of a class do not call.
CALLED_BY_OTHERS = {"StoreContract": "pytest calls its tests", "StoreMachine": "hypothesis calls its rules"}
DEFINED_BY_USERS = {"make_store", "another", "reopen"}
CALLED_BY_TAU = {name for name in dir(Forked) if not name.startswith("_")}  # what a store does around a fork


def public() -> Iterator[tuple[str, Any]]:
    named = {getattr(module, name) for module in WHOLE for name in module.__all__ if name not in ("__version__",)}
    found = {one for one in named if callable(one) and not (isinstance(one, type) and issubclass(one, BaseException))}
    for one in sorted(found | CLASSES, key=lambda one: (one.__module__, one.__qualname__)):
        yield one.__qualname__, one
        if isinstance(one, type):
            yield from methods(one)


def methods(cls: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name in dir(cls):
        method = getattr(cls, name)
        ours = str(getattr(method, "__module__", "")).startswith("tau.")
        if name.startswith("_") or name in CALLED_BY_TAU or not inspect.isroutine(method) or not ours:
            continue
        if cls.__name__ not in CALLED_BY_OTHERS or name in DEFINED_BY_USERS:
            yield f"{cls.__qualname__}.{name}", method


@pytest.mark.parametrize(("name", "what"), list(public()), ids=[name for name, _ in public()])
def test_a_public_callable_says_what_it_raises(name: str, what: Any) -> None:
    text = inspect.getdoc(what) or ""
    assert "raise" in text.lower(), f"the docstring of {name} says neither what it raises nor that it raises nothing"
