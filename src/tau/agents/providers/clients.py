"""The clients of a provider: one for each process, and one for each event loop, to which an async client belongs."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any

from tau import forks
from tau.late_imports import load_module

Lent = tuple[Any, AsyncGenerator[None, None]]


class Clients(forks.Forked):
    """Makes clients when they are needed. A child of a fork makes its own, and those of loops are closed with them.
    Thread-safe.

    A client that was interrupted in its own code may count a connection as taken that nobody has, or hold a lock; once
    it has no other connection, it waits for that one for ever. So it is left: not even closed, which takes the lock.
    """

    def __init__(self, make: Callable[[], Any], make_async: Callable[[], Any]) -> None:
        self._make, self._make_async = make, make_async
        self._anew()
        forks.watch(self)

    def _anew(self) -> None:
        self._lock = threading.RLock()  # a signal handler may ask, too
        self._client: Any = None
        self._of_loops: dict[Any, Lent] = {}

    def after_fork(self, in_child: bool, kept_out: bool) -> None:
        if in_child:
            self._anew()

    def client(self) -> Any:
        """The client of this process."""
        with self._lock:
            if self._client is None:
                self._client = self._make()
            return self._client

    def async_client(self) -> Lent:
        """The client of the running event loop, and what closes it: when the loop ends, or where it was left, when no
        call has that any more."""
        load_module("asyncio")
        import asyncio

        loop = asyncio.get_running_loop()
        with self._lock:
            found = self._of_loops.get(loop)
            if found is None:
                for other in [one for one in self._of_loops if one.is_closed()]:
                    del self._of_loops[other]
                client = self._make_async()
                found = self._of_loops[loop] = client, _closed_with_its_loop(client)
            return found

    def leave(self, client: Any) -> None:
        """Lend it to no other call."""
        with self._lock:
            if self._client is client:
                self._client = None
            for loop in [one for one, found in self._of_loops.items() if found[0] is client]:
                del self._of_loops[loop]

    def close(self) -> None:
        """Close the client of this process; those of loops end with their loops."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()


def _closed_with_its_loop(client: Any) -> AsyncGenerator[None, None]:
    """What a loop that ends in order, as by `asyncio.run`, brings to its end, and the client with it."""

    async def keep() -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await client.close()

    kept = keep()
    with suppress(StopIteration):
        anext(kept).send(None)
    return kept
