"""An interrupt at any instruction while an event loop hands work to a thread: no lock stays taken, so that what comes
after it is done, and nothing is at work that nobody waits for."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import pytest
from injection import InterruptFault
from struck_code import ENGINE

from tau.log.committer import Committer
from tau.node.async_calls import in_a_thread, off_the_loop
from tau.node.left_calls import left
from tau.stores.memory import MemoryStore

SECONDS = 30.0
FUTURES = Path(concurrent.futures.__file__).parent
KEY = ("a node",)

Handing = Callable[[Committer, Callable[[], object]], Coroutine[Any, Any, Any]]


def is_struck(name: str) -> bool:
    path = Path(name)
    return name == threading.__file__ or path.parent == FUTURES or ENGINE in path.parents


class Strike(InterruptFault):
    def __init__(self, at: int) -> None:
        super().__init__(is_struck)
        self.at = at

    def __enter__(self) -> Strike:
        self.arm(None, self.at)  # type: ignore[arg-type]
        return self

    def __exit__(self, *_: object) -> None:
        self.disarm()


def node(_: Committer, work: Callable[[], object]) -> Coroutine[Any, Any, Any]:
    return in_a_thread(KEY, work)


class Attempt:
    """Work is handed over, struck at the n-th place, and more is after it."""

    def __init__(self, hand_over: Handing, at: int) -> None:
        self.hand_over, self.strike = hand_over, Strike(at)
        self.begun, self.ended = list[int](), list[int]()
        self.at_work_after = self.left_after = 0
        self.begun_after = -1
        self.answers: list[Any] = []

    def run(self) -> None:
        committer, loop = Committer(MemoryStore()), asyncio.new_event_loop()
        try:
            with suppress(KeyboardInterrupt):
                loop.run_until_complete(self.struck(committer))
            self.at_work_after = len(self.begun) - len(self.ended)
            self.left_after = len(left.get(KEY, ()))
            begun = len(self.begun)
            self.answers = loop.run_until_complete(self.more(committer))
            self.begun_after = len(self.begun) - begun
        finally:
            left.pop(KEY, None)
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    async def struck(self, committer: Committer) -> None:
        go = SimpleQueue[None]()
        asyncio.get_running_loop().call_soon(go.put, None)  # who is not waited for does not end

        def work() -> None:
            self.begun.append(1)
            go.get(timeout=SECONDS)
            self.ended.append(1)

        with self.strike:
            await self.hand_over(committer, work)

    async def more(self, committer: Committer) -> list[Any]:
        """More than the committer has threads, at a time."""
        gate = threading.Barrier(4)

        def work() -> int:
            gate.wait(SECONDS)
            return 1

        return await asyncio.gather(*(self.hand_over(committer, work) for _ in range(8)))


@pytest.mark.filterwarnings("ignore:coroutine '.*' was never awaited:RuntimeWarning")  # so it is: it was interrupted
@pytest.mark.parametrize("hand_over", [off_the_loop, node])
def test_an_interrupt_of_handing_work_to_a_thread_leaves_nothing_behind(hand_over: Handing) -> None:
    at, attempt = 0, None
    while attempt is None or attempt.strike.seen >= at:
        at += 1
        attempt = Attempt(hand_over, at)
        thread = Thread(target=attempt.run, daemon=True)
        thread.start()
        thread.join(SECONDS)
        assert not thread.is_alive(), f"it waits for ever after an interrupt at place {at}"
        assert attempt.begun_after == 0, f"place {at}: it begins after the interrupt came out"
        assert attempt.at_work_after <= attempt.left_after, f"place {at}: it is at work and nobody knows"
        assert attempt.answers == [(1, None)] * 8
    assert at > 40
