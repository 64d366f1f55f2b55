"""`ctx.ask`: a node asks people in its middle; what it finished before is kept, and the wait costs no attempt."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from engine_steps import config, elsewhere

from tau import (
    AnswerError,
    ConfigError,
    Context,
    ExecutionError,
    ParallelConfig,
    PauseExpiredError,
    Retry,
    RunWaitingError,
    State,
    StateGraph,
    current,
    process_chain,
    process_parallel,
)
from tau.log.encoding import unseal
from tau.log.records import CheckpointRecord
from tau.observers import Recorder
from tau.stores.contract import Store

Node = Callable[..., Any]


@dataclasses.dataclass
class Choice:
    model: str
    degree: int = 1


def graph_of(store: Any, node: Node, **options: Any) -> StateGraph:
    graph = StateGraph(config(store, observer=options.pop("observer", "noop")))
    graph.add_node("node", node, version="1", **options)
    graph.sequence("node")
    return graph


def waits(graph: StateGraph, *names: str) -> None:
    """The run begins, or goes on, and waits for these."""
    with pytest.raises(RunWaitingError) as caught:
        graph.execute({}, run_id="r", if_exists="resume")
    assert tuple(caught.value.pauses) == names


def attempts(store: Store) -> list[int]:
    records = [unseal("r", position, data) for position, data in store.read("r")]
    return [record.attempt for record in records if isinstance(record, CheckpointRecord)]


def test_a_node_begins_anew_after_the_answer_and_its_steps_are_kept(store: Store) -> None:
    calls: list[str] = []

    def fit(state: State, ctx: Context) -> dict[str, Any]:
        calls.append("node")
        fitted = ctx.step("fit", lambda: calls.append("step") or 42)
        choice = ctx.ask("model", form=Choice, prompt=f"The fit is {fitted}.")
        assert isinstance(choice, Choice)
        return {"model": choice.model, "attempt": ctx.attempt, "fit": fitted}

    graph = graph_of(store, fit)
    waits(graph, "model")
    (pause,) = graph.pauses()
    assert (pause.node, pause.prompt, pause.editable) == ("node", "The fit is 42.", False)
    with elsewhere(store) as fresh:
        other = graph_of(fresh, fit)
        with pytest.raises(AnswerError, match="degree: expected integer, found string"):
            other.answer("r", "model", {"model": "linear", "degree": "two"})
        other.answer("r", "model", Choice("linear"))
        assert dict(other.resume("r")) == {"model": "linear", "attempt": 1, "fit": 42}
        assert calls == ["node", "step", "node"]
        assert attempts(fresh) == [1]


def test_an_async_node_asks_without_an_await(store: Store) -> None:
    calls: list[str] = []

    async def fit(state: State, ctx: Context) -> dict[str, Any]:
        async def work() -> int:
            calls.append("step")
            return 42

        found = await ctx.step("fit", work)
        return {"fit": found, "good": ctx.ask("good", form=bool)}

    graph = graph_of(store, fit, timeout=30.0)
    waits(graph, "good")
    graph.answer("r", "good", True)
    assert dict(asyncio.run(graph.aresume("r"))) == {"fit": 42, "good": True}
    with pytest.raises(RunWaitingError):
        asyncio.run(graph.aexecute({}, run_id="q"))
    assert graph.resume("q", answers={"good": False})["good"] is False
    assert calls == ["step", "step"]


def test_neither_a_handler_of_exceptions_nor_a_retry_nor_a_timeout_sees_a_pause(store: Store) -> None:
    tries: list[int] = []

    def node(state: State, ctx: Context) -> dict[str, Any]:
        tries.append(ctx.attempt)
        try:
            answer = ctx.ask("good")
        except Exception as error:
            raise AssertionError("a pause is no Exception") from error
        if len(tries) == 2:
            raise ValueError("not yet")
        return {"good": answer}

    graph = graph_of(store, node, retry=Retry(attempts=2, delay=0.0), timeout=30.0)
    waits(graph, "good")
    assert graph.resume("r", answers={"good": 1})["good"] == 1
    assert (tries, attempts(store)) == ([1, 1, 2], [2])


@pytest.mark.parametrize("how", ["returns", "async"])
def test_a_node_that_keeps_the_pause_to_itself_fails_and_says_what_to_do(store: Store, how: str) -> None:
    def swallow(ctx: Context) -> None:
        with contextlib.suppress(BaseException):
            ctx.ask("good")

    def returns(state: State, ctx: Context) -> None:
        swallow(ctx)

    async def waiting(state: State, ctx: Context) -> None:
        swallow(ctx)

    graph = graph_of(store, waiting if how == "async" else returns)
    with pytest.raises(ExecutionError, match=r"went on after it asked 'good': .* catch Exception instead"):
        graph.execute({}, run_id="r")
    assert graph.pauses() == []


def test_a_node_that_fails_after_it_asked_has_failed(store: Store) -> None:
    def node(state: State, ctx: Context) -> None:
        try:
            ctx.ask("good")
        finally:
            raise ValueError("broken")

    with pytest.raises(ExecutionError, match="broken"):
        graph_of(store, node).execute({}, run_id="r")


def test_one_answer_of_several_is_enough_to_go_on_with_that_part(store: Store) -> None:
    done: list[str] = []

    async def node(state: State, ctx: Context) -> dict[str, Any]:
        async def part(name: str) -> Any:
            answer = ctx.ask(name)
            await ctx.step(f"after {name}", noted, name)
            return answer

        async def noted(name: str) -> None:
            done.append(name)

        found = await asyncio.gather(*map(part, "ab"), return_exceptions=True)
        for one in found:
            if isinstance(one, BaseException):
                raise one
        return {"found": found}

    graph = graph_of(store, node)
    waits(graph, "a", "b")
    graph.answer("r", "b", 2)
    summary = store.summary("r")
    assert summary is not None
    assert (summary.status, summary.pauses) == ("interrupted", 1)
    waits(graph, "a")
    assert done == ["b"]
    assert graph.resume("r", answers={"a": 1})["found"] == [1, 2]
    assert done == ["b", "a"]


def test_a_group_of_tasks_of_which_one_asks_waits(store: Store) -> None:
    async def node(state: State, ctx: Context) -> dict[str, Any]:
        async def asks() -> Any:
            return ctx.ask("good")

        async with asyncio.TaskGroup() as group:
            task = group.create_task(asks())
        return {"good": task.result()}

    graph = graph_of(store, node)
    waits(graph, "good")
    assert graph.resume("r", answers={"good": 1})["good"] == 1


@pytest.mark.parametrize("is_async", [False, True])
def test_the_items_of_a_map_that_are_done_outlive_a_pause_in_another(store: Store, is_async: bool) -> None:
    calls: list[int] = []

    def square(item: int) -> Any:
        calls.append(item)
        return (item, current().ask("keep 2")) if item == 2 else item * item

    async def asquare(item: int) -> Any:
        return square(item)

    def node(state: State, ctx: Context) -> dict[str, Any]:
        return {"found": ctx.map("square", square, range(4), workers=1)}

    async def anode(state: State, ctx: Context) -> dict[str, Any]:
        return {"found": await ctx.map("square", asquare, range(4), workers=1)}

    graph = graph_of(store, anode if is_async else node)
    waits(graph, "keep 2")
    assert calls == [0, 1, 2]
    assert graph.resume("r", answers={"keep 2": "yes"})["found"] == [0, 1, (2, "yes"), 9]
    assert calls == [0, 1, 2, 2, 3]


def test_a_pause_is_no_failure_that_a_map_collects_and_no_try_of_an_item(store: Store) -> None:
    tries: list[int] = []

    def ask(item: int) -> Any:
        tries.append(item)
        answer = current().ask(f"item {item}")
        if len(tries) == 2:
            raise OSError("away")
        return answer

    def node(state: State) -> dict[str, Any]:
        again = ParallelConfig(max_workers=1, fail_fast=False, retry=Retry(attempts=2, delay=0.0))
        return {"found": process_parallel([7], ask, again).results}

    graph = graph_of(store, node)
    waits(graph, "item 7")
    assert graph.resume("r", answers={"item 7": 1})["found"] == [1]
    assert tries == [7, 7, 7]


def test_a_chain_keeps_the_steps_before_a_pause(store: Store) -> None:
    calls: list[int] = []

    def add(item: int, total: int) -> int:
        calls.append(item)
        return total + (current().ask("bonus", form=int) if item == 2 else item)

    graph = graph_of(store, lambda state: {"total": process_chain([1, 2, 3], 0, add).final})
    waits(graph, "bonus")
    assert graph.resume("r", answers={"bonus": 10})["total"] == 14
    assert calls == [1, 2, 2, 3]


def test_threads_of_a_node_may_ask(store: Store) -> None:
    def node(state: State, ctx: Context) -> dict[str, Any]:
        with ThreadPoolExecutor(1) as pool:
            return {"good": pool.submit(ctx.ask, "good").result()}

    graph = graph_of(store, node)
    waits(graph, "good")
    assert graph.resume("r", answers={"good": 1})["good"] == 1


def test_a_name_is_for_one_question_of_a_visit(store: Store) -> None:
    def node(state: State, ctx: Context) -> None:
        ctx.ask("good")
        ctx.ask("good")

    graph = graph_of(store, node)
    waits(graph, "good")
    with pytest.raises(ExecutionError, match="makes two questions 'good' in one visit") as caught:
        graph.resume("r", answers={"good": 1})
    assert isinstance(caught.value.__cause__, ConfigError)


def test_every_visit_asks_anew(store: Store) -> None:
    def node(state: State, ctx: Context) -> dict[str, Any]:
        return {"answers": [*state.get("answers", []), ctx.ask("next")]}

    graph = StateGraph(config(store))
    graph.add_node("node", node, version="1")
    graph.add_node("end", lambda state: None, version="1")
    graph.add_edge("node", "node", lambda state: len(state["answers"]) < 3, name="more")
    graph.add_edge("node", "end")
    graph.set_entry_point("node")
    graph.set_exit_point("end")
    waits(graph, "next")
    for number in range(2):
        with pytest.raises(RunWaitingError):
            graph.resume("r", answers={"next": number})
    assert graph.resume("r", answers={"next": 2})["answers"] == [0, 1, 2]


def test_deadlines_of_questions_inside_a_node(store: Store) -> None:
    def node(state: State, ctx: Context) -> dict[str, Any]:
        return {
            "model": ctx.ask("model", form=Choice, deadline=timedelta(microseconds=1), default=Choice("late")).model
        }

    waiting = graph_of(store, node)
    waits(waiting, "model")
    assert waiting.resume("r")["model"] == "late"


def test_a_deadline_without_a_default_fails_the_node_and_is_not_tried_again(store: Store) -> None:
    tries: list[int] = []

    def node(state: State, ctx: Context) -> None:
        tries.append(1)
        ctx.ask("model", deadline=1e-6)

    graph = graph_of(store, node, retry=Retry(attempts=3, delay=0.0))
    waits(graph, "model")
    with pytest.raises(ExecutionError, match="not answered by its deadline") as caught:
        graph.resume("r")
    assert isinstance(caught.value.__cause__, PauseExpiredError)
    assert len(tries) == 2


def test_a_deadline_of_one_question_fails_no_run_in_which_another_is_open(store: Store) -> None:
    both = threading.Barrier(2)

    def node(state: State, ctx: Context) -> dict[str, Any]:
        def vote(name: str) -> Any:
            both.wait(30)
            return current().ask(name, deadline=1e-6 if name == "late" else None)

        found = ctx.map("vote", vote, ["late", "a"], workers=2, errors="collect")
        return {"votes": [one.value if one.status == "done" else str(one.error) for one in found]}

    graph = graph_of(store, node)
    with pytest.raises(RunWaitingError):
        graph.execute({}, run_id="r")
    for _ in range(2):  # for whoever looks
        assert {one.name for one in graph.pauses()} == {"late", "a"}
        assert not graph.plan("r").can_resume
        with pytest.raises(RunWaitingError):
            graph.resume("r")
        with pytest.raises(PauseExpiredError):
            graph.answer("r", "late", 1)
    graph.answer("r", "a", 1)
    late, a = graph.resume("r")["votes"]
    assert "not answered by its deadline" in late
    assert a == 1


def test_only_the_answer_to_a_pause_node_changes_the_state(store: Store) -> None:
    graph = graph_of(store, lambda state, ctx: {"good": ctx.ask("good")})
    waits(graph, "good")
    with pytest.raises(AnswerError, match="only the answer to a pause_node can change the state"):
        graph.answer("r", "good", 1, changes={"x": 1})


def test_a_redo_drops_the_steps_and_keeps_what_people_said(store: Store) -> None:
    calls: list[str] = []

    def node(state: State, ctx: Context) -> dict[str, Any]:
        ctx.step("work", lambda: calls.append("work"))
        return {"good": ctx.ask("good")}

    graph = graph_of(store, node)
    waits(graph, "good")
    assert graph.resume("r", answers={"good": 1}, on_change="redo")["good"] == 1
    assert calls == ["work", "work"]


def test_a_pause_is_told_as_the_end_of_an_attempt(store: Store) -> None:
    recorder = Recorder()
    graph = graph_of(store, lambda state, ctx: {"good": ctx.ask("good")}, observer=recorder)
    waits(graph, "good")
    ended = [event.data for event in recorder.events if event.type == "node.complete"]
    assert [data["error_type"] for data in ended] == ["Paused"]
    assert recorder.events[-1].type == "graph.waiting"
