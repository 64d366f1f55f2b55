"""Runs that are put into the store for others to run, and waiting for those."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

import pytest
from engine_steps import with_servers
from msgspec.structs import replace

from tau import (
    CheckpointConfig,
    CheckpointNotFoundError,
    ConfigError,
    ExecutionError,
    GraphConfig,
    RunCancelledError,
    RunExistsError,
    RunFinishedError,
    RunInterruptedError,
    RunWaitingError,
    SchemaError,
    StateGraph,
    Stop,
    UnserializableError,
    WaitTimeoutError,
    open_store,
    pause_node,
)
from tau.engine.admission import LONGEST_BACKOFF
from tau.observers import Recorder
from tau.stores.contract import Batch, Store, Summary
from tau.stores.memory import MemoryStore
from tau.testing.store_contract.batches import one

__all__ = ["with_servers"]

LATER = 1e11


def doubling(store: Any, **checkpoint: Any) -> StateGraph:
    known: dict[str, Any] = {"interval": 1, "preserve": True}
    config = CheckpointConfig(store=store, **{**known, **checkpoint})
    graph = StateGraph(GraphConfig("doubling", observer="noop", checkpoint=config))
    graph.add_node("double", lambda state: {"x": state["x"] * 2}, version="1")
    graph.add_node("add", lambda state: {"x": state["x"] + 1}, version="1")
    graph.sequence("double", "add")
    return graph


def due(store: Store, graph: str = "doubling") -> list[str]:
    return [row.run_id for row, _ in store.due(graph, 99)]


def glance(store: Store, run_id: str = "r") -> Summary:
    found = store.summary(run_id)
    assert found is not None
    return found


# Admission


def test_a_run_is_admitted_and_may_be_taken(store: Store) -> None:
    before = time.time()
    assert doubling(store).admit({"x": 4}, run_id="r", tags=["night"], seed=7) == "r"
    found = glance(store)
    assert (found.status, found.owner, found.position, found.tags, found.node) == (
        "admitted",
        None,
        1,
        ("night",),
        None,
    )
    assert before <= (found.not_before or 0.0) <= time.time()
    assert [row.status for row in store.runs(status="admitted")] == ["admitted"]
    assert due(store) == ["r"]
    assert store.lease("r") is None
    assert store.load("r")["x"] == 4


@pytest.mark.parametrize("way", ["resume", "execute"])
def test_whoever_likes_may_run_it_and_it_counts_as_no_crash(store: Store, way: str) -> None:
    attempts, graph = list[int](), StateGraph("doubling", store=store)
    graph.add_node("look", lambda state, ctx: attempts.append(ctx.attempt), version="1")
    graph.add_node("double", lambda state: {"x": state["x"] * 2}, version="1")
    graph.sequence("look", "double")
    graph.admit({"x": 4}, run_id="r", seed=7)
    final = graph.resume("r") if way == "resume" else graph.execute({"x": 4}, run_id="r", if_exists="resume", seed=7)
    assert final["x"] == 8
    assert attempts == [1]
    assert glance(store).status == "finished"
    assert due(store) == []


def test_the_same_input_again_returns_the_id_whatever_became_of_the_run(store: Store) -> None:
    graph = doubling(store)
    for _ in range(2):
        assert graph.admit({"x": 4}, run_id="r") == "r"
    assert glance(store).position == 1
    graph.resume("r")
    position = glance(store).position
    assert graph.admit({"x": 4}, run_id="r") == "r"
    assert glance(store).position == position
    graph.admit({"x": 5}, run_id="c")
    graph.cancel("c")
    assert graph.admit({"x": 5}, run_id="c") == "c"
    assert glance(store, "c").status == "cancelled"


def test_another_input_is_refused_and_says_what_differs(store: Store) -> None:
    graph = doubling(store)
    graph.admit({"x": 4}, run_id="r", seed=1)
    with pytest.raises(RunExistsError, match="another input \\('x' differs\\)") as raised:
        graph.admit({"x": 5}, run_id="r")
    assert (raised.value.run_id, raised.value.status) == ("r", "admitted")
    with pytest.raises(RunExistsError, match="seed differs"):
        graph.admit({"x": 4}, run_id="r", seed=2)
    other = StateGraph("other", store=store)
    other.add_node("a", lambda state: None, version="1")
    other.set_entry_point("a")
    other.set_exit_point("a")
    with pytest.raises(RunExistsError, match="run of graph 'doubling'"):
        other.admit({"x": 4}, run_id="r")
    assert glance(store).position == 1


def test_an_id_of_a_deleted_run_may_be_admitted_again(store: Store) -> None:
    graph = doubling(store)
    graph.admit({"x": 4}, run_id="r")
    store.delete("r")
    assert due(store) == []
    graph.admit({"x": 5}, run_id="r")
    assert due(store) == ["r"]
    assert graph.resume("r")["x"] == 11


def test_nothing_is_admitted_that_could_not_run(store: Store) -> None:
    class Fields(TypedDict):
        x: int

    graph = StateGraph("typed", store=store, schema=Fields)
    graph.add_node("a", lambda state: None, version="1")
    graph.set_entry_point("a")
    graph.set_exit_point("a")
    wrong: Any = {"x": "four"}
    with pytest.raises(SchemaError):
        graph.admit(wrong, run_id="r")
    with pytest.raises(UnserializableError):
        doubling(store).admit({"x": object()}, run_id="r")
    for time_ in ("soon", True, float("nan"), 1e30, datetime(2024, 1, 1)):
        given: Any = time_
        with pytest.raises(ConfigError, match="not_before"):
            doubling(store).admit({"x": 1}, run_id="r", not_before=given)
    with pytest.raises(ConfigError, match="checkpointing not enabled"):
        StateGraph("unstored").admit({})
    assert list(store.runs()) == []


def test_no_worker_takes_it_before_its_time(store: Store) -> None:
    graph = doubling(store)
    graph.admit({"x": 1}, run_id="later", not_before=LATER)
    graph.admit({"x": 1}, run_id="date", not_before=datetime(2999, 1, 1, tzinfo=UTC))
    graph.admit({"x": 1}, run_id="past", not_before=1.0)
    assert due(store) == ["past"]
    assert (glance(store, "later").not_before, glance(store, "past").not_before) == (LATER, 1.0)
    assert graph.resume("later")["x"] == 3  # a person may


def test_of_many_who_admit_the_same_run_one_does(store: Store) -> None:
    graph = doubling(store)
    begin, ids = threading.Barrier(8), list[str]()

    def admit() -> None:
        begin.wait()
        ids.append(graph.admit({"x": 4}, run_id="r"))

    threads = [threading.Thread(target=admit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ids == ["r"] * 8
    assert glance(store).position == 1


async def _many(graph: StateGraph) -> list[str]:
    return list(await asyncio.gather(*(graph.aadmit({"x": n}, run_id=f"r{n}") for n in range(20))))


def test_runs_are_admitted_from_an_event_loop(store: Store) -> None:
    graph = doubling(store)
    assert asyncio.run(_many(graph)) == [f"r{n}" for n in range(20)]
    assert len(due(store)) == 20


def test_an_admission_whose_summary_an_older_version_rewrote_can_be_run(store: Store) -> None:
    """It would leave out what it does not know."""
    made = MemoryStore()
    doubling(made).admit({"x": 4}, run_id="r")
    ((_, record),) = made.read("r")
    older = replace(glance(made), not_before=None)
    assert one(store, Batch("r", 0, b"t", (record,), (), older)) == 1
    assert due(store) == []
    assert [row.status for row in store.runs()] == ["admitted"]
    assert doubling(store).resume("r")["x"] == 9


# How a run stops says whether a worker goes on with it


@pytest.mark.parametrize(
    ("reason", "goes_on"), [("max_runtime", True), ("drain", True), ("SIGTERM", False), ("stop requested", False)]
)
def test_only_what_no_person_stopped_may_be_taken(store: Store, reason: str, goes_on: bool) -> None:
    stop = Stop()
    stop.set(reason)
    with pytest.raises(RunInterruptedError):
        doubling(store).execute({"x": 1}, run_id="r", stop=stop)
    assert glance(store).status == "interrupted"
    assert due(store) == (["r"] if goes_on else [])


def test_a_walltime_leaves_the_run_to_a_worker(store: Store) -> None:
    with pytest.raises(RunInterruptedError, match="max_runtime"):
        doubling(store).execute({"x": 1}, run_id="r", max_runtime=0.0)
    assert due(store) == ["r"]


def test_a_state_that_is_saved_by_hand_is_left_alone(store: Store) -> None:
    graph = doubling(store)
    graph.admit({"x": 4}, run_id="r")
    store.save(store.load("r").set("x", 5))
    assert glance(store).status == "interrupted"
    assert due(store) == []


def asking(store: Store, **options: Any) -> StateGraph:
    graph = StateGraph("asking", store=store)
    graph.add_node("ask", pause_node("fine", **options))
    graph.set_entry_point("ask")
    graph.set_exit_point("ask")
    return graph


def test_an_answer_leaves_the_run_to_a_worker(store: Store) -> None:
    graph = asking(store)
    with pytest.raises(RunWaitingError):
        graph.execute({}, run_id="r")
    assert due(store, "asking") == []
    graph.answer("r", "fine", True)
    assert due(store, "asking") == ["r"]
    graph.resume("r")
    assert due(store, "asking") == []


@pytest.mark.parametrize("options", [{"default": True}, {}], ids=["default", "none"])
def test_a_deadline_leaves_the_run_to_a_worker(store: Store, options: dict[str, Any]) -> None:
    graph = asking(store, deadline=0.01, **options)
    with pytest.raises(RunWaitingError):
        graph.execute({}, run_id="r")
    deadline = glance(store).deadline
    assert deadline is not None
    assert glance(store).not_before == deadline
    while time.time() < deadline:
        threading.Event().wait(0.01)
    assert due(store, "asking") == ["r"]


# Crashes


DIES = """
import os, sys, signal
from tau import CheckpointConfig, GraphConfig, StateGraph
graph = StateGraph(GraphConfig("g", observer="noop", checkpoint=CheckpointConfig(
    store=sys.argv[1], interval=1, preserve=True, max_crashes=2)))
