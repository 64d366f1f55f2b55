"""The verbs that leave a run to a worker, and wait for its end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Generic

from tau.late_imports import load_module
from tau.spelling import names_keywords
from tau.state import State
from tau.stored_graph import StoredGraph
from tau.verbs.running import Model

if TYPE_CHECKING:
    from datetime import datetime


class Admitting(StoredGraph, Generic[Model]):
    """Put runs into the store for workers, and wait for what becomes of them."""

    @names_keywords
    def admit(
        self,
        state: State | Mapping[str, Any] | Model | None = None,
        *,
        run_id: str | None = None,
        not_before: float | datetime | None = None,
        tags: Iterable[str] = (),
        seed: int | None = None,
    ) -> str:
        """Put a run into the store for a worker (`tau.worker`), and return its id. It is not begun here; `resume`, or
        `execute` with ``if_exists="resume"``, may do that in a worker's place.

        ``not_before``: the time, as a datetime or in Unix seconds, before which no worker takes it. The other arguments
        are those of `execute`. If there is a run of that id with the same input, whatever became of it, it stays as it
        is, and its id is returned.

        Raises `RunExistsError` for an id that is in use with another input, `GraphError`, `ConfigError`,
        `SchemaError`, `UnserializableError`, `LimitExceededError` and `StoreError` as `execute` does; nothing is
        stored then.

        >>> graph.admit({"count": 6}, run_id="squares-6")
        'squares-6'
        >>> [row.status for row in graph.runs() if row.run_id == "squares-6"]
        ['admitted']
        """
        _ = self.store
        request, given = self._admission(state, run_id, "error", tags, seed)
        return self._admit(request, given, not_before)

    @names_keywords
    async def aadmit(
        self,
        state: State | Mapping[str, Any] | Model | None = None,
        *,
        run_id: str | None = None,
        not_before: float | datetime | None = None,
        tags: Iterable[str] = (),
        seed: int | None = None,
    ) -> str:
        """`admit` in an event loop, with the same arguments; a thread of the store's own does it, to its end.

        Raises what `admit` raises, and ``asyncio.CancelledError`` when its task is cancelled.

        >>> import asyncio
        >>> asyncio.run(graph.aadmit({"count": 6}, run_id="squares-6"))
        'squares-6'
        """
        _ = self.store
        request, given = self._admission(state, run_id, "error", tags, seed)
        return await self._in_thread(partial(self._admit, request, given, not_before))

    @names_keywords
    def wait(self, run_id: str, timeout: float | None = None) -> State[Model]:
        """Wait until a run has ended, whoever runs it, and return its final state, or raise what `execute` would.

        A run that is admitted, dead, or stopped so that a worker goes on with it has not ended. ``timeout`` is in
        seconds, ``None`` for as long as it takes; it changes nothing in the run.

        Raises `WaitTimeoutError` after the timeout, `ExecutionError` for a run that failed, `RunWaitingError` for one
        that waits for an answer, `RunInterruptedError` for one that a person stopped, `RunCancelledError`,
        `CheckpointNotFoundError` (`RunFinishedError`) and `CorruptCheckpointError` as `resume` does, `ConfigError` for
        a wrong argument or a graph without a store, `StoreError` if the store fails.

        >>> graph.wait("squares-1", timeout=10.0)["sum"]
        14
        """
        waiting = self._waiting(run_id, timeout)
        while (final := waiting.look()) is None:
            self.host.sleep(waiting.pause)
        return final

    @names_keywords
    async def await_run(self, run_id: str, timeout: float | None = None) -> State[Model]:
        """`wait` in an event loop, with the same arguments.

        Raises what `wait` raises, and ``asyncio.CancelledError`` when its task is cancelled.

        >>> import asyncio
        >>> asyncio.run(graph.await_run("squares-1", timeout=10.0))["sum"]
        14
        """
        load_module("asyncio")
        import asyncio

        waiting = self._waiting(run_id, timeout)
        while (final := await self._in_thread(waiting.look)) is None:
            await asyncio.sleep(waiting.pause)
        return final
