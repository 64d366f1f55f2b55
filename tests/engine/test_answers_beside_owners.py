"""An answer may come while a process works on the run: it never costs that owner its claim."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from engine_steps import config

from tau import (
    AnsweredError,
    AnswerError,
    Context,
    ExecutionError,
    LeaseLostError,
    PauseExpiredError,
    RunWaitingError,
    State,
    StateGraph,
    current,
)
from tau.host import Host
from tau.log.encoding import unseal
from tau.log.records import Answer, CheckpointRecord, Claimed, Interrupted, Item, Pause
from tau.observers import Recorder
from tau.stores.contract import Batch, Store
from tau.testing.store_wrappers import StoreWrapper


def graph_of(store: Any, node: Callable[..., Any], observer: Any = "noop", **options: Any) -> StateGraph:
    graph = StateGraph(config(store, observer=observer, **options))
    graph.add_node("node", node, version="1")
    graph.add_node("end", lambda state: None, version="1")
    graph.sequence("node", "end")
    return graph


def outside(store: Store) -> StateGraph:
    """A graph of another process, for which it is nothing but a way to the store."""
    graph = StateGraph(config(store))
    graph.add_node("node", lambda state: None)
    graph.sequence("node")
    return graph


def records(store: Store, kind: Any) -> list[Any]:
    found = [unseal("r", position, data) for position, data in store.read("r")]
    return [record for record in found if isinstance(record, kind)]


class Questions:
    """A node with two questions, "a" and "b"; ``during`` is called when "a" has its answer."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.during: Callable[[Context], object] = lambda ctx: None
        self.last: Callable[[Context], object] = lambda ctx: None
        self.calls = 0
        self.deadline: float | None = None

    def __call__(self, state: State, ctx: Context) -> dict[str, Any]:
        self.calls += 1
        found: dict[str, Any] = {}
        waits: list[BaseException] = []
        for name in "ab":
            try:
                found[name] = ctx.ask(name, deadline=self.deadline)
            except Exception:
                raise
            except BaseException as paused:
                waits.append(paused)
            else:
                if name == "a":
                    self.during(ctx)
        if waits:
            self.last(ctx)
            raise waits[0]
        return found

    def begin(self, graph: StateGraph) -> None:
        with pytest.raises(RunWaitingError):
            graph.execute({}, run_id="r")
        outside(self.store).answer("r", "a", 1)

    def answer_b(self, *_: object) -> None:
        outside(self.store).answer("r", "b", 2, by="ada")


def sound(store: Store, claims: int) -> None:
    """The run finished without a crash, and no claim was lost."""
    summary = store.summary("r")
    assert summary is not None
    assert (summary.status, summary.owner, summary.pauses) == ("finished", None, 0)
    assert len(records(store, Claimed)) == claims
    assert [record.attempt for record in records(store, CheckpointRecord)] == [1, 1]
    assert [position for position, _ in store.read("r")] == list(range(1, summary.position + 1))


@pytest.mark.parametrize("interval", [1, 5])
@pytest.mark.parametrize("is_async", [False, True])
def test_an_owner_goes_on_behind_an_answer_and_takes_it_up(store: Store, interval: int, is_async: bool) -> None:
    work = Questions(store)
    graph = graph_of(store, work, interval=interval)
    work.begin(graph)

    def during(ctx: Context) -> None:
        ctx.step("before", lambda: 1)
        work.answer_b()
        ctx.step("after", lambda: 2)  # its commit is behind the answer

    work.during = during
    final = asyncio.run(graph.aresume("r")) if is_async else graph.resume("r")
    assert dict(final) == {"a": 1, "b": 2}
    assert work.calls == 2
    assert [record.name for record in records(store, Item)] == ["before", "after"]
    sound(store, claims=2)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_checkpoint_lies_behind_an_answer_that_came_in_its_node(store: Store, is_async: bool) -> None:
    def node(state: State, ctx: Context) -> dict[str, Any]:
        if ctx.ask("a") == 1:  # only one of the two is needed
            outside(store).answer("r", "b", 2)
            return {"a": 1}
        raise AssertionError

    async def both(state: State, ctx: Context) -> dict[str, Any]:
        async def ask(name: str) -> Any:
            return ctx.ask(name)

        found = await asyncio.gather(ask("a"), ask("b"), return_exceptions=True)
        if isinstance(found[0], BaseException):
            raise found[0]
        return {"a": found[0]}

    graph = graph_of(store, both)
    with pytest.raises(RunWaitingError):
        graph.execute({}, run_id="r")
    graph.answer("r", "a", 1)
    again = graph_of(store, node)
    assert dict(asyncio.run(again.aresume("r")) if is_async else again.resume("r")) == {"a": 1}
    sound(store, claims=2)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_question_that_is_answered_while_it_is_asked_again_leaves_a_run_that_goes_on(
    store: Store, is_async: bool
) -> None:
    work = Questions(store)
    graph = graph_of(store, work)
    work.begin(graph)
    work.last = work.answer_b
    with pytest.raises(RunWaitingError):
        asyncio.run(graph.aresume("r")) if is_async else graph.resume("r")
    summary = store.summary("r")
    assert summary is not None
    assert (summary.status, summary.owner, summary.pauses) == ("interrupted", None, 0)
    assert [(one.reason, one.attempt) for one in records(store, Interrupted)] == [("answered", 0)]
    assert len(records(store, Pause)) == 2
    work.last = lambda ctx: None
    assert dict(graph.resume("r")) == {"a": 1, "b": 2}
    sound(store, claims=3)


