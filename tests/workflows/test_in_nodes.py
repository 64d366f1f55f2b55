"""Workflows that are called inside a node: the run's observers, its stops and what ends a run."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
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
    ParallelConfig,
    ParallelError,
    Retry,
    RunInterruptedError,
    StateGraph,
    Stop,
    TauError,
    current,
    process_chain,
    process_parallel,
    stop_on,
)
from tau.observers import Recorder
from tau.stores.memory import MemoryStore


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

    graph = graph_of(node, store=MemoryStore())
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

    graph = graph_of(lambda state: {"text": process_chain("abc", "x", step).final}, store=MemoryStore())
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


LONG = 30.0  # for what comes at once, unless something is broken


def test_a_map_in_a_node_tells_the_observer_of_the_run_and_its_items_know_their_visit() -> None:
    """W69"""
    recorder, where = Recorder(), set()

    def task(item: int) -> int:
        where.add((current().node, current().visit, current().key))
        return 2 * item

    def node(state: Any) -> dict[str, Any]:
        return {"doubled": process_parallel(state["items"], task).results, "key": current().key}

    final = graph_of(node).execute({"items": [1, 2, 3]}, run_id="r", observer=recorder)
    assert final["doubled"] == [2, 4, 6]
    assert where == {("work", 1, final["key"])}
    about = {"parallel": "task", "run_id": "r", "node": "work", "visit": 1}
    found = [one for one in told(recorder) if one[0].startswith(("parallel.", "worker."))]
    assert len(found) == 8
    assert all(about.items() <= data.items() for _, data in found)


async def test_a_map_of_async_items_runs_in_the_loop_of_its_node() -> None:
    async def task(item: int) -> tuple[int, str]:
        await asyncio.sleep(0)
        return item, current().node

    async def node(state: Any) -> dict[str, Any]:
        return {"found": (await process_parallel([1, 2], task)).results}

    assert (await graph_of(node).aexecute({}))["found"] == [(1, "work"), (2, "work")]


def test_steps_of_items_are_kept_and_a_resume_does_the_rest() -> None:
    """`ctx.step` works in any thread of the map; see the page on workflows."""
    computed, failing = [], [3]

    def fit(item: int) -> int:
        if item in failing:
            raise OSError("the file server is away")
        computed.append(item)
        return 10 * item

    def task(item: int) -> int:
        return current().step(f"item {item}", fit, item)

    def node(state: Any) -> dict[str, Any]:
        config = ParallelConfig(max_workers=2, fail_fast=False)
        result = process_parallel(range(5), task, config)
        if result.errors:
            raise result.errors[0]
        return {"found": result.results}

    graph = graph_of(node, store=MemoryStore())
    with pytest.raises(ExecutionError, match="item 3: the file server is away"):
        graph.execute({}, run_id="r")
    failing.clear()
    assert graph.resume("r")["found"] == [0, 10, 20, 30, 40]
    assert sorted(computed) == [0, 1, 2, 3, 4]


def test_a_stop_of_the_run_ends_a_map_before_its_next_item() -> None:
    """W43: what ran comes to its end, and the error says what is done."""
    stop, caught = Stop(), list[BaseException]()

    def task(item: int) -> int:
        if item == 1:
            stop.set("walltime")
        return item

    def node(state: Any) -> dict[str, Any]:
        try:
            return {"found": process_parallel(range(4), task, ParallelConfig(max_workers=1)).results}
        except RunInterruptedError as error:
            caught.append(error)
            raise

    graph = graph_of(node, store=MemoryStore())
    with pytest.raises(RunInterruptedError, match="walltime"):
        graph.execute({}, run_id="r", stop=stop)
    so_far = caught[0].__cause__
    assert isinstance(so_far, ParallelError)
    assert so_far.result.results == [0, 1]
    assert [one.status for one in so_far.result.outcomes] == ["done", "done", "not_run", "not_run"]
    assert graph.resume("r")["found"] == [0, 1, 2, 3]


async def test_a_stop_of_the_run_cancels_async_items() -> None:
    """W43"""
    stop, ended = Stop(), []

    async def task(item: int) -> int:
        if item == 1:
            stop.set("walltime")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(item)
        return item

    async def node(state: Any) -> dict[str, Any]:
        return {"found": (await process_parallel(range(9), task, ParallelConfig(max_workers=2))).results}

    with pytest.raises(RunInterruptedError, match="walltime"):
        await graph_of(node, store=MemoryStore()).aexecute({}, run_id="r", stop=stop)
    assert sorted(ended) == [0, 1]


def test_a_stop_during_the_last_items_leaves_a_map_as_finished_as_it_is() -> None:
    """W42"""
    stop = Stop()

    def task(item: int) -> int:
        if item == 3:
            stop.set()
        return item

    graph = graph_of(lambda state: {"found": process_parallel(range(4), task, ParallelConfig(max_workers=1)).results})
    assert graph.execute({}, stop=stop)["found"] == [0, 1, 2, 3]


def test_a_second_signal_interrupts_a_map_and_the_run_can_be_resumed() -> None:
    """The first lets what runs come to its end, the second is raised in the caller's thread."""
    patient, seen, main = [], [], threading.main_thread().ident or 0
    raised = threading.Event()

    def task(item: int) -> int:
        seen.append(item)
        if not patient:
            signal.pthread_kill(main, signal.SIGUSR1)
            assert stop.event.wait(LONG)
            signal.pthread_kill(main, signal.SIGUSR1)
            assert raised.wait(LONG)
        return item

    def node(state: Any) -> dict[str, Any]:
        return {"found": process_parallel(range(4), task, ParallelConfig(max_workers=1)).results}

    graph = graph_of(node, store=MemoryStore())
    with stop_on(signal.SIGUSR1) as stop:
        handler = signal.getsignal(signal.SIGUSR1)

        def noted(number: int, frame: Any) -> None:
            if stop.is_set():
                raised.set()
            assert callable(handler)
            handler(number, frame)

        signal.signal(signal.SIGUSR1, noted)
        with pytest.raises(RunInterruptedError, match="second signal"):
            graph.execute({}, run_id="r", stop=stop)
    assert seen == [0]
    patient.append(True)
    assert graph.resume("r")["found"] == [0, 1, 2, 3]


