"""What a worker takes, what it leaves, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from programs import HELD, ended, load, notes, start, until, write

import tau
from tau import (
    CheckpointConfig,
    ConfigError,
    GraphConfig,
    RunInterruptedError,
    StateGraph,
    Stop,
    open_store,
    pause_node,
)
from tau.errors import StoreUnavailableError
from tau.stores.contract import PositionConflict, Store
from tau.stores.memory import MemoryStore
from tau.testing import CountingStore
from tau.testing.store_wrappers import StoreWrapper


def doubling(
    store: Any, *, version: str = "1", on_double: Callable[[str], object] = str, **checkpoint: Any
) -> StateGraph:
    config = CheckpointConfig(store=store, **{"interval": 1, "preserve": True, **checkpoint})
    graph = StateGraph(GraphConfig("doubling", observer="noop", checkpoint=config))

    def double(state: Any, ctx: tau.Context) -> dict[str, Any]:
        on_double(ctx.run_id)
        return {"x": state["x"] * 2}

    graph.add_node("double", double, version=version)
    graph.add_node("add", lambda state: {"x": state["x"] + 1}, version="1")
    graph.sequence("double", "add")
    return graph


def statuses(store: Store) -> dict[str, str]:
    return {row.run_id: row.status for row in store.runs()}


def test_a_worker_runs_what_was_admitted(store: Store) -> None:
    graph = doubling(store)
    for number in range(20):
        graph.admit({"x": number}, run_id=f"r{number}")
    told: list[tuple[str, str, str]] = []
    report = tau.worker(graph, once=True, tell=lambda *about: told.append(about))
    assert (report.finished, report.failed, report.left) == (20, 0, {})
    assert [graph.wait(f"r{number}", 0)["x"] for number in range(20)] == [2 * number + 1 for number in range(20)]
    assert sorted(told) == sorted((f"r{number}", "finished", "") for number in range(20))
    assert tau.worker(graph, once=True).finished == 0


def test_a_run_that_fails_ends_for_itself(store: Store) -> None:
    graph = doubling(store)
    graph.admit({"x": None}, run_id="bad")
    graph.admit({"x": 1}, run_id="good")
    report = tau.worker(graph, once=True)
    assert (report.finished, report.failed) == (1, 1)
    assert statuses(store) == {"bad": "failed", "good": "finished"}
    assert tau.worker(graph, once=True).failed == 0  # it is not tried again


def test_what_a_person_stopped_is_left_unless_it_is_asked_for(store: Store) -> None:
    graph, stop = doubling(store), Stop()
    stop.set("enough")
    with pytest.raises(RunInterruptedError):
        graph.execute({"x": 1}, run_id="stopped", stop=stop)
    with pytest.raises(RunInterruptedError):
        graph.execute({"x": 1}, run_id="walltime", max_runtime=0.0)
    store.save(tau.State({"x": 5}, run_id="saved"))
    assert tau.worker(graph, once=True).finished == 1
    assert statuses(store) == {"stopped": "interrupted", "walltime": "finished", "saved": "interrupted"}
    assert tau.worker(graph, once=True, all_interrupted=True).finished == 1  # a saved state has no graph's name
    assert statuses(store)["stopped"] == "finished"


def test_an_answered_run_goes_on_and_one_that_asks_waits(store: Store) -> None:
    graph = StateGraph("asking", store=store)
    graph.add_node("ask", pause_node("fine"))
    graph.add_node("say", lambda state: {"said": True}, version="1")
    graph.sequence("ask", "say")
    graph.admit({}, run_id="r")
    assert tau.worker(graph, once=True).waiting == 1
    assert tau.worker(graph, once=True).waiting == 0
    graph.answer("r", "fine", True)
    assert tau.worker(graph, once=True).finished == 1


def test_a_question_past_its_deadline_is_not_waited_for(store: Store) -> None:
    graph = StateGraph("asking", store=store)
    graph.add_node("ask", pause_node("fine", deadline=0.01, default="yes"))
    graph.set_entry_point("ask")
    graph.set_exit_point("ask")
    graph.admit({}, run_id="r")
    tau.worker(graph, once=True)
    until(lambda: [row.run_id for row, _ in store.due("asking", 1)] == ["r"] or statuses(store)["r"] == "finished")
    tau.worker(graph, once=True)
    assert statuses(store) == {"r": "finished"}


def test_of_two_workers_with_different_code_each_takes_what_it_may(store: Store) -> None:
    """What its code may not resume a worker leaves alone, changes nothing in, and says once."""
    one, two = doubling(store), doubling(store, version="2")
    with pytest.raises(RunInterruptedError):
        stopping_after_first(one).execute({"x": 1}, run_id="of one")
    two.admit({"x": 2}, run_id="new")
    position = store.summary("of one")
    told: list[tuple[str, str, str]] = []
    report = tau.worker(two, once=True, tell=lambda *about: told.append(about))
    assert report.finished == 1
    assert [*report.left] == ["of one"]
    assert "node double" in report.left["of one"] or "'double'" in report.left["of one"]
    assert [(run_id, word) for run_id, word, _ in told if word == "left"] == [("of one", "left")]
    assert store.summary("of one") == position
    assert tau.worker(one, once=True).finished == 1
    assert statuses(store) == {"of one": "finished", "new": "finished"}


def stopping_after_first(graph: StateGraph) -> StateGraph:
    """As a walltime would, after the first node."""
    stop = Stop()
    stop.always = "max_runtime"
    real = graph.execute

    def execute(*given: Any, **options: Any) -> Any:
        def watch(event: tau.Event) -> None:
            if event.type == "node.complete":
                stop.set("")

        return real(*given, **options, stop=stop, observer=watch)

    graph.execute = execute  # type: ignore[method-assign]
    return graph


def test_many_workers_at_one_store_run_each_run_once(store: Store) -> None:
    """In threads, each with a graph of its own."""
    ran: list[str] = []
    for number in range(60):
        doubling(store).admit({"x": number}, run_id=f"r{number}")
    graphs = [doubling(store, on_double=ran.append) for _ in range(4)]
    threads = [threading.Thread(target=tau.worker, args=(graph,), kwargs={"once": True}) for graph in graphs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(ran) == Counter(f"r{number}" for number in range(60))
    assert set(statuses(store).values()) == {"finished"}


def test_runs_of_async_graphs_share_a_loop(store: Store) -> None:
    graph, together = StateGraph("waits", store=store), asyncio.Event()
    begun: list[str] = []

    async def meet(state: Any, ctx: tau.Context) -> None:
        begun.append(ctx.run_id)
        if len(begun) == 10:
            together.set()
        await asyncio.wait_for(together.wait(), 120)

    graph.add_node("meet", meet, version="1")
    graph.set_entry_point("meet")
    graph.set_exit_point("meet")
    for number in range(10):
        graph.admit({}, run_id=f"r{number}")
    assert tau.worker(graph, once=True, concurrency=10).finished == 10


def test_an_idle_worker_asks_at_most_once_a_second() -> None:
    store = CountingStore(MemoryStore())
    tau.worker(doubling(store), max_runtime=6.5)
    assert 2 <= store.calls.total() <= 8  # at once, and then each second


def test_wrong_arguments_are_refused() -> None:
    graph: Any = doubling(MemoryStore())
    for wrong in ({"concurrency": 0}, {"concurrency": True}, {"max_runtime": -1}, {"grace": "long"}):
        with pytest.raises(ConfigError):
            tau.worker(graph, once=True, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="a worker runs a StateGraph"):
        tau.worker("graph.py", once=True)  # type: ignore[arg-type]


class Away(StoreWrapper):
    """Fails while it is told to."""

    failing = False
    failed = 0

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        if self.failing and method == "due":
            self.failed += 1
            self.failing = False
            raise StoreUnavailableError("away", location="here")
        return super().call(method, *arguments, **options)


def test_a_store_that_is_away_is_asked_again() -> None:
    store = Away(MemoryStore())
    graph, stop = doubling(store), Stop()
    thread = threading.Thread(target=tau.worker, args=(graph,), kwargs={"stop": stop})
    thread.start()
    graph.admit({"x": 1}, run_id="a")
    graph.wait("a", 120)
    store.failing = True
    until(lambda: store.failed)
    graph.admit({"x": 1}, run_id="b")
    assert graph.wait("b", 120)["x"] == 3
    stop.set()
    thread.join()
    away = Away(MemoryStore())
    away.failing = True
    with pytest.raises(StoreUnavailableError):
        tau.worker(doubling(away), once=True)


FOREIGN = """
import tau.host
tau.host.pid_space = lambda: "elsewhere"
from counted import graph
graph.execute({}, run_id="r")
"""


def test_where_there_is_no_clock_the_lease_of_an_owner_elsewhere_is_watched(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/runs"
    write(tmp_path, HELD)
    environment = {**os.environ, "RUNS": url, "LEASE": "0.5"}
    began = subprocess.Popen([sys.executable, "-c", FOREIGN], cwd=tmp_path, env=environment)
    until(lambda: ("r", "second", 1) in notes(tmp_path), processes=[began])
    began.kill()
    began.wait(60)
    (tmp_path / "go").touch()
    process = start(tmp_path, url)
    try:
        with open_store(url):
            assert load(tmp_path, url).wait("r", 120).checkpoint_node == "third"
    finally:
        process.terminate()
        code, _, err = ended(process)
    assert code == 0, err


# How a worker ends


def insist(process: subprocess.Popen[str]) -> None:
    """Send the signal again, not sooner than what it asks for takes: one that comes as the process ends would end it by
    itself, and one that comes just before the node blocks is seen with the next."""
    for _ in range(20):
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
            return


WAYS = {"one": [], "children": ["--concurrency", "2"], "loop": ["--concurrency", "2"]}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("signals", [1, 2])
def test_a_worker_that_is_told_to_end_leaves_its_run_to_others(tmp_path: Path, way: str, signals: int) -> None:
    """After the first signal the node in flight ends and the run is free; a second one breaks the node off."""
    url = f"sqlite:///{tmp_path}/runs.db"
    write(tmp_path, HELD)
    environment = {"ASYNC": "1"} if way == "loop" else {}
    with open_store(url) as store:
        graph = load(tmp_path, url)
        graph.admit({}, run_id="r")
        process = start(tmp_path, url, *WAYS[way], "--grace", "100", **environment)
        until(lambda: ("r", "second", 1) in notes(tmp_path), processes=[process])
        process.send_signal(signal.SIGTERM)
        until((tmp_path / "told").exists, processes=[process])
        if signals == 2:
            insist(process)
        else:
            (tmp_path / "go").touch()
        code, out, err = ended(process)
        assert code == 0, err
        assert json.loads(out)["interrupted"] == 1
        assert statuses(store) == {"r": "interrupted"}
        assert [row.run_id for row, _ in store.due("counted", 9)] == ["r"]
        (tmp_path / "go").touch()
        assert ended(start(tmp_path, url, "--once"))[0] == 0
        assert statuses(store) == {"r": "finished"}
    expected = ["first", "second", "third"] if signals == 1 else ["first", "second", "second", "third"]
    assert [node for _, node, _ in notes(tmp_path)] == expected


def test_a_worker_ends_when_its_time_is_up(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/runs.db"
    write(tmp_path, HELD)
    (tmp_path / "go").touch()
    code, out, err = ended(start(tmp_path, url, "--max-runtime", "0.2"))
    assert (code, json.loads(out)["finished"]) == (0, 0), err


class Faster(CountingStore):
    """Others change some of the runs that are claimed together, just before; once."""

    changed: tuple[str, ...] = ()

    def commit(self, batches: Any) -> Any:
        if len(batches) > 3 and not self.changed:
            self.changed = first, second, *_ = tuple(one.run_id for one in batches)
            doubling(self.store).cancel(first)
            doubling(self.store).resume(second)
            self.calls.clear()
            results = super().commit(batches)
            assert [type(result) for result in results[:2]] == [PositionConflict] * 2
            return results
        return super().commit(batches)


def test_runs_that_others_were_faster_to_change_are_theirs_and_cost_no_further_question() -> None:
    store = Faster(MemoryStore())
    graph = doubling(store)
    for number in range(30):
        graph.admit({"x": number}, run_id=f"r{number}")
    report = tau.worker(graph, once=True)
    assert (report.finished, report.cancelled, report.left) == (28, 0, {})
    first, *rest = store.changed
    assert statuses(store)[first] == "cancelled"
    assert {statuses(store)[run_id] for run_id in rest} == {"finished"}
    assert store.calls["summary"] == 0


class Interrupting(StoreWrapper):
    """Has this process interrupted while the first run is claimed."""

    interrupts = 1

    def commit(self, batches: Any) -> Any:
        if self.interrupts and any(batch.summary.owner is not None for batch in batches):
            self.interrupts -= 1
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        return super().commit(batches)


def test_ctrl_c_as_a_run_is_claimed_leaves_it_free() -> None:
    """Its lease does not have to run out, and nothing of it is lost."""
    store = Interrupting(MemoryStore())
    graph = doubling(store)
    graph.admit({"x": 1}, run_id="r")
    with pytest.raises(KeyboardInterrupt):
        tau.worker(graph, once=True)
    until(lambda: store.lease("r") is None)
    assert tau.worker(graph, once=True).finished == 1
    assert graph.wait("r", timeout=60)["x"] == 3


def test_a_run_that_generator_exit_ended_inside_an_event_loop_is_free_at_once(tmp_path: Path) -> None:
    """Out of a graph inside a node; the runs beside it go on."""
    store = open_store(f"sqlite:///{tmp_path}/runs.db")

    async def deep(state: Any) -> None:
        if state["leaves"]:
            raise GeneratorExit

    inner = StateGraph("inner")
    inner.add_node("deep", deep, version="1")
    inner.sequence("deep")
    graph = StateGraph("outer", store=store)
    graph.add_node("in", inner)
    graph.sequence("in")
    for number in range(3):
        graph.admit({"leaves": number == 1}, run_id=f"r{number}")
    told = {}
    report = tau.worker(graph, once=True, concurrency=2, tell=lambda run_id, word, why: told.update({run_id: word}))
    assert (report.finished, report.interrupted) == (2, 1)
    assert told["r1"] == statuses(store)["r1"] == "interrupted"
    assert store.lease("r1") is None
