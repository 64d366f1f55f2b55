"""How an item is tried: paced by a rate, and again after an error, as the configuration says."""

from __future__ import annotations

import logging
import random
import threading

from tau.errors import NEVER_RETRIED, NodeTimeoutError
from tau.workflows.config import ParallelConfig
from tau.workflows.surroundings import Surroundings, said

_log = logging.getLogger("tau")


class StillRunningError(NodeTimeoutError):
    """The time of an item is over, and nothing could end it where it runs."""


class Pace:
    """At most ``rate`` tries begin a second, evenly spaced; ``None`` for no bound. Thread-safe."""

    def __init__(self, rate: float | None) -> None:
        self._gap = 0.0 if rate is None else 1.0 / rate
        self._next = 0.0
        self._lock = threading.RLock()  # a signal handler may come in the middle, in an event loop

    def wait(self, now: float) -> float:
        """For how many seconds to wait before a try, which has its place from now on; ``now`` is on any clock that
        only goes forward."""
        if not self._gap:
            return 0.0
        with self._lock:
            begins = max(now, self._next)
            self._next = begins + self._gap
            return begins - now


def backoff(around: Surroundings, config: ParallelConfig, index: int, tries: int, error: BaseException) -> float | None:
    """For how many seconds to wait after that many tries of an item, the last of which ended with ``error``; ``None``
    if it is not tried again."""
    retry = config.retry
    if retry is None or tries >= retry.attempts or isinstance(error, NEVER_RETRIED) or around.ends_run(error):
        return None
    if not isinstance(error, Exception) or not retry.matches(error):
        return None
    if (isinstance(error, StillRunningError) and not config.idempotent) or around.stopping():
        return None
    seconds = retry.wait(tries, random.random())
    _log.warning(
        "item %d of %s %r failed in try %d and is tried again in %.3g s: %s: %s",
        index, around.kind, around.name, tries, seconds, type(error).__name__, said(error),
    )  # fmt: skip
    return seconds


def timed_out(around: Surroundings, config: ParallelConfig, index: int, is_async: bool) -> NodeTimeoutError:
    """The failure of an item that took too long."""
    seconds = config.timeout or 0.0
    text = f"item {index} did not finish within its timeout of {seconds:g} s"
    node = "" if around.effect is None else around.effect.node.name
    error = NodeTimeoutError(text, node=node, seconds=seconds)
    if not is_async and not config.idempotent and config.retry is not None and config.retry.matches(error):
        error.args = (f"{text}; it is not tried again, as it may still be running: idempotent=True allows that",)
    return error
