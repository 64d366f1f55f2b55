"""Runs with routes: an answer is stored and never asked for again, whatever ends the process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine_steps import config, elsewhere

from tau import (
    END,
    CheckpointConfig,
    ExecutionError,
    GraphConfig,
    LimitExceededError,
    RunInterruptedError,
    State,
    StateGraph,
    Stop,
    TauError,
    open_store,
)
from tau.log.encoding import unseal
from tau.log.records import CheckpointRecord, Finished, Interrupted, Routed
from tau.observers import Recorder
from tau.stores.contract import Store

MAPPING = {"approve": "publish", "revise": "review", "reject": END}


class Review:
    """review, whose route leads to publish, to review again, or to the end; it notes what ran and what was asked."""

    def __init__(self, store: Any = None, *, is_async: bool = True, **options: Any) -> None:
        self.recorder = Recorder()
        self.config = (
            GraphConfig("g", observer=self.recorder)
            if store is None
            else config(store, observer=self.recorder, **options)
        )
        self.is_async = is_async
        self.did: list[str] = []
        self.mapping: Any = MAPPING
        self.answer: Callable[[State], Any] = lambda state: "revise" if state["n"] == 1 else "approve"

    def graph(self) -> StateGraph:
        graph = StateGraph(self.config)
        graph.add_node("review", self._review, version="1")
        graph.add_node("publish", self._publish, version="1")
        graph.add_conditional_edges("review", self._asks if self.is_async else self._ask, self.mapping, name="decide")
        graph.set_entry_point("review")
        graph.set_exit_point("publish")
        return graph

    def _review(self, state: State) -> dict[str, int]:
        self.did.append("review")
        return {"n": state.get("n", 0) + 1}

    def _publish(self, state: State) -> dict[str, str]:
        self.did.append("publish")
        return {"text": "published"}

    def _ask(self, state: State) -> Any:
        self.did.append("asked")
        return self.answer(state)

    async def _asks(self, state: State) -> Any:
        await asyncio.sleep(0)
        return self._ask(state)


both = pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])


def records(store: Store) -> list[Any]:
    return [unseal("r", position, data) for position, data in store.read("r")]


def execute(graph: StateGraph, in_loop: bool, **options: Any) -> State:
    if in_loop:
        return asyncio.run(graph.aexecute({}, run_id="r", **options))
    return graph.execute({}, run_id="r", **options)


@both
@pytest.mark.parametrize("in_loop", [False, True], ids=["execute", "aexecute"])
def test_the_run_goes_where_the_route_says(store: Store, is_async: bool, in_loop: bool) -> None:
    review = Review(store, is_async=is_async)
    final = execute(review.graph(), in_loop)
    assert (final["n"], final["text"]) == (2, "published")
    assert review.did == ["review", "asked", "review", "asked", "publish"]
    told = [(entry.node, entry.next) for entry in review.graph().history("r")]
    assert told == [("review", "review"), ("review", "publish"), ("publish", None)]
    with elsewhere(store) as other:
        again = Review(other, is_async=is_async)
        assert again.graph().resume("r")["n"] == 2
        assert again.did == []


@both
def test_without_a_store_it_is_asked_just_so(is_async: bool) -> None:
    review = Review(is_async=is_async)
    assert review.graph().execute({})["text"] == "published"
    assert asyncio.run(review.graph().aexecute({}))["n"] == 2


@both
def test_a_route_may_end_the_run(store: Store, is_async: bool) -> None:
    review = Review(store, is_async=is_async)
    review.answer = lambda state: "reject"
    final = review.graph().execute({}, run_id="r")
    assert dict(final) == {"n": 1}
    assert isinstance(records(store)[-1], Finished)
    assert (records(store)[-1].node, final.checkpoint_node) == ("review", "review")
    assert review.recorder.types()[-2:] == ["edge.transition", "graph.complete"]
    assert review.recorder.events[-1].data["exit_point"] == "review"
    assert dict(review.graph().resume("r")) == {"n": 1}
    assert review.did == ["review", "asked"]
    assert next(iter(store.runs())).status == "finished"


@both
def test_without_a_mapping_the_answers_are_names_of_nodes(store: Store, is_async: bool) -> None:
    review = Review(store, is_async=is_async)
    review.mapping = None
    review.answer = lambda state: ["review", "publish"][state["n"] - 1]
    assert review.graph().execute({}, run_id="r")["text"] == "published"
    review.answer = lambda state: END
    assert dict(review.graph().execute({})) == {"n": 1}
    review.answer = lambda state: "END"
    with pytest.raises(ExecutionError, match=r"decide of node review answered 'END'; .* are: review, publish, END"):
        review.graph().execute({})


def test_the_changes_are_on_disk_before_an_async_route_is_awaited(store: Store) -> None:
    review = Review(store, interval=10)
    seen: list[list[Any]] = []

    def look(state: State) -> str:
        seen.append([record for record in records(store) if isinstance(record, CheckpointRecord | Routed)])
        return "approve" if state["n"] == 2 else "revise"

    review.answer = look
    review.graph().execute({}, run_id="r")
    assert [[type(record) for record in one] for one in seen] == [
        [CheckpointRecord], [CheckpointRecord, Routed, CheckpointRecord],
    ]  # fmt: skip
    last = seen[1]
    assert [record.next for record in last] == [None, "review", None]
    assert (last[1].node, last[1].visit, last[1].answer) == ("review", 1, "revise")


def test_a_sync_route_costs_no_record_of_its_own(store: Store) -> None:
    review = Review(store, is_async=False)
    review.graph().execute({}, run_id="r")
    assert [one.next for one in records(store) if isinstance(one, CheckpointRecord)] == ["review", "publish", None]
    assert not [one for one in records(store) if isinstance(one, Routed)]


# What goes wrong: the node's work is kept, and a resume asks anew.

WRONG: dict[str, tuple[Any, str]] = {
    "an unknown answer": ("maybe", "answered 'maybe'; the answers there are: approve -> publish, revise -> review"),
    "none": (None, "answered None; the answers there are"),
    "a number": (7, r"answered 7 \(int\); the answers"),
    "a list": (["publish"], r"several nodes \(list\), and a run visits one node at a time; .*ctx\.map"),
    "a set": ({"publish"}, r"answered with several nodes \(set\)"),
    "what cannot be a key": ({"a": 1}, r"answered \{'a': 1\} \(dict\)"),
}  # fmt: skip


@both
@pytest.mark.parametrize("case", WRONG)
def test_an_answer_that_leads_nowhere_fails_the_run_and_is_asked_for_again(
    store: Store, is_async: bool, case: str
) -> None:
    answer, said = WRONG[case]
    review = Review(store, is_async=is_async)
    review.answer = lambda state: answer
    with pytest.raises(ExecutionError, match=said) as caught:
        review.graph().execute({}, run_id="r")
    error = caught.value
    assert (error.node, error.path, dict(error.state)) == ("review", ("review",), {"n": 1})
    assert "the route decide of node review" in str(error)
    assert review.recorder.types()[-1] == "graph.failed"
    with pytest.raises(ExecutionError, match=said):
        review.graph().resume("r")
    plan = review.graph().plan("r")
    assert (plan.can_resume, plan.pending, plan.finished) == (True, None, ("review",))
    review.answer = lambda state: "approve"
    assert asyncio.run(review.graph().aresume("r"))["text"] == "published"
    assert review.did == ["review", "asked", "asked", "asked", "publish"]
    assert [entry.next for entry in review.graph().history("r")] == ["publish", None]
    assert ("review", "publish") in _taken(store)


def _taken(store: Store) -> set[tuple[str, str]]:
    from tau.log.loading import load

    progress = load(store, "r")[0].progress
    assert progress is not None
    return progress.taken


@both
def test_a_route_that_raises_fails_the_run_and_is_asked_again(store: Store, is_async: bool) -> None:
    review = Review(store, is_async=is_async)

    def breaks(state: State) -> str:
        raise ConnectionError("the model is away")

    review.answer = breaks
    for go in (lambda: review.graph().execute({}, run_id="r"), lambda: asyncio.run(review.graph().aresume("r"))):
        with pytest.raises(ExecutionError, match="the route decide of node review failed: the model is away") as caught:
            go()
        assert isinstance(caught.value.__cause__, ConnectionError)
    review.answer = lambda state: "reject"
    assert dict(review.graph().resume("r")) == {"n": 1}
    assert review.did == ["review", "asked", "asked", "asked"]


def test_a_sync_route_that_returns_a_coroutine_is_told_what_to_write(store: Store) -> None:
    review = Review(store, is_async=False)

    async def late() -> str:
        return "approve"

    review.answer = lambda state: late()
    with pytest.raises(ExecutionError, match=r"is not async and returned what has to be awaited \(coroutine\)"):
        review.graph().execute({}, run_id="r")


@both
def test_an_answer_of_a_resume_is_stored_too(store: Store, is_async: bool) -> None:
    """What follows it fails: the route is not asked a third time."""
    review = Review(store, is_async=is_async)
    review.answer = lambda state: "maybe"
    with pytest.raises(ExecutionError):
        review.graph().execute({}, run_id="r")
    review.answer = lambda state: "approve"
    stop = Stop()
    review._publish = lambda state: stop.set("now") or 1 / 0  # type: ignore[method-assign,func-returns-value]
    with pytest.raises(ExecutionError, match="division"):
        review.graph().resume("r", stop=stop)
    again = Review(store, is_async=is_async)
    assert again.graph().resume("r")["text"] == "published"
    assert again.did == ["publish"]


# Stops, interrupts and kills.


def test_a_stop_during_the_node_comes_before_its_route_is_asked(store: Store) -> None:
    review, stop = Review(store), Stop()
    graph = StateGraph(review.config)

    def node(state: State) -> dict[str, int]:
        stop.set("SIGTERM")
        return {"n": 2}

    graph.add_node("review", node, version="1")
    graph.add_node("publish", review._publish, version="1")
    graph.add_conditional_edges("review", review._asks, MAPPING)
    graph.set_entry_point("review")
    graph.set_exit_point("publish")
    said = r"was stopped after node 'review', before its route had answered \(SIGTERM\)"
    with pytest.raises(RunInterruptedError, match=said) as caught:
        graph.execute({}, run_id="r", stop=stop)
    assert dict(caught.value.state) == {"n": 2}
    assert isinstance(records(store)[-1], Interrupted)
    assert records(store)[-1].token == records(store)[-2].token
    assert review.did == []
    assert review.graph().resume("r")["text"] == "published"
    assert review.did == ["asked", "publish"]


@pytest.mark.parametrize("in_loop", [False, True], ids=["execute", "aexecute"])
def test_a_stop_that_comes_as_the_route_is_to_be_asked(store: Store, in_loop: bool) -> None:
    review, stop = Review(store), Stop()
    review.config = config(store, observer=lambda event: event.type == "checkpoint.save" and stop.set("now"))
    with pytest.raises(RunInterruptedError, match="before its route had answered"):
        execute(review.graph(), in_loop, stop=stop)
    assert review.did == ["review"]
    assert records(store)[-1].node == ""
    assert Review(store).graph().resume("r")["n"] == 2


async def test_a_cancelled_run_asks_its_route_again(store: Store) -> None:
    review = Review(store)
    asked = asyncio.Event()

    async def hang(state: State) -> str:
        asked.set()
        await asyncio.Event().wait()
        return "approve"

    graph = StateGraph(review.config)
    graph.add_node("review", review._review, version="1")
    graph.add_node("publish", review._publish, version="1")
    graph.add_conditional_edges("review", hang, MAPPING, version="1")
    graph.set_entry_point("review")
    graph.set_exit_point("publish")
    task = asyncio.create_task(graph.aexecute({}, run_id="r"))
    await asyncio.wait_for(asked.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert review.recorder.types()[-1] == "graph.interrupted"
    assert (await Review(store).graph().aresume("r"))["text"] == "published"
    assert review.did == ["review"]


@pytest.mark.parametrize("in_loop", [False, True], ids=["execute", "aexecute"])
def test_a_route_that_awaits_what_was_cancelled_fails(store: Store, in_loop: bool) -> None:
    review = Review(store)

    def cancelled(state: State) -> str:
        raise asyncio.CancelledError

    review.answer = cancelled
    with pytest.raises(ExecutionError, match="the route of node 'review' ended with CancelledError, although"):
        execute(review.graph(), in_loop)


@pytest.mark.parametrize("in_loop", [False, True], ids=["execute", "aexecute"])
def test_an_interrupt_in_a_route_reaches_the_caller_and_it_is_asked_again(store: Store, in_loop: bool) -> None:
    review = Review(store, is_async=True)

    def interrupt(state: State) -> str:
        raise RunInterruptedError("enough", reason="enough")

    review.answer = interrupt
    with pytest.raises(RunInterruptedError, match="enough"):
        execute(review.graph(), in_loop)
    assert next(iter(store.runs())).status == "interrupted"
    review.answer = lambda state: "approve"
    assert review.graph().resume("r")["n"] == 1


@pytest.mark.parametrize("kind", ["sqlite", "file"])
@pytest.mark.parametrize("place", ["in the route", "after it has answered"])
def test_a_kill_never_asks_an_answered_route_again(kind: str, place: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/r.db" if kind == "sqlite" else f"file://{tmp_path}/runs"
    calls = tmp_path / "calls"

    def make(dies: str) -> StateGraph:
        graph = StateGraph(GraphConfig("g", checkpoint=CheckpointConfig(store=url, interval=1, preserve=True)))

        def note(name: str) -> None:
            with calls.open("a") as file:
                file.write(f"{name} ")
            if name == dies:
                os._exit(7)

        def review(state: State) -> dict[str, int]:
            note("review")
            return {"n": 1}

        async def route(state: State) -> str:
            note("asked")
            return "approve"

        def publish(state: State) -> dict[str, int]:
            note("publish")
            return {"done": 1}

        graph.add_node("review", review, version="1")
        graph.add_node("publish", publish, version="1")
        graph.add_conditional_edges("review", route, {"approve": "publish"}, version="1")
        graph.set_entry_point("review")
        graph.set_exit_point("publish")
        return graph

    dies = "asked" if place == "in the route" else "publish"
    pid = os.fork()
    if pid == 0:
        try:
            make(dies).execute({}, run_id="r")
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    with open_store(url) as store:
        assert [one.next for one in make("").history("r")] == [None if dies == "asked" else "publish"]
        assert next(iter(store.runs())).status == "dead"
    assert make("").resume("r")["done"] == 1
    counts = {name: calls.read_text().split().count(name) for name in ("review", "asked", "publish")}
    assert counts == {"review": 1, "asked": 2, "publish": 1} if dies == "asked" else {
        "review": 1, "asked": 1, "publish": 2,
    }  # fmt: skip


def test_a_child_of_fork_does_not_go_on_after_a_route(tmp_path: Path) -> None:
    review = Review(f"sqlite:///{tmp_path}/r.db")
    told = tmp_path / "told"

    def fork(state: State) -> str:
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
        return "approve"

    review.answer = fork
    parent = os.getpid()
    try:
        final = review.graph().execute({}, run_id="r")
    except TauError as error:
        if os.getpid() == parent:
            raise
        told.write_text(str(error))
        os._exit(0)
    assert final["text"] == "published"
    assert "the route" in told.read_text()
    assert review.did.count("publish") == 1


def test_a_route_that_kills_its_process_again_and_again_is_given_up(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/r.db"

    def killed() -> None:
        pid = os.fork()
        if pid == 0:
            try:
                review = Review(url, max_crashes=2)
                review.answer = lambda state: os._exit(7)
                review.graph().execute({}, run_id="r", if_exists="resume")
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7

    for _ in range(3):
        killed()
    review = Review(url, max_crashes=2)
    with pytest.raises(LimitExceededError):
        review.graph().resume("r")
    assert Review(url, max_crashes=9).graph().resume("r")["text"] == "published"


def test_crashes_while_a_route_was_asked_are_no_attempts_of_the_next_node(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/r.db"
    pid = os.fork()
    if pid == 0:
        try:
            review = Review(url)
            review.answer = lambda state: os._exit(7)
            review.graph().execute({}, run_id="r")
        finally:
            os._exit(1)
    os.waitpid(pid, 0)
    review = Review(url)
    review.answer = lambda state: "approve"
    review.graph().resume("r")
    starts = [event.data for event in review.recorder.events if event.type == "node.start"]
    assert [(one["node"], one["attempt"]) for one in starts] == [("publish", 1)]


# What is told.


@both
def test_the_events_tell_the_answer_once(store: Store, is_async: bool) -> None:
    review = Review(store, is_async=is_async)
    review.answer = lambda state: "approve"
    review.graph().execute({}, run_id="r")
    about = {"from": "review", "to": "publish", "edge_index": 0, "route": "decide", "run_id": "r"}
    assert [(event.type, event.data) for event in review.recorder.events if event.type.startswith("edge.")] == [
        ("edge.evaluate", {**about, "has_predicate": True}),
        ("edge.transition", {**about, "predicate_name": "approve", "predicate_result": True}),
    ]
    types = review.recorder.types()
    assert types.index("checkpoint.save") < types.index("edge.evaluate")


def test_a_changed_route_is_told_and_the_stored_answers_stay(store: Store) -> None:
    review = Review(store)
    review._publish = lambda state: 1 / 0  # type: ignore[method-assign]
    with pytest.raises(ExecutionError):
        review.graph().execute({}, run_id="r")
    edited = Review(store, is_async=False)
    edited.mapping = {"approve": "publish", "revise": "review"}
    assert edited.graph().resume("r")["text"] == "published"
    (told,) = (event.data["changes"] for event in edited.recorder.events if event.type == "graph.changed")
    assert "the answer 'reject' of the route of node 'review' leads nowhere now, and led to the end of the run" in told
    assert edited.did == ["publish"]


def test_a_long_run_of_routes_is_resumed_from_a_manifest(store: Store) -> None:
    review = Review(store)
    review.answer = lambda state: "revise" if state["n"] < 70 else "maybe"
    with pytest.raises(ExecutionError):
        review.graph().execute({}, run_id="r")
    assert any(getattr(one, "manifest", None) is not None for one in records(store)[1:])
    with elsewhere(store) as other:
        again = Review(other)
        again.answer = lambda state: "approve"
        assert again.graph().resume("r")["n"] == 70
        assert again.did == ["asked", "publish"]
