"""Calls of nodes that were left to themselves, by a cancellation or a timeout: nothing can end a thread.

A node is not run beside such a call of its own: who runs it next in this process waits for that to end.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, Final

from tau import forks
from tau.errors import NodeTimeoutError
from tau.node.current import RunNode
from tau.stores.contract import Store

_log = logging.getLogger("tau")
_LOOK: Final = 0.05

Key = tuple[object, ...]

left: dict[Key, list[Future[None]]] = {}
"""What is still at work: nearly always nothing."""

_lock = threading.RLock()  # a signal handler may run a node, too


def key_of(store: Store | None, run_id: str, effect: RunNode) -> Key:
    """What tells the calls of one node of one run: a child of fork has none of its parent's threads."""
    place = store.location if store is not None and "//" in store.location else store and id(store)
    return (forks.process, place, run_id, effect.node.name)


def leave(key: Key, over: Future[None]) -> None:
    """Note that a call goes on which nobody waits for; ``over`` once it has ended."""

    def forget(_: Future[None]) -> None:
        with _lock:
            left[key].remove(over)
            if not left[key]:
                del left[key]

    with _lock:
        left.setdefault(key, []).append(over)
    over.add_done_callback(forget)


def waits(key: Key, effect: RunNode, stopping: Callable[[], str]) -> Iterator[float]:
    """Seconds to wait, again and again, until no earlier call of that node is at work, or the run is to stop. Raises
    `NodeTimeoutError` when that takes as long as the node may."""
    node, waited = effect.node, 0.0
    while key in left and not node.idempotent and not stopping():
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


class Call:
    """A call in another thread, which may be left to itself."""

    __slots__ = ("function", "over")

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.over: Future[None] = Future()

    def __call__(self) -> tuple[Any, BaseException | None]:
        """What it returned, or what it raised, which not everything may do across a future."""
        if not self.over.set_running_or_notify_cancel():
            return None, None  # it was given up before it began
        try:
            return self.function(), None
        except BaseException as error:
            return None, error
        finally:
            self.over.set_result(None)

    def leave(self, key: Key) -> None:
        if not self.over.cancel() and not self.over.done():
            leave(key, self.over)
