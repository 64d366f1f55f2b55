"""The verbs that tell about runs and change nothing in them."""

from __future__ import annotations

from tau.engine.plan import ResumePlan, plan_resume
from tau.log.history import Checkpoint, checkpoints
from tau.spelling import names_keywords
from tau.state import check_run_id
from tau.stored_graph import StoredGraph
from tau.verbs.running import OnChange


class Inspecting(StoredGraph):
    """Ask what the store holds about runs of this graph."""

    @names_keywords
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
