"""The results of a map in a run are what its tasks returned, and lie in the store until they are asked for."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import tracemalloc
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tau import (
    CorruptCheckpointError,
    ExecutionError,
    ParallelConfig,
    ParallelResult,
    State,
    StateGraph,
    open_store,
    parallel_node,
    process_parallel,
)
from tau.node import item_results
from tau.stores.contract import Store
from tau.stores.memory import MemoryStore
from tau.testing.store_wrappers import StoreWrapper

Aggregate = Callable[[ParallelResult[Any], State], Any]
LARGE = 100_000


def graph_of(
    store: Store | str | None, task: Callable[[Any], Any], items: Iterable[Any], aggregate: Aggregate, **options: Any
) -> StateGraph:
    graph = StateGraph("results", store=store)
    config = ParallelConfig(max_workers=4, **options)
    node = parallel_node(lambda state: items, task, config, aggregate=aggregate, name="map")
    graph.add_node("node", node, version="1")
    graph.sequence("node")
    return graph


def result_of(store: Store | None, task: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> Any:
    """The result of a map, after its run has ended."""
    found: list[ParallelResult[Any]] = []
    graph_of(store, task, items, lambda result, state: found.append(result), **options).execute({}, run_id="r")
    return found[0]


def varied(item: int) -> Any:
    """Values of all kinds and sizes."""
    return [item, "text " * item, {"key": [item]}, (1.5, None), b"x" * LARGE, "y" * LARGE][item % 6]


async def varied_async(item: int) -> Any:
    await asyncio.sleep(0)
    return varied(item)


@pytest.mark.parametrize("task", [varied, varied_async])
def test_results_are_what_the_tasks_returned_however_they_are_asked_for(store: Store, task: Any) -> None:
    asked: list[Any] = []

    def ask(result: ParallelResult[Any], state: State) -> None:
        asked.append(list(result))
        asked.append(list(result))
        asked.append([one.value for one in result.outcomes])
        asked.append(result.results)
        asked.append(list(result))

    graph_of(store, task, range(60), ask).execute({}, run_id="r")
    assert asked == [[varied(item) for item in range(60)]] * 5


def test_the_list_of_results_is_one_list(store: Store) -> None:
    result = result_of(store, varied, range(6))
    result.results.append("mine")
    assert result.results[-1] == list(result)[-1] == "mine"


def test_each_result_that_is_asked_for_is_a_copy(store: Store) -> None:
    def change(result: ParallelResult[Any], state: State) -> Any:
        for value in result:
            value.append("changed")
        return {"out": result.results}

    assert graph_of(store, lambda item: [item], range(3), change).execute({})["out"] == [[0], [1], [2]]


@pytest.mark.parametrize(
    "ask", [lambda result: result, copy.copy, copy.deepcopy, lambda r: pickle.loads(pickle.dumps(r))]
)
def test_a_result_can_be_kept_compared_and_copied_after_its_run(store: Store, ask: Any) -> None:
    result, plain = ask(result_of(store, varied, range(12))), result_of(None, varied, range(12))
    assert result == plain
    assert repr(result) == repr(plain)
    assert result.results == [varied(item) for item in range(12)]
    with pytest.raises(AttributeError, match="result"):
        _ = result.result


def test_of_a_map_with_failures_the_results_are_those_of_the_others(store: Store) -> None:
    def odd(item: int) -> int:
        if item % 2:
            raise ValueError("odd")
        return item

    result = result_of(store, odd, range(100), fail_fast=False)
    assert list(result) == result.results == [*range(0, 100, 2)]
    assert [one.value for one in result.outcomes if one.status == "done"] == [*range(0, 100, 2)]


def test_progress_is_given_each_result_also_those_of_an_earlier_attempt(store: Store) -> None:
    given: list[Any] = []
    breaks = True

    def task(item: int) -> Any:
        if item == 20 and breaks:
            raise ValueError("it broke")
        return varied(item)

    def graph() -> StateGraph:
        found = StateGraph("results", store=store)

        def node(state: State) -> None:
            process_parallel(range(24), task, ParallelConfig(max_workers=1), lambda done, total, one: given.append(one))

        found.add_node("node", node, version="1")
        found.sequence("node")
        return found

    with pytest.raises(ExecutionError):
        graph().execute({}, run_id="r")
    assert given == [varied(item) for item in range(20)]
    breaks = False
    graph().resume("r")
    assert given[20:] == [varied(item) for item in range(24)]


class Reads(StoreWrapper):
    """Counts the blobs that are fetched, and gives nothing for them while it has lost them."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.fetched = 0
        self.has_lost = False

    def blobs(self, run_id: str, digests: Iterable[bytes]) -> Mapping[bytes, bytes]:
        found = {} if self.has_lost else self.store.blobs(run_id, digests)
        self.fetched += len(found)
        return found


