"""Histories that once broke a promise."""

from __future__ import annotations

from msgspec.structs import replace
from simulated_graphs import four_nodes, graphs_in_nodes

from tau import CheckpointConfig, GraphConfig, LeaseLostError, Retry, RunFinishedError, State, StateGraph
from tau.log.records import Interrupted
from tau.node.context import Context
from tau.stores.contract import Batch, PositionConflict, Summary
from tau.stores.memory import MemoryStore
from tau.testing import Moment, simulate


def test_a_visit_after_the_one_that_crashed_is_attempt_one_again() -> None:
    """The attempts of later visits counted a crash that had happened before them."""
    result = simulate(
        four_nodes, {"wanted": 1}, faults=lambda m: "crash" if m.process == 0 and m.what == "run work" else None
    )
    first = {}
    for execution in result.executions:
        first.setdefault((execution.process, execution.node), execution.attempt)
    assert first == {(0, "ingest"): 1, (1, "work"): 2, (1, "check"): 1, (1, "report"): 1}


def test_a_run_deleted_while_it_is_loaded_is_finished_and_not_damaged() -> None:
    """The owner of a finished run deleted its checkpoints between two reads of another process."""

    def late(moment: Moment) -> str | None:
        return {(0, "delete records"): "pause", (1, "store.read"): "pause"}.get((moment.process, moment.what))

    result = simulate(four_nodes, {"wanted": 1}, preserve=False, faults=late)
    assert result.state is not None
    assert isinstance(result.errors[1], RunFinishedError)


def test_a_run_deleted_before_its_values_are_read_is_finished_and_not_damaged() -> None:
    """As above, with the values of the final state in blobs that are fetched later."""

    def late(moment: Moment) -> str | None:
        return {(0, "delete records"): "pause", (1, "delete records"): "pause"}.get((moment.process, moment.what))

    result = simulate(four_nodes, {"wanted": 1}, preserve=False, faults=late)
    assert result.state is not None
    assert isinstance(result.errors[1], RunFinishedError)


def test_a_state_that_could_not_be_read_at_first_is_read_before_another_process_deletes_it() -> None:
    """A reply of the store was lost while the owner read the final state in order to delete the rest: it gave the state
    out unread, and another process finished the deletion."""
    simulate(four_nodes, {"wanted": 2}, faults=[], seed=1924, interval=1, preserve=False, lease=2.0)


def test_records_stored_by_a_commit_that_was_never_answered_are_not_taken_for_somebody_elses() -> None:
    """A flush from inside a node was applied, its reply and the read-back failed: the owner's next commit, which
    begins with the same records, was refused as that of an owner who was superseded."""
    faults = lambda m: "blind" if (m.process, m.what, m.nth) == (0, "store.commit", 2) else None  # noqa: E731
    result = simulate(four_nodes, {"wanted": 1}, interval=3, faults=faults)
    assert not isinstance(result.errors[0], LeaseLostError)
    assert [type(record).__name__ for record in result.log[:4]] == ["Admitted", "Claimed", "CheckpointRecord", "Failed"]


def test_a_conflict_that_cannot_be_looked_into_is_not_called_a_lost_lease() -> None:
    """Ctrl-C after a flush was applied, and then the store could not be read."""

    def struck(moment: Moment) -> str | None:
        if moment.process == 0 and moment.what == "store.commit" and moment.nth == 2:
            return "interrupt-after"
        return "error" if moment.process == 0 and moment.what == "store.read" else None

    result = simulate(four_nodes, {"wanted": 1}, interval=3, faults=struck)
    assert not isinstance(result.errors[0], LeaseLostError)


def test_a_node_is_not_tried_again_by_an_owner_that_was_superseded() -> None:
    """A flush inside a node said that the run was lost, and the node's retries went on beside the new owner."""

    def save(state: State, ctx: Context) -> None:
        state.checkpoint(ctx.resources["store"])

    def make() -> StateGraph:
        graph = StateGraph(GraphConfig("saving", observer=None, checkpoint=CheckpointConfig(interval=3)))
        graph.add_node("first", lambda state: {"a": 1})
        graph.add_node("save", save, retry=Retry(attempts=5))
        graph.sequence("first", "save")
        return graph

    result = simulate(make, faults=lambda m: "pause" if (m.process, m.what) == (0, "run save") else None)
    assert isinstance(result.errors[0], LeaseLostError)
    assert [e.attempt for e in result.executions if e.process == 0 and e.node == "save"] == [1]


def test_a_second_interrupt_while_the_first_is_told_does_not_keep_the_lease() -> None:
    """The run was let go only after the observers had been told, and never if that was broken off."""

    def struck(moment: Moment) -> str | None:
        what = ("emit node.complete", "emit graph.interrupted")
        return "interrupt" if moment.process == 0 and moment.what in what else None

    result = simulate(four_nodes, {"wanted": 1}, faults=struck)
    assert isinstance(result.errors[0], KeyboardInterrupt)
    assert result.points[0][-1] == "release"
    interrupted = next(record for record in result.log if isinstance(record, Interrupted))
    assert interrupted.reason == "KeyboardInterrupt"  # it ended the lease with its own commit


def test_only_our_own_records_are_continued_after_a_conflict() -> None:
    """A commit whose beginning is in the log already is completed; one that differs anywhere is refused."""
    store = MemoryStore()
    summary = Summary(run_id="r", graph="g", status="running", position=0, base=1)

    def commit(*records: bytes) -> int | Exception:
        after = replace(summary, position=len(records))
        return store.committer.commit(Batch("r", 0, b"t", records, (), after))

    assert commit(b"a", b"b") == 2
    assert commit(b"a", b"b", b"c") == 3
    assert commit(b"a", b"b", b"c") == 3
    assert isinstance(commit(b"a", b"x", b"c", b"d"), PositionConflict)
    assert isinstance(commit(b"a", b"b", b"d"), PositionConflict)
    assert [data for _, data in store.read("r")] == [b"a", b"b", b"c"]


def test_branches_of_an_owner_that_was_superseded_do_not_go_on_once_one_knows() -> None:
    """A branch went on to its next node after another one's commit had been refused."""
    simulate(graphs_in_nodes, {"wanted": 2}, seed=61, interval=2, preserve=False, answers={"ask": True})
