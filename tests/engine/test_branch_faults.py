"""What went wrong around graphs inside nodes, and must not again."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

import pytest
from engine_steps import config

from tau import (
    Context,
    ExecutionError,
    GraphChangedError,
    Retry,
    RunCancelledError,
    RunInterruptedError,
    RunWaitingError,
    SchemaError,
    State,
    StateGraph,
    Stop,
    branches_node,
    pause_node,
)
from tau.log.encoding import unseal
from tau.log.records import CheckpointRecord, path_of
from tau.observers import Recorder
from tau.stores.contract import Store

LONG = 30.0
AGAIN = Retry(attempts=2, delay=0.0)


def setting(**changes: Any) -> Callable[[State], dict[str, Any]]:
    return lambda state: changes


def sequence(name: str, **nodes: Callable[..., Any]) -> StateGraph:
    graph = StateGraph(name)
    for one, function in nodes.items():
        graph.add_node(one, function, version="1")
    graph.sequence(*nodes)
    return graph


def outer(store: Any, node: Any, **options: Any) -> StateGraph:
    graph = StateGraph("g") if store is None else StateGraph(config(store))
    graph.add_node("all", node, **options)
    graph.sequence("all")
    return graph


def test_without_a_store_a_retry_begins_all_anew() -> None:
    tries: list[str] = []

    def once(what: str) -> None:
        tries.append(what)
        if len(tries) == 1:
            raise ValueError("not yet")

    def merged(before: Any, given: list[Any]) -> Any:
        once("merge")
        return sum(given)

    node = branches_node({"a": setting(x=1), "b": setting(x=2)}, merge={"x": merged})
    assert dict(outer(None, node, retry=AGAIN).execute({})) == {"x": 3}
    tries.clear()
    inner = sequence("inner", one=setting(x=1), two=lambda state: once("two") or {"y": state["x"] + 1})
    assert dict(outer(None, inner, retry=AGAIN).execute({})) == {"x": 1, "y": 2}


def test_names_with_slashes_do_not_meet(store: Store) -> None:
    node = branches_node({"x": sequence("x", y=setting(a=1)), "x/y": setting(b=2)})
    assert dict(outer(store, node).execute({}, run_id="r")) == {"a": 1, "b": 2}


def test_a_branch_is_not_given_the_answer_of_another(store: Store) -> None:
    first, second = StateGraph("first"), StateGraph("second")
    first.add_node("review", pause_node("review", form=str))
    first.add_node("wait", pause_node("wait", form=bool))
    first.sequence("review", "wait")
    second.add_node("gate", pause_node("gate", form=bool))
    second.add_node("review", pause_node("review", form=str))
    second.sequence("gate", "review")
    graph = outer(store, branches_node({"a": first, "b": second}, merge={"review": "replace"}))
    with pytest.raises(RunWaitingError) as caught:
        graph.execute({}, run_id="r")
    assert caught.value.pauses == ("review", "gate")
    assert [one.node for one in graph.pauses("r")] == ["all/a/review", "all/b/gate"]
    graph.answer("r", "review", "for a")
    graph.answer("r", "gate", True)
    with pytest.raises((ExecutionError, RunWaitingError)) as caught:
        graph.resume("r")
    # It comes to its question while that of the other one is known, which is an error, or after that: then it asks.
    if isinstance(caught.value, ExecutionError):
        assert "asks 'review' in two places" in str(caught.value)
    else:
        assert "all/b/review" in [one.node for one in graph.pauses("r")]
    found = [unseal("r", position, data) for position, data in store.read("r")]
    assert not [
        one for one in found if isinstance(one, CheckpointRecord) and path_of(one.scope, one.node) == "all/b/review"
    ]


class Whole(TypedDict):
    n: int


def test_what_does_not_fit_once_all_inside_is_finished_can_be_done_anew(store: Store) -> None:
    found: list[Any] = ["text"]
    ran: list[str] = []

    def graph() -> StateGraph:
        made = StateGraph(config(store), schema=Whole)
        made.add_node("all", sequence("inner", one=lambda state: ran.append("one") or {"n": found[0]}))
        made.sequence("all")
        return made

    with pytest.raises(ExecutionError) as caught:
        graph().execute({"n": 0}, run_id="r")
    assert isinstance(caught.value.__cause__, SchemaError)
    found[0] = 3
    with pytest.raises(ExecutionError):
        graph().resume("r")
    assert graph().resume("r", on_change="redo")["n"] == 3
    assert ran == ["one", "one"]


def test_a_run_that_is_cancelled_while_branches_commit_says_so(store: Store) -> None:
    both = threading.Barrier(2)
    over = threading.Event()

    def steps(name: str) -> Callable[..., Any]:
        def call(state: State, ctx: Context) -> None:
            both.wait(LONG)
            for number in range(2000):
                ctx.step(f"{name} {number}", lambda: 1)
                if name == "a" and number == 5:
                    graph.cancel("r")
                    over.set()

        return call

    graph = outer(store, branches_node({"a": steps("a"), "b": steps("b")}))
    with pytest.raises(RunCancelledError):
        graph.execute({}, run_id="r")
    assert over.is_set()


def test_a_node_inside_that_comes_next_and_is_gone_stays_an_error(store: Store) -> None:
    def fail(state: State) -> None:
        raise ValueError("broke")

    with pytest.raises(ExecutionError):
        outer(store, sequence("inner", a=setting(a=1), b=fail)).execute({}, run_id="r")
    for on_change in ("continue", "redo"):
        with pytest.raises(GraphChangedError, match="the node to run next, 'b', is gone"):
            outer(store, sequence("inner", a=setting(a=1))).resume("r", on_change=on_change)  # type: ignore[arg-type]


def test_the_reason_of_a_stop_is_that_of_the_stop(store: Store) -> None:
    stop = Stop()
    deep = sequence("deep", a=lambda state: stop.set("walltime"), b=setting(b=1))
    with pytest.raises(RunInterruptedError) as caught:
        outer(store, deep).execute({}, run_id="r", stop=stop)
    assert caught.value.reason == "walltime"


def test_events_of_branches_are_of_their_own_nodes_and_pairs(store: Store) -> None:
    recorder = Recorder()

    def work(name: str) -> StateGraph:
        nodes = {f"n{number}": setting(**{f"{name}{number}": number}) for number in range(8)}
        return sequence(name, **nodes)

    graph = outer(store, branches_node({"a": work("a"), "b": work("b"), "c": work("c")}))
    graph.execute({}, run_id="r", observer=recorder)
    for event in recorder.events:
        if event.type == "checkpoint.save" and event.data["node"] != "all" and "changed" in event.data:
            _, branch, node = event.data["node"].split("/")
            assert event.data["changed"] == [f"{branch}{node[1:]}"]

    def interrupt(state: State) -> None:
        raise KeyboardInterrupt

    recorder = Recorder()
    with pytest.raises(KeyboardInterrupt):
        outer(store, branches_node({"a": interrupt, "b": setting(b=1)})).execute({}, run_id="s", observer=recorder)
    names = Counter((one.type, one.data["node"]) for one in recorder.events if one.type.startswith("node."))
    assert names["node.start", "all"] == names["node.complete", "all"] == 1


KILLED = """
import os, sys
from tau import StateGraph, branches_node
def node(state, ctx):
    with open(sys.argv[1], "a") as file:
        file.write(f"{ctx.attempt}\\n")
    ctx.step(f"step {ctx.attempt}", lambda: 1)
    if ctx.attempt < 4:
        os._exit(9)
    return {"n": ctx.attempt}
