"""`ctx.attempt` counts the attempts at a visit until one succeeds, however they ended and in whichever process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tau import CheckpointConfig, Context, GraphConfig, Retry, RunInterruptedError, State, StateGraph, Stop, open_store
from tau.errors import ExecutionError
from tau.stores.memory import MemoryStore


@pytest.fixture(params=["memory", "sqlite", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    urls = {"sqlite": f"sqlite:///{tmp_path}/r.db", "file": f"file://{tmp_path}/runs"}
    made = open_store(urls[request.param]) if request.param in urls else MemoryStore()
    yield made
    made.close()


class Pipeline:
    """``first``, then ``second`` which ends as it is told to, twice visited; notes the attempts of each node."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.told: list[BaseException] = []
        self.seen: list[tuple[str, int, int]] = []

    def note(self, ctx: Context) -> None:
        self.seen.append((ctx.node, ctx.visit, ctx.attempt))

    def first(self, state: State, ctx: Context) -> None:
        self.note(ctx)

    def second(self, state: State, ctx: Context) -> dict[str, Any]:
        self.note(ctx)
        ctx.step("kept", int)
        if self.told:
            raise self.told.pop(0)
        return {"laps": state.get("laps", 0) + 1}

    def graph(self, interval: int = 1, limit: int = 100) -> StateGraph:
        checkpoint = CheckpointConfig(store=self.store, interval=interval, preserve=True)
        graph = StateGraph(GraphConfig("g", observer="noop", checkpoint=checkpoint, max_iterations=limit))
        graph.add_node("first", self.first, version="1")
        graph.add_node("second", self.second, version="1", retry=Retry(attempts=2, delay=0.0, on=OSError))
        graph.add_node("last", lambda state: None, version="1")
        graph.add_edge("first", "second")
        graph.add_edge("second", "second", lambda state: state["laps"] < 2)
        graph.add_edge("second", "last", lambda state: state["laps"] >= 2)
        graph.set_entry_point("first")
        graph.set_exit_point("last")
        return graph


REST = [("second", 2, 1)]


@pytest.mark.parametrize("interval", [1, 3])
@pytest.mark.parametrize("is_async", [False, True])
def test_attempts_go_on_over_retries_and_resumes_and_each_process_has_its_retries(
    store: Any, interval: int, *, is_async: bool
) -> None:
    pipeline = Pipeline(store)
    pipeline.told = [OSError("1"), OSError("2"), OSError("3"), OSError("4"), ValueError("5")]

    def start() -> State:
        graph = pipeline.graph(interval)
        return asyncio.run(graph.aexecute({}, run_id="r")) if is_async else graph.execute({}, run_id="r")

    def resume() -> State:
        graph = pipeline.graph(interval)
        return asyncio.run(graph.aresume("r")) if is_async else graph.resume("r")

    for go in (start, resume, resume):
        with pytest.raises(ExecutionError):
            go()
    assert resume()["laps"] == 2
    assert pipeline.seen == [("first", 1, 1), *(("second", 1, number) for number in range(1, 7)), *REST]


def test_what_was_broken_off_was_an_attempt(store: Any) -> None:
    pipeline = Pipeline(store)
    pipeline.told = [OSError("once"), KeyboardInterrupt(), RunInterruptedError("enough", run_id="r")]
    with pytest.raises(KeyboardInterrupt):
        pipeline.graph().execute({}, run_id="r")
    with pytest.raises(RunInterruptedError):
        pipeline.graph().resume("r")
    assert pipeline.graph().resume("r")["laps"] == 2
    assert pipeline.seen == [("first", 1, 1), *(("second", 1, number) for number in range(1, 5)), *REST]


def test_what_was_not_begun_was_none(store: Any) -> None:
    pipeline = Pipeline(store)
    stop = Stop()
    stop.set("at once")
    with pytest.raises(RunInterruptedError):
        pipeline.graph().execute({}, run_id="r", stop=stop)
    with pytest.raises(RunInterruptedError):
        pipeline.graph().resume("r", stop=stop)
    with pytest.raises(RunInterruptedError):
        asyncio.run(pipeline.graph().aresume("r", stop=stop))
    with pytest.raises(ExecutionError, match="max iterations"):
        pipeline.graph(limit=1).resume("r")
    assert pipeline.graph().resume("r")["laps"] == 2
    assert pipeline.seen == [("first", 1, 1), ("second", 1, 1), *REST]


@pytest.mark.parametrize("kind", ["sqlite", "file"])
def test_a_kill_is_an_attempt_beside_those_that_failed(kind: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/r.db" if kind == "sqlite" else f"file://{tmp_path}/runs"

    def killed() -> None:
        pid = os.fork()
        if pid == 0:
            try:
                pipeline = Pipeline(url)
                pipeline.second = lambda state, ctx: os._exit(7)  # type: ignore[assignment,method-assign]
                pipeline.graph().execute({}, run_id="r", if_exists="resume")
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7

    killed()
    pipeline = Pipeline(url)
    pipeline.told = [ValueError("1")]
    with pytest.raises(ExecutionError):
        pipeline.graph().resume("r")
    killed()
    killed()
    assert pipeline.graph().resume("r")["laps"] == 2
    assert pipeline.seen == [("second", 1, 2), ("second", 1, 5), *REST]
