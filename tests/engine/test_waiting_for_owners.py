"""Who waits for an owner in an event loop holds up nobody else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_steps import config

from tau import RunOwnedError, State, StateGraph, Stop
from tau.stores.contract import Lease, Store
from tau.stores.memory import MemoryStore
from tau.testing.store_contract.batches import batch, one, owner

SECONDS = 60.0
MANY = 20


def graph(store: Store) -> StateGraph:
    made = StateGraph(config(store, preserve=False))

    async def node(state: State) -> dict[str, Any]:
        return {"x": 1}

    made.add_node("node", node, version="1")
    made.sequence("node")
    return made


class Looked(MemoryStore):
    """Knows how many runs were looked at by somebody who waits for them."""

    def __init__(self) -> None:
        super().__init__()
        self.looked: dict[str, int] = {}

    def lease(self, run_id: str) -> Lease | None:
        self.looked[run_id] = self.looked.get(run_id, 0) + 1
        return super().lease(run_id)


@pytest.fixture
def owned() -> Looked:
    store = Looked()
    for number in range(MANY):
        one(store, batch(f"owned {number}", 0, owner=owner("someone", lease=3600.0)))
    return store


async def waiters(store: Looked, **options: Any) -> list[asyncio.Task[Any]]:
    """Tasks that have looked at their runs more than once, and wait."""
    made = graph(store)
    tasks = [asyncio.create_task(made.aresume(f"owned {n}", wait=3600.0, **options)) for n in range(MANY)]
    async with asyncio.timeout(SECONDS):
        while any(store.looked.get(f"owned {n}", 0) < 2 for n in range(MANY)):
            await asyncio.sleep(0.01)
    return tasks


async def test_a_run_that_nobody_owns_goes_on_beside_many_that_wait(owned: Looked) -> None:
    tasks = await waiters(owned)
    async with asyncio.timeout(SECONDS):
        final = await graph(owned).aexecute({}, run_id="mine")
    assert dict(final) == {"x": 1}
    assert not any(task.done() for task in tasks)
    for task in tasks:
        task.cancel()
    async with asyncio.timeout(SECONDS):
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(end) for end in ends} == {asyncio.CancelledError}


async def test_a_stop_ends_the_wait(owned: Looked) -> None:
    stop = Stop()
    tasks = await waiters(owned, stop=stop)
    stop.set()
    async with asyncio.timeout(SECONDS):
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(end) for end in ends} == {RunOwnedError}


async def test_who_waits_gets_the_run_when_its_owner_lets_go(owned: Looked) -> None:
    tasks = await waiters(owned)
    owned.release("owned 3", "someone")
    with pytest.raises(Exception, match="owned 3"):  # there is nothing in it but what the test put there
        async with asyncio.timeout(SECONDS):
            await tasks[3]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Hanging(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.entered, self.go_on = threading.Semaphore(0), threading.Event()

    def summary(self, run_id: str) -> Any:
        self.entered.release()
        self.go_on.wait(SECONDS)
        return super().summary(run_id)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    store = Hanging()
    yield store
    store.go_on.set()


async def test_a_store_that_hangs_holds_up_no_run_of_another(hanging: Hanging, tmp_path: Path) -> None:
    stuck = [asyncio.create_task(graph(hanging).aresume(f"r{n}")) for n in range(8)]
    for _ in range(4):
        assert await asyncio.to_thread(hanging.entered.acquire, timeout=SECONDS)
    async with asyncio.timeout(SECONDS):
        final = await graph(MemoryStore()).aexecute({}, run_id="mine")
    assert dict(final) == {"x": 1}
    assert not any(task.done() for task in stuck)
    hanging.go_on.set()
    await asyncio.gather(*stuck, return_exceptions=True)
