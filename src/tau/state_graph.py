"""`StateGraph`: a graph that can be run, resumed and asked about its runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Literal

from tau.checks import checked_name
from tau.config import ObserverSpec
from tau.engine.plan import ResumePlan, plan_resume
from tau.engine.stop import Stop, checked_options
from tau.engine.sync_driver import SyncDriver
from tau.events import Event
from tau.late_imports import load_module
from tau.observers import noop, resolve_observer
from tau.spelling import names_keywords
from tau.state import State, cells_of, check_run_id
from tau.stored_graph import StoredGraph

if TYPE_CHECKING:
    import os
    from datetime import datetime

    from typing_extensions import TypeVar  # type checkers bring their own

    from tau.config import GraphConfig
    from tau.log.answers import OpenPause
    from tau.stores.contract import Store
    from tau.stores.user_store import FourVerbs

    Model = TypeVar("Model", default=Any)
else:
    from typing import TypeVar

    Model = TypeVar("Model")

IfExists = Literal["error", "resume"]
"""What `StateGraph.execute` does with a run id that is in use."""

OnChange = Literal["error", "continue", "redo"]
"""What `StateGraph.resume` does if the graph has changed in a way that could make the result wrong."""


class StateGraph(StoredGraph, Generic[Model]):
    """A state graph with its observer and store.

    Made from a `GraphConfig`, or from a name. With a name and a store, every finished node is saved and finished runs
    are kept; there is no observer unless one is given. ``store`` is a URL, a path (an existing directory is a file
    store, anything else a SQLite file), a registered name, or a store; given together with a config, it replaces only
    the config's store. Thread-safe once it has run. Raises `ConfigError` for a ``store`` together with a config of
    interval 0, `UnknownStoreError` and `UnknownObserverError` for names that are not registered, `GraphError` for a
    name that a graph cannot have.

    ``schema``: a TypedDict, a dataclass, a pydantic model or a msgspec Struct, which says what the state holds. The
    input of a run and what nodes change is validated; a node whose first parameter is annotated with the class, or one
    with some of its fields, gets an instance of it. Raises `ConfigError` for another class.
    """

    @names_keywords
    def __init__(
        self,
        config: GraphConfig | str,
        *,
        schema: type[Model] | None = None,
        observer: ObserverSpec = None,
        store: str | os.PathLike[str] | Store | FourVerbs | None = None,
    ) -> None:
        super().__init__(config, schema=schema, observer=observer, store=store)

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
        """
        request, given = self._admission(state, run_id, if_exists, tags, seed)
        request.values = cells_of(given) if request.stored else given
        options = checked_options(wait, resources, stop, max_runtime)
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
        """
        request = self._resumption(run_id, on_change)
        options = checked_options(wait, resources, stop, max_runtime)
        if answers:
            self._answer(run_id, answers, again=True)
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
        """
        request = self._resumption(run_id, on_change)
        options = checked_options(wait, resources, stop, max_runtime)
        load_module("tau.engine.async_driver")
        from tau.engine.async_driver import AsyncDriver  # asyncio is only loaded where something needs it

        if answers:
            await self._in_thread(partial(self._answer, run_id, answers, again=True))
        return await self._driver(AsyncDriver, request, observer, **options).drive()

    @names_keywords
    async def astream(
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
    ) -> AsyncGenerator[Event | State[Model], None]:
        """`aexecute`, yielding each event as it happens and the final state as the last item.

        Closing the iterator early stops the run; `aresume` goes on with it. Raises what `aexecute` raises, after the
        events that came before.
        """
        load_module("asyncio")
        import asyncio

        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def put(event: Event | None) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, event)

        run = self.aexecute(
            state,
            run_id=run_id,
            if_exists=if_exists,
            wait=wait,
            resources=resources,
            observer=[put] if observer is None else [put, resolve_observer(observer) or noop],
            stop=stop,
            max_runtime=max_runtime,
            tags=tags,
            seed=seed,
        )
        task = asyncio.ensure_future(run)
        task.add_done_callback(lambda _: put(None))
        try:
            while (event := await queue.get()) is not None:
                yield event
            yield task.result()
        finally:
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task

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
        """
        _ = self.store
        request, given = self._admission(state, run_id, "error", tags, seed)
        return self._admit(request, given, not_before)

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
        """
        _ = self.store
        request, given = self._admission(state, run_id, "error", tags, seed)
        return await self._in_thread(partial(self._admit, request, given, not_before))

    def wait(self, run_id: str, timeout: float | None = None) -> State[Model]:
        """Wait until a run has ended, whoever runs it, and return its final state, or raise what `execute` would.

        A run that is admitted, dead, or stopped so that a worker goes on with it has not ended. ``timeout`` is in
        seconds, ``None`` for as long as it takes; it changes nothing in the run.

        Raises `WaitTimeoutError` after the timeout, `ExecutionError` for a run that failed, `RunWaitingError` for one
        that waits for an answer, `RunInterruptedError` for one that a person stopped, `RunCancelledError`,
        `CheckpointNotFoundError` (`RunFinishedError`) and `CorruptCheckpointError` as `resume` does, `ConfigError` for
        a wrong argument or a graph without a store, `StoreError` if the store fails.
        """
        waiting = self._waiting(run_id, timeout)
        while (final := waiting.look()) is None:
            self.host.sleep(waiting.pause)
        return final

    async def await_run(self, run_id: str, timeout: float | None = None) -> State[Model]:
        """`wait` in an event loop, with the same arguments.

        Raises what `wait` raises, and ``asyncio.CancelledError`` when its task is cancelled.
        """
        load_module("asyncio")
        import asyncio

        waiting = self._waiting(run_id, timeout)
        while (final := await self._in_thread(waiting.look)) is None:
            await asyncio.sleep(waiting.pause)
        return final

    @names_keywords
    def plan(self, run_id: str, *, on_change: OnChange = "error") -> ResumePlan:
        """What `resume` would do now; ``refusal`` is the error that it would raise. Changes nothing in the run; if the
        store does not exist yet, it is created, as by every use of it.

        Raises `CheckpointNotFoundError` for a run that the store does not hold, `CorruptCheckpointError` or
        `UnsupportedFormatError` for one that cannot be read, `GraphError` for a graph that cannot be run, `ConfigError`
        for a wrong argument or a graph without a store, `StoreError` if the store fails.
        """
        return plan_resume(self.store, self._resumption(run_id, on_change), self.host)

    @names_keywords
    def answer(
        self, run_id: str, name: str, value: Any, *, by: str | None = None, changes: Mapping[str, Any] | None = None
    ) -> None:
        """Answer the pause ``name`` of a run, from any process, whoever owns the run; `resume` goes on with it.

        ``value`` is an instance of the form of the pause, or the same in dicts, lists and scalars. ``by`` says who
        answers, which is stored with the time; by default the user and host of this process. ``changes`` are set in the
        state in the same commit, which only the answer to a `pause_node` can do.

        Raises `AnswerError` for an answer that does not fit, `AnsweredError` if somebody was faster,
        `PauseExpiredError` after the deadline, `PauseNotFoundError` if the run does not wait for that,
        `RunCancelledError` and `CheckpointNotFoundError` as `resume` does, `UnserializableError` or
        `LimitExceededError` for a value that cannot be stored, `SchemaError` for changes that do not fit the schema,
        `ConfigError` for a wrong argument or a graph without a store, `StoreError` if the store fails. Nothing is
        stored then.
        """
        self._answer(run_id, {checked_name("the name of a pause", name): value}, by=by, changes=changes)

    @names_keywords
    async def aanswer(
        self, run_id: str, name: str, value: Any, *, by: str | None = None, changes: Mapping[str, Any] | None = None
    ) -> None:
        """`answer` in an event loop, with the same arguments; a thread of the store's own does it, to its end.

        Raises what `answer` raises, and ``asyncio.CancelledError`` when its task is cancelled.
        """
        answers = {checked_name("the name of a pause", name): value}
        await self._in_thread(partial(self._answer, run_id, answers, by=by, changes=changes))

    def pauses(self, run_id: str | None = None) -> list[OpenPause]:
        """What waits for an answer: in that run, or in all runs of this graph, the first asked first.

        A pause past its deadline is answered by its default here, or its run fails. Raises `CheckpointNotFoundError`
        for a run that the store does not hold, `CorruptCheckpointError` or `UnsupportedFormatError` for one that cannot
        be read, `ConfigError` for a graph without a store, `StoreError` if the store fails.
        """
        load_module("tau.log.answers")
        from tau.log.answers import open_pauses  # only loaded where somebody is asked

        if run_id is not None:
            return open_pauses(self.store, self.host, run_id=check_run_id(run_id))
        return open_pauses(self.store, self.host, graph=self.name)
