"""An event loop in which simulated time passes instead of being waited for."""

from __future__ import annotations

import asyncio
import contextvars
import selectors
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tau.testing.simulation.world import World


def run_to_the_end(world: World, coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine; what it sleeps passes in the world."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _run(world, coroutine)
    # Another process stands still inside of its own loop, and a thread has one loop at a time.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(contextvars.copy_context().run, _run, world, coroutine).result()


def _run(world: World, coroutine: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=lambda: _Loop(world)) as runner:
        return runner.run(coroutine)


class _Selector(selectors.DefaultSelector):
    """Lets simulated time pass instead of waiting."""

    world: World

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            return super().select(None)
        ready = super().select(0)
        if not ready and timeout > 0:
            self.world.advance(timeout)
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, world: World) -> None:
        selector = _Selector()
        selector.world = world
        self._world = world
        super().__init__(selector)

    def time(self) -> float:
        return self._world.time
