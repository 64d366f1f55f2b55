"""The servers behind stores, each with what its tests need: the same words for all of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest

from tau.stores.contract import Store
from tau.stores.postgres import PostgresStore
from tau.stores.redis import RedisStore
from tau.testing import Proxy

KINDS: dict[str, tuple[Any, Callable[..., Proxy]]] = {
    "postgres": (PostgresStore, Proxy),
    "redis": (RedisStore, partial(Proxy, protocol="redis")),
}


class Served(NamedTuple):
    """A server, and an empty store there, at ``url``. ``make`` makes a store, ``cutter`` is the proxy that cuts its
    connections."""

    name: str
    server: Any
    url: str
    make: Any
    cutter: Callable[..., Proxy]

    def behind(self, cutter: Proxy, **options: Any) -> Store:
        """The store, through that proxy."""
        store: Store = self.make(self.server.tcp(port=cutter.port), **options)
        return store

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.server.port


def _served(request: pytest.FixtureRequest, prefix: str) -> Served:
    make, cutter = KINDS[request.param]
    server = request.getfixturevalue(prefix + request.param)
    return Served(request.param, server, server.empty(), make, cutter)


@pytest.fixture(params=KINDS)
def served(request: pytest.FixtureRequest) -> Served:
    """A server of this process."""
    return _served(request, "")


@pytest.fixture(params=KINDS)
def own_served(request: pytest.FixtureRequest) -> Served:
    """A server for those that restart it, or set it up otherwise."""
    return _served(request, "own_")
