"""`process_parallel`: the same task for many items, several at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar, overload

from tau.executors.contract import Function
from tau.executors.registry import DASK, INLINE, is_here
from tau.graph.nodes import is_async
from tau.late_imports import load_module
from tau.node.calls import NEVER_LATE
from tau.node.items import Items
from tau.node.own_copies import OwnCopies
from tau.spelling import names_keywords
from tau.workflows.config import ParallelConfig
from tau.workflows.driving import not_async
from tau.workflows.inline import InlineMap
from tau.workflows.journaled import Key, Named, block_of, items_of
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
    key: Key | None = None,
) -> Coroutine[Any, Any, ParallelResult[R]]: ...
@overload
def process_parallel(
    items: Iterable[T],
    task: Callable[[T], R],
    config: ParallelConfig | None = None,
    progress: Progress[R] | None = None,
    *,
    name: str | None = None,
    key: Key | None = None,
) -> ParallelResult[R]: ...
@names_keywords
def process_parallel(
    items: Iterable[Any],
    task: Callable[[Any], Any],
    config: ParallelConfig | None = None,
    progress: Progress[Any] | None = None,
    *,
    name: str | None = None,
    key: Key | None = None,
) -> Any:
    """Call ``task(item)`` for each item, several at a time; the results come in the order of the items.

    A sync ``task`` is called in threads, each call in a copy of the caller's context, or where
    ``ParallelConfig(executor=...)`` says. With an async ``task`` this
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

    In a node of a run that is stored, the result of each item is on disk before the next one begins in its place: an
    attempt that comes after a failure or a kill repeats what was in flight, and nothing else. An item is known by what
    it is, so their order does not count; ``key(item)``, text or a whole number, names items that cannot be stored. Each
    call gets a copy of its item. ``name`` is for one map, chain or step of a visit (a second one raises `ConfigError`).
    A result that cannot be stored is the failure of its item. Without a store nothing is kept.

    Arguments that cannot be used raise `ConfigError`, also a ``task`` that cannot be sent to worker processes; an
    observer that is not registered raises `UnknownObserverError`, workers that cannot be started `ExecutorError`.

    >>> from tau import process_parallel
    >>> process_parallel(range(4), lambda n: n * n).results
    [0, 1, 4, 9]
    """
    return run_map(Surroundings, items, task, config, progress, name=name, key=key)


def run_map(
    surroundings: Callable[..., Surroundings],
    items: Iterable[Any],
    task: Callable[[Any], Any],
    config: ParallelConfig | None = None,
    progress: Progress[Any] | None = None,
    *,
    name: str | None = None,
    key: Key | None = None,
) -> Any:
    """`process_parallel`, where ``surroundings`` says."""
    checked_function("task", task)
    checked_progress(progress)
    config = checked_config(config, ParallelConfig)
    chosen = name_of(task, name)
    if key is not None:
        checked_function("key", key)
    around = surroundings("workflows.ProcessParallel", "parallel", chosen, config.observer)
    kept_items = items_of(around, Items)
    named = None if kept_items is None else Named(kept_items, items, task, key, config)
    ledger = Ledger(around, items if named is None else named, config, progress, named)
    own = None if kept_items is None or not is_here(config.executor) else kept_items.own()
    if own is not None:
        task = own.function(task)
    if is_async(task):
        return _awaited(ledger, task, named, kept_items, own)
    if not is_here(config.executor):
        return run_elsewhere(ledger, task, named, kept_items)

    def plain(item: Any) -> Any:
        value = task(item)
        return value if type(value) in NEVER_LATE else not_async(f"the task of parallel {chosen!r}", value)

    calling = _calling(named, plain)
    with block_of(kept_items):
        if config.executor == INLINE:
            result = InlineMap(ledger, calling, _room(ledger, kept_items)).run()
        else:
            result = ThreadedMap(ledger, calling, _kept(ledger, kept_items)).run()
    if own is not None:
        own.check(f"map {chosen!r}")
    return result


def _calling(named: Named | None, task: Callable[[Any], Any]) -> Callable[[int, Any], Any]:
    return (lambda index, item: task(item)) if named is None else named.calling(task)


def _awaiting(named: Named | None, task: Callable[[Any], Any]) -> Callable[[int, Any], Any]:
    return (lambda index, item: task(item)) if named is None else named.awaiting(task)


def _room(ledger: Ledger, items: Items | None) -> Callable[[], object] | None:
    if items is None:
        return None
    items.most = ledger.workers
    return items.wait_for_room


def _kept(ledger: Ledger, items: Items | None) -> Items | None:
    """The items where they are stored. The caller's thread asks for that where nothing keeps it from looking."""
    if items is not None:
        items.most = ledger.workers
        items.asks = not (ledger.is_quick and ledger.is_quiet)
    return items


def _room_async(ledger: Ledger, items: Items | None) -> Callable[[], Awaitable[object]] | None:
    if items is None:
        return None
    items.most = ledger.workers
    return items.wait_for_room_async


def run_elsewhere(
    ledger: Ledger, task: Callable[[Any], Any], named: Named | None, items: Items | None, *, deaths: int = 2
) -> ParallelResult[Any]:
    """A map whose items are worked on by an executor; ``deaths``: how often one may cost its worker."""
    load_module("tau.workflows.remote")
    from tau.workflows.remote import RemoteTask, closed, opened  # only loaded where there are other processes

    executor = opened(ledger.config.executor, _sent(ledger, task, deaths))
    try:
        remote = RemoteTask(ledger.around, ledger.config, executor, _widening(ledger, items))
        kept = _kept(ledger, items)
        with block_of(items):
            return ThreadedMap(ledger, _calling(named, remote), kept, has_clock=True).run()
    finally:
        closed(executor)


async def _awaited(
    ledger: Ledger, task: Callable[[Any], Any], named: Named | None, items: Items | None, own: OwnCopies | None
) -> ParallelResult[Any]:
    load_module("tau.workflows.tasks")
    from tau.workflows.tasks import TaskMap  # asyncio is only loaded where something needs it

    if is_here(ledger.config.executor):
        async with block_of(items):
            result = await TaskMap(ledger, _awaiting(named, task), _room_async(ledger, items)).run()
        if items is not None and own is not None:
            await items.check_async(own, f"map {ledger.around.name!r}")
        return result
    load_module("tau.workflows.remote")
    from tau.workflows.remote import AwaitedTask, closed, closed_async, opened_async

    executor = await opened_async(ledger.config.executor, _sent(ledger, task))
    try:
        remote = AwaitedTask(ledger.around, ledger.config, executor, _widening(ledger, items))
        async with block_of(items):
            result = await TaskMap(ledger, _awaiting(named, remote), _room_async(ledger, items), has_clock=True).run()
    except GeneratorExit:  # nothing can be awaited any more
        closed(executor)
        raise
    except BaseException:
        await closed_async(executor)
        raise
    await closed_async(executor)
    return result


def _widening(ledger: Ledger, items: Items | None) -> Callable[[int | None], object]:
    def widen(workers: int | None) -> None:
        ledger.widen(workers)
        if items is not None:
            items.most = ledger.workers

    return widen


def _sent(ledger: Ledger, task: Callable[[Any], Any], deaths: int = 2) -> Function:
    workers = ledger.config.max_workers if ledger.config.executor == DASK else ledger.workers
    kind = "node" if ledger.around.kind == "node" else "map"
    return Function(task, ledger.around.name, is_async(task), workers, ledger.config.timeout, deaths, kind)