inner = StateGraph("inner")
inner.add_node("node", node, version="1")
inner.sequence("node")
graph = StateGraph("g", store=sys.argv[2])
graph.add_node("all", branches_node({"a": inner, "b": lambda state: None}) if sys.argv[3] == "branches" else inner)
graph.sequence("all")
print(graph.execute({}, run_id="r", if_exists="resume")["n"])
"""


@pytest.mark.parametrize("kind", ["graph", "branches"])
def test_attempts_inside_are_counted_over_kills(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "attempts"
    command = [sys.executable, "-c", KILLED, str(place), f"sqlite:///{tmp_path}/r.db", kind]
    for _ in range(3):
        assert subprocess.run(command, timeout=4 * LONG, check=False).returncode == 9
    done = subprocess.run(command, timeout=4 * LONG, check=False, capture_output=True, text=True)
    assert done.stdout.strip() == "4", done.stderr
    assert place.read_text().split() == ["1", "2", "3", "4"]


INTERRUPTED = """
import os, signal, sys, threading
from tau import StateGraph, branches_node
from tau.stores.memory import MemoryStore
kind = sys.argv[1]
begun, go, done = threading.Event(), threading.Event(), threading.Event()
at_work, most, calls = [0], [0], [0]
def slow(state):
    at_work[0] += 1
    most[0] = max(most[0], at_work[0])
    calls[0] += 1
    begun.set()
    if calls[0] == 1:
        go.wait(60)
    at_work[0] -= 1
    done.set()
    return {"slow": 1}