def test_items_that_finish_while_an_answer_comes_are_all_stored(store: Store) -> None:
    calls: list[int] = []

    def work(item: int) -> int:
        calls.append(item)
        if item == 5:
            outside(store).answer("r", "b", "in time")
        return item

    def ask(name: str) -> Any:
        return current().ask(name)

    def node(state: State, ctx: Context) -> dict[str, Any]:
        first = ctx.map("ask", ask, ["a"], workers=1)
        found = ctx.map("work", work, range(20), workers=4)
        return {"sum": sum(found), "first": first, "second": ctx.ask("b")}

    def both(state: State, ctx: Context) -> None:
        for question in (lambda: ctx.map("ask", ask, ["a"], workers=1), lambda: ctx.ask("b")):
            try:
                question()
            except BaseException as paused:
                wait = paused
        raise wait

    with pytest.raises(RunWaitingError):
        graph_of(store, both).execute({}, run_id="r")
    outside(store).answer("r", "a", 1)
    final = graph_of(store, node).resume("r")
    assert (final["sum"], final["second"], sorted(calls)) == (190, "in time", list(range(20)))
    assert len([record for record in records(store, Item) if record.name == "work"]) == 20
    sound(store, claims=2)


def test_of_many_answers_beside_an_owner_each_counts_once(store: Store) -> None:
    names = [f"q{number}" for number in range(6)]

    def node(state: State, ctx: Context) -> dict[str, Any]:
        waits: list[BaseException] = []
        for name in names:
            try:
                ctx.ask(name)
            except BaseException as paused:
                waits.append(paused)
        if len(waits) == len(names):
            raise waits[0]
        threads = [threading.Thread(target=reply, args=(name, who)) for name in names[1:] for who in "xy"]
        for thread in threads:
            thread.start()
        for number in range(30):
            ctx.step(f"step {number}", lambda: 1)
        for thread in threads:
            thread.join(60)
        if waits and len(waits) < len(names):
            raise waits[0]
        return {}

    refused: list[AnswerError] = []

    def reply(name: str, who: str) -> None:
        try:
            outside(store).answer("r", name, who)
        except AnsweredError as error:
            refused.append(error)

    graph = graph_of(store, node)
    with pytest.raises(RunWaitingError):
        graph.execute({}, run_id="r")
    graph.answer("r", names[0], "x")
    with pytest.raises(RunWaitingError):
        graph.resume("r")
    assert len(refused) == len(names) - 1
    assert sorted(record.name for record in records(store, Answer)) == names
    assert len(records(store, Item)) == 30


class Clock(Host):
    """A machine whose clock is set by the test."""

    time = 1e9

    def now(self) -> float:  # type: ignore[override]
        return self.time


def test_an_answer_whose_deadline_is_over_is_refused_beside_an_owner_too(store: Store) -> None:
    clock, work = Clock(), Questions(store)
    graph = graph_of(store, work)
    graph.host = clock
    work.deadline = 60.0
    with pytest.raises(RunWaitingError):
        graph.execute({}, run_id="r")
    graph.answer("r", "a", 1)

    def during(ctx: Context) -> None:
        clock.time += 60
        with pytest.raises(PauseExpiredError):
            graph.answer("r", "b", 2)

    work.during = during
    with pytest.raises(ExecutionError, match="'b' of run 'r' was not answered by its deadline"):
        graph.resume("r")
    assert work.calls == 2


def test_an_owner_whose_commit_was_stored_and_never_answered_goes_on_behind_an_answer_too(store: Store) -> None:
    class Lossy(StoreWrapper):
        """The reply to one commit is lost, and before it can be read back an answer comes."""

        lossy = False

        def commit(self, batches: list[Batch]) -> Any:
            found = self.store.commit(batches)
            if self.lossy:
                self.lossy = False
                work.answer_b()
                return self.store.commit(batches)
            return found

    wrapped = Lossy(store)
    work = Questions(store)
    graph = graph_of(wrapped, work)
    work.begin(graph)

    def during(ctx: Context) -> None:
        wrapped.lossy = True
        ctx.step("lost", lambda: 1)
        ctx.step("next", lambda: 2)

    work.during = during
    assert dict(graph.resume("r")) == {"a": 1, "b": 2}
    sound(store, claims=2)


def test_anything_else_beside_an_owner_still_costs_it_the_run(store: Store) -> None:
    work = Questions(store)
    graph = graph_of(store, work)
    work.begin(graph)

    def during(ctx: Context) -> None:
        work.answer_b()
        outside(store).cancel("r")
        ctx.step("late", lambda: 1)

    work.during = during
    with pytest.raises(Exception, match="was cancelled while it ran") as caught:
        graph.resume("r")
    assert not isinstance(caught.value, (LeaseLostError, ExecutionError))


def test_an_owner_is_told_as_waiting_once(store: Store) -> None:
    recorder = Recorder()
    work = Questions(store)
    graph = graph_of(store, work, observer=recorder)
    work.begin(graph)
    work.last = work.answer_b
    with pytest.raises(RunWaitingError):
        graph.resume("r")
    assert [event.type for event in recorder.events].count("graph.waiting") == 2
