"""A task that an executor calls in another process: what the threads and tasks of a map call in its place."""

from __future__ import annotations

from functools import partial
from typing import Any

from tau.errors import NodeTimeoutError
from tau.executors.afar import about_here
from tau.executors.contract import Call, Executor, TimeIsUpError
from tau.late_imports import load_module
from tau.log.pool import Pool
from tau.node.left_calls import Call as ThreadCall
from tau.workflows.config import ParallelConfig
from tau.workflows.surroundings import Surroundings
from tau.workflows.tries import StillRunningError


class RemoteTask:
    """The task of one map, as it is called from here."""

    def __init__(self, around: Surroundings, config: ParallelConfig, executor: Executor) -> None:
        self._around, self._config, self._executor = around, config, executor

    def __call__(self, item: Any) -> Any:
        """What the task returns for this item. Raises what `Executor.call` does, and `NodeTimeoutError`."""
        return self._answer(self._call(item))

    def _call(self, item: Any) -> Call:
        return Call(item, about_here(), self._config.timeout, self._is_wanted)

    def _answer(self, call: Call) -> Any:
        try:
            return self._executor.call(call)
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

    def __init__(self, around: Surroundings, config: ParallelConfig, executor: Executor, workers: int) -> None:
        super().__init__(around, config, executor)
        self._pool = Pool(f"tau-{around.name}", workers + 1)

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

    def end(self) -> None:
        """Close the executor when nothing can be awaited."""
        self._executor.close()
        self._pool.close()

    async def close(self) -> None:
        """Close the executor, which may take a moment, without holding up the loop."""
        load_module("tau.node.async_calls")
        from tau.node.async_calls import to_its_end

        closing = ThreadCall(self._executor.close)
        try:
            await to_its_end(closing, partial(self._pool.put, closing))
        finally:
            self._pool.close()
