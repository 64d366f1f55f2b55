"""Calls of nodes that were left to themselves, by a cancellation or a timeout: nothing can end a thread.

A node is not run beside such a call of its own: who runs it next in this process waits for that to end.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final, Generic, TypeVar

from tau import forks
from tau.errors import NodeTimeoutError
from tau.node.current import RunNode
from tau.stores.contract import Store
from tau.waiting import Flag

_log = logging.getLogger("tau")
_LOOK: Final = 0.05

T = TypeVar("T")
Key = tuple[object, ...]

left: dict[Key, list[Flag]] = {}
"""What may still be at work: nearly always nothing."""

_lock = threading.RLock()  # a signal handler may run a node, too


def key_of(store: Store | None, run_id: str, effect: RunNode) -> Key:
    """What tells the calls of one node of one run: a child of fork has none of its parent's threads."""
    place = store.location if store is not None and "//" in store.location else store and id(store)
    return (forks.process, place, run_id, *((node, branch) for node, _, branch in effect.scope_of("")))


def note(key: Key, over: Flag) -> None:
    """Something of that node goes on, until ``over`` is set, and nothing waits for it."""
    with _lock:
        left.setdefault(key, []).append(over)


def _is_at_work(key: Key) -> bool:
    """Whether any of these calls is; what has ended is forgotten here."""
    with _lock:
        for one, calls in list(left.items()):
            for over in [over for over in calls if over.is_set()]:
                calls.remove(over)
            if not calls:
                left.pop(one, None)
        return key in left


def waits(key: Key, effect: RunNode, stopping: Callable[[], str]) -> Iterator[float]:
    """Seconds to wait, again and again, until no earlier call of that node is at work, or the run is to stop. Raises
    `NodeTimeoutError` when that takes as long as the node may."""
    node, waited = effect.node, 0.0
    while _is_at_work(key) and not node.idempotent and not stopping():
        if not waited:
            what = "an earlier call of it, left behind by a cancellation or a timeout, is still at work"
            _log.warning("node %r of run %r waits: %s", node.name, key[2], what)
        if node.timeout is not None and waited >= node.timeout:
            raise NodeTimeoutError(
                f"node {node.name!r} was not run: an earlier call of it, left behind by a cancellation or a timeout, "
                f"was still at work after its timeout of {node.timeout:g} s; wait for it, or resume in another process",
                node=node.name,
                seconds=node.timeout,
            )
        yield _LOOK
        waited += _LOOK


class Call(Generic[T]):
    """A call in another thread, which may be left running: ``over`` is set once it has ended."""

    __slots__ = ("_begun", "_function", "answer", "has_returned", "over")

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._begun = threading.Lock()  # taken once: by the thread that makes the call, or by who gives it up
        self.answer: tuple[Any, BaseException | None] = (None, None)
        """What the call returned, or what it raised: a coroutine cannot raise everything."""
        self.has_returned = False
        self.over = Flag()

    def __call__(self) -> None:
        if not self._begun.acquire(blocking=False):
            return
        try:
            self.answer = (self._function(), None)
            self.has_returned = True
        except BaseException as error:
            self.answer = (None, error)
        finally:
            self.over.set()

    def result(self) -> T:
        """What the call returned. Raises what the call raised. To be called once."""
        result, error = self.answer
        self.answer = (None, None)
        if error is not None:
            try:
                raise error
            finally:
                del error  # no cycle through its own traceback
        returned: T = result
        return returned

    def give_up(self) -> bool:
        """Whether it had not begun; it never will."""
        return self._begun.acquire(blocking=False)

    def leave(self, key: Key) -> None:
        """Note that it goes on, if it does, and nobody waits for it."""
        if not self.give_up() and not self.over.is_set():
            note(key, self.over)
