"""Wrappers around a store: slow, flaky and counting ones, and one that tries again."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from tau.errors import ConfigError, StoreUnavailableError
from tau.spelling import did_you_mean
from tau.stores.contract import Batch, Lease, News, PositionConflict, Query, Store, Summary


class StoreWrapper(Store):
    """Passes everything on to ``store``, through `call`: override that, or single methods, to add behaviour. `scan` and
    `leases` are made of `read` and `lease`.

    Raises what ``store`` raises.

    >>> from tau.stores.memory import MemoryStore
    >>> from tau.testing import StoreWrapper
    >>> class Loud(StoreWrapper):
    ...     def call(self, method, *arguments, **options):
    ...         print(method)
    ...         return super().call(method, *arguments, **options)
    >>> Loud(MemoryStore()).summary("nobody")
    summary
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.location = store.location
        self.artifacts = store.artifacts
        self.forgets, self.keeps_history = store.forgets, store.keeps_history
        self.look_every = store.look_every
        self.default_lease = store.default_lease

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """What the method of ``store`` returns. Raises what that raises, and what a wrapper adds."""
        return getattr(self.store, method)(*arguments, **options)

    def commit(self, batches: Sequence[Batch]) -> Sequence[int | Exception]:
        results: Sequence[int | Exception] = self.call("commit", batches)
        return results

    def read(self, run_id: str, after: int = 0) -> Sequence[tuple[int, bytes]]:
        found: Sequence[tuple[int, bytes]] = self.call("read", run_id, after)
        return found

    def summary(self, run_id: str) -> Summary | None:
        found: Summary | None = self.call("summary", run_id)
        return found

    def blobs(self, run_id: str, digests: Iterable[bytes]) -> Mapping[bytes, bytes]:
        found: Mapping[bytes, bytes] = self.call("blobs", run_id, list(digests))
        return found

    def select(self, query: Query) -> Sequence[Summary]:
        found: Sequence[Summary] = self.call("select", query)
        return found

    def run_ids(self, prefix: str = "") -> Sequence[str]:
        found: Sequence[str] = self.call("run_ids", prefix)
        return found

    def some_run_ids(self, limit: int) -> Sequence[str]:
        found: Sequence[str] = self.call("some_run_ids", limit)
        return found

    def delete(self, run_id: str, keep_summary: bool = False, *, expected: int | None = None) -> None:
        self.call("delete", run_id, keep_summary, **({} if expected is None else {"expected": expected}))

    def due(self, graph: str, limit: int, *, watched: bool = True) -> Sequence[tuple[Summary, Lease | None]]:
        found: Sequence[tuple[Summary, Lease | None]] = self.call("due", graph, limit, watched=watched)
        return found

    def listen(self, graph: str) -> News | None:
        return self.store.listen(graph)

    def trim(self, run_id: str, first: int, blobs: Iterable[bytes], *, expected: int) -> None:
        self.call("trim", run_id, first, list(blobs), expected=expected)

    def lease(self, run_id: str) -> Lease | None:
        found: Lease | None = self.call("lease", run_id)
        return found

    def renew(self, run_id: str, nonce: str, seconds: float) -> bool:
        done: bool = self.call("renew", run_id, nonce, seconds)
        return done

    def release(self, run_id: str, nonce: str) -> None:
        self.call("release", run_id, nonce)

    def close(self) -> None:
        self.store.close()


def _known(methods: Collection[str] | None) -> Collection[str] | None:
    """The methods as they were given. Raises `ConfigError` for one that no store has: it would change nothing."""
    for name in [methods] if isinstance(methods, str) else methods or ():
        if not callable(getattr(Store, name, None)):
            known = [one for one in dir(Store) if not one.startswith("_") and callable(getattr(Store, one))]
            raise ConfigError(f"methods: a store has no method {name!r}{did_you_mean(name, known)}")
    return methods


class SlowStore(StoreWrapper):
    """Pauses before and after every call; ``pause`` is called with ``seconds``. With ``methods``, as ``["commit"]``,
    only calls to these are slow. Raises what ``store`` raises, and `ConfigError` for a method that no store has.

    >>> from tau import StateGraph
    >>> from tau.stores.memory import MemoryStore
    >>> from tau.testing import SlowStore
    >>> graph = StateGraph("slow", store=SlowStore(MemoryStore(), 0.01, methods=["commit"]))
    >>> graph.store.call("summary", "nobody")  # not one of the slow ones
    """

    def __init__(
        self,
        store: Store,
        seconds: float = 0.01,
        pause: Callable[[float], object] = time.sleep,
        *,
        methods: Collection[str] | None = None,
    ) -> None:
        super().__init__(store)
        self.seconds = seconds
        self.pause = pause
        self.methods = _known(methods)

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        if self.methods is not None and method not in self.methods:
            return super().call(method, *arguments, **options)
        self.pause(self.seconds)
        try:
            return super().call(method, *arguments, **options)
        finally:
            self.pause(self.seconds)


