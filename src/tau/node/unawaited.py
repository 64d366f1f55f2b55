"""Steps and maps of async functions that a node asked for and forgot to await: nothing would ever be called."""

from __future__ import annotations

from collections.abc import Coroutine
from inspect import CORO_CREATED, getcoroutinestate
from typing import Any

from tau.errors import ConfigError
from tau.late_imports import load_module


class Unawaited:
    """The coroutines of one attempt that have not begun. Thread-safe."""

    def __init__(self) -> None:
        self._asked: dict[object, tuple[str, str, Coroutine[Any, Any, Any], Any]] = {}

    def add(self, step: object, name: str, coroutine: Coroutine[Any, Any, Any], verb: str = "step") -> None:
        load_module("asyncio")
        from asyncio import events  # only loaded where something needs it

        self._asked[step] = (verb, name, coroutine, events._get_running_loop())

    def begun(self, step: object) -> None:
        self._asked.pop(step, None)

    def check(self, node: str) -> None:
        """Raise `ConfigError` for a forgotten one. What was closed, or cancelled in its task, was not forgotten."""
        for verb, name, coroutine, loop in [*self._asked.values()]:
            if getcoroutinestate(coroutine) == CORO_CREATED and not _is_of_a_task(coroutine, loop):
                coroutine.close()
                raise ConfigError(
                    f"node {node!r} did not await {verb} {name!r}, so its function was never called; write "
                    f"await ctx.{verb}({name!r}, ...)"
                )


def _is_of_a_task(coroutine: Coroutine[Any, Any, Any], loop: Any) -> bool:
    if loop is None:
        return False
    load_module("asyncio")
    from asyncio import all_tasks

    return any(task.get_coro() is coroutine for task in all_tasks(loop))
