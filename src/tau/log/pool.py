"""`Pool`: threads for the work that would block an event loop."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import RLock, Thread, current_thread
from typing import Final

from tau import forks
from tau.waiting import DaemonThread

Work = Callable[[], object]

_log = logging.getLogger("tau")
_IDLE: Final = 5.0  # seconds without anything to do after which a thread ends


class Pool(forks.Forked):
    """At most ``most`` daemon threads, which do the work that is put in, in that order.

    `put` may be interrupted anywhere, so the threads share a queue and a lock in C, which an interrupt does not leave
    taken, unlike those of `concurrent.futures`. The caller waits for something that the work sets. If `put` raises, a
    thread may have the work already: the caller must keep it from beginning, or wait for its end.
    """

    def __init__(self, name: str, most: int, start: Callable[[DaemonThread], object] = DaemonThread.start) -> None:
        self._name, self._most, self._start = name, most, start
        self._queue: SimpleQueue[Work] = SimpleQueue()
        self._open: set[Work] = set()  # put in and not ended
        self._threads: list[Thread] = []
        self._starting = RLock()  # a signal handler may put something in, too
        self._closed = False
        forks.watch(self)

    def put(self, work: Work) -> None:
        """Do it once, in one of the threads; the result is up to the work. Raises what starting a thread raises."""
        self._open.add(work)  # first: work that is not counted could wait for a thread that hangs
        self._queue.put(work)
        if self._lacks_threads():
            with self._starting:
                if self._lacks_threads():
                    thread = DaemonThread(self._serve, self._name)
                    self._threads = [*self._alive(), thread]
                    self._start(thread)

    def close(self) -> None:
        """End each thread as soon as there is nothing to do; what is put in after this is still done."""
        self._closed = True
        self._queue.put(_nothing)

    def after_fork(self, in_child: bool, kept_out: bool) -> None:
        if in_child:  # the threads do not exist there, and the work is the parent's
            self._queue, self._open, self._threads, self._starting = SimpleQueue(), set(), [], RLock()

    def _alive(self) -> list[Thread]:
        """The threads without those that never began, because their start was interrupted."""
        return [thread for thread in self._threads if thread.is_alive()]

    def _lacks_threads(self) -> bool:
        return len(self._alive()) < min(self._most, max(1, len(self._open)))

    def _serve(self) -> None:
        while True:
            try:
                work = self._queue.get(timeout=_IDLE)
            except Empty:
                if self._leaves():
                    return
                continue
            try:
                work()
            except BaseException:  # other work waits for this thread
                with suppress(BaseException):
                    _log.exception("thread %r goes on after an error", self._name)
            finally:
                self._open.discard(work)
                del work  # it may hold something large
            if self._closed and self._leaves():
                if self._threads:
                    self._queue.put(_nothing)  # wakes the next
                return

    def _leaves(self) -> bool:
        """End this thread, unless there is something to do after all."""
        me = current_thread()
        with self._starting:
            self._threads = [thread for thread in self._threads if thread is not me]
            if self._queue.empty():
                return True
            self._threads.append(me)  # `put` has counted on this thread
            return False


def _nothing() -> None:
    """Work that wakes a thread."""
