"""The history of a run, read from its log."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import Struct
from msgspec.structs import replace

from tau.errors import CorruptCheckpointError
from tau.late_imports import load_module
from tau.log.loading import BlobLoader, emptied, not_found
from tau.log.records import Admitted, CheckpointRecord, Claimed, Routed
from tau.log.replay import Replay
from tau.state import State, view
from tau.stores.contract import Store


class Checkpoint(Struct, frozen=True, kw_only=True):
    """One finished visit in a run's history: ``position`` is its place in the log, ``next`` the node that followed
    (``None`` after an exit point, where a route ended the run, and where one has yet to answer), ``state`` the state at
    that point. Reading a value of it raises what a `State` does.

    >>> from tau import StateGraph
    >>> graph = StateGraph("one", store="sqlite:///tau.db")
    >>> graph.add_node("work", lambda state: {"n": 1})
    >>> graph.sequence("work")
    >>> final = graph.execute({}, run_id="one-1")
    >>> [(one.node, one.visit, one.next, one.state["n"]) for one in graph.history("one-1")]
    [('work', 1, None, 1)]
    """

    position: int
    node: str
    visit: int
    next: str | None
    state: State
    timestamp: datetime

    @property
    def seq(self) -> int:
        """Another name of ``position``."""
        return self.position

    def _repr_html_(self) -> str:
        return self.state._repr_html_()


class History(list[Checkpoint]):
    """A list of checkpoints that notebooks show as a table."""

    def _repr_html_(self) -> str:
        load_module("tau.html")
        from tau.html import table

        rows = [
            (one.position, one.node, one.visit, one.next or "", f"{one.timestamp:%Y-%m-%d %H:%M:%S}") for one in self
        ]
        title = f"History of run {self[0].state.run_id}" if self else "No checkpoints"
        return table(title, ("position", "node", "visit", "then", "finished (UTC)"), rows, {})


def checkpoints(store: Store, run_id: str) -> list[Checkpoint]:
    """See `StateGraph.history`."""
    summary = store.summary(run_id)
    if summary is None or summary.status == "deleted":
        raise not_found(run_id, store)
    if summary.base == 0:
        raise emptied(run_id, summary.status, summary.updated)
    replay = Replay(run_id, BlobLoader(store, run_id))
    found = History()
    for position, data in store.scan(run_id):
        passed_over = replay.damage
        record = replay.add(position, data)
        if passed_over and not replay.damage and not isinstance(record, Claimed | Admitted):
            raise CorruptCheckpointError(f"a part of the history is lost: {passed_over}", run_id=run_id)
        if record is None or record.scope:
            continue
        if isinstance(record, CheckpointRecord):
            found.append(
                Checkpoint(
                    position=position,
                    node=record.node,
                    visit=record.visit,
                    next=record.next,
                    state=view(dict(replay.values), run_id, record.node, record.time),
                    timestamp=datetime.fromtimestamp(record.time, UTC),
                )
            )
        elif isinstance(record, Routed) and found:
            found[-1] = replace(found[-1], next=record.next)
    if replay.damage:
        raise CorruptCheckpointError(f"the end of the history is lost: {replay.damage}", run_id=run_id)
    return found
