"""A parallel map of an async task: tasks in the caller's event loop, at most so many at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tau.node.async_calls import cancellations, off_the_loop
from tau.node.calls import is_late
from tau.node.current import left_behind
from tau.node.item_results import ItemResults
from tau.waiting import LOOK
from tau.workflows.driving import cancelled_inside
from tau.workflows.ledger import Ledger
from tau.workflows.outcomes import ParallelResult, unread_of
from tau.workflows.tries import Pace, backoff, timed_out


class TaskMap:
    """One parallel map at work in the tasks of a loop."""

    def __init__(
        self,
        ledger: Ledger,
        call: Callable[[int, Any], Any],
        wait_for_room: Callable[[], Awaitable[object]] | None = None,
        has_clock: bool = False,
    ) -> None:
        """``wait_for_room`` is awaited before each try begins; its time is none of the item's. ``has_clock``: ``call``
        itself sees to the timeout."""
        self._ledger, self._call, self._wait_for_room = ledger, call, wait_for_room
        self._config, self._around = ledger.config, ledger.around
        self._timeout = None if has_clock else self._config.timeout
        self._pace = Pace(self._config.rate)
        self._running: dict[int, asyncio.Task[None]] = {}
        self._free: list[int] = []
        self._workers = 0
        self._change = asyncio.Event()
        self._is_ended = False

    async def run(self) -> ParallelResult[Any]:
        """The result of the whole. Raises what the ledger does. Where all is done when a cancellation comes, the result
        is returned, and the cancellation is raised at the caller's next await."""
        ledger = self._ledger
        ledger.start()
        try:
            while True:
                self._feed()
                if not self._running:
                    break
                await self._wait()
        except BaseException as error:
            self._around.check_process()
            if isinstance(error, GeneratorExit):  # nothing can be awaited any more
                self._cancel()
                ledger.break_off(error)
            await self._end(error)
        return ledger.finish()

    def _feed(self) -> None:
        """Begin items, as many as there is room for, unless this is to end."""
        self._around.check_process()
        ledger = self._ledger
        while not self._halts() and self._is_free() and (drawn := ledger.draw()) is not None:
            worker = self._free.pop()
            task = asyncio.create_task(self._serve(*drawn, worker), name=f"tau-{self._around.name}-{worker}")
            if not task.done():
                self._running[drawn[0]] = task
                task.add_done_callback(lambda _, index=drawn[0]: self._leave(index))  # type: ignore[misc]

    def _is_free(self) -> bool:
        """Whether another item can be worked on; an executor may have found room for more."""
        if not self._free and self._workers < self._ledger.workers:
            self._free.append(self._workers)
            self._workers += 1
        return bool(self._free)

    def _leave(self, index: int) -> None:
        self._running.pop(index, None)
        self._change.set()

    def _halts(self) -> bool:
        """Whether nothing more is to begin; then what runs is cancelled."""
        if self._ledger.halted or self._around.stopping():
            self._cancel()
        return self._is_ended or self._ledger.is_drawn

    def _cancel(self) -> None:
        if not self._is_ended:
            self._is_ended = True
            for task in self._running.values():
                task.cancel()

    async def _wait(self) -> None:
        """Until something has come to its end; in a run, at most until it is time to look whether it is to stop."""
        look = None
        if self._around.scope is not None:
            look = asyncio.get_running_loop().call_later(LOOK, self._change.set)
        try:
            await self._change.wait()
        finally:
            self._change.clear()
            if look is not None:
                look.cancel()

    async def _end(self, error: BaseException) -> None:
        """After a cancellation of the caller: what runs is cancelled and waited for. Another one ends the waiting."""
        try:
            self._cancel()
            while self._running:
                await self._wait()
        except BaseException as another:
            self._around.check_process()
            error = another
        ledger, task = self._ledger, asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and ledger.is_complete and task is not None:
            task.uncancel()
            task.cancel(*error.args)
            return
        ledger.break_off(error)

    async def _serve(self, index: int, item: Any, worker: int) -> None:
        """One item, to its end."""
        ledger, began = self._ledger, False
        if self._around.scope is not None and self._around.effect is not None:
            left_behind.set((self._around.scope, self._around.effect))
        try:
            if (pause := self._pace.wait(time.monotonic())) > 0:
                await asyncio.sleep(pause)
            began = True
            ledger.begun(index, worker)
            ledger.done(index, await self._try(index, item), worker)
        except asyncio.CancelledError as error:
            if cancellations():
                if began:
                    ledger.cancelled(index, worker)
                if not self._is_ended:
                    ledger.end(error)  # neither this map nor its caller cancelled it: the loop ends, say
            else:
                ledger.failed(index, item, cancelled_inside(error), worker)
        except (KeyboardInterrupt, SystemExit):
            ledger.cancelled(index, worker)
            raise  # out of the loop, as from any task
        except BaseException as error:
            ledger.failed(index, item, error, worker)
        finally:
            self._free.append(worker)
            if ledger.halted:
                self._cancel()

    async def _try(self, index: int, item: Any) -> Any:
        """Its result, after as many tries as it takes."""
        tries = 1
        while True:
            try:
                return await self._once(index, item)
            except BaseException as error:
                self._around.check_process()
                delay = None if self._is_ended else backoff(self._around, self._config, index, tries, error)
                if delay is None:
                    raise
            await asyncio.sleep(delay)
            await asyncio.sleep(self._pace.wait(time.monotonic()))
            tries += 1

    async def _once(self, index: int, item: Any) -> Any:
        if self._wait_for_room is not None:
            await self._wait_for_room()
        given = self._call(index, item)
        if not is_late(given):
            return given
        try:
            async with asyncio.timeout(self._timeout) as scope:
                return await given
        except TimeoutError:
            if scope.expired():
                raise timed_out(self._around, self._config, index, is_async=True) from None
            raise


async def read_whole(result: ParallelResult[Any]) -> None:
    """Make the list of results, beside the loop where some have to be fetched from a store."""
    unread = unread_of(result)
    committer = unread.read_by if isinstance(unread, ItemResults) else None
    if committer is None:
        return
    _, cancelled = await off_the_loop(committer, lambda: result.results)
    if cancelled is not None:
        raise cancelled
