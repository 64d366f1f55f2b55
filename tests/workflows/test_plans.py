"""What a map or chain had finished is built on only where its function and its items are what they were."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tau import (
    CheckpointConfig,
    Context,
    ExecutionError,
    GraphChangedError,
    GraphConfig,
    Retry,
    State,
    StateGraph,
    process_chain,
)
from tau.log.records import Planned
from tau.node.steps import StepRunner
from tau.observers import Recorder
from tau.stores.contract import Store
from tau.stores.memory import MemoryStore

Node = Callable[[State, Context], Any]


def graph_of(store: Store, node: Node, retry: Retry | None = None, observer: Any = None) -> StateGraph:
    config = GraphConfig("g", observer=observer or "noop", checkpoint=CheckpointConfig(interval=1, preserve=True))
    graph = StateGraph(config, store=store)
    graph.add_node("node", node, version="1", retry=retry)
    graph.sequence("node")
    return graph


class Work:
    """Counts its calls, and breaks at one item."""

    def __init__(self, breaks: Any) -> None:
        self.calls: Counter[Any] = Counter()
        self.breaks = breaks

    def do(self, item: Any, state: Any = None) -> Any:
        self.calls[item] += 1
        if item == self.breaks:
            raise ValueError(f"{item!r} broke")
        return [*(state or ()), item]


def node_of(work: Work, how: str, items: Callable[[], Iterable[Any]], **options: Any) -> Node:
    """A node of a map or chain under the name `m`; a map has one worker, so that it ends where it breaks."""

    def mapped(state: State, ctx: Context) -> Any:
        return {"out": ctx.map("m", work.do, items(), workers=1, **options)}

    async def mapped_async(state: State, ctx: Context) -> Any:
        async def task(item: Any) -> Any:
            await asyncio.sleep(0)
            return work.do(item)

        return {"out": await ctx.map("m", task, items(), workers=1, **options)}

    def chained(state: State, ctx: Context) -> Any:
        return {"out": process_chain(items(), [], work.do, name="m", **options).final}

    return {"map": mapped, "async map": mapped_async, "chain": chained}[how]


def failed(store: Store, node: Node) -> None:
    with pytest.raises(ExecutionError, match="broke"):
        graph_of(store, node).execute({}, run_id="r")


def refused(store: Store, node: Node) -> GraphChangedError:
    with pytest.raises(ExecutionError) as found:
        graph_of(store, node).resume("r")
    cause = found.value.__cause__
    assert isinstance(cause, GraphChangedError)
    assert cause.run_id == "r"
    assert not any("continues it" in note for note in getattr(found.value, "__notes__", ()))
    return cause


HOWS = pytest.mark.parametrize("how", ["map", "async map", "chain"])
DRAWN = pytest.mark.parametrize("drawn", [list, iter], ids=["list", "iterator"])


@HOWS
def test_a_list_that_changed_is_refused_and_named_before_anything_begins(store: Store, how: str) -> None:
    work, given = Work("c"), ["a", "b", "c", "d"]
    failed(store, node_of(work, how, lambda: given))
    work.breaks = None
    given[1] = "x"
    before = work.calls.copy()
    error = refused(store, node_of(work, how, lambda: given))
    if how == "chain":
        assert "the items of chain 'm' are not what they were: item 1 is not what it was" in str(error)
    else:
        said = "the items of map 'm' are not what they were: item 1 is new, and item 1 of before is missing"
        assert said in str(error)
    assert work.calls == before
    assert len(error.changes) == 1
    assert [way.split()[0] for way in error.ways] == ["on_change='continue'", "on_change='redo'"]


@HOWS
@DRAWN
def test_continue_takes_the_list_as_it_is_now_and_keeps_what_is_finished(
    store: Store, how: str, drawn: Callable[[Any], Any]
) -> None:
    work, given = Work("c"), ["a", "b", "c", "d"]
    node = node_of(work, how, lambda: drawn(given))
    failed(store, node)
    given[:] = ["a", "b", "x", "c"]
    with pytest.raises(ExecutionError, match="'c' broke"):
        graph_of(store, node).resume("r", on_change="continue")
    work.breaks = None
    if drawn is list:  # of an iterator the new list is known at its end only
        final = graph_of(store, node).resume("r")
    else:
        final = graph_of(store, node).resume("r", on_change="continue")
    wanted = ["a", "b", "x", "c"]
    assert final["out"] == (wanted if how == "chain" else [[one] for one in wanted])
    assert work.calls == {"a": 1, "b": 1, "x": 1, "c": 3}


@HOWS
def test_redo_drops_what_is_finished(store: Store, how: str) -> None:
    work, given = Work("c"), ["a", "b", "c"]
    node = node_of(work, how, lambda: given)
    failed(store, node)
    work.breaks = None
    given[:] = ["x", "b"]
    final = graph_of(store, node).resume("r", on_change="redo")
    assert final["out"] == (["x", "b"] if how == "chain" else [["x"], ["b"]])
    assert work.calls == {"a": 1, "b": 2, "c": 1, "x": 1}


@DRAWN
@pytest.mark.parametrize("how", ["map", "async map"])
def test_another_order_costs_nothing(store: Store, how: str, drawn: Callable[[Any], Any]) -> None:
    work, given = Work("d"), ["a", "b", "b", "c", "d"]
    node = node_of(work, how, lambda: drawn(given))
    failed(store, node)
    work.breaks = None
    given[:] = ["c", "b", "d", "a", "b"]
    assert graph_of(store, node).resume("r")["out"] == [[one] for one in given]
    assert work.calls == {"a": 1, "b": 2, "c": 1, "d": 2}


@HOWS
def test_an_iterator_that_was_not_drawn_to_its_end_may_bring_more(store: Store, how: str) -> None:
    work, given = Work("c"), [*"abcdefghijklmnop"]
    node = node_of(work, how, lambda: iter(given))
    failed(store, node)
    work.breaks = None
    given += ["more", "and more"]
    final = graph_of(store, node).resume("r")
    assert final["out"] == (given if how == "chain" else [[one] for one in given])


@HOWS
def test_an_iterator_that_lacks_what_was_planned_is_refused_at_its_end(store: Store, how: str) -> None:
    """A plan is written in blocks, so it takes many items."""
    work = Work(600)
    failed(store, node_of(work, how, lambda: iter(range(1000))))
    work.breaks = None
    error = refused(store, node_of(work, how, lambda: iter([*range(5), *range(6, 1000)])))
    said = "item 5 is not what it was" if how == "chain" else "item 5 of before is missing"
    assert said in str(error)
    final = graph_of(store, node_of(work, how, lambda: iter(range(1000)))).resume("r")
    assert final["out"] == (list(range(1000)) if how == "chain" else [[one] for one in range(1000)])
    assert work.calls == {**dict.fromkeys(range(1000), 1), 600: 2}


@HOWS
@pytest.mark.parametrize("now", [list, iter], ids=["list", "iterator"])
@pytest.mark.parametrize("then", [list, iter], ids=["list", "iterator"])
@pytest.mark.parametrize("left", [[], ["b"], ["x", "y"]], ids=["nothing", "fewer", "others"])
def test_a_list_that_lacks_a_finished_item_is_refused_however_short_it_is(
    how: str, then: Callable[[Any], Any], now: Callable[[Any], Any], left: list[str]
) -> None:
    store, work = MemoryStore(), Work("c")
    failed(store, node_of(work, how, lambda: then(["a", "b", "c", "d"])))
    work.breaks = None
    refused(store, node_of(work, how, lambda: now(left)))
    final = graph_of(store, node_of(work, how, lambda: now(["a", "b", "c", "d"]))).resume("r")
    assert final["out"] == (["a", "b", "c", "d"] if how == "chain" else [["a"], ["b"], ["c"], ["d"]])
    assert (work.calls["a"], work.calls["b"], work.calls["c"]) == (1, 1, 2)


@HOWS
def test_a_list_longer_than_what_is_looked_through_is_planned_in_blocks(how: str) -> None:
    store, work, given = MemoryStore(), Work(11_500), list(range(12_000))
    node = node_of(work, how, lambda: given)
    failed(store, node)
    work.breaks = None
    given[11_000] = -1
    assert "item 11000" in str(refused(store, node))
    given[11_000] = 11_000
    assert len(graph_of(store, node).resume("r")["out"]) == 12_000
    assert work.calls == {**dict.fromkeys(range(12_000), 1), 11_500: 2, **({} if how == "chain" else {-1: 1})}


@HOWS
def test_given_keys_are_named(store: Store, how: str) -> None:
    work, given = Work("c"), ["a", "b", "c"]
    node = node_of(work, how, lambda: given, key=lambda item: f"key of {item}")
    failed(store, node)
    work.breaks = None
    given[0] = "x"
    text = str(refused(store, node))
    if how == "chain":
        assert "item 0 is not what it was" in text
    else:
        assert "item 0, 'key of x', is new, and item 0 of before, 'key of a', is missing" in text


@HOWS
def test_an_edited_function_is_refused_where_items_are_finished(store: Store, how: str) -> None:
    given = ["a", "b", "c"]
    work = Work("c")
    failed(store, node_of(work, how, lambda: given))
    work.breaks = None

    def mapped(state: State, ctx: Context) -> Any:
        return {"out": ctx.map("m", lambda item: [*work.do(item), "edited"], given, workers=1)}

    async def mapped_async(state: State, ctx: Context) -> Any:
        async def task(item: Any) -> Any:
            return [*work.do(item), "edited"]

        return {"out": await ctx.map("m", task, given, workers=1)}

    def chained(state: State, ctx: Context) -> Any:
        step = lambda item, state: [*work.do(item, state), "edited"]  # noqa: E731
        return {"out": process_chain(given, [], step, name="m").final}

    edited = {"map": mapped, "async map": mapped_async, "chain": chained}[how]
    assert "the function of" in str(refused(store, edited))
    recorder = Recorder()
    final = graph_of(store, edited, observer=recorder).resume("r", on_change="continue")
    assert final["out"] == (["a", "b", "c", "edited"] if how == "chain" else [["a"], ["b"], ["c", "edited"]])
    told = [event.data for event in recorder.events if event.type == "graph.changed"]
    assert [(one["node"], one["on_change"]) for one in told] == [("node", "continue")]


@HOWS
def test_where_nothing_is_finished_everything_may_change(store: Store, how: str) -> None:
    work, given = Work("a"), ["a", "b"]
    node = node_of(work, how, lambda: given)
    failed(store, node)
    given[:] = ["x", "y", "z"]
    final = graph_of(store, node).resume("r")
    assert final["out"] == (given if how == "chain" else [[one] for one in given])


def test_a_list_that_changes_between_two_tries_is_not_tried_again() -> None:
    work, tries = Work("c"), []

    def node(state: State, ctx: Context) -> Any:
        tries.append(ctx.attempt)
        return {"out": ctx.map("m", work.do, ["a", f"b{len(tries)}", "c"], workers=1)}

    with pytest.raises(ExecutionError, match="item 1 is new") as found:
        graph_of(MemoryStore(), node, Retry(attempts=5, delay=0.0)).execute({}, run_id="r")
    assert isinstance(found.value.__cause__, GraphChangedError)
    assert tries == [1, 2]


@HOWS
def test_items_without_a_plan_are_taken_as_before(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier version wrote none."""
    store, work, given = MemoryStore(), Work("c"), ["a", "b", "c"]
    node = node_of(work, how, lambda: given)
    with monkeypatch.context() as patch:
        patch.setattr(StepRunner, "note", lambda self, record: 0)
        failed(store, node)
    assert not any(isinstance(record, Planned) for record in records(store))
    work.breaks = None
    given += ["d"]
    assert len(graph_of(store, node).resume("r")["out"]) == 4
    assert work.calls == {"a": 1, "b": 1, "c": 2, "d": 1}


