"""Nodes that are called where ``executor=`` says: in processes of their own above all."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import node_tasks as nodes
import pytest

from tau import (
    ConfigError,
    ExecutionError,
    NodeTimeoutError,
    Retry,
    State,
    StateGraph,
    TauError,
    UnserializableError,
    WorkerError,
    open_store,
    pause_node,
)
from tau.log.records import describe
from tau.stores.contract import Store


def graph_of(store: Store | None, function: Any, **options: Any) -> StateGraph:
    graph = StateGraph("g", store=store)
    graph.add_node("node", function, **{"executor": "processes", **options})
    graph.sequence("node")
    return graph


@pytest.fixture(params=[False, True], ids=["without a store", "kept"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store | None:
    return open_store(f"sqlite:///{tmp_path}/r.db") if request.param else None


def run(store: Store | None, function: Any, given: dict[str, Any] | None = None, **options: Any) -> State:
    return graph_of(store, function, **options).execute({"n": 1, **(given or {})}, run_id="r", seed=1)


def test_a_node_runs_in_a_process_of_its_own(store: Store | None) -> None:
    state = run(store, nodes.plain)
    assert (state["twice"], state["n"]) == (2, 1)
    assert state["pid"] != os.getpid()


def test_the_decorator_takes_the_option_too() -> None:
    graph = StateGraph("g")
    graph.node(executor="processes")(nodes.plain)
    graph.sequence(nodes.plain)
    assert graph.execute({"n": 4})["twice"] == 8


def test_changes_in_place_and_states_count_as_ever(store: Store | None) -> None:
    assert run(store, nodes.in_place, {"rows": [0]})["rows"] == [0, 1]
    found = graph_of(store, nodes.as_state).execute({"gone": 1, "other": 2}, run_id="s")
    assert dict(found) == {"other": 2, "kept": (1, {2})}


def test_the_context_tells_there_what_it_tells_here(store: Store | None) -> None:
    elsewhere = run(store, nodes.about)["about"]
    here = graph_of(None, nodes.about, executor=None).execute({"n": 1}, run_id="r", seed=1)["about"]
    assert elsewhere == here
    with pytest.raises(ExecutionError) as caught:
        graph_of(store, nodes.stepping).execute({}, run_id="s")
    assert isinstance(caught.value.__cause__, TauError)


async def test_async_nodes_and_async_runs(store: Store | None) -> None:
    state = await graph_of(store, nodes.later).aexecute({}, run_id="a")
    assert state["later"] != os.getpid()
    assert (await graph_of(store, nodes.plain).aexecute({"n": 2}, run_id="b"))["twice"] == 4


def test_what_it_raises_is_raised_here(store: Store | None) -> None:
    with pytest.raises(ExecutionError, match="1 broke") as caught:
        run(store, nodes.failing)
    assert isinstance(caught.value.__cause__, ValueError)


def test_what_it_raises_is_placed_where_it_was_raised(store: Store | None) -> None:
    """Not where tau took it up: in the traceback that is printed, and in what is stored of it."""
    with pytest.raises(ExecutionError) as caught:
        run(store, nodes.failing)
    cause = caught.value.__cause__
    assert cause is not None
    assert "remote_node.py" not in str(cause.__cause__)
    assert "in failing" in str(cause.__cause__)
    found = describe(cause)
    assert [(Path(file).name, name) for file, _, name in found.frames] == [("node_tasks.py", "failing")]
    assert found.cause is None
    with pytest.raises(ExecutionError) as caught:
        graph_of(store, nodes.failing_from_another).execute({"n": 1}, run_id="s")
    assert caught.value.__cause__ is not None
    found = describe(caught.value.__cause__)
    assert [name for *_, name in found.frames] == ["failing_from_another"]
    assert found.cause is not None
    assert "1 broke" in found.cause.text


def test_what_cannot_be_sent_is_said_to_be_of_the_node(store: Store | None) -> None:
    lock = threading.Lock()
    with pytest.raises(ExecutionError, match=r"node 'node': .* cannot be sent to worker processes"):
        run(store, lambda state: {"x": lock.locked()})


def test_a_timeout_kills_its_process_and_it_may_be_tried_again(store: Store | None, tmp_path: Path) -> None:
    place = tmp_path / "pids"
    retry = Retry(attempts=2, delay=0.0, on=(NodeTimeoutError,))
    state = run(store, nodes.hanging, {"place": str(place)}, timeout=4.0, retry=retry)
    assert state["tries"] == 2
    first = int(place.read_text().split()[0])
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


@pytest.mark.parametrize(
    ("function", "kind", "said"),
    [
        (
            nodes.dying,
            WorkerError,
            r"its worker process \(pid .* was killed by SIGKILL\. If memory is short, let less run beside it",
        ),
        (nodes.number, TypeError, "returned int; return a mapping of changes, a State, or None"),
        (nodes.unstorable, UnserializableError, "node 'node' set state"),
    ],
)
def test_what_cannot_be_is_an_error_of_the_node(
    store: Store | None, function: Callable[..., Any], kind: type[Exception], said: str
) -> None:
    with pytest.raises(ExecutionError, match=said) as caught:
        run(store, function)
    assert isinstance(caught.value.__cause__, kind)


def test_threads_and_inline(store: Store | None) -> None:
    def where(state: State) -> dict[str, Any]:
        return {"thread": threading.current_thread() is threading.main_thread()}

    assert graph_of(store, where, executor="threads").execute({}, run_id="a")["thread"] is False
    assert graph_of(store, where, executor="inline").execute({}, run_id="b")["thread"] is True


async def test_inline_in_an_async_run_is_the_thread_of_its_loop(store: Store | None) -> None:
    def where(state: State) -> dict[str, Any]:
        return {"thread": threading.current_thread() is threading.main_thread()}

    assert (await graph_of(store, where, executor="inline").aexecute({}, run_id="a"))["thread"] is True
    assert (await graph_of(store, where, executor=None).aexecute({}, run_id="b"))["thread"] is False


def test_the_executor_is_no_change_of_the_node(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/r.db")
    run(store, nodes.plain)
    assert not graph_of(store, nodes.plain, executor=None).plan("r").blocking


@pytest.mark.parametrize(
    ("function", "options", "said"),
    [
        (nodes.plain, {"executor": "dask"}, "executor: expected one of 'inline', 'threads', 'processes'"),
        (nodes.plain, {"executor": 3}, "executor: expected one of"),
        (nodes.later, {"executor": "threads"}, "an async node is called in its event loop"),
        (nodes.plain, {"executor": "inline", "timeout": 1.0}, "'inline' has no timeout"),
        (pause_node("p"), {}, "a pause_node runs nothing"),
        (StateGraph("g"), {}, "it is for one function; give it to the nodes inside"),
    ],
)
def test_what_cannot_be_an_executor_is_refused(function: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        graph_of(None, function, **options)
