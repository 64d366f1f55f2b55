"""`StoredGraph`: a graph with its observer and its store, and what it does with runs but running them."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec.structs import replace

from tau.checks import checked_tags
from tau.config import DEFAULT_LEASE, CheckpointConfig, GraphConfig, ObserverSpec
from tau.errors import ConfigError
from tau.events import Observer
from tau.graph.graph import Graph
from tau.host import Host
from tau.importing import check_not_importing
from tau.late_imports import load_module
from tau.observers import resolve_observer
from tau.state import State
from tau.state_names import check_run_id

if TYPE_CHECKING:
    import os
    from datetime import datetime

    from tau.engine.awaiting import Waiting
    from tau.engine.driver import Driver
    from tau.engine.effects import RunRequest
    from tau.schema.schema import Schema
    from tau.stores.contract import Store
    from tau.stores.user_store import FourVerbs

D = TypeVar("D", bound="Driver")
R = TypeVar("R")

_log = logging.getLogger("tau")


class StoredGraph(Graph):
    """What `StateGraph` is made of: the graph, who observes its runs, and where they are kept."""

    def __init__(
        self,
        config: GraphConfig | str,
        *,
        schema: Any = None,
        observer: ObserverSpec = None,
        store: str | os.PathLike[str] | Store | FourVerbs | None = None,
    ) -> None:
        if isinstance(config, str):
            checkpoint = CheckpointConfig() if store is None else CheckpointConfig(interval=1, preserve=True)
            config = GraphConfig(config, observer="noop", checkpoint=checkpoint)
        elif not isinstance(config, GraphConfig):
            with_schema = f", schema={config.__name__}" if isinstance(config, type) else ""
            raise ConfigError(
                f"a graph is made from its name or from a GraphConfig, as in StateGraph('climate'{with_schema}), found "
                f"{type(config).__name__}: {config!r:.80}"
            )
        elif store is not None and config.checkpoint.interval == 0:
            raise ConfigError(
                "checkpoint.interval is 0, so nothing would be saved in the store that was given; "
                "set CheckpointConfig(interval=1), or give no store"
            )
        super().__init__(config.name, None if schema is None else _schema(schema))
        self.config = config
        self.host = Host()
        self._is_told = False
        self._observer = resolve_observer(config.observer if observer is None else observer)
        self._store: Store | None = None
        if config.checkpoint.interval > 0:
            self._store = _store_of(config.checkpoint.store if store is None else store)

    @property
    def max_iterations(self) -> int:
        """How many nodes a run may visit. Reading it raises nothing."""
        return self.config.max_iterations

    def use_store(self, store: str | os.PathLike[str] | Store | FourVerbs) -> None:
        """Keep runs in this store from now on, and look for them there: `resume`, `plan`, `history` and `cancel` no
        longer find the runs in the earlier store. A graph that has already run may be given another store, too; a run
        that is under way stays in the store in which it began.

        If checkpointing was off, every node is saved and finished runs are kept. Raises `UnknownStoreError` for a
        name that is not registered, `ConfigError` for anything else that cannot be a store.

        >>> graph.use_store("file:runs")
        >>> graph.runs()
        []
        """
        checkpoint = self.config.checkpoint
        if checkpoint.interval == 0:
            self.config = dataclasses.replace(
                self.config, checkpoint=dataclasses.replace(checkpoint, interval=1, preserve=True)
            )
        self._store = _store_of(store)

    @property
    def warnings(self) -> list[str]:
        """What looks like a mistake but can be run: nodes never reached, edges never taken, loops without an exit, a
        store in which nothing is kept. Raises nothing."""
        return [*super().warnings, *self._unused_store()]

    def freeze(self) -> None:
        """Validate, and refuse all changes from now on. Every run does this; repeating it does no harm. Thread-safe.

        Raises `GraphError` as `validate` does.

        >>> graph.freeze()
        >>> try:
        ...     graph.add_node("late", read)
        ... except Exception as error:
        ...     print(type(error).__name__)
        GraphError
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
        load_module("tau.stores.urls")
        from tau.stores.urls import without_password

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

    def _request(self, run_id: str) -> RunRequest:
        load_module("tau.engine.effects")
        from tau.engine.effects import RunRequest  # the engine is loaded where something is run

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
                load_module("tau.engine.provenance")
                from tau.engine.provenance import provenance

                request.provenance = provenance()
            load_module("tau.log.journal")
            from tau.log.journal import Journal

            checkpoint = self.config.checkpoint
            is_default = checkpoint.lease == DEFAULT_LEASE
            owner = self.host.owner(self._store.default_lease if is_default else checkpoint.lease)
            journal = Journal(self._store, request.run_id, self.host, owner, checkpoint.interval)
        return kind(request, self.host, journal=journal, observer=resolve_observer(told), **options)

    def _answer(self, run_id: str, answers: Mapping[str, Any], **options: Any) -> None:
        if self.schema is not None and isinstance(options.get("changes"), Mapping):
            options["changes"] = self.schema.checked(options["changes"], "the changes of the answer do")
        load_module("tau.node.answering")
        from tau.node.answering import give  # only loaded where somebody is asked

        give(self.store, self.host, self.nodes, run_id, answers, schema=self.schema, **options)

    async def _in_thread(self, work: Callable[[], R]) -> R:
        """Do it in one of the store's own threads."""
        load_module("tau.engine.async_driver")
        from tau.engine.async_driver import in_the_store  # asyncio is only loaded where something needs it

        return await in_the_store(self.store, work)

    def _admit(self, request: RunRequest, given: State, not_before: float | datetime | None) -> str:
        load_module("tau.engine.admitting")
        from tau.engine.admitting import admit  # only loaded where runs are left to workers

        return admit(self.store, self.host, request, given, not_before)

    def _waiting(self, run_id: str, timeout: float | None) -> Waiting:
        load_module("tau.engine.awaiting")
        from tau.engine.awaiting import Waiting  # only loaded where runs are left to workers

        return Waiting(self.store, self.host, check_run_id(run_id), timeout, self.schema)

    def _admission(
        self, state: Any, run_id: str | None, if_exists: str, tags: Iterable[str], seed: int | None
    ) -> tuple[RunRequest, State]:
        """What is to be run, and the input, which has yet to be put into it."""
        if if_exists not in ("error", "resume"):
            raise ConfigError(f"if_exists must be 'error' or 'resume', found {if_exists!r}")
        before = state
        if self.schema is not None:
            state = load_module("tau.node.typed").fitted_input(self.schema, state)
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
        if if_exists == "resume" and not (request.stored or self._is_told):
            self._is_told = True
            _log.warning(
                "graph %s has no store, so if_exists='resume' finds no run and each call begins anew: "
                "StateGraph(name, store=...) keeps runs",
                self.name,
            )
        if state is not before and isinstance(before, Mapping):
            request.unfitted = {key: value for key, value in before.items() if value is not given[key]}
        load_module("tau.node.seeds")
        from tau.node.seeds import checked_seed

        chosen = checked_seed(seed)
        request.seed, request.seed_is_given = self.host.seed() if chosen is None else chosen, chosen is not None
        return replace(request, if_exists=if_exists, tags=checked_tags(tags)), given

    def _resumption(self, run_id: str, on_change: str) -> RunRequest:
        if on_change not in ("error", "continue", "redo"):
            raise ConfigError(f"on_change must be 'error', 'continue' or 'redo', found {on_change!r}")
        _ = self.store
        self.freeze()
        return replace(self._request(check_run_id(run_id)), resuming=True, on_change=on_change)


def _store_of(store: object) -> Store:
    load_module("tau.stores.registry")
    from tau.stores.registry import resolve_store  # only loaded where there is one

    return resolve_store(store)


def _schema(cls: Any) -> Schema:
    load_module("tau.schema.schema")
    from tau.schema.schema import Schema  # only loaded where there is one

    return Schema(cls)