class FlakyStore(StoreWrapper):
    """Raises `StoreUnavailableError`, before a call was made or after it, each with that probability.

    The same ``seed`` gives the same failures, as long as the calls come in the same order. With ``methods``, as
    ``["commit"]``, only calls to these fail. ``failures`` counts them. Raises `ConfigError` for a method that no store
    has.

    >>> from tau import StoreUnavailableError
    >>> from tau.stores.memory import MemoryStore
    >>> from tau.testing import FlakyStore
    >>> store = FlakyStore(MemoryStore(), seed=1, probability=1.0)
    >>> try:
    ...     store.call("summary", "nobody")
    ... except StoreUnavailableError:
    ...     store.failures
    1
    """

    def __init__(
        self, store: Store, seed: int = 0, probability: float = 0.2, *, methods: Collection[str] | None = None
    ) -> None:
        super().__init__(store)
        self.probability = probability
        self.methods = _known(methods)
        self.failures = 0
        self._random = random.Random(seed)

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        if self.methods is not None and method not in self.methods:
            return super().call(method, *arguments, **options)
        self._fail(f"the request to {method} was lost")
        result = super().call(method, *arguments, **options)
        self._fail(f"the reply to {method} was lost")
        return result

    def _fail(self, what: str) -> None:
        if self._random.random() < self.probability:
            self.failures += 1
            raise StoreUnavailableError(f"{self.location}: {what}; try again", location=self.location)


class RetryingStore(StoreWrapper):
    """Tries again when the store is unavailable. Whether a commit was applied is found out by reading its records.

    Raises what ``store`` raises, `StoreUnavailableError` only after this many ``tries``.

    >>> from tau.stores.memory import MemoryStore
    >>> from tau.testing import FlakyStore, RetryingStore
    >>> store = RetryingStore(FlakyStore(MemoryStore(), seed=1, probability=0.5))
    >>> store.call("summary", "nobody")  # as often as it takes
    """

    def __init__(self, store: Store, tries: int = 100) -> None:
        super().__init__(store)
        self.tries = tries

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        for _ in range(self.tries - 1):
            try:
                return super().call(method, *arguments, **options)
            except StoreUnavailableError:
                continue
        return super().call(method, *arguments, **options)

    def commit(self, batches: Sequence[Batch]) -> list[int | Exception]:
        return [self._commit(batch) for batch in batches]

    def _commit(self, batch: Batch) -> int | Exception:
        result: int | Exception = StoreUnavailableError("never tried")
        for _ in range(self.tries):
            try:
                result = self.store.commit([batch])[0]
            except StoreUnavailableError as error:
                result = error
            if isinstance(result, StoreUnavailableError | PositionConflict):
                rows = self.read(batch.run_id, batch.expected)[: len(batch.records)]
                if [record for _, record in rows] == list(batch.records):
                    return batch.expected + len(batch.records)
            if not isinstance(result, StoreUnavailableError):
                break
        return result


class CountingStore(StoreWrapper):
    """Counts in ``calls`` how often each method was called, and in ``committed`` what was committed.

    Raises what ``store`` raises.

    >>> from tau.stores.memory import MemoryStore
    >>> from tau.testing import CountingStore
    >>> store = CountingStore(MemoryStore())
    >>> store.call("summary", "nobody")
    >>> store.calls["summary"]
    1
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.calls: Counter[str] = Counter()
        self.committed: Counter[str] = Counter()
        self._lock = threading.Lock()

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        with self._lock:
            self.calls[method] += 1
            if method == "commit":
                for batch in arguments[0]:
                    self.committed["batches"] += 1
                    self.committed["records"] += len(batch.records)
                    self.committed["blobs"] += len(batch.blobs)
                    self.committed["size_bytes"] += sum(map(len, batch.records))
                    self.committed["size_bytes"] += sum(len(data) for _, data in batch.blobs)
        return super().call(method, *arguments, **options)