graph.add_node("first", lambda state: None, version="1")
graph.add_node("dies", lambda state: os.kill(os.getpid(), signal.SIGKILL), version="1")
graph.sequence("first", "dies")
if __name__ == "__main__":
    graph.execute({}, run_id="r", if_exists="resume")
"""


def test_a_run_that_is_killed_each_time_fails_and_says_so(tmp_path: Path) -> None:
    """Whoever notices commits that; between the attempts no worker takes it for longer and longer."""
    url = f"sqlite:///{tmp_path}/runs.db"
    (tmp_path / "dies.py").write_text(DIES)
    store = open_store(url)
    waits = []
    for attempt in range(3):
        done = subprocess.run([sys.executable, "dies.py", url], cwd=tmp_path, timeout=120, check=False)
        assert done.returncode == -9, attempt
        found = glance(store)
        assert found.owner is not None
        waits.append(round((found.not_before or 0.0) - found.updated, 1))
    assert waits[0] <= 0.0
    assert waits[1:] == [1.0, 2.0]
    assert LONGEST_BACKOFF == 300.0
    again = subprocess.run(
        [sys.executable, "dies.py", url], cwd=tmp_path, timeout=120, check=False, capture_output=True, text=True
    )
    assert again.returncode == 1
    assert "LimitExceededError" in again.stderr
    assert "killed 3 times in a row at node 'dies'" in again.stderr
    assert (glance(store).status, glance(store).owner) == ("failed", None)
    graph = StateGraph("g", store=store)
    with pytest.raises(ExecutionError, match="execution failed at node dies: run 'r' was killed 3 times in a row"):
        graph.wait("r", 10)
    # A person who has found out what kills it goes on.
    graph.add_node("first", lambda state: None, version="1")
    graph.add_node("dies", lambda state: {"lives": True}, version="2")
    graph.sequence("first", "dies")
    assert graph.resume("r", on_change="continue")["lives"] is True
    store.close()


# Waiting


def test_a_run_is_waited_for_until_another_has_finished_it(store: Store) -> None:
    graph = doubling(store)
    graph.admit({"x": 4}, run_id="r")
    with pytest.raises(WaitTimeoutError, match="its status is admitted") as raised:
        graph.wait("r", 0.05)
    assert (raised.value.run_id, raised.value.status, raised.value.seconds) == ("r", "admitted", 0.05)
    assert isinstance(raised.value, TimeoutError)
    thread = threading.Thread(target=lambda: doubling(store).resume("r"))
    thread.start()
    final = graph.wait("r", 60)
    thread.join()
    assert (dict(final), final.run_id, final.checkpoint_node) == ({"x": 9}, "r", "add")
    assert asyncio.run(graph.await_run("r", 60))["x"] == 9


def test_waiting_raises_what_execute_would(store: Store) -> None:
    graph = doubling(store)
    with pytest.raises(CheckpointNotFoundError):
        graph.wait("never", 1)
    with pytest.raises(ConfigError, match="timeout"):
        graph.wait("never", -1)
    graph.admit({"x": 4}, run_id="cancelled")
    graph.cancel("cancelled")
    with pytest.raises(RunCancelledError):
        graph.wait("cancelled", 10)
    stop = Stop()
    stop.set("enough")
    with pytest.raises(RunInterruptedError):
        graph.execute({"x": 1}, run_id="stopped", stop=stop)
    with pytest.raises(RunInterruptedError, match="before node 'double' had finished \\(enough\\)") as stopped:
        graph.wait("stopped", 10)
    assert (stopped.value.reason, stopped.value.node) == ("enough", "double")
    kept = doubling(store, preserve=False)
    kept.execute({"x": 1}, run_id="gone")
    with pytest.raises(RunFinishedError):
        kept.wait("gone", 10)
    with pytest.raises(ExecutionError) as executed:
        graph.execute({"x": None}, run_id="failed")
    with pytest.raises(ExecutionError) as waited:
        graph.wait("failed", 10)
    for name in ("node", "path", "run_id"):
        assert getattr(waited.value, name) == getattr(executed.value, name)
    assert str(executed.value).startswith(str(waited.value))
    assert dict(waited.value.state) == {"x": None}
    with pytest.raises(RunWaitingError) as asked:
        asking(store).execute({}, run_id="waits")
    with pytest.raises(RunWaitingError) as still:
        asking(store).wait("waits", 10)
    assert (still.value.pauses, str(still.value)) == (asked.value.pauses, str(asked.value))


def test_a_run_that_a_worker_goes_on_with_has_not_ended(store: Store) -> None:
    graph = doubling(store)
    with pytest.raises(RunInterruptedError):
        graph.execute({"x": 1}, run_id="r", max_runtime=0.0)
    with pytest.raises(WaitTimeoutError):
        graph.wait("r", 0.05)
    recorder = Recorder()
    graph.resume("r", observer=recorder)
    assert graph.wait("r", 10)["x"] == 3


def test_waiting_works_across_processes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/runs.db"
    program = f"""
from tau import StateGraph
graph = StateGraph("doubling", store={url!r})
graph.add_node("double", lambda state: {{"x": state["x"] * 2}}, version="1")
graph.add_node("add", lambda state: {{"x": state["x"] + 1}}, version="1")
graph.sequence("double", "add")
input()
graph.resume("r")
"""
    with open_store(url) as store:
        graph = doubling(store)
        graph.admit({"x": 4}, run_id="r")
        child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, text=True)
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
        assert graph.wait("r", 120)["x"] == 9
        child.stdin.close()
        assert child.wait(60) == 0
    assert os.path.exists(tmp_path / "runs.db")