def test_a_plan_costs_one_record_and_none_in_a_later_attempt() -> None:
    store, work = MemoryStore(), Work(7)
    node = node_of(work, "map", lambda: range(20))
    failed(store, node)
    with pytest.raises(ExecutionError, match="broke"):
        graph_of(store, node).resume("r")
    planned = [record for record in records(store) if isinstance(record, Planned)]
    assert [(record.name, record.body["at"], record.body["end"]) for record in planned] == [("m", 0, True)]
    assert len(planned[0].body["digests"]) == 20 * 20


def records(store: Store) -> list[Any]:
    from tau.log.encoding import unseal

    return [unseal("r", position, data) for position, data in store.read("r")]


SCRIPT = """
import os, sys
from tau import ExecutionError, StateGraph

graph = StateGraph("g", store="sqlite:///runs.db")

@graph.node
def node(state, ctx):
    def task(item):
        assert item >= 0
        if item == 2 and not os.path.exists("whole"):
            raise ValueError("broke")
        return item
    return {"out": ctx.map("m", task, range(4), workers=1)}

graph.sequence(node)
if __name__ == "__main__":
    print(graph.execute({}, run_id="r", if_exists="resume")["out"])
"""


def test_a_function_is_the_same_however_python_was_started(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    first = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "ValueError: broke" in first.stderr
    (tmp_path / "whole").write_text("")
    again = subprocess.run(
        [sys.executable, "-OO", "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert again.stdout == "[0, 1, 2, 3]\n", again.stderr
