"""From what a user names to a store: a URL, a registered name, a store, or an object with the four verbs."""

from __future__ import annotations

from typing import Any

from tau.errors import ConfigError
from tau.stores import open_store
from tau.stores.contract import Store
from tau.stores.user_store import FourVerbs, adapt


def resolve_store(store: Any) -> Store:
    """The store that is meant. Raises `UnknownStoreError` for a name nobody registered, `ConfigError` for nonsense."""
    if isinstance(store, Store):
        return store
    if isinstance(store, str):
        return open_store(store)
    if isinstance(store, type):
        raise ConfigError(f"a graph takes a store, not a class; call it: {store.__name__}(...)")
    if isinstance(store, FourVerbs):
        return adapt(store)
    raise ConfigError(
        f"a store is a URL, a registered name, a tau store, or an object with save, load, delete and list; "
        f"{type(store).__name__} is none of these"
    )
