"""The verbs that begin a run where another one was, and that end one for good."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tau.errors import ConfigError
from tau.late_imports import load_module
from tau.spelling import names_keywords
from tau.state import State, cells_of
from tau.state_names import check_run_id
from tau.stored_graph import StoredGraph


class Forking(StoredGraph):
    """Decide what becomes of a run that is there."""

    @names_keywords
    def fork(
        self,
        run_id: str,
        *,
        at: int | None = None,
        changes: Mapping[str, Any] | None = None,
        new_run_id: str | None = None,
    ) -> str:
        """Begin a new run where another one was, which stays as it is; returns its id. `resume` runs it.

        ``at`` is an entry of its history (`Checkpoint.seq`), by default the newest: only from there what is finished in
        the node in flight goes with it, and only without ``changes``. ``changes`` are set in the state; then the edges
        after the last finished node are asked anew. The new run has the state, the seed, the visits and iterations of
        the old one, names it as its parent, asks its questions anew and goes on under this graph as it is now: how that
        differs from the graph of then is in its log. Values and artifacts are its own, so either may be deleted. The
        old run may be at work.

        Raises `CheckpointNotFoundError` for a run that the store does not hold (`RunFinishedError` if it finished and
        its checkpoints were deleted), `RunExistsError` for a ``new_run_id`` that is in use, `GraphChangedError` for a
        run of another graph, `ArtifactError` for a file that is missing or altered, `CorruptCheckpointError`,
        `UnserializableError` or `LimitExceededError` for a change that cannot be stored, `SchemaError` for one that
        does not fit the schema, `ConfigError` for an entry that there is not, a wrong argument or a graph without a
        store, `StoreError` if the store fails. Nothing is stored then.

        >>> new = graph.fork("squares-1", at=graph.history("squares-1")[0].seq, changes={"numbers": [10]})
        >>> graph.resume(new)["sum"]
        100
        """
        if at is not None and (not isinstance(at, int) or isinstance(at, bool) or at < 1):
            raise ConfigError(f"at is an entry of a run's history, a whole number from 1 on, found {at!r:.80}")
        if not isinstance(changes, Mapping | None):
            raise ConfigError(f"changes are a mapping of keys to values, found {type(changes).__name__}")
        store, given = self.store, changes or {}
        self.freeze()
        if self.schema is not None:
            given = self.schema.checked(given, "the changes of the fork do")
        load_module("tau.engine.forking")
        from tau.engine.forking import fork  # only loaded where somebody forks

        request = self._request(check_run_id(new_run_id) if new_run_id is not None else State().run_id)
        return fork(store, self.host, request, check_run_id(run_id), at=at, changes=cells_of(given))

    def cancel(self, run_id: str) -> None:
        """End a run for good, whatever process owns it; its owner's next commit is refused.

        A finished run is left as it is. Raises `CheckpointNotFoundError` for a run that the store does not hold,
        `ConfigError` for a graph without a store, `StoreError` if the store fails.

        >>> waiting = graph.admit({"count": 6})
        >>> graph.cancel(waiting)
        >>> graph.store.summary(waiting).status
        'cancelled'
        """
        load_module("tau.log.cancellation")
        from tau.log.cancellation import cancel_run

        load_module("tau.log.loading")
        from tau.log.loading import not_found

        if not cancel_run(self.store, check_run_id(run_id), self.host):
            raise not_found(run_id, self.store)
