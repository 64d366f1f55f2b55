"""What a run says where it cannot do what was meant: what happened, what was found, what to do."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_steps import Steps, config, run

from tau import (
    CheckpointConfig,
    ConfigError,
    Context,
    ExecutionError,
    GraphConfig,
    Retry,
    RunExistsError,
    RunInterruptedError,
    State,
    StateGraph,
    Stop,
    open_store,
    stop_on,
)
from tau.errors import CheckpointNotFoundError, NodeTimeoutError
from tau.observers import Recorder
from tau.stores.contract import Store
from tau.stores.memory import MemoryStore


def notes(error: BaseException | None) -> list[str]:
    return getattr(error, "__notes__", [])


def drive(graph: StateGraph, how: str, run_id: str) -> State:
    if how == "execute":
        return graph.execute({}, run_id=run_id)
    return asyncio.run(graph.aexecute({}, run_id=run_id))


# if_exists="resume" and the id it needs


def test_a_run_is_resumed_by_its_id_and_not_without_one(store: Store) -> None:
    steps = Steps(store)
    with pytest.raises(ConfigError, match="run_id='climate-2024'"):
        steps.graph.execute({}, if_exists="resume")
    with pytest.raises(ConfigError, match="run_id='climate-2024'"):
        asyncio.run(steps.graph.aexecute(if_exists="resume"))
    assert steps.ran == []
    assert store.runs() == []


@pytest.mark.parametrize("id_in_state", [True, False], ids=["State", "run_id"])
def test_an_id_in_the_state_or_beside_it_is_enough(store: Store, id_in_state: bool) -> None:
    steps = Steps(store)
    steps.failing = {"c"}
    given: Any = State({}, run_id="r") if id_in_state else {}
    options: Any = {} if id_in_state else {"run_id": "r"}
    with pytest.raises(ExecutionError):
        steps.graph.execute(given, if_exists="resume", **options)
    steps.failing = set()
    assert steps.graph.execute(given, if_exists="resume", **options)["path"] == list("abcd")
    assert steps.ran == list("abccd")


# A store that is named and not used


def test_a_store_that_keeps_nothing_is_told_once_and_in_the_warnings(caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = CheckpointConfig(store="sqlite:////user:secret@never/q.db?key=hidden")
    graph = StateGraph(GraphConfig("q", observer="noop", checkpoint=checkpoint))
    graph.sequence(doing)
    for _ in range(2):
        assert graph.execute({})["done"] == 1
    (warning,) = graph.warnings
    assert "sqlite:////***@never/q.db" in warning
    assert "interval=1" in warning
    assert [record.getMessage() for record in caplog.records] == [f"graph q: {warning}"]
    assert "secret" not in caplog.text


def test_a_store_that_is_used_or_not_named_is_no_mistake(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    url = f"sqlite:///{tmp_path}/runs.db"
    graphs = [
        StateGraph(GraphConfig("default", observer="noop")),
        StateGraph("none"),
        StateGraph("given", store=url),
        StateGraph(GraphConfig("kept", observer="noop", checkpoint=CheckpointConfig(store=url, interval=1))),
        StateGraph(GraphConfig("late", observer="noop", checkpoint=CheckpointConfig(store=url))),
    ]
    graphs[-1].use_store(url)
    for graph in graphs:
        graph.sequence(doing)
        graph.execute({})
        assert graph.warnings == []
    assert caplog.records == []


def doing(state: State) -> dict[str, Any]:
    return {"done": 1}


# A step that is not awaited


async def pay() -> int:
    return 7


def test_a_step_that_is_not_awaited_fails_its_node(store: Store) -> None:
    async def forgets(state: State, ctx: Context) -> dict[str, Any]:
        ctx.step("pay", pay)
        return {"paid": True}

    def sync(state: State, ctx: Context) -> dict[str, Any]:
        ctx.step("pay", pay)
        return {"paid": True}

    for number, node in enumerate((forgets, sync)):
        graph = StateGraph(config(store))
        graph.add_node("shop", node, version="1")
        graph.sequence("shop")
        for how in ("execute", "aexecute"):
            with pytest.raises(ExecutionError) as caught:
                drive(graph, how, f"{how} {number}")
            assert isinstance(caught.value.__cause__, ConfigError)
            assert "node 'shop' did not await step 'pay'" in str(caught.value)
            assert "await ctx.step('pay', ...)" in str(caught.value)


def test_a_step_that_was_given_up_is_not_forgotten(store: Store) -> None:
    async def node(state: State, ctx: Context) -> dict[str, Any]:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ctx.step("late", pay), 0)
        ctx.step("closed", pay).close()
        left = asyncio.create_task(ctx.step("left", pay))
        left.cancel()
        first, second = await asyncio.gather(ctx.step("one", pay), ctx.step("two", pay))
        last = asyncio.create_task(ctx.step("last", pay))
        last.cancel()
        return {"sum": first + second}

    for how in ("execute", "aexecute"):
        graph = StateGraph(config(store))
        graph.add_node("n", node, version="1")
        graph.sequence("n")
        assert drive(graph, how, how)["sum"] == 14


def test_a_step_that_a_sync_node_gives_back_is_awaited(store: Store) -> None:
    graph = StateGraph(config(store))

    async def paid() -> dict[str, Any]:
        return {"paid": 7}

    graph.add_node("shop", lambda state, ctx: ctx.step("pay", paid), version="1")
    graph.sequence("shop")
    assert graph.execute({})["paid"] == 7


# Notes on what a node raised


def test_work_in_place_on_an_array_of_the_state_names_copy(store: Store) -> None:
    def first(state: State) -> dict[str, Any]:
        return {"field": np.arange(4.0)}

    for number, change in enumerate((_set, _add, _sort)):
        graph = StateGraph(config(store))
        graph.add_node("first", first, version="1")
        graph.add_node("second", change, version="1")
        graph.sequence("first", "second")
        with pytest.raises(ExecutionError) as caught:
            graph.execute({}, run_id=str(number))
        assert [".copy()" in note for note in notes(caught.value.__cause__)] == [True]


def _set(state: State) -> None:
    state["field"][0] = 5


def _add(state: State) -> None:
    field = state["field"]
    field += 1


def _sort(state: State) -> None:
    state["field"].sort()


def test_the_copy_that_the_note_names_works(store: Store) -> None:
    def change(state: State) -> dict[str, Any]:
        field = state["field"].copy()
        field[0] = 5
        return {"field": field}

    assert run(store, change, given={"field": np.arange(3)})["field"].tolist() == [5, 1, 2]


def test_a_step_that_cannot_be_awaited_says_so(store: Store) -> None:
    async def node(state: State, ctx: Context) -> None:
        await ctx.step("one", int)

    with pytest.raises(ExecutionError) as caught:
        run(store, node)
    assert any("call it without await" in note for note in notes(caught.value.__cause__))


# What goes on with a run that ended early


@pytest.mark.parametrize("how", ["execute", "aexecute"])
def test_what_ends_a_run_says_where_it_is_kept_and_what_goes_on_with_it(tmp_path: Path, how: str) -> None:
    url = f"sqlite:///{tmp_path}/runs.db"
    for number, raised in enumerate((ValueError("no"), KeyboardInterrupt(), SystemExit(3))):
        steps = Steps(open_store(url))

        def fail(raised: BaseException = raised) -> None:
            raise raised

        steps.during["c"] = fail
        with pytest.raises(BaseException) as caught:  # noqa: PT011
            drive(steps.graph, how, f"r {number}")
        found = [note for note in notes(caught.value) if "is kept in" in note]
        assert len(found) == 1
        assert f"run 'r {number}' is kept in {url}, up to 'b' (2 visits finished)" in found[0]
        assert f"graph.resume('r {number}')" in found[0]
        assert f"tau resume --store {url} 'r {number}' FILE.py:GRAPH" in found[0]
        steps.during.clear()
        assert steps.build().resume(f"r {number}")["path"] == list("abcd")


def test_a_stop_says_so_too_and_a_memory_store_names_no_command() -> None:
    steps = Steps(MemoryStore())
    stop = Stop()
    stop.set()
    with pytest.raises(RunInterruptedError) as caught:
        steps.graph.execute({}, run_id="r", stop=stop)
    (note,) = notes(caught.value)
    assert "graph.resume('r') continues it" in note
    assert "tau resume" not in note


def test_what_was_never_begun_or_not_kept_says_nothing_of_it(store: Store) -> None:
    steps = Steps(store)
    steps.graph.execute({}, run_id="r")
    with pytest.raises(RunExistsError) as exists:
        steps.graph.execute({}, run_id="r")
    with pytest.raises(CheckpointNotFoundError) as missing:
        steps.graph.resume("nope")
    unkept = Steps(None)
    unkept.failing = {"a"}
    with pytest.raises(ExecutionError) as failed:
        unkept.graph.execute({})
    assert [notes(one.value) for one in (exists, missing, failed)] == [[], [], []]


def test_the_note_is_no_part_of_the_stored_failure(store: Store) -> None:
    steps = Steps(store)
    steps.failing = {"b"}
    with pytest.raises(ExecutionError):
        steps.graph.execute({}, run_id="r")
    assert not any(b"is kept in" in data for _, data in store.read("r"))


# Retries


@pytest.mark.parametrize("how", ["execute", "aexecute"])
def test_a_retry_is_told_with_what_failed_and_how_long_it_waits(
    store: Store, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder()
    tries: list[int] = []

    def flaky(state: State) -> dict[str, Any]:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("the file server is away")
        return {"tries": len(tries)}

    graph = StateGraph(config(store, observer=recorder))
    graph.add_node("fetch", flaky, version="1", retry=Retry(attempts=3, delay=0.002, backoff=2, jitter=0))
    graph.sequence("fetch")
    assert drive(graph, how, "r")["tries"] == 3
    told = [dict(event.data) for event in recorder.events if event.type == "node.retry"]
    about = {"node": "fetch", "visit": 1, "error": "the file server is away", "error_type": "OSError", "run_id": "r"}
    assert told == [{**about, "attempt": 1, "wait_seconds": 0.002}, {**about, "attempt": 2, "wait_seconds": 0.004}]
    order = [event.type for event in recorder.events if event.type.startswith("node.")]
    assert order == ["node.start", "node.complete", "node.retry"] * 2 + ["node.start", "node.complete"]
    records = [record for record in caplog.records if record.name == "tau"]
    assert [record.levelno for record in records] == [logging.WARNING] * 2
    assert "'fetch' of run 'r' failed in attempt 1 and is tried again in 0.002 s: OSError: the file" in caplog.text


def test_the_last_failure_is_told_as_no_retry(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    graph = StateGraph(config(store, observer=recorder))

    def broken(state: State) -> None:
        raise OSError("away")

    graph.add_node("n", broken, version="1", retry=Retry(attempts=2, delay=0))
    graph.sequence("n")
    with pytest.raises(ExecutionError):
        graph.execute({})
    assert [event.type for event in recorder.events].count("node.retry") == 1
    assert len(caplog.records) == 1


def test_a_sync_node_that_ran_into_its_timeout_says_why_it_is_not_tried_again(store: Store) -> None:
    import threading

    go_on = threading.Event()

    def slow(state: State) -> None:
        go_on.wait(10)

    def failure(**options: Any) -> str:
        graph = StateGraph(config(store))
        graph.add_node("n", slow, version="1", timeout=0.01, **options)
        graph.sequence("n")
        with pytest.raises(ExecutionError) as caught:
            graph.execute({})
        assert isinstance(caught.value.__cause__, NodeTimeoutError)
        return str(caught.value)

    retry = Retry(attempts=2, delay=0)
    try:
        assert "idempotent=True allows that" in failure(retry=retry)
        assert "idempotent" not in failure()
        assert "idempotent" not in failure(retry=retry, idempotent=True)
        assert "idempotent" not in failure(
            retry=Retry(on=OSError if not issubclass(TimeoutError, OSError) else KeyError)
        )
    finally:
        go_on.set()


# Wrong arguments


def test_a_graph_is_made_of_a_name_or_a_config() -> None:
    for wrong in (3, None, {"name": "g"}):
        with pytest.raises(ConfigError, match=r"as in StateGraph\('climate'\), found"):
            StateGraph(wrong)  # type: ignore[arg-type]


def test_a_limit_of_visits_names_its_setting(store: Store) -> None:
    steps = Steps(store, max_iterations=2)
    with pytest.raises(ExecutionError, match=r"max iterations \(2\) exceeded.*GraphConfig\(max_iterations=\.\.\.\)"):
        steps.graph.execute({}, run_id="r")
    assert Steps(store, max_iterations=4).graph.resume("r")["path"] == list("abcd")


def test_a_run_that_is_not_there_is_told_with_the_store(store: Store) -> None:
    graph = Steps(store).graph
    said = f"failed to load checkpoint: checkpoint not found: nope in {store.location}"
    for ask in (graph.resume, graph.plan, graph.history, graph.cancel, store.load):
        with pytest.raises(CheckpointNotFoundError) as caught:
            ask("nope")
        assert str(caught.value) == f"{said}; {caught.value.hint}"


def test_signals_are_numbers() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ConfigError, match=r"as in stop_on\(signal\.SIGTERM\), not str: 'SIGTERM'"), stop_on("SIGTERM"):  # type: ignore[arg-type]
        pass
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_artifact_that_is_taken_for_a_path_says_how_it_is_written(tmp_path: Path) -> None:
    def node(state: State, ctx: Context) -> None:
        ctx.artifact("a").write_text("x")  # type: ignore[attr-defined]

    with pytest.raises(ExecutionError, match=r"write with ctx\.artifact\(name\) as path"):
        run(open_store(f"sqlite:///{tmp_path}/runs.db"), node)


def test_runs_are_asked_for_by_a_status_that_there_is(store: Store) -> None:
    Steps(store).graph.execute({}, run_id="r")
    with pytest.raises(
        ConfigError, match=r"no run has status 'finishd'; a status is one of admitted, running, .*finished"
    ):
        store.runs(status="finishd")
    assert [row.run_id for row in store.runs(status="finished")] == ["r"]
    for status in ("running", "waiting", "interrupted", "failed", "cancelled", "dead", "damaged", None):
        assert len(store.runs(status=status)) == (status is None)
