"""The clients of a provider: one for each process, and one for each event loop, to which an async client belongs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from tau import forks
from tau.late_imports import load_module


class Clients:
    """Makes clients when they are needed. A child of a fork has its own, and those of loops that are gone are let go
    with them. Thread-safe."""

    def __init__(self, make: Callable[[], Any], make_async: Callable[[], Any]) -> None:
        self._make, self._make_async = make, make_async
        self._lock = threading.RLock()  # a signal handler may ask, too
        self._anew()

    def _anew(self) -> None:
        self._process = forks.process
        self._client: Any = None
        self._of_loops: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()

    def client(self) -> Any:
        """The client of this process."""
        with self._lock:
            if self._process is not forks.process:
                self._anew()
            if self._client is None:
                self._client = self._make()
            return self._client

    def async_client(self) -> Any:
        """The client of the running event loop."""
        load_module("asyncio")
        import asyncio

        loop = asyncio.get_running_loop()
        with self._lock:
            if self._process is not forks.process:
                self._anew()
            found = self._of_loops.get(loop)
            if found is None:
                found = self._of_loops[loop] = self._make_async()
            return found

    def close(self) -> None:
        """Close the client of this process; those of loops end with their loops."""
        with self._lock:
            client, is_own = self._client, self._process is forks.process
            self._anew()
        if client is not None and is_own:
            client.close()