def half_done(store: Store, task: Callable[[int], Any]) -> None:
    """A run whose map failed at its 40th item."""

    def broken(item: int) -> Any:
        if item == 40:
            raise ValueError("it broke")
        return task(item)

    with pytest.raises(ExecutionError, match="it broke"):
        graph_of(store, broken, range(50), lambda result, state: None).execute({}, run_id="r")


@pytest.mark.parametrize("how", ["not at all", "each", "the list"])
def test_a_resume_fetches_results_when_they_are_asked_for(how: str) -> None:
    def large(item: int) -> bytes:
        return b"%d" % item * LARGE

    def ask(result: ParallelResult[Any], state: State) -> Any:
        assert store.fetched == 0
        found = list(result) if how == "each" else result.results if how == "the list" else []
        return {"count": result.statuses.count(1), "sizes": [len(one) for one in found]}

    store = Reads(MemoryStore())
    half_done(store, large)
    final = graph_of(store, large, range(50), ask).resume("r", on_change="continue")
    assert final["count"] == 50
    assert final["sizes"] == ([] if how == "not at all" else [len(large(item)) for item in range(50)])
    assert (store.fetched == 0) is (how == "not at all")


def test_a_result_that_is_lost_stops_the_run_also_where_its_error_is_caught() -> None:
    def large(item: int) -> bytes:
        return b"%d" % item * LARGE

    def ask(result: ParallelResult[Any], state: State) -> Any:
        with pytest.raises(CorruptCheckpointError, match="is missing"):
            list(result)

    store = Reads(MemoryStore())
    half_done(store, large)
    store.has_lost = True
    with pytest.raises(ExecutionError, match="is missing"):
        graph_of(store, large, range(50), ask).resume("r", on_change="continue")


def test_large_results_beyond_what_is_kept_at_hand_are_read_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_results, "AT_HAND", 1 << 20)
    made: dict[int, bytes] = {}

    def large(item: int) -> bytes:
        made[item] = os.urandom(LARGE)
        return made[item]

    def ask(result: ParallelResult[Any], state: State) -> Any:
        assert all(one == made[index] for index, one in enumerate(result))

    graph_of(store, large, range(100), ask).execute({})
    assert len(made) == 100


@pytest.mark.parametrize("is_async", [False, True])
def test_large_results_that_are_read_one_by_one_are_never_all_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_async: bool
) -> None:
    monkeypatch.setattr(item_results, "AT_HAND", 1 << 20)
    most: list[int] = []

    def large(item: int) -> bytes:
        return os.urandom(1 << 20)

    async def later(item: int) -> bytes:
        return large(item)

    def ask(result: ParallelResult[Any], state: State) -> Any:
        assert sum(map(len, result)) == 60 << 20
        most.append(tracemalloc.get_traced_memory()[1])

    with open_store(f"file:{tmp_path}") as store:
        tracemalloc.start()
        try:
            graph_of(store, later if is_async else large, range(60), ask).execute({})
        finally:
            tracemalloc.stop()
    assert most[0] < 50 << 20


def peak(work: Callable[[], object]) -> int:
    """The most bytes that Python held at a time."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def peaks(place: Path, count: int, **options: Any) -> tuple[int, int]:
    """What the first run of a map of so many numbers takes, which fails at 90 %, and its resume."""
    is_first = True

    def task(item: int) -> int:
        if is_first and item == count * 9 // 10:
            raise ValueError("it broke")
        return item

    def total(result: ParallelResult[int], state: State) -> Any:
        return {"total": sum(result)}

    def run() -> None:
        with pytest.raises(ExecutionError, match="it broke"):
            graph_of(f"sqlite:///{place}", task, range(count), total, **options).execute({}, run_id="r")

    def resume() -> None:
        graph = graph_of(f"sqlite:///{place}", task, range(count), total, **options)
        assert graph.resume("r")["total"] == count * (count - 1) // 2

    first, is_first = peak(run), False
    return first, peak(resume)


@pytest.mark.parametrize("options", [{}, pytest.param({"idempotent": True}, marks=pytest.mark.deep)])
def test_an_item_more_takes_at_most_350_bytes_of_memory(tmp_path: Path, options: dict[str, Any]) -> None:
    peaks(tmp_path / "none.db", 10, **options)  # what is loaded at first use is no item's
    few, many = peaks(tmp_path / "few.db", 5000, **options), peaks(tmp_path / "many.db", 20_000, **options)
    each = [(more - less) / 15_000 for less, more in zip(few, many, strict=True)]
    assert max(each) <= 350, each
