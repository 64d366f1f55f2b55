"""`process_chain`: a step for each item, one after the other, that hands on a state."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar, overload

from tau.errors import ChainError
from tau.events import CHAIN_COMPLETE, CHAIN_START, STEP_COMPLETE, STEP_START
from tau.graph.nodes import is_async
from tau.node.chain_items import ChainItems
from tau.node.items import Items
from tau.node.own_copies import OwnCopies
from tau.spelling import names_keywords
from tau.workflows.config import ChainConfig
from tau.workflows.driving import Work, drive, drive_async, not_async
from tau.workflows.journaled import Key, Links, block_of, items_of
from tau.workflows.surroundings import (
    Surroundings,
    breaks_off,
    checked_config,
    checked_function,
    checked_progress,
    drawn,
    name_of,
    report,
    said,
)

T = TypeVar("T")
S = TypeVar("S")

Progress = Callable[[int, int | None, S], object]
"""Called with how many steps are done, how many there are (``None`` if not known) and the state after this one."""


@dataclass(frozen=True, slots=True)
class ChainResult(Generic[S]):
    """What a chain came to.

    ``final`` is the last state and ``steps`` the number of finished steps. With ``capture_intermediate``,
    ``intermediate`` holds the initial state and the state after each step, unless there was none; else it is empty.
    Making one raises nothing.

    >>> from tau import ChainConfig, process_chain
    >>> config = ChainConfig(capture_intermediate=True)
    >>> result = process_chain([1, 2, 3], 0, lambda item, state: state + item, config)
    >>> result.final, result.steps, result.intermediate
    (6, 3, (0, 1, 3, 6))
    """

    final: S
    intermediate: tuple[S, ...] = ()
    steps: int = 0


@overload
def process_chain(  # type: ignore[overload-overlap]
    items: Iterable[T],
    initial: S,
    step: Callable[[T, S], Coroutine[Any, Any, S]],
    config: ChainConfig | None = None,
    progress: Progress[S] | None = None,
    *,
    name: str | None = None,
    key: Key | None = None,
) -> Coroutine[Any, Any, ChainResult[S]]: ...
@overload
def process_chain(
    items: Iterable[T],
    initial: S,
    step: Callable[[T, S], S],
    config: ChainConfig | None = None,
    progress: Progress[S] | None = None,
    *,
    name: str | None = None,
    key: Key | None = None,
) -> ChainResult[S]: ...
@names_keywords
def process_chain(
    items: Iterable[Any],
    initial: Any,
    step: Callable[[Any, Any], Any],
    config: ChainConfig | None = None,
    progress: Progress[Any] | None = None,
    *,
    name: str | None = None,
    key: Key | None = None,
) -> Any:
    """Call ``step(item, state)`` for each item in order, which returns the state for the next one, ``initial`` first.

    With an async ``step`` this returns a coroutine to be awaited. ``items`` are drawn one by one, so they may be a
    generator. ``progress(done, total, state)`` is called after each step that succeeds; ``total`` is ``None`` where the
    items have no length. What it raises is logged and dropped. ``name`` is what events and errors call the chain, by
    default the name of ``step``. Without items the result is ``initial``.

    The first step that raises ends the chain with `ChainError`, which has the item, the state before it and the result
    so far. Ctrl-C, a cancellation and a stop of the run around the chain are not failures: they are raised as they are
    (a stop as `RunInterruptedError`), and their ``__cause__`` is such a `ChainError`, unless they had a cause.
    Arguments that cannot be used raise `ConfigError`, an observer that is not registered `UnknownObserverError`.

    In a node of a run that is stored, the state after each step is on disk before the next step: an attempt that comes
    after a failure or a kill goes on with the step that was in flight. A step is known by its item and by all that came
    before it, ``initial`` included; ``key(item)``, text or a whole number, names items that cannot be stored. Each step
    gets a copy of its item. ``name`` is for one map, chain or step of a visit (a second one raises `ConfigError`). A
    state that cannot be stored is the failure of its step. Without a store nothing is kept.

    >>> from tau import process_chain
    >>> process_chain(["dry", "warm"], "", lambda item, state: f"{state} {item}".strip()).final
    'dry warm'
    """
    checked_function("step", step)
    checked_progress(progress)
    if key is not None:
        checked_function("key", key)
    config = checked_config(config, ChainConfig)
    chosen = name_of(step, name)
    around = Surroundings("workflows.ProcessChain", "chain", chosen, config.observer)
    kept_items = items_of(around, ChainItems)
    links, own = None, None if kept_items is None else kept_items.own()
    if kept_items is not None:
        links = Links(kept_items, items, initial, step, key, keeps_states=config.capture_intermediate)
    chain = _Chain(
        around, items if links is None else links, initial if links is None else links.initial, config, progress
    )
    if own is not None:
        step = own.function(step)
    if is_async(step):
        call = (lambda index, item, state: step(item, state)) if links is None else links.awaiting(step)
        return _drive_in_loop(chain, kept_items, call, own)

    def plain(item: Any, state: Any) -> Any:
        return not_async(f"the step of chain {chosen!r}", step(item, state))

    with block_of(kept_items):
        call = (lambda index, item, state: plain(item, state)) if links is None else links.calling(plain)
        result = drive(around, chain.work(), call)
    if own is not None:
        own.check(f"chain {chosen!r}")
    return result


async def _drive_in_loop(
    chain: _Chain, items: Items | None, call: Callable[[int, Any, Any], Any], own: OwnCopies | None
) -> ChainResult[Any]:
    async with block_of(items):
        result = await drive_async(chain.around, chain.work(), call)
    if items is not None and own is not None:
        await items.check_async(own, f"chain {chain.around.name!r}")
    return result


class _Chain:
    """One chain at work: how many steps are done, and the state after them."""

    def __init__(
        self,
        around: Surroundings,
        items: Iterable[Any],
        initial: Any,
        config: ChainConfig,
        progress: Progress[Any] | None,
    ) -> None:
        self.around = around
        self._items, self._total = drawn(items)
        self._reached: tuple[int, Any] = (0, initial)  # set at once: an interrupt finds both or neither
        self._captures = config.capture_intermediate
        self._captured: list[Any] = []
        self._progress = progress
        self._item: Any = None
        self._in_step = False

    def work(self) -> Work[ChainResult[Any]]:
        """Yields (index, item, state) of each step and is sent the state after it."""
        tell = self.around.tell
        about = {"has_progress_callback": self._progress is not None, "capture_intermediate": self._captures}
        tell(CHAIN_START, {"item_count": self._total, **about})
        try:
            while self._draws():
                self._tells_step(STEP_START)
                steps, before = self._reached
                state = yield steps, self._item, before
                self._take(state)
        except BaseException as error:
            self._fail(error)
        tell(CHAIN_COMPLETE, {"steps_completed": self._reached[0], "error": False})
        return self._result()

    def _draws(self) -> bool:
        """Whether there is another item, which is drawn."""
        for item in self._items:
            self.around.check_stop()
            self._item = item
            return True
        return False

    def _tells_step(self, type_: str, **more: bool) -> None:
        self._in_step = type_ == STEP_START
        self.around.tell(type_, {"step_index": self._reached[0], "total_steps": self._total, **more})

    def _take(self, state: Any) -> None:
        """The state after a step that succeeded."""
        self._tells_step(STEP_COMPLETE, error=False)
        steps, before = self._reached
        if self._captures:
            self._captured[steps:] = [before, state]
        self._item = None
        self._reached = (steps + 1, state)
        if self._progress is not None:
            report(self._progress, steps + 1, self._total, state)

    def _result(self) -> ChainResult[Any]:
        steps, state = self._reached
        return ChainResult(state, tuple(self._captured[: steps + 1]) if steps else (), steps)

    def _fail(self, error: BaseException) -> NoReturn:
        """Tell of it, and raise what the chain ends with."""
        if self._in_step:
            self._tells_step(STEP_COMPLETE, error=True)
        broken_off = breaks_off(error)
        about = {"error": True, "error_type": "cancellation" if broken_off else "processor"}
        steps, state = self._reached
        self.around.tell(CHAIN_COMPLETE, {"steps_completed": steps, **about})
        why = f"processing cancelled: {said(error)}" if broken_off else said(error)
        failure = ChainError(
            f"chain failed at step {steps}: {why}",
            step_index=steps,
            item=self._item,
            state=state,
            result=self._result(),
        )
        try:
            self.around.end_with(failure, error)
        finally:
            del error, failure  # no cycle through their own tracebacks
