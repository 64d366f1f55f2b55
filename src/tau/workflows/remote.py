"""A task that an executor calls in another process: what the threads and tasks of a map call in its place."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from tau.errors import NodeTimeoutError
from tau.executors.afar import about_here
from tau.executors.contract import Call, Executor, Function, TimeIsUpError
from tau.executors.registry import open_executor
from tau.late_imports import load_module
from tau.log.pool import Pool
from tau.node.left_calls import Call as ThreadCall
from tau.waiting import DaemonThread
from tau.workflows.config import ParallelConfig
from tau.workflows.surroundings import Surroundings
from tau.workflows.tries import StillRunningError

MANY: Final = 1 << 16
"""The threads are as many as the items that are worked on, which others count."""


class RemoteTask:
    """The task of one map, as it is called from here. ``widen`` is told how many items the executor has room for."""

    def __init__(
        self,
        around: Surroundings,
        config: ParallelConfig,
        executor: Executor,
        widen: Callable[[int | None], object],
    ) -> None:
        self._around, self._config, self._executor, self._widen = around, config, executor, widen

    def __call__(self, item: Any) -> Any:
        """What the task returns for this item. Raises what `Executor.call` does, and `NodeTimeoutError`."""
        return self._answer(self._call(item))

    def _call(self, item: Any) -> Call:
        return Call(item, about_here(self._around.kind == "node"), self._config.timeout, self._is_wanted)

    def _answer(self, call: Call) -> Any:
        executor = self._executor
        try:
            executor.begin()
            self._widen(executor.workers)
            return executor.call(call)
        except TimeIsUpError as late:
            kind = NodeTimeoutError if late.has_ended else StillRunningError
            seconds, effect = self._config.timeout or 0.0, self._around.effect
            text = f"it did not finish within its timeout of {seconds:g} s"
            raise kind(text, node="" if effect is None else effect.node.name, seconds=seconds) from None

    def _is_wanted(self) -> bool:
        scope = self._around.scope
        return scope is None or scope.effect is self._around.effect


class AwaitedTask(RemoteTask):
    """The same for an async task: threads of its own wait for what the loop awaits."""

    def __init__(self, around: Surroundings, *more: Any) -> None:
        super().__init__(around, *more)
        self._pool = Pool(f"tau-{around.name}", MANY)

    async def __call__(self, item: Any) -> Any:
        """As for a sync task; a cancellation ends the call at once, where the executor can do that."""
        load_module("tau.node.async_calls")
        from tau.node.async_calls import while_wanted

        call = self._call(item)
        work = ThreadCall(partial(self._answer, call))

        def leave() -> None:
            work.give_up()
            call.stop.set()

        await while_wanted(work, partial(self._pool.put, work), leave)
        return work.result()


def opened(executor: Any, function: Function) -> Executor:
    """The executor, opened in a thread, where no signal handler interrupts it. Raises as `open_executor`."""
    call = ThreadCall(partial(open_executor, executor, function))
    try:
        _begin(call)
        call.over.wait()
    except BaseException:
        call.over.then(partial(_close_unused, call))
        raise
    return call.result()


async def opened_async(executor: Any, function: Function) -> Executor:
    """`opened` for an event loop."""
    load_module("tau.node.async_calls")
    from tau.node.async_calls import while_wanted

    call = ThreadCall(partial(open_executor, executor, function))
    await while_wanted(call, partial(_begin, call), lambda: call.over.then(partial(_close_unused, call)))
    return call.result()


def closed(executor: Executor) -> None:
    """Close it in a thread, which goes on where an interrupt ends the waiting."""
    call = ThreadCall(executor.close)
    _begin(call)
    call.over.wait()


async def closed_async(executor: Executor) -> None:
    """`closed` for an event loop; a cancellation is raised at the end."""
    load_module("tau.node.async_calls")
    from tau.node.async_calls import to_its_end

    call = ThreadCall(executor.close)
    await to_its_end(call, partial(_begin, call))


def _begin(call: ThreadCall[Any]) -> None:
    DaemonThread(call, "tau-executor").start()


def _close_unused(call: ThreadCall[Executor]) -> None:
    if call.has_returned:
        call.has_returned = False
        call.result().close()
