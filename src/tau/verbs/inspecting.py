"""The verbs that tell about runs and change nothing in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tau.late_imports import load_module
from tau.spelling import names_keywords
from tau.state_names import check_run_id
from tau.stored_graph import StoredGraph
from tau.verbs.running import OnChange

if TYPE_CHECKING:
    from tau.engine.plan import ResumePlan
    from tau.log.history import Checkpoint
    from tau.log.run_failure import RunFailure
    from tau.stores.summaries import Summary


class Inspecting(StoredGraph):
    """Ask what the store holds about runs of this graph."""

    @names_keywords
    def plan(self, run_id: str, *, on_change: OnChange = "error") -> ResumePlan:
        """What `resume` would do now; ``refusal`` is the error that it would raise. Changes nothing in the run; if the
        store does not exist yet, it is created, as by every use of it.

        Raises `CheckpointNotFoundError` for a run that the store does not hold, `CorruptCheckpointError` or
        `UnsupportedFormatError` for one that cannot be read, `GraphError` for a graph that cannot be run, `ConfigError`
        for a wrong argument or a graph without a store, `StoreError` if the store fails.

        >>> plan = graph.plan("squares-1")
        >>> plan.status, plan.finished, plan.pending
        ('finished', ('read', 'add_up'), None)
        """
        load_module("tau.engine.plan")
        from tau.engine.plan import plan_resume  # the engine is loaded where something is run

        return plan_resume(self.store, self._resumption(run_id, on_change), self.host)

    def history(self, run_id: str) -> list[Checkpoint]:
        """The finished visits of a run, oldest first; values are read when they are used. If the store does not exist
        yet, it is created.

        Raises `CheckpointNotFoundError` (`RunFinishedError` if the run finished and its history was deleted),
        `CorruptCheckpointError` at a damaged record, `UnsupportedFormatError` for a newer format, `ConfigError` for a
        graph without a store, `StoreError` if the store fails.

        >>> [(one.node, one.next) for one in graph.history("squares-1")]
        [('read', 'add_up'), ('add_up', None)]
        """
        load_module("tau.log.history")
        from tau.log.history import checkpoints  # only loaded where somebody asks

        return checkpoints(self.store, check_run_id(run_id))

    @names_keywords
    def runs(self, *, status: str | None = None, tag: str | None = None, limit: int | None = None) -> Sequence[Summary]:
        """The runs of this graph in its store, the most recently updated first: the rows of ``store.runs()``, each with
        ``.run_id``, ``.status``, ``.node``, ``.iterations``, ``.updated_at`` and ``.tags``.

        ``status`` and ``tag`` choose among them, ``limit`` bounds how many are returned; ``None``: all. A running one
        that lost its owner has status ``dead``, and one whose summary cannot be read ``damaged``. A store that does not
        exist yet is created. Raises `ConfigError` for a ``status`` that does not exist and for a graph without a store,
        `StoreError` if the store fails.

        >>> [(row.run_id, row.status) for row in graph.runs(limit=10)]
        [('squares-1', 'finished')]
        """
        return self.store.runs(graph=self.name, status=status, tag=tag, limit=limit)

    def failure(self, run_id: str) -> RunFailure | None:
        """Why a run failed, as it is recorded: the node, the type and text of the error and the lines that it came
        from. ``None`` for a run that has not failed, and for one that was resumed since.

        Raises `CheckpointNotFoundError` for a run that the store does not hold, or of which only the summary was kept,
        `CorruptCheckpointError` where the record of the failure cannot be read, `ConfigError` for a graph without a
        store, `StoreError` if the store fails.

        >>> from tau import ExecutionError
        >>> try:
        ...     graph.execute({"count": "many"}, run_id="squares-9")
        ... except ExecutionError:
        ...     failure = graph.failure("squares-9")
        >>> failure.node, failure.type, failure.text
        ('read', 'TypeError', "'str' object cannot be interpreted as an integer")
        """
        load_module("tau.log.run_failure")
        from tau.log.run_failure import failure_of  # only loaded where somebody asks

        return failure_of(self.store, check_run_id(run_id))
