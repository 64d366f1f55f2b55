"""The verbs that run a graph and return the final state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Literal

from tau.config import ObserverSpec
from tau.engine.stop import Stop, checked_options
from tau.late_imports import load_module
from tau.spelling import names_keywords
from tau.state import State, cells_of
from tau.stored_graph import StoredGraph

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # type checkers bring their own

    Model = TypeVar("Model", default=Any)
else:
    from typing import TypeVar

    Model = TypeVar("Model")

IfExists = Literal["error", "resume"]
"""What `StateGraph.execute` does with a run id that is in use."""

OnChange = Literal["error", "continue", "redo"]
"""What `StateGraph.resume` does if the graph has changed in a way that could make the result wrong."""


class Running(StoredGraph, Generic[Model]):
    """Run a graph, or go on with a run, in this thread or in an event loop."""

    @names_keywords
    def execute(
        self,
        state: State | Mapping[str, Any] | Model | None = None,
        *,
        run_id: str | None = None,
        if_exists: IfExists = "error",
        wait: float = 0.0,
        resources: Mapping[str, Any] | None = None,
        observer: ObserverSpec = None,
        stop: Stop | None = None,
        max_runtime: float | None = None,
        tags: Iterable[str] = (),
        seed: int | None = None,
    ) -> State[Model]:
        """Run the graph on ``state`` and return the final state.

        ``run_id`` overrides that of the state. If the run id is in use, ``if_exists="error"`` raises `RunExistsError`.
        ``if_exists="resume"`` resumes that run if its input was the same, and then also raises what `resume` raises; it
        needs ``run_id``, or a `State`, which has one.

        ``wait``: seconds to wait for another owner to release the run before `RunOwnedError`. ``resources``: clients
        and connections for the nodes, found in `Context.resources` and never stored. ``observer``: gets the events in
        addition to the graph's own. ``stop``: a `Stop`, or the one that ``with stop_on(...)`` gives. ``max_runtime``:
        seconds after which the run stops, for a walltime limit. ``tags``: names by which ``store.runs(tag=...)`` finds
        the run; one that exists keeps those it began with. ``seed``: what `Context.seed` derives its seeds from, a
        number from 0 to 2**63 - 1; by default a new run draws one. For a run that exists, another ``seed`` is refused
        as another input is.

        Raises `GraphError` for a graph that cannot be run, `ConfigError` for a wrong argument, `ExecutionError` when a
        node fails, `RunInterruptedError` when the run was asked to stop, `RunCancelledError` when it was cancelled; all
        that has finished is saved by then. Raises `UnserializableError` or `LimitExceededError` for an input that
        cannot be stored, `SchemaError` for one that does not fit the schema, `LeaseLostError` if the run was taken over
        or deleted, `StoreError` if the store fails.

        >>> final = graph.execute({"count": 5}, run_id="squares-2", tags=["small"])
        >>> final["sum"], final.run_id, final.checkpoint_node
        (30, 'squares-2', 'add_up')
        >>> graph.execute({"count": 5}, run_id="squares-2", if_exists="resume") == final  # nothing runs again
        True
        """
        request, given = self._admission(state, run_id, if_exists, tags, seed)
        request.values = cells_of(given) if request.stored else given
        options = checked_options(wait, resources, stop, max_runtime)
        load_module("tau.engine.sync_driver")
        from tau.engine.sync_driver import SyncDriver  # the engine is loaded where something is run

        return self._driver(SyncDriver, request, observer, **options).drive()

    @names_keywords
    def resume(
        self,
        run_id: str,
        *,
        answers: Mapping[str, Any] | None = None,
        on_change: OnChange = "error",
        wait: float = 0.0,
        resources: Mapping[str, Any] | None = None,
        observer: ObserverSpec = None,
        stop: Stop | None = None,
        max_runtime: float | None = None,
    ) -> State[Model]:
        """Continue a run that failed, was stopped or was killed, or that waited and was answered, and return the final
        state; of a finished run, return the stored one.

        ``answers`` are given first, by the names of the pauses, as `answer` does; one that is there already, and is
        the same, is no error.

        If the graph has changed in a way that could make the result wrong, ``on_change`` decides: "error" raises
        `GraphChangedError`, "continue" keeps all that is stored, "redo" does that but drops the finished items (steps
        and artifacts) of the node in flight. The other arguments are those of `execute`.

        Raises `CheckpointNotFoundError` for a run that the store does not hold (`RunFinishedError` for one that
        finished with ``preserve=False``), `RunCancelledError` for a cancelled one, `RunWaitingError` for one that waits
        for an answer, what `answer` raises for ``answers``, `LimitExceededError` after too many crashes,
        `CorruptCheckpointError` or `UnsupportedFormatError` for one that cannot be read, `ArtifactError` for
        a file that is missing or altered, `ConfigError` for a graph without a store, and what `execute` raises.

        >>> graph.resume("squares-1")["sum"]  # it has finished: the stored result
        14
        """
        request = self._resumption(run_id, on_change)
        options = checked_options(wait, resources, stop, max_runtime)
        if answers:
            self._answer(run_id, answers, again=True)
        load_module("tau.engine.sync_driver")
        from tau.engine.sync_driver import SyncDriver  # the engine is loaded where something is run

        return self._driver(SyncDriver, request, observer, **options).drive()

    @names_keywords
    async def aexecute(
        self,
        state: State | Mapping[str, Any] | Model | None = None,
        *,
        run_id: str | None = None,
        if_exists: IfExists = "error",
        wait: float = 0.0,
        resources: Mapping[str, Any] | None = None,
        observer: ObserverSpec = None,
        stop: Stop | None = None,
        max_runtime: float | None = None,
        tags: Iterable[str] = (),
        seed: int | None = None,
    ) -> State[Model]:
        """`execute` in an event loop, with the same arguments; sync nodes run in threads of tau's own.

        Raises what `execute` raises, and ``asyncio.CancelledError`` when its task is cancelled.

        >>> import asyncio
        >>> asyncio.run(graph.aexecute({"count": 3}))["sum"]
        5
        """
        request, given = self._admission(state, run_id, if_exists, tags, seed)
        options = checked_options(wait, resources, stop, max_runtime)
        load_module("tau.engine.async_driver")
        from tau.engine.async_driver import AsyncDriver, input_cells  # asyncio is only loaded where something needs it

        request.values = given if self._store is None else await input_cells(self._store, given)
        return await self._driver(AsyncDriver, request, observer, **options).drive()

    @names_keywords
    async def aresume(
        self,
        run_id: str,
        *,
        answers: Mapping[str, Any] | None = None,
        on_change: OnChange = "error",
        wait: float = 0.0,
        resources: Mapping[str, Any] | None = None,
        observer: ObserverSpec = None,
        stop: Stop | None = None,
        max_runtime: float | None = None,
    ) -> State[Model]:
        """`resume` in an event loop, with the same arguments.

        Raises what `resume` raises, and ``asyncio.CancelledError`` when its task is cancelled.

        >>> import asyncio
        >>> asyncio.run(graph.aresume("squares-1"))["sum"]
        14
        """
        request = self._resumption(run_id, on_change)
        options = checked_options(wait, resources, stop, max_runtime)
        load_module("tau.engine.async_driver")
        from tau.engine.async_driver import AsyncDriver  # asyncio is only loaded where something needs it

        if answers:
            await self._in_thread(partial(self._answer, run_id, answers, again=True))
        return await self._driver(AsyncDriver, request, observer, **options).drive()
