"""From URLs and names to stores: one store per place and process."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tau.errors import ConfigError, UnknownStoreError
from tau.forks import in_child
from tau.late_imports import load_module
from tau.spelling import did_you_mean
from tau.stores.contract import Store
from tau.stores.memory import MemoryStore
from tau.stores.urls import FORMS, Location, parse, url_of, without_password

if TYPE_CHECKING:
    from tau.stores.user_store import FourVerbs

VERBS = ("save", "load", "delete", "list")

_lock = threading.RLock()
_memory = MemoryStore()
_defaults = {
    "memory": "memory:", "sqlite": "sqlite:///tau.db", "file": "file:tau-runs", "postgres": "postgresql://",
    "redis": "redis://", "s3": "s3:",
}  # fmt: skip
_SUFFIXES = (".db", ".sqlite", ".sqlite3")
_registered: dict[str, Store | FourVerbs] = {}
_opened: dict[Location, weakref.ref[Store]] = {}
_diverted: Callable[[str], str] | None = None


def open_store(url: str | os.PathLike[str]) -> Store:
    """The store at a URL or a path, or under a registered name.

    A path is a `pathlib.Path` or the like: an existing directory is a file store, anything else a SQLite file.

    The same place gives the same object for as long as that is in use in this process. Nothing is read or created
    before the store is used. The first use, be it only `load` or `runs`, creates the store and missing parent
    directories if there are none: a wrong path gives an empty store, not an error.

    Raises `UnknownStoreError` for a string that is neither a URL nor a registered name, `ConfigError` for a URL that
    cannot be used and for anything else.

    >>> from tau import open_store
    >>> with open_store("sqlite:///tau.db") as store:
    ...     store.runs(status="failed", limit=10)
    []
    """
    if isinstance(url, os.PathLike):
        return _at(parse(url_of(url)))
    if not isinstance(url, str):
        said = f"a store is opened by a URL, a path or a name, not by {type(url).__name__}"
        raise ConfigError(f"{said}; the forms of a URL are {FORMS}")
    with _lock:
        store = _registered.get(url)
    if store is not None:
        return _adapted(store)
    if ":" not in url and url not in _defaults:
        said = f"unknown checkpoint store: {without_password(url)!r}"
        if os.sep in url or url.endswith(_SUFFIXES) or os.path.exists(url):
            raise UnknownStoreError(f"{said}; write a path as {url_of(url)}")
        names = {*_defaults, *_registered}
        if near := did_you_mean(url, names):
            raise UnknownStoreError(said + near)
        raise UnknownStoreError(
            f"{said}; registered are {', '.join(sorted(names))}; the forms of a URL are {FORMS}",
            hint="add your own with register_store(name, store)",
        )
    return _at(parse(_defaults.get(url, url)))


def register_store(name: str, store: Store | FourVerbs) -> None:
    """Make ``name`` mean ``store``: a `Store`, or an object with save, load, delete and list.

    If a name is registered again, it means the new store from then on, even if it is that of a built-in one. Raises
    `ConfigError` for anything that is not a store, and for a name that could be taken for a URL.

    >>> from tau import StateGraph, open_store, register_store
    >>> register_store("lab", open_store("file:lab"))
    >>> graph = StateGraph("climate", store="lab")
    """
    if not isinstance(name, str) or not name or ":" in name:
        raise ConfigError(
            f"the name of a store must be a string of at least one character without a colon, found {name!r}"
        )
    if isinstance(store, type):
        raise ConfigError(f"register_store takes a store, not a class; call it: {store.__name__}(...)")
    missing = [verb for verb in VERBS if not callable(getattr(store, verb, None))]
    if missing:
        raise ConfigError(
            f"store {name!r} cannot be of type {type(store).__name__}: it lacks {', '.join(missing)}; give a tau store "
            "or an object with save, load, delete and list"
        )
    with _lock:
        _registered[name] = store


def divert(to: Callable[[str], str]) -> None:
    """From now on, in this process, what is opened by a URL or a path lies where ``to`` says, given the URL that was
    meant; stores in memory are left alone. For tests that must not touch what a program keeps."""
    global _diverted  # noqa: PLW0603
    _diverted = to


def resolve_store(store: Any) -> Store:
    """The store that a store, URL, path, name or object with four verbs stands for.

    Raises `UnknownStoreError` for a name that is not registered, `ConfigError` for anything else that cannot be a
    store.
    """
    if isinstance(store, Store):
        return store
    if isinstance(store, str):
        return open_store(store)
    if isinstance(store, os.PathLike):
        return open_store(store)
    if isinstance(store, type):
        raise ConfigError(f"a graph takes a store, not a class; call it: {store.__name__}(...)")
    if all(callable(getattr(store, verb, None)) for verb in VERBS):
        return _adapted(store)
    raise ConfigError(
        f"a store is a URL, a path, a registered name, a tau store, or an object with save, load, delete and list; "
        f"{type(store).__name__} is none of these"
    )


def _adapted(store: Store | FourVerbs) -> Store:
    if isinstance(store, Store):
        return store
    load_module("tau.stores.user_store")
    from tau.stores.user_store import adapt

    return adapt(store)


def _at(location: Location) -> Store:
    if location.kind == "memory":
        return _memory
    if _diverted is not None:
        location = parse(_diverted(f"{location.kind}:{location.path}"))
    kind = _class(location.kind)  # before the lock is taken: the first time takes longer
    with _lock:
        known = _opened.get(location) or _elsewhere(location)
        store = known() if known is not None else None
        if store is None:
            store = kind(location.url or location.path)
            for gone in [place for place, ref in _opened.items() if ref() is None]:
                del _opened[gone]
            _opened[location] = weakref.ref(store)
        return store


def _elsewhere(location: Location) -> weakref.ref[Store] | None:
    """The store at a server that was opened with a password, for a URL that has none: what a store's location is."""
    if location.url:
        return None
    found = (ref for place, ref in _opened.items() if place[:2] == location[:2] and ref() is not None)
    return next(found, None)


def _class(kind: str) -> Callable[[str], Store]:
    # A driver is imported where it is first used.
    if kind == "sqlite":
        load_module("tau.stores.sqlite")
        from tau.stores.sqlite import SQLiteStore

        return SQLiteStore
    if kind in _SERVERS:
        what, driver, imported = _SERVERS[kind]
        try:
            return imported()
        except ImportError as error:
            raise ConfigError(
                f"a store on {what} needs {driver}, which cannot be used here ({error}); "
                f"pip install 'tau-orchestrate[{kind}]'"
            ) from error
    load_module("tau.stores.file")
    from tau.stores.file import FileStore

    return FileStore


def _postgres() -> Callable[[str], Store]:
    load_module("tau.stores.postgres")
    from tau.stores.postgres import PostgresStore

    return PostgresStore


def _redis() -> Callable[[str], Store]:
    load_module("tau.stores.redis")
    from tau.stores.redis import RedisStore

    return RedisStore


def _s3() -> Callable[[str], Store]:
    load_module("tau.stores.s3")
    from tau.stores.s3 import S3Store

    return S3Store


_SERVERS = {
    "postgres": ("PostgreSQL", "psycopg", _postgres),
    "redis": ("Redis", "redis-py", _redis),
    "s3": ("S3", "obstore", _s3),
}


@in_child
def _renew_lock() -> None:
    global _lock  # noqa: PLW0603 - the thread that held it does not exist in the child
    _lock = threading.RLock()
