"""The simulation itself: it repeats exactly, it shows where it broke, and it notices what is broken."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
import time
from collections.abc import Callable
from itertools import count

import pytest
from broken_stores import Forgetful, Hollow, Losing, Torn, Unfenced
from simulated_graphs import four_nodes, graphs_in_nodes, nodes_of_steps

from tau import (
    CheckpointConfig,
    ConfigError,
    Context,
    ExecutionError,
    GraphConfig,
    LeaseLostError,
    NodeTimeoutError,
    Retry,
    RunCancelledError,
    State,
    StateGraph,
)
from tau.log.records import Cancelled, CheckpointRecord, Item
from tau.node.steps import StepRunner
from tau.stores.memory import MemoryStore
from tau.testing import Fault, Moment, SimulationError, explore, simulate
from tau.testing.simulation.process import Process

WANTED = {"wanted": 2}


def config(name: str = "simulated", interval: int = 1) -> GraphConfig:
    return GraphConfig(name, observer=None, checkpoint=CheckpointConfig(interval=interval))


def test_without_faults_one_process_runs_the_graph() -> None:
    result = simulate(four_nodes, WANTED)
    assert result.state is not None
    assert result.state["seen"] == frozenset({1, 2})
    assert [record.node for record in result.log if isinstance(record, CheckpointRecord)] == [
        "ingest", "work", "check", "work", "check", "report",
    ]  # fmt: skip
    assert result.errors == [None]
    assert 0.6 < result.seconds < 2.0


def test_a_seed_gives_the_same_history_again() -> None:
    def history(seed: int) -> object:
        result = simulate(four_nodes, WANTED, seed=seed, interval=2)
        return [(type(r), r.position, r.token, r.time) for r in result.log], result.points, result.seconds

    seen = [history(seed) for seed in range(40)]
    assert seen == [history(seed) for seed in range(40)]
    assert len({str(one) for one in seen}) == 40


def test_a_simulation_takes_no_time_and_no_thread() -> None:
    def patient() -> StateGraph:
        graph = StateGraph(config())
        graph.add_node("wait", lambda state: asyncio.sleep(3600.0))
        graph.sequence("wait")
        return graph

    before, began = threading.active_count(), time.monotonic()
    result = simulate(four_nodes, WANTED, faults=[Fault(0, 20, "pause")], lease=86400.0)
    assert result.seconds > 86400.0
    assert threading.active_count() == before
    assert time.monotonic() - began < 60.0


def test_async_nodes_and_their_timeouts_run_in_simulated_time() -> None:
    async def slow(state: State, ctx: Context) -> dict[str, float]:
        await asyncio.sleep(3600.0)
        return {"slept": 1.0}

    def make(timeout: float) -> StateGraph:
        graph = StateGraph(config())
        graph.add_node("slow", slow, timeout=timeout)
        graph.sequence("slow")
        return graph

    assert simulate(lambda: make(4000.0)).seconds > 3600.0
    assert explore(lambda: make(4000.0), kinds=["crash"]) > 10
    failed = simulate(lambda: make(10.0))
    assert isinstance(failed.errors[0], ExecutionError)
    assert isinstance(failed.errors[0].__cause__, NodeTimeoutError)


def test_a_simulation_logs_no_warnings_of_its_runs(caplog: pytest.LogCaptureFixture) -> None:
    def make() -> StateGraph:
        graph = StateGraph(config())
        graph.add_node("try", fails_at_first, retry=Retry(attempts=2, delay=0.01))
        graph.sequence("try")
        return graph

    def fails_at_first(state: State, ctx: Context) -> None:
        if ctx.attempt == 1:
            ctx.log.warning("mine")
            raise OSError("not yet")

    simulate(make)
    assert [record.getMessage().partition(" ")[0] for record in caplog.records if record.levelname == "WARNING"] == [
        "mine",
        "mine",
    ]
    make().execute({})
    assert any("is tried again" in record.getMessage() for record in caplog.records)


def test_a_graph_that_fails_fails_the_same_way_after_every_crash() -> None:
    def make() -> StateGraph:
        graph = StateGraph(config())
        graph.add_node("first", lambda state: {"a": 1})
        graph.add_node("second", lambda state: {"b": 1 // 0})
        graph.sequence("first", "second")
        return graph

    assert explore(make) > 100


def test_a_route_that_answers_anew_each_time_is_noticed() -> None:
    answers = count()

    async def ask(state: State) -> str:
        return "a" if next(answers) % 2 else "b"

    def make() -> StateGraph:
        graph = StateGraph(config())
        for name in "fab":
            graph.add_node(name, lambda state: None)
        graph.add_conditional_edges("f", ask, ["a", "b"])
        graph.set_entry_point("f")
        graph.set_exit_point("a")
        graph.set_exit_point("b")
        return graph

    with pytest.raises(SimulationError, match=r"a route answered \('f', 1, 'a', 'a'\), in the uninterrupted run"):
        simulate(make)


def test_a_paused_owner_is_refused_and_its_successor_has_the_result() -> None:
    result = simulate(
        four_nodes, WANTED, faults=lambda m: "pause" if (m.process, m.what) == (0, "run report") else None
    )
    assert isinstance(result.errors[0], LeaseLostError)
    assert result.errors[1] is None
    assert [e.node for e in result.executions if e.process == 1] == ["report"]


def test_of_processes_that_stand_still_inside_of_a_call_the_outer_one_is_not_taken_for_alive() -> None:
    """A process that could not go on yet renewed its lease, so nobody ever got the run: seed 20434."""
    simulate(four_nodes, WANTED, seed=20434, interval=3)

    def struck(moment: Moment) -> str | None:
        return {(0, "store.commit", 4): "pause", (1, "store.summary", 1): "freeze"}.get(
            (moment.process, moment.what, moment.nth)
        )

    result = simulate(four_nodes, WANTED, faults=struck)
    assert isinstance(result.errors[0], LeaseLostError)


def test_a_nap_beyond_the_lease_that_nobody_used_costs_nothing() -> None:
    result = simulate(four_nodes, WANTED, faults=lambda m: "nap" if m.what.startswith("run ") else None)
    assert result.errors == [None]
    assert len({(e.node, e.visit) for e in result.executions}) == 6


def test_a_cancelled_run_ends_where_it_is_and_its_owner_is_told() -> None:
    result = simulate(four_nodes, WANTED, faults=lambda m: "cancel" if m.what == "run check" else None)
    assert result.state is None
    assert isinstance(result.errors[0], RunCancelledError)
    assert [type(record) for record in result.log[-2:]] == [CheckpointRecord, Cancelled]


def test_a_log_with_several_manifests_adds_up_to_the_same_from_each() -> None:
    result = simulate(four_nodes, {"wanted": 120}, faults=[Fault(0, 1500, "crash")])
    manifests = [r for r in result.log if isinstance(r, CheckpointRecord) and r.manifest is not None]
    assert len(manifests) >= 2
    assert result.state is not None
    assert len(result.state["rows"]) == 120


# It can fail.


@pytest.mark.parametrize("store", [Unfenced, Forgetful, Torn, Losing, Hollow])
def test_a_store_that_breaks_the_contract_is_found_out(store: type[MemoryStore]) -> None:
    with pytest.raises(SimulationError) as caught:
        explore(four_nodes, WANTED, kinds=["crash", "pause"], interval=3, store=lambda clock: store(clock=clock))
    assert caught.value.violations


def test_a_stale_write_is_called_one() -> None:
    struck = lambda m: "pause" if (m.process, m.what, m.nth) == (0, "run work", 2) else None  # noqa: E731
    result = simulate(four_nodes, WANTED, faults=struck, store=lambda clock: Unfenced(clock=clock), check=False)
    assert any("was accepted at" in violation for violation in result.violations)


def test_a_node_that_keeps_something_outside_of_the_state_is_found_out() -> None:
    def make() -> StateGraph:
        numbers = count(1)
        graph = StateGraph(config())
        graph.add_node("first", lambda state: {"a": next(numbers)})
        graph.add_node("second", lambda state: {"b": next(numbers)})
        graph.sequence("first", "second")
        return graph

    with pytest.raises(SimulationError, match="another value under 'b'"):
        explore(make, kinds=["crash"])


def test_a_failing_seed_or_fault_names_the_call_that_repeats_it() -> None:
    with pytest.raises(SimulationError) as caught:
        explore(four_nodes, WANTED, kinds=["freeze"], interval=3, store=lambda clock: Unfenced(clock=clock))
    text = str(caught.value)
    assert "simulate(four_nodes, {'wanted': 2}, faults=[Fault(process=0, point=" in text
    assert "seed=None, interval=3" in text
    for seed in range(100):
        result = simulate(four_nodes, WANTED, seed=seed, store=lambda clock: Unfenced(clock=clock), check=False)
        if result.violations:
            with pytest.raises(SimulationError, match=f"with seed {seed}") as failed:
                simulate(four_nodes, WANTED, seed=seed, store=lambda clock: Unfenced(clock=clock))
            assert failed.value.violations == result.violations
            return
    pytest.fail("no seed found the store that takes stale writes")


def test_faults_may_be_asked_for_at_each_moment() -> None:
    seen: list[Moment] = []
    simulate(four_nodes, {"wanted": 1}, faults=seen.append)
    assert [moment.point for moment in seen] == list(range(len(seen)))
    assert [m.nth for m in seen if m.what == "store.commit"] == list(range(1, 6))
    assert seen[0].what == "append"
    assert seen[-1].what == "release"


def test_ctrl_c_stops_a_simulation_and_is_no_broken_promise() -> None:
    calls = count()

    def build() -> StateGraph:
        graph = StateGraph("stopped")

        def work(state: State) -> dict[str, int]:
            if next(calls) == 5:
                signal.raise_signal(signal.SIGINT)
            return {"done": 1}

        graph.add_node("work", work, version="1")
        graph.sequence("work")
        return graph

    with pytest.raises(KeyboardInterrupt):
        explore(build, {}, kinds=["crash-after"])
    assert next(calls) == 6


def test_a_wrong_input_is_refused() -> None:
    with pytest.raises(ConfigError, match="a State or a mapping, found int"):
        explore(four_nodes, 5)  # type: ignore[arg-type]


def processes() -> list[Process]:
    gc.collect()
    return [found for found in gc.get_objects() if isinstance(found, Process)]


def test_simulated_processes_are_freed() -> None:
    """Tens of thousands of them are made; those that crash leave circles behind, which must not stay for ever."""
    others = processes()  # what a test that ran before holds, in the error that it caught
    explore(four_nodes, WANTED, kinds=("crash",))
    assert [found for found in processes() if found not in others] == []


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda: Fault(0, 4, "crush"), "must be one of answer, blind, cancel, crash"),
        (lambda: Fault(-1, 4, "crash"), "the process of a fault must be a number from 0, found -1"),
        (lambda: Fault(0, True, "crash"), "the point of a fault must be a number from 0, found True"),
        (lambda: simulate(four_nodes, WANTED, faults="crash"), "faults must be a list of Fault"),  # type: ignore[arg-type]
        (lambda: simulate(four_nodes, WANTED, faults=[Fault(0, 9999, "crash")]), "never happened: 1 processes"),
        (lambda: simulate(four_nodes, WANTED, faults=[Fault(3, 0, "crash")]), "process 3 reached 0 points"),
        (lambda: explore(four_nodes, WANTED, kinds=["crush"]), "must be one of answer, blind, cancel, crash"),
        (lambda: explore(lambda: 5, {}), "expected a function that makes a graph for each process, found one"),  # type: ignore[arg-type,return-value]
        (lambda: simulate(four_nodes(), WANTED), "expected a function that makes a graph"),  # type: ignore[arg-type]
    ],
)
def test_a_fault_that_cannot_happen_or_never_did_is_refused(wrong: Callable[[], object], text: str) -> None:
    """A typo made a test of crashes green: nothing ever crashed."""
    with pytest.raises(ConfigError, match=text):
        wrong()


@pytest.mark.parametrize(("what", "kind"), [("run work", "lost"), ("store.commit", "crush"), ("append", "")])
def test_a_kind_that_cannot_happen_at_its_point_is_told(what: str, kind: str) -> None:
    with pytest.raises(ConfigError, match=f"{what}\\) of process 0 must be one of crash, "):
        simulate(four_nodes, WANTED, faults=lambda moment: kind if moment.what == what else None)


@pytest.mark.parametrize(("graph", "answers"), [(nodes_of_steps, {}), (graphs_in_nodes, {"ask": True})])
def test_each_call_of_a_step_is_noticed_and_one_too_many_is_a_broken_promise(
    graph: Callable[[], StateGraph], answers: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = simulate(graph, WANTED, answers=answers)
    stored = {(record.scope, record.name) for record in result.log if isinstance(record, Item) and not record.key}
    assert {(call.scope, call.step) for call in result.steps} >= stored
    assert stored
    monkeypatch.setattr(StepRunner, "find", lambda *_: None)  # what is finished is not found again
    with pytest.raises(SimulationError, match="again, which was finished and stored"):
        simulate(graph, WANTED, answers=answers)
