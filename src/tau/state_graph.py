"""`StateGraph`: a graph that can be run, resumed and asked about its runs."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from msgspec.structs import replace

from tau.checks import checked_tags
from tau.config import CheckpointConfig, GraphConfig, ObserverSpec
from tau.engine.driver import Driver
from tau.engine.effects import RunRequest
from tau.engine.importing import check_not_importing
from tau.engine.plan import ResumePlan, plan_resume
from tau.engine.provenance import provenance
from tau.engine.stop import Stop, checked_options
from tau.engine.sync_driver import SyncDriver
from tau.errors import ConfigError
from tau.events import Event, Observer
from tau.graph.graph import Graph
from tau.host import Host
from tau.late_imports import load_module
from tau.log.cancellation import cancel_run
from tau.log.history import Checkpoint, checkpoints
from tau.log.journal import Journal
from tau.log.loading import not_found
from tau.node.seeds import checked_seed
from tau.observers import noop, resolve_observer
from tau.state import State, cells_of, check_run_id
from tau.stores.contract import Store
from tau.stores.registry import resolve_store
from tau.stores.urls import without_password

if TYPE_CHECKING:
    import os

    from tau.stores.user_store import FourVerbs

D = TypeVar("D", bound=Driver)

_log = logging.getLogger("tau")

IfExists = Literal["error", "resume"]
"""What `StateGraph.execute` does with a run id that is in use."""

OnChange = Literal["error", "continue", "redo"]
"""What `StateGraph.resume` does if the graph has changed in a way that could make the result wrong."""


class StateGraph(Graph):
    """A state graph with its observer and store.

    Made from a `GraphConfig`, or from a name. With a name and a store, every finished node is saved and finished runs
    are kept; there is no observer unless one is given. ``store`` is a URL, a path (an existing directory is a file
    store, anything else a SQLite file), a registered name, or a store; given together with a config, it replaces only
    the config's store. Thread-safe once it has run. Raises `ConfigError` for a ``store`` together with a config of
    interval 0, `UnknownStoreError` and `UnknownObserverError` for names that are not registered, `GraphError` for a
    name that a graph cannot have.
    """

    def __init__(
        self,
        config: GraphConfig | str,
        *,
        observer: ObserverSpec = None,
        store: str | os.PathLike[str] | Store | FourVerbs | None = None,
    ) -> None:
        if isinstance(config, str):
            checkpoint = CheckpointConfig() if store is None else CheckpointConfig(interval=1, preserve=True)
            config = GraphConfig(config, observer="noop", checkpoint=checkpoint)
        elif not isinstance(config, GraphConfig):
            raise ConfigError(
                "a graph is made from its name or from a GraphConfig, as in StateGraph('climate'), found "
                f"{type(config).__name__}: {config!r:.80}"
            )
        elif store is not None and config.checkpoint.interval == 0:
            raise ConfigError(
                "checkpoint.interval is 0, so nothing would be saved in the store that was given; "
                "set CheckpointConfig(interval=1), or give no store"
            )
        super().__init__(config.name)
        self.config = config
        self.host = Host()
        self._observer = resolve_observer(config.observer if observer is None else observer)
        self._store: Store | None = None
        if config.checkpoint.interval > 0:
            self._store = resolve_store(config.checkpoint.store if store is None else store)

    def use_store(self, store: str | os.PathLike[str] | Store | FourVerbs) -> None:
        """Keep runs in this store from now on, and look for them there: `resume`, `plan`, `history` and `cancel` no
        longer find the runs in the earlier store. A graph that has already run may be given another store, too; a run
        that is under way stays in the store in which it began.

        If checkpointing was off, every node is saved and finished runs are kept. Raises `UnknownStoreError` for a
        name that is not registered, `ConfigError` for anything else that cannot be a store.
        """
        checkpoint = self.config.checkpoint
        if checkpoint.interval == 0:
            self.config = dataclasses.replace(
                self.config, checkpoint=dataclasses.replace(checkpoint, interval=1, preserve=True)
            )
        self._store = resolve_store(store)

    @property
    def warnings(self) -> list[str]:
        """What looks like a mistake but can be run: nodes never reached, edges never taken, loops without an exit, a
        store in which nothing is kept. Raises nothing."""
        return [*super().warnings, *self._unused_store()]

    def freeze(self) -> None:
        """Validate, and refuse all changes from now on. Every run does this; repeating it does no harm. Thread-safe.

        Raises `GraphError` as `validate` does.
        """
        if not self._frozen:
            super().freeze()
            for warning in self._unused_store():
                _log.warning("graph %s: %s", self.name, warning)

    def _unused_store(self) -> list[str]:
        """A warning if a store is named but checkpointing is off, because the interval is 0 by default."""
        named = self.config.checkpoint.store
        if self._store is not None or named == CheckpointConfig().store:
            return []
        shown = repr(without_password(named)) if isinstance(named, str) else type(named).__name__
        return [
            f"nothing is kept in the store {shown}, as checkpoint.interval is 0: give CheckpointConfig(store=..., "
            "interval=1, preserve=True), or StateGraph(name, store=...)"
        ]

    @property
    def store(self) -> Store:
        """The store of this graph's runs. Raises `ConfigError` if checkpointing is off."""
        if self._store is None:
            raise ConfigError(
                "checkpointing not enabled for this graph; give it a store, as in "
                "StateGraph(name, store='sqlite:///runs.db'), or CheckpointConfig(interval=1)"
            )
        return self._store

    def execute(
        self,
        state: State | Mapping[str, Any] | None = None,
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
    ) -> State:
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
        cannot be stored, `LeaseLostError` if the run was taken over or deleted, `StoreError` if the store fails.
        """
        request, given = self._admission(state, run_id, if_exists, tags, seed)
        request.values = cells_of(given) if request.stored else given
        options = checked_options(wait, resources, stop, max_runtime)
        return self._driver(SyncDriver, request, observer, **options).drive()

    def resume(
        self,
        run_id: str,
        *,
        on_change: OnChange = "error",
        wait: float = 0.0,
        resources: Mapping[str, Any] | None = None,
        observer: ObserverSpec = None,
        stop: Stop | None = None,
        max_runtime: float | None = None,
    ) -> State:
        """Continue a run that failed, was stopped or was killed, and return the final state; of a finished run, return
        the stored one.

        If the graph has changed in a way that could make the result wrong, ``on_change`` decides: "error" raises
        `GraphChangedError`, "continue" keeps all that is stored, "redo" does that but drops the finished items (steps
        and artifacts) of the node in flight. The other arguments are those of `execute`.

        Raises `CheckpointNotFoundError` for a run that the store does not hold (`RunFinishedError` for one that
        finished with ``preserve=False``), `RunCancelledError` for a cancelled one, `LimitExceededError` after too many
        crashes, `CorruptCheckpointError` or `UnsupportedFormatError` for one that cannot be read, `ArtifactError` for
        a file that is missing or altered, `ConfigError` for a graph without a store, and what `execute` raises.
        """
        request = self._resumption(run_id, on_change)
        options = checked_options(wait, resources, stop, max_runtime)
        return self._driver(SyncDriver, request, observer, **options).drive()

    async def aexecute(
        self,
        state: State | Mapping[str, Any] | None = None,
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
    ) -> State:
        """`execute` in an event loop, with the same arguments; sync nodes run in threads of tau's own.

        Raises what `execute` raises, and ``asyncio.CancelledError`` when its task is cancelled.
        """
        request, given = self._admission(state, run_id, if_exists, tags, seed)
        options = checked_options(wait, resources, stop, max_runtime)
        load_module("tau.engine.async_driver")
        from tau.engine.async_driver import AsyncDriver, input_cells  # asyncio is only loaded where something needs it

        request.values = given if self._store is None else await input_cells(self._store, given)
        return await self._driver(AsyncDriver, request, observer, **options).drive()

    async def aresume(
        self,
        run_id: str,
        *,
        on_change: OnChange = "error",
        wait: float = 0.0,
        resources: Mapping[str, Any] | None = None,
        observer: ObserverSpec = None,
        stop: Stop | None = None,
        max_runtime: float | None = None,
    ) -> State:
        """`resume` in an event loop, with the same arguments.

        Raises what `resume` raises, and ``asyncio.CancelledError`` when its task is cancelled.
        """
        request = self._resumption(run_id, on_change)
        options = checked_options(wait, resources, stop, max_runtime)
        load_module("tau.engine.async_driver")
        from tau.engine.async_driver import AsyncDriver  # asyncio is only loaded where something needs it

        return await self._driver(AsyncDriver, request, observer, **options).drive()

    async def astream(
        self,
        state: State | Mapping[str, Any] | None = None,
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
    ) -> AsyncGenerator[Event | State, None]:
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

    def plan(self, run_id: str, *, on_change: OnChange = "error") -> ResumePlan:
        """What `resume` would do now; ``refusal`` is the error that it would raise. Changes nothing in the run; if the
        store does not exist yet, it is created, as by every use of it.

        Raises `CheckpointNotFoundError` for a run that the store does not hold, `CorruptCheckpointError` or
        `UnsupportedFormatError` for one that cannot be read, `GraphError` for a graph that cannot be run, `ConfigError`
        for a wrong argument or a graph without a store, `StoreError` if the store fails.
        """
        return plan_resume(self.store, self._resumption(run_id, on_change), self.host)

    def history(self, run_id: str) -> list[Checkpoint]:
        """The finished visits of a run, oldest first; values are read when they are used. If the store does not exist
        yet, it is created.

        Raises `CheckpointNotFoundError` (`RunFinishedError` if the run finished and its history was deleted),
        `CorruptCheckpointError` at a damaged record, `UnsupportedFormatError` for a newer format, `ConfigError` for a
        graph without a store, `StoreError` if the store fails.
        """
        return checkpoints(self.store, check_run_id(run_id))

    def cancel(self, run_id: str) -> None:
        """End a run for good, whatever process owns it; its owner's next commit is refused.

        A finished run is left as it is. Raises `CheckpointNotFoundError` for a run that the store does not hold,
        `ConfigError` for a graph without a store, `StoreError` if the store fails.
        """
        if not cancel_run(self.store, check_run_id(run_id), self.host):
            raise not_found(run_id, self.store.location)

    def _admission(
        self, state: Any, run_id: str | None, if_exists: IfExists, tags: Iterable[str], seed: int | None
    ) -> tuple[RunRequest, State]:
        """What is to be run, and the input, which has yet to be put into it."""
        if if_exists not in ("error", "resume"):
            raise ConfigError(f"if_exists must be 'error' or 'resume', found {if_exists!r}")
        if not (state is None or isinstance(state, Mapping)):
            raise ConfigError(f"the input must be a State or a mapping, found {type(state).__name__}")
        if if_exists == "resume" and run_id is None and not isinstance(state, State):
            raise ConfigError(
                "if_exists='resume' without a run id would begin a new run each time: name the run, as in "
                "execute(state, run_id='climate-2024', if_exists='resume')"
            )
        self.freeze()
        given = state if isinstance(state, State) else State(state)
        identity = check_run_id(run_id) if run_id is not None else given.run_id
        request = self._request(identity)
        chosen = checked_seed(seed)
        request.seed, request.seed_is_given = self.host.seed() if chosen is None else chosen, chosen is not None
        return replace(request, if_exists=if_exists, tags=checked_tags(tags)), given

    def _resumption(self, run_id: str, on_change: OnChange) -> RunRequest:
        if on_change not in ("error", "continue", "redo"):
            raise ConfigError(f"on_change must be 'error', 'continue' or 'redo', found {on_change!r}")
        _ = self.store
        self.freeze()
        return replace(self._request(check_run_id(run_id)), resuming=True, on_change=on_change)

    def _request(self, run_id: str) -> RunRequest:
        checkpoint = self.config.checkpoint
        return RunRequest(
            graph=self,
            run_id=run_id,
            now=self.host.now(),
            stored=self._store is not None,
            location=self._store.location if self._store is not None else "",
            artifacts=checkpoint.artifacts or (self._store.artifacts if self._store is not None else None),
            verify_artifacts=checkpoint.verify_artifacts,
            preserve=checkpoint.preserve,
            max_iterations=self.config.max_iterations,
            max_crashes=checkpoint.max_crashes,
            patience=checkpoint.patience,
            snapshots=self.config.snapshots,
        )

    def _driver(self, kind: type[D], request: RunRequest, observer: ObserverSpec, **options: Any) -> D:
        check_not_importing(self.name)
        observers: Sequence[Observer | None] = (self._observer, resolve_observer(observer))
        told = [one for one in observers if one is not None]
        request.observed = bool(told)
        journal = None
        if self._store is not None:
            if request.observed or not request.resuming:  # it takes some milliseconds, and is for observers
                request.provenance = provenance()
            checkpoint = self.config.checkpoint
            owner = self.host.owner(checkpoint.lease)
            journal = Journal(self._store, request.run_id, self.host, owner, checkpoint.interval)
        return kind(request, self.host, journal=journal, observer=resolve_observer(told), **options)
