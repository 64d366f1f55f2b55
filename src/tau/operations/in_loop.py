"""A worker whose runs share one event loop: those of graphs whose nodes are all async."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from contextlib import suppress
from functools import partial
from typing import Final

from tau.engine.async_driver import AsyncDriver
from tau.log.records import DRAIN
from tau.node.async_calls import is_dropped
from tau.operations.exits import end_copy, ends_worker
from tau.operations.finding import Candidate
from tau.operations.report import why_of
from tau.operations.serving import STALE, Worker
from tau.waiting import LOOK

_log = logging.getLogger("tau")

IMPATIENCE: Final = 60.0
"""Seconds after which nothing else is begun, so that a run that must be taken alone gets its turn."""


def serve(work: Worker) -> None:
    """Serve until it is over. Raises what `tau.worker` raises."""
    with asyncio.Runner() as runner:
        task = runner.get_loop().create_task(_Loop(work).serve())
        while True:
            try:
                runner.run(_until(task))
                return task.result()
            except BaseException as error:
                # asyncio ends the loop for `SystemExit` in any of its tasks; those that a node made are not the worker
                if isinstance(error, Exception) or task.done() or ends_worker(error):
                    raise
                if not isinstance(error, SystemExit):
                    raise
                _log.warning("a task that a run made raised SystemExit: %s", why_of(error))


async def _until(task: asyncio.Task[None]) -> None:
    """Wait for its end; Ctrl-C is passed on to it."""
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait([task])
        if task.cancelled():
            raise


class _Loop:
    def __init__(self, work: Worker) -> None:
        self._work = work
        self._tasks: set[asyncio.Task[None]] = set()
        self._at: set[str] = set()
        self._lone: tuple[Candidate, AsyncDriver] | None = None
        self._suspects_since: float | None = None

    async def serve(self) -> None:
        work, woken = self._work, asyncio.Event()
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(woken.set)

        work.stop.event.then(wake)
        work.stop.hurry = lambda: loop.call_soon_threadsafe(self._cancel)
        try:
            while not work.is_over:
                await self._turn(woken)
                if not self._tasks and not work.is_over and await work.graph._in_thread(work.is_done):
                    break
            await self._drain()
        finally:
            await self._break_off()

    async def _turn(self, woken: asyncio.Event) -> None:
        """Begin what there is room for, then wait until something has ended or may be there to be begun."""
        work = self._work
        alone = self._is_alone()
        room = 0 if alone else work.options.concurrency - len(self._tasks)
        found: list[Candidate] = []
        if room > 0:
            found = await work.graph._in_thread(partial(work.look, room))
            self._begin([one for one in found if one.run_id not in self._at], room)
        ended = {asyncio.ensure_future(woken.wait())}
        full = alone or len(self._tasks) >= work.options.concurrency
        pause = LOOK if alone else None if full else STALE if self._tasks else 0.0
        if work.options.gc and await work.graph._in_thread(work.collect):
            pause = 0.0
        elif not full and not self._tasks:
            await work.graph._in_thread(work.rest)
        try:
            left = work.left
            limit = left if pause is None else pause if left is None else min(left, pause)
            await asyncio.wait(self._tasks | ended, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in ended:
                one.cancel()

    def _is_alone(self) -> bool:
        """Whether there is a run beside which none is begun: until it has got over what it died of."""
        if self._lone is None:
            return False
        candidate, driver = self._lone
        return driver.journal is None or driver.journal.position <= candidate.row.position + 1

    def _begin(self, found: list[Candidate], room: int) -> None:
        suspects = [one for one in found if one.is_suspect]
        others = [one for one in found if not one.is_suspect]
        if suspects and not self._tasks:
            self._suspects_since = None
            self._start(suspects[0], shared=False)
            return
        if suspects:
            self._suspects_since = self._suspects_since or time.monotonic()
            if time.monotonic() - self._suspects_since > IMPATIENCE:
                return
        else:
            self._suspects_since = None
        for one in others[:room]:
            self._start(one, shared=True)

    def _start(self, candidate: Candidate, *, shared: bool) -> None:
        self._at.add(candidate.run_id)
        task = asyncio.ensure_future(self._run(candidate, shared=shared))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, candidate: Candidate, *, shared: bool) -> None:
        error: BaseException | None = None
        pid, task = os.getpid(), asyncio.current_task()
        driver = self._work.driver(AsyncDriver, candidate, shared=shared)
        self._lone = None if shared else (candidate, driver)
        try:
            await driver.drive()
        except asyncio.CancelledError as cancelled:
            self._work.note(candidate, "interrupted", "it was broken off")
            raise cancelled
        except BaseException as raised:
            if is_dropped(raised, task) or ends_worker(raised):
                raise  # or it is not the run's
            error = raised
        finally:
            end_copy(pid)
            self._at.discard(candidate.run_id)
            self._lone = None if not shared else self._lone
        self._work.ended(candidate, driver, error)

    async def _drain(self) -> None:
        """Wait for runs to stop by themselves."""
        self._work.stop.set(DRAIN)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._work.options.grace)

    async def _break_off(self) -> None:
        self._cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=None)

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel(DRAIN)
