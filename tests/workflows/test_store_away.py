"""A store that fails in the middle of a map or chain: its error reaches the node, which may try again in the same
process, and nothing that had ended by then is called again."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from tau import (
    CheckpointConfig,
    Context,
    GraphConfig,
    State,
    StateGraph,
    StoreUnavailableError,
    process_chain,
)
from tau.node.current import run_scope
from tau.stores.contract import Batch
from tau.stores.memory import MemoryStore
from tau.testing.store_wrappers import StoreWrapper

WAYS = pytest.mark.parametrize("how", ["map", "async map", "chain"])


class Away(StoreWrapper):
    is_away = False

    def commit(self, batches: Sequence[Batch]) -> Sequence[int | Exception]:
        if self.is_away:
            raise StoreUnavailableError("the store is away")
        return super().commit(batches)


def tried_twice(
    how: str,
    store: Away,
    task: Callable[..., int],
    *,
    count: int,
    workers: int,
    later: Callable[[int], Coroutine[Any, Any, int]] | None = None,
) -> Any:
    """What a node makes of so many items that tries once while the store goes away, and again when it is back.

    ``task`` is given an item, and in a chain the state; ``later`` is the same for an async map.
    """

    async def awaited(item: int) -> int:
        return task(item) if later is None else await later(item)

    def run(ctx: Context) -> Any:
        if how == "chain":
            return process_chain(range(count), 0, task, name="m").final
        return ctx.map("m", awaited if how == "async map" else task, range(count), workers=workers)

    def node(state: State, ctx: Context) -> Any:
        with pytest.raises(StoreUnavailableError, match="the store is away"):
            run(ctx)
        store.is_away = False
        return {"out": run(ctx)}

    async def node_async(state: State, ctx: Context) -> Any:
        with pytest.raises(StoreUnavailableError, match="the store is away"):
            await run(ctx)
        store.is_away = False
        return {"out": await run(ctx)}

    checkpoint = CheckpointConfig(interval=1, preserve=True, patience=0.0)
    graph = StateGraph(GraphConfig("g", observer=None, checkpoint=checkpoint), store=store)
    graph.add_node("node", node_async if how == "async map" else node, version="1")
    graph.sequence("node")
    return graph.execute({}, run_id="r")["out"]


@WAYS
def test_what_was_done_when_the_store_failed_is_stored_by_the_next_try(how: str) -> None:
    store, calls = Away(MemoryStore()), Counter[int]()

    def task(item: int, *before: int) -> int:
        calls[item] += 1
        store.is_away = store.is_away or calls.total() == 3
        return item

    assert tried_twice(how, store, task, count=30, workers=2) == (29 if how == "chain" else [*range(30)])
    assert set(calls.values()) == {1}


@pytest.mark.parametrize("how", ["map", "async map"])
def test_an_item_that_ends_once_the_store_has_failed_is_kept_for_the_next_try(how: str) -> None:
    """Two are at work when a commit fails: the one that ends when that is known is not called again either. (One that
    the failure breaks off where it awaits has not ended.)"""
    store, ended = Away(MemoryStore()), Counter[int]()

    def holds_on(item: int, until: float) -> bool:
        """Whether item 1 is not to end yet: the failure is not known. The map itself may meet it first, and end."""
        scope = run_scope.get()
        assert scope is not None
        commits = scope.steps_of(scope.visit_here()).commits
        assert commits is not None
        try:
            commits.check()
        except StoreUnavailableError:
            return False
        return item == 1 and time.monotonic() < until

    def begin(item: int) -> float:
        store.is_away = store.is_away or item == 0
        return time.monotonic() + 2

    def task(item: int) -> int:
        until = begin(item)
        while holds_on(item, until):
            pass
        ended[item] += 1
        return item

    async def later(item: int) -> int:
        until = begin(item)
        while holds_on(item, until):
            await asyncio.sleep(0)
        ended[item] += 1
        return item

    assert tried_twice(how, store, task, count=10, workers=2, later=later) == [*range(10)]
    assert set(ended.values()) == {1}


@WAYS
def test_a_map_whose_last_commit_fails_may_be_tried_again_under_its_name(how: str) -> None:
    store, calls = Away(MemoryStore()), Counter[int]()

    def task(item: int, *before: int) -> int:
        calls[item] += 1
        store.is_away = item == 2
        return item

    assert tried_twice(how, store, task, count=3, workers=1) == (2 if how == "chain" else [0, 1, 2])
    assert set(calls.values()) == {1}