async def hang(state):
    import asyncio
    begun.set()
    await asyncio.sleep(600)
def graph_of(name, function):
    graph = StateGraph(name)
    graph.add_node("one", function, version="1")
    graph.add_node("two", lambda state: {"two": 2}, version="1")
    graph.sequence("one", "two")
    return graph
deep = branches_node({"x": graph_of("x", hang if kind == "async" else slow), "y": lambda state: {"y": 1}})
middle = StateGraph("middle")
middle.add_node("deep", deep)
middle.sequence("deep")
store = MemoryStore()
graph = StateGraph("g", store=store)
graph.add_node("all", branches_node({"m": middle, "n": lambda state: {"n": 1}}))
graph.sequence("all")
heard = threading.Semaphore(0)
def hear(number, frame):
    heard.release()
    raise KeyboardInterrupt
signal.signal(signal.SIGINT, hear)
def strike():
    assert begun.wait(60)
    for _ in range(2 if kind == "sync" else 1):
        os.kill(os.getpid(), signal.SIGINT)
        assert heard.acquire(timeout=60)
threading.Thread(target=strike, daemon=True).start()
try:
    graph.execute({}, run_id="r")
except KeyboardInterrupt:
    position = store.summary("r").position
    print("interrupted", store.summary("r").status)
if kind == "sync":
    threading.Timer(1.0, go.set).start()
    state = graph.resume("r")
    positions = [position for position, _ in store.read("r")]
    print(sorted(state), most[0], positions == [*range(1, store.summary("r").position + 1)])
"""


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_interrupts_reach_branches_in_branches(kind: str) -> None:
    """A first one ends async nodes; a second one leaves sync nodes alone, which then save nothing, and are not run
    beside themselves."""
    command = [sys.executable, "-c", INTERRUPTED, kind]
    done = subprocess.run(command, timeout=4 * LONG, check=False, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert lines[:1] == ["interrupted interrupted"], done.stderr
    if kind == "sync":
        assert lines[1] == "['n', 'slow', 'two', 'y'] 1 True", done.stderr


LEFT = """
import asyncio, threading, time
from tau import StateGraph
begun = threading.Event()
def node(state):
    begun.set()
    time.sleep(0.2)
graph = StateGraph("g", store="memory:")
graph.add_node("node", node)
graph.sequence("node")
loop = asyncio.new_event_loop()
task = loop.create_task(graph.aexecute({}))
while not begun.is_set():
    loop.run_until_complete(asyncio.sleep(0.01))
loop.close()
ends = time.monotonic() + 60
while any(one.name == "tau-commit" for one in threading.enumerate()) and time.monotonic() < ends:
    time.sleep(0.05)  # threads that have nothing to do end
"""


def test_a_task_that_is_left_behind_does_not_keep_the_process_from_ending() -> None:
    done = subprocess.run([sys.executable, "-c", LEFT], timeout=4 * LONG, check=False, capture_output=True, text=True)
    assert done.returncode == 0
    assert "no thread can begin" not in done.stderr


@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_what_a_branch_asks_can_be_answered_while_another_works(tmp_path: Path, kind: str) -> None:
    url = {"file": f"file://{tmp_path}/runs", "sqlite": f"sqlite:///{tmp_path}/runs.db"}[kind]
    answered: list[str] = []

    def build() -> StateGraph:
        asks = StateGraph("asks")
        asks.add_node("ok", pause_node("ok", form=bool, deadline=3600.0, default=False))
        asks.sequence("ok")
        return outer(url, branches_node({"slow": slow, "asks": asks}))

    def slow(state: State) -> dict[str, int]:
        here = build()
        ends = threading.Event()
        for _ in range(3000):
            if found := here.pauses("r"):
                answered.append(found[0].node)
                here.answer("r", "ok", True)
                return {"slow": 1}
            ends.wait(0.01)
        raise TimeoutError

    with pytest.raises((RunWaitingError, RunInterruptedError)):
        build().execute({}, run_id="r")
    assert answered == ["all/asks/ok"]
    assert dict(build().resume("r")) == {"slow": 1, "ok": True}
    assert answered == ["all/asks/ok"]
