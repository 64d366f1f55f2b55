"""Stopping: asked, by signal, by time, by Ctrl-C, by cancellation. What is finished is saved first."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from engine_steps import Steps, config

from tau import (
    Context,
    ExecutionError,
    NodeTimeoutError,
    Retry,
    RunInterruptedError,
    State,
    StateGraph,
    Stop,
    branches_node,
    stop_on,
)  # fmt: skip
from tau.events import Event
from tau.stores.contract import Store


def interrupted(steps: Steps, **options: Any) -> RunInterruptedError:
    with pytest.raises(RunInterruptedError) as caught:
        steps.graph.execute({}, run_id="r", **options)
    return caught.value


def test_a_stop_lets_the_node_in_flight_finish_and_saves_it(store: Store) -> None:
    steps, stop = Steps(store), Stop()

    steps.during["b"] = lambda: stop.set("maintenance")
    error = interrupted(steps, stop=stop)
    assert (error.run_id, error.node, error.reason) == ("r", "c", "maintenance")
    assert error.state.checkpoint_node == "b"
    assert "resume('r') goes on" in str(error)
    assert [row.status for row in store.runs()] == ["interrupted"]
    assert steps.types()[-1] == "graph.interrupted"
    assert steps.build().resume("r")["path"] == list("abcd")
    assert steps.ran == list("abcd")


def test_a_stop_set_before_the_start_runs_no_node(store: Store) -> None:
    steps, stop = Steps(store), Stop()
    stop.set()
    assert interrupted(steps, stop=stop).node == "a"
    assert steps.ran == []
    assert steps.build().resume("r")["path"] == list("abcd")


def test_a_stop_during_the_last_node_comes_too_late_to_matter(store: Store) -> None:
    steps, stop = Steps(store, names="a"), Stop()
    steps.during["a"] = stop.set
    assert steps.graph.execute({}, stop=stop)["path"] == ["a"]


def test_what_an_interval_held_back_is_saved_by_a_stop(store: Store) -> None:
    steps, stop = Steps(store, interval=10), Stop()
    steps.during["b"] = stop.set
    interrupted(steps, stop=stop)
    assert [entry.node for entry in steps.graph.history("r")] == ["a", "b"]


def test_max_runtime_stops_between_nodes(store: Store) -> None:
    steps = Steps(store)
    assert interrupted(steps, max_runtime=0.0).reason == "max_runtime"
    assert steps.build().resume("r", max_runtime=3600.0)["path"] == list("abcd")


def test_a_long_node_can_see_that_it_should_stop_and_is_run_again_later(store: Store) -> None:
    stop, ran = Stop(), []

    def build() -> StateGraph:
        def long(state: State, context: Context) -> dict[str, Any]:
            ran.append(context.attempt)
            assert context.deadline is None
            if len(ran) == 1:
                assert not context.should_stop
                stop.set("soon")
                assert context.should_stop
                raise RunInterruptedError("gave up early")
            return {"done": True}

        graph = StateGraph(config(store))
        graph.add_node("long", long, version="1", retry=Retry(attempts=5, delay=0.0))
        graph.sequence("long")
        return graph

    with pytest.raises(RunInterruptedError, match="gave up early"):
        build().execute({}, run_id="r", stop=stop)
    assert build().resume("r")["done"] is True


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_ordinary_error_passes_unchanged_after_saving(store: Store, error: type[BaseException]) -> None:
    raised = error("now")
    steps = Steps(store, names="ab")
    graph = StateGraph(config(store, observer=steps.recorder))

    def node(state: State) -> None:
        if raised is not None:
            raise raised

    graph.add_node("a", lambda state: {"a": 1}, version="1")
    graph.add_node("b", node, version="1")
    graph.sequence("a", "b")
    with pytest.raises(error) as caught:
        graph.execute({}, run_id="r")
    assert caught.value is raised
    assert [row.status for row in store.runs()] == ["interrupted"]
    assert steps.types()[-1] == "graph.interrupted"
    raised = None
    assert graph.resume("r")["a"] == 1


@pytest.mark.parametrize("inside", ["graph", "branches"])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_run_is_free_at_once_though_a_graph_inside_raises_generator_exit(
    store: Store, is_async: bool, inside: str
) -> None:
    """Which is no sign that the run was dropped: its own node raised it."""
    raised = [GeneratorExit("now")]

    def node(state: State) -> None:
        if raised:
            raise raised.pop()

    async def anode(state: State) -> None:
        node(state)

    def one(name: str, work: Any) -> StateGraph:
        graph = StateGraph(name)
        graph.add_node("first", lambda state: {name: 1}, version="1")
        graph.add_node("second", work, version="1")
        graph.sequence("first", "second")
        return graph

    graph = StateGraph(config(store))
    broken, sound = one("broken", anode if is_async else node), one("sound", lambda state: None)
    graph.add_node("in", broken if inside == "graph" else branches_node({"b": broken, "s": sound}))
    graph.sequence("in")
    with pytest.raises(GeneratorExit):
        asyncio.run(graph.aexecute({}, run_id="r")) if is_async else graph.execute({}, run_id="r")
    (row,) = store.runs()
    assert (row.status, row.owner, store.lease("r")) == ("interrupted", None, None)
    final = asyncio.run(graph.aresume("r")) if is_async else graph.resume("r")
    assert final["broken"] == 1


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("interval", [1, 10])
@pytest.mark.parametrize("last", ["a", "b"])
def test_what_a_node_did_is_saved_though_an_interrupt_comes_as_its_end_is_told(
    store: Store, interval: int, last: str, is_async: bool
) -> None:
    ran, told, raised = list[str](), list[str](), KeyboardInterrupt("now")

    def observe(event: Event) -> None:
        told.append(event.type)
        if event.type == "node.complete" and event.data["node"] == last:
            raise raised

    def build(observer: Any) -> StateGraph:
        graph = StateGraph(config(store, interval=interval, observer=observer))
        for name in "ab":
            graph.add_node(name, lambda state, name=name: ran.append(name) or {name: 1}, version="1")
        graph.sequence("a", "b")
        return graph

    graph = build(observe)
    with pytest.raises(KeyboardInterrupt) as caught:
        asyncio.run(graph.aexecute({}, run_id="r")) if is_async else graph.execute({}, run_id="r")
    assert caught.value is raised
    assert told[-1] == "graph.interrupted"
    assert store.lease("r") is None
    assert dict(build("noop").resume("r")) == {"a": 1, "b": 1}
    assert ran == ["a", "b"]


def test_an_interrupt_as_the_end_of_a_failed_node_is_told_reaches_the_caller(store: Store) -> None:
    """Its other attempts are made by a resume."""
    ran = list[int]()

    def flaky(state: State) -> dict[str, int]:
        ran.append(1)
        if len(ran) == 1:
            raise OSError("flaky")
        return {"tries": len(ran)}

    def build(observer: Any) -> StateGraph:
        graph = StateGraph(config(store, observer=observer))
        graph.add_node("flaky", flaky, version="1", retry=Retry(attempts=3, delay=0.0))
        graph.sequence("flaky")
        return graph

    def observe(event: Event) -> None:
        if event.type == "node.complete":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(observe).execute({}, run_id="r")
    assert build("noop").resume("r")["tries"] == 2


def test_a_result_that_cannot_be_stored_does_not_hide_an_interrupt(store: Store) -> None:
    def observe(event: Event) -> None:
        if event.type == "node.complete":
            raise KeyboardInterrupt

    graph = StateGraph(config(store, observer=observe))
    graph.add_node("a", lambda state: {"a": object()}, version="1")
    graph.sequence("a")
    with pytest.raises(KeyboardInterrupt):
        graph.execute({}, run_id="r")
    assert [row.status for row in store.runs()] == ["interrupted"]


def test_stop_on_puts_the_old_handler_back_and_gives_the_signals_name() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with stop_on(signal.SIGUSR1) as stop:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert stop.is_set()
        assert stop.reason == "SIGUSR1"
    assert signal.getsignal(signal.SIGUSR1) == before


def test_a_second_signal_breaks_off_the_node_in_flight(store: Store) -> None:
    graph = StateGraph(config(store))
    twice = [True]

    def stubborn(state: State) -> dict[str, Any]:
        if twice:
            twice.clear()
            os.kill(os.getpid(), signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGUSR1)
            threading.Event().wait(30)
            pytest.fail("was not broken off")
        return {"done": True}

    graph.add_node("stubborn", stubborn)
    graph.sequence("stubborn")
    with stop_on(signal.SIGUSR1) as stop, pytest.raises(RunInterruptedError, match="second signal"):
        graph.execute({}, run_id="r", stop=stop)
    assert graph.resume("r")["done"] is True


PROGRAM = """
import signal, sys, threading
import tau

