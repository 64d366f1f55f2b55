"""`process_parallel`: the same task for many items, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar, overload

from tau.graph.nodes import is_async
from tau.late_imports import load_module
from tau.workflows.config import ParallelConfig
from tau.workflows.driving import not_async
from tau.workflows.ledger import Ledger
from tau.workflows.outcomes import ParallelResult
from tau.workflows.surroundings import Surroundings, checked_config, checked_function, checked_progress, name_of
from tau.workflows.threads import ThreadedMap

T = TypeVar("T")
R = TypeVar("R")

Progress = Callable[[int, int | None, R], object]
"""Called with how many items are done, how many there are (``None`` if not known) and the result of this one."""


@overload
def process_parallel(  # type: ignore[overload-overlap]
    items: Iterable[T],
    task: Callable[[T], Coroutine[Any, Any, R]],
    config: ParallelConfig | None = None,
    progress: Progress[R] | None = None,
    *,
    name: str | None = None,
) -> Coroutine[Any, Any, ParallelResult[R]]: ...
@overload
def process_parallel(
    items: Iterable[T],
    task: Callable[[T], R],
    config: ParallelConfig | None = None,
    progress: Progress[R] | None = None,
    *,
    name: str | None = None,
) -> ParallelResult[R]: ...
def process_parallel(
    items: Iterable[Any],
    task: Callable[[Any], Any],
    config: ParallelConfig | None = None,
    progress: Progress[Any] | None = None,
    *,
    name: str | None = None,
) -> Any:
    """Call ``task(item)`` for each item, several at a time; the results come in the order of the items.

    A sync ``task`` is called in threads, each call in a copy of the caller's context. With an async ``task`` this
    returns a coroutine to be awaited; the items are then tasks of its event loop. ``items`` are drawn in the caller's
    thread as there is room, at most twice as many as are worked on, so they may be a generator of any length.
    ``progress(done, total, result)`` is called after each item that is done, one after the other; ``total`` is ``None``
    where the items have no length. What it raises is logged and dropped. ``name`` is what events and errors call the
    map, by default the name of ``task``. Without items the result is empty.

    The first item that fails ends the whole with `ParallelError`: no other begins, async ones are cancelled, threads
    finish what they are at. With ``ParallelConfig(fail_fast=False)`` all items are tried, and the failures are in the
    result; it is a `ParallelError` only if all failed. Both have the results and the `TaskError` of each failure.

    Ctrl-C, a cancellation and a stop of the run around this are not failures: nothing more begins, async items are
    cancelled, those in threads are waited for (until another Ctrl-C), and they are raised as they are (a stop as
    `RunInterruptedError`), with a `ParallelError` as their ``__cause__``, unless they had a cause. If all was done by
    then, a stop changes nothing, and a cancellation is raised at the next await.

    Arguments that cannot be used raise `ConfigError`, an observer that is not registered `UnknownObserverError`.
    Nothing is stored between the items: a map in a node that fails starts again with the node.
    """
    checked_function("task", task)
    checked_progress(progress)
    config = checked_config(config, ParallelConfig)
    chosen = name_of(task, name)
    around = Surroundings("workflows.ProcessParallel", "parallel", chosen, config.observer)
    ledger = Ledger(around, items, config, progress)
    if is_async(task):
        load_module("tau.workflows.tasks")
        from tau.workflows.tasks import TaskMap  # asyncio is only loaded where something needs it

        return TaskMap(ledger, lambda index, item: task(item)).run()

    def call(index: int, item: Any) -> Any:
        return not_async(f"the task of parallel {chosen!r}", task(item))

    return ThreadedMap(ledger, call).run()