def test_what_a_thread_does_after_its_item_was_given_up_is_not_saved_for_a_later_attempt() -> None:
    """The late thread belongs to the attempt in which its item took too long."""
    late, ended, errors = threading.Event(), threading.Event(), list[BaseException]()

    def task(item: int) -> int:
        if current().attempt > 1:
            return item
        assert late.wait(LONG)
        try:
            return current().step("late", lambda: item)
        except TauError as error:
            errors.append(error)
            raise
        finally:
            ended.set()

    def node(state: Any) -> dict[str, Any]:
        if current().attempt > 1:
            late.set()
            assert ended.wait(LONG)
        config = ParallelConfig(timeout=0.02 if current().attempt == 1 else None)
        return {"found": process_parallel([7], task, config).results}

    graph = StateGraph("g", store=MemoryStore())
    graph.add_node("work", node, retry=Retry(attempts=2, delay=0.0))
    graph.sequence("work")
    assert graph.execute({})["found"] == [7]
    assert "is not running any more" in str(errors[0])


def test_a_run_that_is_lost_in_an_item_is_no_failure_of_the_item() -> None:
    lost = LeaseLostError("taken over", run_id="r")

    def task(item: int) -> int:
        if item == 1:
            raise lost
        return item

    def node(state: Any) -> dict[str, Any]:
        with pytest.raises(LeaseLostError) as caught:
            process_parallel(range(9), task, ParallelConfig(max_workers=1, fail_fast=False, retry=Retry()))
        assert caught.value is lost
        assert isinstance(lost.__cause__, ParallelError)
        assert lost.__cause__.result.results == [0]
        return {}

    graph_of(node).execute({})


def test_a_stop_before_a_step_closes_the_chain_without_a_pair_of_step_events() -> None:
    """W14"""
    stop, recorder = Stop(), Recorder()

    def node(state: Any) -> dict[str, Any]:
        stop.set("walltime")
        return {"text": process_chain("abc", "x", join).final}

    with pytest.raises(RunInterruptedError, match="walltime"):
        graph_of(node, store=MemoryStore()).execute({}, run_id="r", stop=stop, observer=recorder)
    where = {"chain": "join", "run_id": "r", "node": "work", "visit": 1}
    assert chain_events(recorder) == [
        ("chain.start", {**where, "item_count": 3, "has_progress_callback": False, "capture_intermediate": False}),
        ("chain.complete", {**where, "steps_completed": 0, "error": True, "error_type": "cancellation"}),
    ]


@pytest.mark.parametrize("kind", ["chain", "map"])
def test_what_works_in_a_node_that_took_too_long_ends_at_its_next_item(kind: str) -> None:
    """Nothing can end the thread of the node, but it does not go through all the items that are left."""
    release, ended, seen = threading.Event(), threading.Event(), list[int]()

    def task(item: int, state: int = 0) -> int:
        seen.append(item)
        assert release.wait(LONG)
        return item

    def node(state: Any) -> None:
        try:
            if kind == "chain":
                process_chain(range(5), 0, task)
            else:
                process_parallel(range(5), task, ParallelConfig(max_workers=1))
        finally:
            ended.set()

    graph = StateGraph("g")
    graph.add_node("work", node, timeout=0.02)
    graph.sequence("work")
    with pytest.raises(ExecutionError, match="did not finish within its timeout"):
        graph.execute({})
    release.set()
    assert ended.wait(LONG)
    assert seen in ([0], [])  # the node may have been late even for its first


def test_a_node_is_not_run_again_beside_an_item_that_two_interrupts_left_at_work() -> None:
    """A resume in the same process waits for it, and says so in the log."""
    release, raised, at_work, both = threading.Event(), threading.Event(), set[int](), list[bool]()
    main = threading.main_thread().ident or 0

    def task(item: int) -> int:
        both.append(bool(at_work))
        at_work.add(item)
        if len(both) == 1:
            signal.pthread_kill(main, signal.SIGINT)
            assert raised.wait(LONG)
            signal.pthread_kill(main, signal.SIGINT)
            assert release.wait(LONG)
        at_work.remove(item)
        return item

    class Releasing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "still at work" in record.getMessage():
                release.set()

    def interrupted(number: int, frame: Any) -> None:
        raised.set()
        raise KeyboardInterrupt

    graph = graph_of(
        lambda state: {"found": process_parallel([7], task, ParallelConfig(observer=None)).results}, store=MemoryStore()
    )
    before, handler = signal.signal(signal.SIGINT, interrupted), Releasing()
    logging.getLogger("tau").addHandler(handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            graph.execute({}, run_id="r")
        assert not release.is_set()
        assert graph.resume("r")["found"] == [7]
        assert both == [False, False]
    finally:
        release.set()
        logging.getLogger("tau").removeHandler(handler)
        signal.signal(signal.SIGINT, before)