def work(state):
    print("inside", flush=True)
    threading.Event().wait(float(sys.argv[2]))
    return {"work": 1}

graph = tau.StateGraph("g", store=sys.argv[1])
graph.add_node("work", work, version="1")
graph.add_node("after", lambda state: {"after": 1}, version="1")
graph.sequence("work", "after")
with tau.stop_on(signal.SIGTERM) as stop:
    try:
        print(sorted(graph.execute({}, run_id="r", if_exists="resume", stop=stop)))
    except tau.RunInterruptedError as error:
        print(error.reason)
        sys.exit(75)
"""


@pytest.mark.parametrize("kind", ["sqlite", "file"])
@pytest.mark.parametrize(("number", "code", "says"), [(signal.SIGTERM, 75, "SIGTERM"), (signal.SIGINT, 1, "")])
def test_a_real_process_stops_on_a_signal_and_another_goes_on(
    tmp_path: Path, kind: str, number: int, code: int, says: str
) -> None:
    url = f"sqlite:///{tmp_path}/runs.db" if kind == "sqlite" else f"file://{tmp_path}/runs"
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    patience = "1.0" if number == signal.SIGTERM else "60"
    first = subprocess.Popen(
        [sys.executable, str(script), url, patience], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert first.stdout is not None
    assert first.stdout.readline() == "inside\n"
    first.send_signal(number)
    out, err = first.communicate(timeout=60)
    assert first.returncode in (code, -number), err
    assert says in out
    if number == signal.SIGINT:
        assert "KeyboardInterrupt" in err
    second = subprocess.run(
        [sys.executable, str(script), url, "0"], capture_output=True, text=True, check=True, timeout=60
    )
    assert second.stdout.splitlines()[-1] == "['after', 'work']"


def test_a_sync_node_that_takes_too_long_times_out_and_its_late_result_goes_nowhere(store: Store) -> None:
    leave, left = threading.Event(), threading.Event()
    graph = StateGraph(config(store))

    def slow(state: State) -> dict[str, Any]:
        leave.wait(30)
        left.set()
        return {"late": True}

    graph.add_node("slow", slow, timeout=0.05, retry=Retry(attempts=3, delay=0.0))
    graph.sequence("slow")
    with pytest.raises(ExecutionError, match=r"did not finish within its timeout of 0\.05 s") as caught:
        graph.execute({}, run_id="r")
    assert isinstance(caught.value.__cause__, NodeTimeoutError)
    assert (caught.value.__cause__.node, caught.value.__cause__.seconds) == ("slow", 0.05)
    leave.set()
    left.wait(30)
    assert "late" not in store.load("r")


def test_an_idempotent_node_is_tried_again_beside_its_own_zombie(store: Store) -> None:
    leave, tries = threading.Event(), []
    graph = StateGraph(config(store))

    def slow(state: State) -> dict[str, Any]:
        tries.append(1)
        if len(tries) == 1:
            leave.wait(30)
        return {"try": len(tries)}

    graph.add_node("slow", slow, timeout=0.2, retry=Retry(attempts=9, delay=0.0), idempotent=True)
    graph.sequence("slow")
    assert graph.execute({})["try"] >= 2  # on a busy machine the second may be late, too
    leave.set()


def test_a_node_with_a_timeout_gives_its_result_and_its_own_error(store: Store) -> None:
    graph = StateGraph(config(store))
    graph.add_node("quick", lambda state: {"x": 1}, timeout=30.0)
    graph.add_node("broken", lambda state: 1 / 0, timeout=30.0)
    graph.sequence("quick", "broken")
    with pytest.raises(ExecutionError) as caught:
        graph.execute({}, run_id="r")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert store.load("r")["x"] == 1


def test_retries_are_counted_and_end(store: Store) -> None:
    steps, attempts = Steps(store), []

    def flaky(state: State, context: Context) -> dict[str, Any]:
        attempts.append((context.attempt, context.key))
        if len(attempts) < 3:
            raise ConnectionError("again")
        return {"ok": True}

    def build(retry: Retry) -> StateGraph:
        graph = StateGraph(config(store, observer=steps.recorder))
        graph.add_node("flaky", flaky, retry=retry, version="1")
        graph.sequence("flaky")
        return graph

    final = build(Retry(attempts=3, delay=0.0, on=(ConnectionError,))).execute({})
    assert final["ok"]
    assert [attempt for attempt, _ in attempts] == [1, 2, 3]
    assert len({key for _, key in attempts}) == 1
    starts = [dict(event.data)["attempt"] for event in steps.recorder.events if event.type == "node.start"]
    assert starts == [1, 2, 3]
    attempts.clear()
    with pytest.raises(ExecutionError, match="again"):
        build(Retry(attempts=2, delay=0.0)).execute({})
    assert len(attempts) == 2
    attempts.clear()
    with pytest.raises(ExecutionError, match="again"):
        build(Retry(attempts=5, delay=0.0, on=(KeyError,))).execute({})
    assert len(attempts) == 1


def test_a_stop_ends_the_wait_before_another_attempt(store: Store) -> None:
    stop = Stop()
    graph = StateGraph(config(store))

    def flaky(state: State) -> None:
        threading.Timer(0.05, stop.set).start()
        raise ConnectionError("down")

    graph.add_node("flaky", flaky, retry=Retry(attempts=2, delay=3600.0, max_delay=3600.0, jitter=0.0))
    graph.sequence("flaky")
    with pytest.raises(RunInterruptedError):
        graph.execute({}, run_id="r", stop=stop)
