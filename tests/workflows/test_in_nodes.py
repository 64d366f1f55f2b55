"""Workflows that are called inside a node: the run's observers, its stops and what ends a run."""

from __future__ import annotations

from typing import Any

import pytest
from telling import join, told

from tau import (
    ChainConfig,
    ChainError,
    ChainResult,
    ExecutionError,
    GraphConfig,
    LeaseLostError,
    RunInterruptedError,
    StateGraph,
    Stop,
    current,
    process_chain,
)
from tau.observers import Recorder


def graph_of(node: Any, **options: Any) -> StateGraph:
    graph = StateGraph("g", **options)
    graph.add_node("work", node)
    graph.sequence("work")
    return graph


def chain_events(recorder: Recorder) -> list[tuple[str, dict[str, Any]]]:
    return [one for one in told(recorder) if one[0].startswith(("chain.", "step."))]


def test_a_chain_in_a_node_tells_the_observer_of_the_run() -> None:
    """W69: with the run, node and visit it belongs to."""
    recorder = Recorder()
    graph = graph_of(lambda state: {"text": process_chain("ab", "x", join).final})
    assert graph.execute({}, run_id="r", observer=recorder)["text"] == "x->a->b"
    where = {"chain": "join", "run_id": "r", "node": "work", "visit": 1}
    found = chain_events(recorder)
    assert [type_ for type_, _ in found] == [
        "chain.start", "step.start", "step.complete", "step.start", "step.complete", "chain.complete",
    ]  # fmt: skip
    assert all(where.items() <= data.items() for _, data in found)
    types = recorder.types()
    assert types.index("node.start") < types.index("chain.start") < types.index("node.complete")


def test_a_chain_in_a_silent_run_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    """W69"""
    graph = graph_of(lambda state: {"text": process_chain("ab", "x", join).final})
    with caplog.at_level("INFO", "tau.events"):
        graph.execute({})
    assert not caplog.records


def test_a_chain_may_have_an_observer_of_its_own_in_a_node() -> None:
    """W69"""
    own, outer = Recorder(), Recorder()
    graph = graph_of(lambda state: {"text": process_chain("a", "x", join, ChainConfig(observer=own)).final})
    graph.execute({}, observer=outer)
    assert own.types() == ["chain.start", "step.start", "step.complete", "chain.complete"]
    assert not chain_events(outer)


def test_a_stop_of_the_run_ends_a_chain_before_its_next_step_and_the_run_goes_on_later() -> None:
    """W43: the error says how far the chain came."""
    stop, seen, caught = Stop(), list[str](), list[BaseException]()

    def step(item: str, state: str) -> str:
        seen.append(item)
        if item == "b":
            stop.set("walltime")
        return join(item, state)

    def node(state: Any) -> dict[str, str]:
        try:
            return {"text": process_chain("abc", "x", step).final}
        except RunInterruptedError as error:
            caught.append(error)
            raise

    graph = graph_of(node, store="memory:")
    with pytest.raises(RunInterruptedError, match="walltime"):
        graph.execute({}, run_id="r", stop=stop)
    so_far = caught[0].__cause__
    assert isinstance(so_far, ChainError)
    assert so_far.result == ChainResult("x->a->b", (), 2)
    assert seen == ["a", "b"]
    assert graph.resume("r")["text"] == "x->a->b->c"


def test_a_stop_during_the_last_step_leaves_the_chain_as_finished_as_it_is() -> None:
    """W42"""
    stop = Stop()

    def step(item: str, state: str) -> str:
        if item == "c":
            stop.set()
        return join(item, state)

    graph = graph_of(lambda state: {"text": process_chain("abc", "x", step).final}, store="memory:")
    assert graph.execute({}, stop=stop)["text"] == "x->a->b->c"


async def test_a_chain_of_an_async_node_runs_in_its_loop_and_knows_its_visit() -> None:
    keys = []

    async def step(item: str, state: str) -> str:
        keys.append((current().node, current().visit))
        return join(item, state)

    async def node(state: Any) -> dict[str, str]:
        return {"text": (await process_chain("ab", "x", step)).final}

    assert (await graph_of(node).aexecute({}))["text"] == "x->a->b"
    assert keys == [("work", 1)] * 2


def test_an_error_of_a_step_is_the_failure_of_the_node() -> None:
    def step(item: str, state: str) -> str:
        raise OSError("no route")

    with pytest.raises(ExecutionError, match="chain failed at step 0: no route") as caught:
        graph_of(lambda state: {"text": process_chain("ab", "x", step).final}).execute({})
    assert isinstance(caught.value.__cause__, ChainError)


def test_a_run_that_is_lost_in_a_step_is_no_failure_of_the_chain() -> None:
    """What the run cannot go on after comes out as it is."""
    lost = LeaseLostError("taken over", run_id="r")

    def step(item: str, state: str) -> str:
        raise lost

    def node(state: Any) -> dict[str, str]:
        with pytest.raises(LeaseLostError) as caught:
            process_chain("a", "x", step)
        assert caught.value is lost
        assert isinstance(lost.__cause__, ChainError)
        return {}

    graph_of(node).execute({})


def test_the_observer_of_the_graph_s_configuration_is_inherited_too() -> None:
    """W69"""
    recorder = Recorder()
    graph = StateGraph(GraphConfig("g", observer=recorder))
    graph.add_node("work", lambda state: {"text": process_chain("a", "x", join).final})
    graph.sequence("work")
    graph.execute({})
    assert len(chain_events(recorder)) == 4
