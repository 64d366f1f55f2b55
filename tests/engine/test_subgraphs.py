"""A graph as a node: each node inside is committed when it finishes, and goes on where it was."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import pytest
from engine_steps import config, elsewhere

from tau import (
    END,
    Context,
    ExecutionError,
    GraphChangedError,
    GraphConfig,
    GraphError,
    LimitExceededError,
    Retry,
    RunInterruptedError,
    RunWaitingError,
    SchemaError,
    State,
    StateGraph,
    Stop,
    branches_node,
    graph_node,
    open_store,
    pause_node,
)
from tau.log.encoding import unseal
from tau.log.records import CheckpointRecord, Failed, Finished, Item
from tau.observers import Recorder
from tau.stores.contract import Store


class Work:
    """outer: begin -> prepare (load -> clean) -> end; it notes what ran, and fails where it is told to."""

    def __init__(self, store: Any = None, **options: Any) -> None:
        self.recorder = Recorder()
        self.options = options
        self.store = store
        self.ran: list[str] = []
        self.seen: list[tuple[str, int, int, str, int]] = []
        self.failing: set[str] = set()
        self.during: dict[str, Callable[[], object]] = {}

    def graph(self, inner: Any = None) -> StateGraph:
        made = (
            GraphConfig("g", observer=self.recorder)
            if self.store is None
            else config(self.store, observer=self.recorder, **self.options)
        )
        graph = StateGraph(made)
        graph.add_node("begin", self.node("begin"), version="1")
        graph.add_node("prepare", self.inner() if inner is None else inner)
        graph.add_node("end", self.node("end"), version="1")
        graph.sequence("begin", "prepare", "end")
        return graph

    def inner(self, names: str = "load clean") -> StateGraph:
        graph = StateGraph("inner")
        for name in names.split():
            graph.add_node(name, self.node(name), version="1")
        graph.sequence(*names.split())
        return graph

    def node(self, name: str) -> Callable[..., Any]:
        def call(state: State, ctx: Context) -> dict[str, Any]:
            self.ran.append(name)
            self.seen.append((ctx.node, ctx.visit, ctx.attempt, ctx.key, ctx.seed("x")))
            ctx.step("step", lambda: self.ran.append(f"{name}.step"))
            self.during.get(name, lambda: None)()
            if name in self.failing:
                raise ValueError(f"{name} broke")
            return {name: state.get(name, 0) + 1, "path": [*state.get("path", []), name]}

        return call

    def types(self, *wanted: str) -> list[tuple[str, str]]:
        return [(one.type, one.data.get("node", "")) for one in self.recorder.events if one.type in wanted]


FINAL = {"begin": 1, "load": 1, "clean": 1, "end": 1, "path": ["begin", "load", "clean", "end"]}


def records(store: Store, run_id: str = "r") -> list[Any]:
    return [unseal(run_id, position, data) for position, data in store.read(run_id)]


def test_without_a_store_it_runs_node_by_node() -> None:
    work = Work()
    assert dict(work.graph().execute({}, run_id="r")) == FINAL
    starts = work.types("node.start", "node.complete")
    names = ["begin", "prepare", "prepare/load", "prepare/clean", "end"]
    assert [name for type_, name in starts if type_ == "node.start"] == names
    assert [one.type for one in work.recorder.events].count("graph.complete") == 1


@pytest.mark.parametrize("interval", [1, 3])
@pytest.mark.parametrize("failing", ["load", "clean", "end"])
def test_what_is_finished_inside_is_not_done_again(store: Store, failing: str, interval: int) -> None:
    work = Work(store, interval=interval)
    work.failing = {failing}
    with pytest.raises(ExecutionError, match=f"{failing} broke") as caught:
        work.graph().execute({}, run_id="r")
    assert caught.value.node == ("end" if failing == "end" else "prepare")
    work.failing = set()
    with elsewhere(store) as other:
        work.store = other
        assert dict(work.graph().resume("r")) == FINAL
        assert next(one for one in records(other) if isinstance(one, Failed)).node == failing
    counts = Counter(work.ran)
    assert {name: counts[name] for name in ("begin", "load", "clean", "end")} == {
        name: 1 + (name == failing) for name in ("begin", "load", "clean", "end")
    }
    assert all(counts[f"{name}.step"] == 1 for name in ("begin", "load", "clean", "end"))
    attempts = [attempt for node, _, attempt, *_ in work.seen if node.rpartition("/")[2] == failing]
    assert attempts == [1, 2]


async def test_async_runs_do_the_same(store: Store) -> None:
    work = Work(store)
    work.failing = {"clean"}
    with pytest.raises(ExecutionError, match="clean broke"):
        await work.graph().aexecute({}, run_id="r")
    work.failing = set()
    assert dict(await work.graph().aresume("r")) == FINAL
    assert Counter(work.ran)["load"] == 1


def test_context_keys_and_seeds_are_those_of_the_place_and_the_same_on_resume(store: Store) -> None:
    work = Work(store)
    work.failing = {"clean"}
    with pytest.raises(ExecutionError):
        work.graph().execute({}, run_id="r", seed=7)
    work.failing = set()
    work.graph().resume("r")
    by_node: dict[str, set[tuple[str, int]]] = {}
    for node, _, _, key, seed in work.seen:
        by_node.setdefault(node, set()).add((key, seed))
    assert by_node.keys() == {"begin", "prepare/load", "prepare/clean", "end"}
    assert all(len(found) == 1 for found in by_node.values())
    assert len(set.union(*by_node.values())) == 4
    alone = Work(store)
    alone.inner().execute({}, run_id="alone", seed=7)
    assert not {seed for *_, seed in alone.seen} & {seed for *_, seed in work.seen}


def cycle(work: Work, visits: int) -> StateGraph:
    """again: a cycle around a graph which is itself a cycle."""
    inner = StateGraph("inner")
    inner.add_node("step", work.node("step"), version="1")
    inner.add_node("last", lambda state: {"step": 0}, version="1")
    inner.add_edge("step", "step", lambda state: state["step"] < 3)
    inner.add_edge("step", "last")
    inner.set_entry_point("step")
    inner.set_exit_point("last")
    graph = StateGraph(config(work.store))
    graph.add_node("loop", inner)
    graph.add_node("count", lambda state: {"n": state.get("n", 0) + 1}, version="1")
    graph.add_edge("loop", "count")
    graph.add_edge("count", "loop", lambda state: state["n"] < visits)
    graph.add_edge("count", "end")
    graph.add_node("end", lambda state: None, version="1")
    graph.set_entry_point("loop")
    graph.set_exit_point("end")
    return graph


def test_cycles_inside_and_around_count_their_own_visits(store: Store) -> None:
    work = Work(store)
    state = cycle(work, 2).execute({}, run_id="r")
    assert state["path"] == ["step"] * 6
    assert [visit for _, visit, *_ in work.seen] == [1, 2, 3, 1, 2, 3]
    assert len({key for *_, key, _ in work.seen}) == 6
    assert work.ran.count("step.step") == 6


@pytest.mark.parametrize("at", [2, 4, 6])
def test_a_cycle_inside_a_cycle_goes_on_in_its_visit(store: Store, at: int) -> None:
    work = Work(store)

    def stop() -> None:
        if work.ran.count("step") == at:
            work.failing = {"step"}

    work.during["step"] = stop
    with pytest.raises(ExecutionError):
        cycle(work, 2).execute({}, run_id="r")
    work.failing, work.during = set(), {}
    assert cycle(work, 2).resume("r")["path"] == ["step"] * 6
    assert work.ran.count("step") == 7
    assert work.ran.count("step.step") == 6


def test_max_iterations_of_the_inner_graph_bound_its_own_visits() -> None:
    inner = StateGraph(GraphConfig("inner", observer=None, max_iterations=5))
    inner.add_node("a", lambda state: {"n": state["n"] + 1}, version="1")
    inner.add_edge("a", "a", lambda state: state["n"] % 5)
    inner.add_node("b", lambda state: None, version="1")
    inner.add_edge("a", "b")
    inner.set_entry_point("a")
    inner.set_exit_point("b")
    graph = StateGraph(GraphConfig("g", observer=None, max_iterations=2))
    graph.add_node("x", inner)
    graph.add_node("y", lambda state: None, version="1")
    graph.sequence("x", "y")
    assert graph.execute({"n": 1})["n"] == 5
    with pytest.raises(ExecutionError) as caught:
        graph.execute({"n": 0})
    found = caught.value.__cause__
    assert isinstance(found, ExecutionError)
    assert isinstance(found.__cause__, LimitExceededError)


@pytest.mark.parametrize("stored", [False, True])
def test_only_outputs_are_handed_up(tmp_path: Path, stored: bool) -> None:
    work = Work(open_store(f"sqlite:///{tmp_path}/r.db") if stored else None)
    inner = graph_node(work.inner(), outputs=["clean"])
    assert dict(work.graph(inner).execute({}, run_id="r")) == {
        "begin": 1, "clean": 1, "end": 1, "path": ["begin", "end"],
    }  # fmt: skip


@pytest.mark.parametrize("stored", [False, True])
def test_what_is_removed_inside_is_removed(tmp_path: Path, stored: bool) -> None:
    inner = StateGraph("inner")
    inner.add_node("a", lambda state: state.drop("gone", "other").set("new", 1), version="1")
    inner.add_node("b", lambda state: state.drop("new").set("other", 2), version="1")
    inner.sequence("a", "b")
    graph = StateGraph("g", store=f"sqlite:///{tmp_path}/r.db" if stored else None)
    graph.add_node("x", inner)
    graph.sequence("x")
    assert dict(graph.execute({"gone": 1, "other": 1, "kept": 1})) == {"kept": 1, "other": 2}


def test_graphs_nest(store: Store) -> None:
    work = Work(store)

    def nested() -> StateGraph:
        middle = StateGraph("middle")
        middle.add_node("deep", work.inner())
        middle.add_node("after", work.node("after"), version="1")
        middle.sequence("deep", "after")
        return work.graph(middle)

    work.failing = {"clean"}
    with pytest.raises(ExecutionError, match="prepare/deep/clean"):
        nested().execute({}, run_id="r")
    work.failing = {"after"}
    with pytest.raises(ExecutionError, match="prepare/after"):
        nested().resume("r")
    work.failing = set()
    assert nested().resume("r")["path"] == ["begin", "load", "clean", "after", "end"]
    counts = Counter(work.ran)
    assert (counts["load"], counts["clean"], counts["after"], counts["end"]) == (1, 2, 2, 1)


def test_a_list_that_grows_inside_costs_what_was_added(tmp_path: Path) -> None:
    inner = StateGraph("inner")
    for name in "ab":
        inner.add_node(name, lambda state: {"data": state["data"] + os.urandom(1000)}, version="1")
    inner.sequence("a", "b")
    with open_store(f"file://{tmp_path}/runs") as store:
        graph = StateGraph("g", store=store)
        graph.add_node("x", inner)
        graph.add_node("y", lambda state: {"data": state["data"] + b"!" * 600}, version="1")
        graph.sequence("x", "y")
        state = graph.execute({"data": os.urandom(200_000)}, run_id="r")
        assert len(state["data"]) == 202_600
        stored = sum(len(data) for _, data in store.read("r"))
        stored += sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert stored < 300_000


def test_a_stop_inside_is_kept_and_goes_on(store: Store) -> None:
    work, stop = Work(store), Stop()
    work.during["load"] = lambda: stop.set("enough")
    with pytest.raises(RunInterruptedError, match="enough"):
        work.graph().execute({}, run_id="r", stop=stop)
    assert "clean" not in work.ran
    assert dict(work.graph().resume("r")) == FINAL
    assert work.ran.count("load") == 1


def test_ctrl_c_inside_is_raised_as_it_is_and_what_is_finished_kept(store: Store) -> None:
    work = Work(store)

    def interrupt() -> None:
        raise KeyboardInterrupt

    work.during["clean"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        work.graph().execute({}, run_id="r")
    work.during = {}
    assert dict(work.graph().resume("r")) == FINAL
    assert (work.ran.count("load"), work.ran.count("clean.step")) == (1, 1)
    assert [attempt for node, _, attempt, *_ in work.seen if node == "prepare/clean"] == [1, 2]


async def test_a_cancellation_reaches_an_async_node_inside_at_once(store: Store) -> None:
    begun = asyncio.Event()

    async def hang(state: State) -> None:
        begun.set()
        await asyncio.Event().wait()

    work = Work(store)
    inner = work.inner("load")
    inner = StateGraph("inner")
    inner.add_node("load", work.node("load"), version="1")
    inner.add_node("hang", hang, version="1")
    inner.sequence("load", "hang")
    task = asyncio.create_task(work.graph(inner).aexecute({}, run_id="r"))
    await asyncio.wait_for(begun.wait(), 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert store.summary("r").status == "interrupted"  # type: ignore[union-attr]
    assert work.ran.count("load") == 1


def test_retries_inside_and_around(store: Store) -> None:
    work = Work(store)
    tries: list[str] = []

    def flaky(state: State) -> dict[str, int]:
        tries.append("flaky")
        if len(tries) < 3:
            raise ConnectionError("away")
        return {"flaky": len(tries)}

    inner = StateGraph("inner")
    inner.add_node("load", work.node("load"), version="1")
    inner.add_node("flaky", flaky, version="1", retry=Retry(attempts=2, delay=0.0))
    inner.sequence("load", "flaky")
    graph = StateGraph(config(store))
    graph.add_node("x", inner, retry=Retry(attempts=2, delay=0.0, on=(ConnectionError,)))
    graph.sequence("x")
    assert graph.execute({}, run_id="r")["flaky"] == 3
    assert work.ran.count("load") == 1


def test_the_inner_graph_may_ask_people(store: Store) -> None:
    work = Work(store)

    def fit(state: State, ctx: Context) -> dict[str, Any]:
        work.ran.append("fit")
        return {"fit": ctx.ask("good", form=bool)}

    def graph() -> StateGraph:
        inner = StateGraph("inner")
        inner.add_node("load", work.node("load"), version="1")
        inner.add_node("review", pause_node("review", form=bool))
        inner.add_node("fit", fit, version="1")
        inner.add_edge("load", "review")
        inner.add_edge("review", "load", lambda state: not state["review"])
        inner.add_edge("review", "fit")
        inner.set_entry_point("load")
        inner.set_exit_point("fit")
        return work.graph(inner)

    with pytest.raises(RunWaitingError):
        graph().execute({}, run_id="r")
    [pause] = graph().pauses("r")
    assert (pause.name, pause.node) == ("review", "prepare/review")
    with pytest.raises(RunWaitingError):  # it goes round, and the question is a new one
        graph().resume("r", answers={"review": False})
    [pause] = graph().pauses("r")
    assert pause.name == "review"
    with pytest.raises(RunWaitingError) as caught:
        graph().resume("r", answers={"review": True})
    assert caught.value.pauses == ("good",)
    state = graph().resume("r", answers={"good": True})
    assert (state["fit"], state["load"], state["end"]) == (True, 2, 1)
    assert work.ran.count("load") == 2
    assert work.ran.count("fit") == 2


@pytest.mark.parametrize("is_async", [False, True])
def test_routes_inside_are_stored_and_never_asked_again(store: Store, is_async: bool) -> None:
    asked: list[str] = []
    work = Work(store)

    def ask(state: State) -> str:
        asked.append("asked")
        return "more" if state["load"] < 2 else "done"

    async def ask_later(state: State) -> str:
        return ask(state)

    def graph() -> StateGraph:
        inner = StateGraph("inner")
        inner.add_node("load", work.node("load"), version="1")
        mapping = {"more": "load", "done": END}
        inner.add_conditional_edges("load", ask_later if is_async else ask, mapping, version="1")
        inner.set_entry_point("load")
        return work.graph(inner)

    work.failing = {"end"}
    with pytest.raises(ExecutionError, match="end broke"):
        graph().execute({}, run_id="r")
    work.failing = set()
    assert graph().resume("r")["path"] == ["begin", "load", "load", "end"]
    assert len(asked) == 2


def edited(work: Work, **changes: Callable[..., Any]) -> StateGraph:
    inner = StateGraph("inner")
    for name in ("load", "clean"):
        inner.add_node(name, changes.get(name, work.node(name)), version="2" if name in changes else "1")
    inner.sequence("load", "clean")
    return work.graph(inner)


def test_an_edit_inside_is_judged_node_by_node(store: Store) -> None:
    work = Work(store)
    work.failing = {"clean"}
    with pytest.raises(ExecutionError):
        work.graph().execute({}, run_id="r")
    work.failing = set()
    with pytest.raises(GraphChangedError, match="in node 'prepare', finished node 'load' changed") as caught:
        edited(work, load=work.node("load")).resume("r")
    assert any("continue" in way for way in caught.value.ways)
    assert not work.graph().plan("r").blocking
    assert edited(work, load=work.node("load")).plan("r").blocking
    again = work.node("clean")
    with pytest.raises(GraphChangedError, match="in node 'prepare', node 'clean', in which steps"):
        edited(work, clean=again).resume("r")
    assert edited(work, clean=again).resume("r", on_change="redo")["path"] == FINAL["path"]
    assert work.ran.count("clean.step") == 2


def test_an_edit_inside_a_finished_node_is_an_edit_of_that_node(store: Store) -> None:
    work = Work(store)
    work.failing = {"end"}
    with pytest.raises(ExecutionError):
        work.graph().execute({}, run_id="r")
    work.failing = set()
    with pytest.raises(GraphChangedError, match=r"finished node 'prepare' changed .inside it node 'clean' changed"):
        edited(work, clean=work.node("clean")).resume("r")
    assert dict(edited(work, clean=work.node("clean")).resume("r", on_change="continue")) == FINAL


def test_the_log_has_one_commit_for_each_node_and_one_end(tmp_path: Path) -> None:
    with open_store(f"file://{tmp_path}/runs") as store:
        work = Work(store)
        work.graph().execute({}, run_id="r")
        found = records(store)
    batches = {record.token for record in found if isinstance(record, CheckpointRecord)}
    assert [record.node for record in found if isinstance(record, CheckpointRecord)] == [
        "begin", "load", "clean", "prepare", "end",
    ]  # fmt: skip
    assert len(batches) == 4
    assert [bool(one.scope) for one in found if isinstance(one, Finished)] == [True, False]
    assert {one.scope[0][:2] for one in found if isinstance(one, Item)} == {("begin", 1), ("prepare", 1), ("end", 1)}


def test_problems_inside_are_named_with_their_node() -> None:
    inner = StateGraph("inner")
    inner.add_node("a", lambda state: None)
    graph = StateGraph("g")
    graph.add_node("x", inner)
    graph.sequence("x")
    with pytest.raises(GraphError, match="in node x: entry point not set") as caught:
        graph.execute({})
    assert len(caught.value.problems) == 2


def test_a_graph_inside_itself_is_refused() -> None:
    graph, inner, deep = StateGraph("g"), StateGraph("inner"), StateGraph("deep")
    with pytest.raises(GraphError, match="node x: graph g would be inside itself, at x, and never come to an end"):
        graph.add_node("x", graph)
    graph.add_node("x", branches_node({"a": inner, "b": graph_node(deep)}))
    inner.add_node("y", deep)
    with pytest.raises(GraphError, match="node z: graph deep would be inside itself, at z/a/y"):
        deep.add_node("z", branches_node({"a": inner}))
    with pytest.raises(GraphError, match="node z: graph deep would be inside itself, at z/x/x/b"):
        deep.add_node("z", _around(graph))
    deep.add_node("z", lambda state: {"z": 1})
    deep.sequence("z")
    inner.sequence("y")
    graph.sequence("x")
    assert "z" in graph.to_mermaid()
    assert graph.fingerprint().nodes.keys() == {"x"}


def _around(graph: StateGraph) -> StateGraph:
    around = StateGraph("around")
    around.add_node("x", graph)
    return around


def test_a_timeout_is_for_the_nodes_inside() -> None:
    graph = StateGraph("g")
    with pytest.raises(ValueError, match="node x: a timeout is for one call; give it to the nodes inside"):
        graph.add_node("x", Work().inner(), timeout=3.0)


def test_an_answer_inside_that_leads_nowhere_can_be_given_again(store: Store) -> None:
    inner = StateGraph("inner")
    inner.add_node("review", pause_node("review", form=str))
    inner.add_conditional_edges("review", lambda state: state["review"], {"yes": END}, version="1")
    inner.set_entry_point("review")
    graph = Work(store).graph(inner)
    with pytest.raises(RunWaitingError):
        graph.execute({}, run_id="r")
    with pytest.raises(RunWaitingError):
        graph.resume("r", answers={"review": "no"})
    [pause] = graph.pauses("r")
    assert (pause.node, "no" in pause.refused) == ("prepare/review", True)
    assert graph.resume("r", answers={"review": "yes"})["review"] == "yes"


class Given(TypedDict):
    begin: int
    wanted: NotRequired[str]


@pytest.mark.parametrize("stored", [False, True])
def test_a_graph_with_a_schema_begins_and_goes_on_only_with_what_fits(tmp_path: Path, stored: bool) -> None:
    work = Work(open_store(f"sqlite:///{tmp_path}/r.db") if stored else None)
    inner = StateGraph("inner", schema=Given)
    inner.add_node("load", lambda state: {"wanted": "yes"}, version="1")
    inner.sequence("load")
    assert work.graph(inner).execute({"other": 1}, run_id="a")["wanted"] == "yes"
    with pytest.raises(ExecutionError) as caught:
        work.graph(inner).execute({"wanted": 3}, run_id="b")
    found = caught.value.__cause__
    assert isinstance(found, SchemaError)
    assert found.keys == ("wanted",)
