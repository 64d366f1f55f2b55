"""What a message costs beside an `asyncio.Queue`, and what a hub costs that has nothing to do."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from measure import Figure

from tau import Hub, Message

MESSAGES = 10_000
ROUNDS = 41
SIZE = 100
IDLE = 10.0


async def queue() -> float:
    """Seconds of CPU in which one task puts, and another one gets."""
    between = asyncio.Queue[int](SIZE)

    async def put() -> None:
        for number in range(MESSAGES):
            await between.put(number)

    async def get() -> None:
        for _ in range(MESSAGES):
            await between.get()

    began = time.process_time()
    await asyncio.gather(put(), get())
    return time.process_time() - began


async def messages() -> float:
    """Seconds of CPU in which one task sends, and an agent of the same loop receives."""
    received = 0

    async def receive(message: Message) -> None:
        nonlocal received
        received += 1

    async with Hub("figures", queue_size=SIZE) as hub:
        hub.register("sender", receive)
        hub.register("receiver", receive)
        began = time.process_time()
        for number in range(MESSAGES):
            await hub.asend("sender", "receiver", number)
        await hub.ashutdown()
        took = time.process_time() - began
    assert received == MESSAGES
    return took


async def turns() -> list[tuple[float, float]]:
    return [(await queue(), await messages()) for _ in range(ROUNDS)]


def idle() -> float:
    """Milliseconds of CPU of this process in ten seconds, with three hubs that were used and have nothing to do."""

    async def receive(message: Message) -> None:
        pass

    hubs = [Hub(f"idle-{number}") for number in range(3)]
    for hub in hubs:
        hub.register("sync", lambda message: None)
        hub.register("async", receive)
        hub.request("figures", "sync")
        hub.request("figures", "async")
    began = time.process_time()
    time.sleep(IDLE)
    return (time.process_time() - began) * 1000


def hub(_: Path) -> Iterator[Figure]:
    taken = asyncio.run(turns())
    ratio = statistics.median(ours / bare for bare, ours in taken)
    bare, ours = (statistics.median(column) / MESSAGES * 1e6 for column in zip(*taken, strict=True))
    note = f"{ours:.2f} us of CPU, bare {bare:.2f}"
    yield Figure("a message from task to task, Queue put and get = 1", ratio, 3.0, "x", note)
    yield Figure("three hubs without work in 10 s: CPU", idle(), 5.0, "ms")
