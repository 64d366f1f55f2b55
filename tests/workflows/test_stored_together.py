"""Items of a map that follow one another at once are stored together; but none waits for what takes long."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tau import Context, Event, State, StateGraph
from tau.errors import TauError
from tau.log.encoding import unseal
from tau.log.records import Item
from tau.stores.contract import Store
from tau.stores.memory import MemoryStore
from tau.testing.store_wrappers import StoreWrapper


def run(store: Store, node: Callable[[State, Context], Any], *, observer: Any = None, verb: str = "execute") -> State:
    graph = StateGraph("g", store=store)
    graph.add_node("node", node, version="1")
    graph.sequence("node")
    return graph.resume("r") if verb == "resume" else graph.execute({}, run_id="r", observer=observer)


def stored(store: Store) -> int:
    """How many items of the run are in its log."""
    return sum(isinstance(unseal("r", position, data), Item) for position, data in store.read("r"))


def wait_for(store: Store, count: int) -> None:
    """Until so many items are stored; with a deadline, at which the test fails."""
    deadline = time.monotonic() + 60
    while stored(store) < count:
        if time.monotonic() > deadline:
            raise TauError(f"{stored(store)} items are stored, and not {count}")


def listed(count: int) -> Any:
    return [*range(count)]


def generated(count: int) -> Any:
    yield from range(count)


@pytest.mark.parametrize("source", [listed, generated])
@pytest.mark.parametrize("workers", [2, 8])
def test_what_is_done_beside_a_long_item_is_stored_before_that_ends(
    store: Store, source: Callable[[int], Any], workers: int
) -> None:
    """The others fill the room that the map has; nothing else of it is to come before the long item has ended."""

    def task(item: int) -> int:
        if item == 0:
            wait_for(store, 2 * workers)
        return item

    def node(state: State, ctx: Context) -> Any:
        return {"out": ctx.map("m", task, source(2 * workers + 1), workers=workers)}

    assert run(store, node)["out"] == [*range(2 * workers + 1)]


def test_what_is_done_is_stored_while_the_next_item_is_drawn(store: Store) -> None:
    def source() -> Iterator[int]:
        for item in range(4):
            yield item
            wait_for(store, item + 1)

    def node(state: State, ctx: Context) -> Any:
        return {"out": ctx.map("m", abs, source(), workers=2)}

    assert run(store, node)["out"] == [0, 1, 2, 3]


@pytest.mark.parametrize("told", ["progress", "observer"])
def test_what_is_done_is_stored_while_somebody_is_told_of_it(store: Store, told: str) -> None:
    def progress(done: int, total: int | None, result: Any) -> None:
        wait_for(store, done)

    done = 0

    def observer(event: Event) -> None:
        nonlocal done
        if event.type == "worker.complete":
            done += 1
            wait_for(store, done)

    def node(state: State, ctx: Context) -> Any:
        return {"out": ctx.map("m", abs, listed(6), workers=2, progress=progress if told == "progress" else None)}

    final = run(store, node, observer=observer if told == "observer" else None)
    assert final["out"] == listed(6)


def test_what_is_done_when_an_interrupt_comes_is_not_done_again(store: Store) -> None:
    calls = Counter[int]()

    def task(item: int) -> int:
        calls[item] += 1
        if item == 70 and calls[70] == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return item

    def node(state: State, ctx: Context) -> Any:
        return {"out": ctx.map("m", task, listed(300), workers=4)}

    with pytest.raises(KeyboardInterrupt):
        run(store, node)
    assert stored(store) == len(calls)
    assert run(store, node, verb="resume")["out"] == listed(300)
    assert set(calls.values()) == {1}


def test_no_more_items_wait_to_be_stored_than_twice_the_workers() -> None:
    """And a commit is for all of them, but for the plan that goes with the first."""
    sizes: list[int] = []

    class Sizes(StoreWrapper):
        def commit(self, batches: Any) -> Any:
            sizes.extend(len(batch.records) for batch in batches)
            return super().commit(batches)

    def node(state: State, ctx: Context) -> Any:
        return {"out": ctx.map("m", abs, listed(400), workers=4)}

    assert run(Sizes(MemoryStore()), node)["out"] == listed(400)
    assert max(sizes) <= 2 * 4 + 1
    assert sum(sizes) == 400 + 5  # admitted, claimed, planned, the checkpoint, finished


@pytest.mark.parametrize("source", [listed, generated])
def test_as_many_items_are_at_work_as_there_are_workers(store: Store, source: Callable[[int], Any]) -> None:
    """Threads that ended items at once would do for these; so all are needed for those that come next."""
    meeting = threading.Barrier(8, timeout=60)

    def task(item: int) -> int:
        if item >= 40:
            meeting.wait()
        return item

    def node(state: State, ctx: Context) -> Any:
        return {"out": ctx.map("m", task, source(40 + 3 * 8), workers=8)}

    assert run(store, node)["out"] == [*range(40 + 3 * 8)]
