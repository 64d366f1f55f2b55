"""A parallel map of a sync task: threads of its own, which are given one item after the other.

The caller's thread draws the items and keeps the ledger; the threads only call the task. What the two share are flags,
locks and queues of C, which an interrupt of the caller's thread does not leave taken.
"""

from __future__ import annotations

import contextvars
import threading
import time
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Any, Final

from tau.errors import TauError
from tau.node.current import left_behind
from tau.node.items import Items
from tau.node.left_calls import key_of, note
from tau.waiting import LOOK, DaemonThread, Flag
from tau.workflows.ledger import Ledger
from tau.workflows.outcomes import DONE, FAILED, NOT_RUN, ParallelResult
from tau.workflows.tries import Pace, backoff, timed_out

_MOMENT: Final = 0.0005
"""Seconds for which a commit waits for the next item, where the one before it came as soon."""


class _Job:
    """One item that was given to the threads. ``report`` is set at its end: a status, and the result or the error.

    ``fate`` is taken once: by the thread that reports, or by the caller when the time of the item is up.
    """

    __slots__ = (
        "began",
        "deadline",
        "delay",
        "ended",
        "fate",
        "index",
        "is_taken",
        "is_told",
        "item",
        "over",
        "report",
        "tries",
        "worker",
    )

    def __init__(self, index: int, item: Any, *, tries: int = 1, delay: float = 0.0, is_told: bool = False) -> None:
        self.index, self.item, self.tries, self.delay, self.is_told = index, item, tries, delay, is_told
        self.worker = 0
        self.began: datetime | None = None
        self.ended: datetime | None = None
        self.deadline: float | None = None
        self.report: tuple[int, Any] | None = None
        self.fate = threading.Lock()
        self.is_taken = False
        self.over: Flag | None = None


class _Caller:
    """Is there as long as the caller is in the map, however that ends."""


class ThreadedMap:
    """One parallel map at work in threads."""

    def __init__(
        self,
        ledger: Ledger,
        call: Callable[[int, Any], Any],
        items: Items | None = None,
        has_clock: bool = False,
    ) -> None:
        """``items`` are those in a run that is stored. ``has_clock``: ``call`` itself sees to the timeout."""
        self._ledger, self._call, self._items = ledger, call, items
        self._config, self._around = ledger.config, ledger.around
        self._timeout = None if has_clock else self._config.timeout
        self._pace = Pace(self._config.rate)
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._reports: SimpleQueue[_Job | None] = SimpleQueue()
        self._halt = Flag()
        self._in_flight: dict[int, _Job] = {}
        self._threads = 0
        self._looks_again = False
        self._is_in_bursts = ledger.is_quick and ledger.is_quiet
        self._caller: Callable[[], _Caller | None] = _Caller
        self._context = contextvars.copy_context()
        if self._around.scope is not None and self._around.effect is not None:
            # what a thread does after its item was given up belongs to this attempt of the node, which may have ended
            self._context.run(left_behind.set, (self._around.scope, self._around.effect))

    def run(self) -> ParallelResult[Any]:
        """The result of the whole. Raises what the ledger does."""
        ledger, caller = self._ledger, _Caller()
        self._caller = weakref.ref(caller)
        ledger.start()
        try:
            while self._feed() or self._in_flight:
                self._collect()
        except BaseException as error:
            self._around.check_process()
            self._end()
            ledger.break_off(error)
        finally:
            try:
                self._halt.set()
            finally:
                self._jobs.put(None)
        return ledger.finish()

    # The caller's thread gives items and takes reports.

    def _feed(self) -> bool:
        """Give items to the threads, as many as there are and there is room for, until something is reported; whether
        there was one."""
        ledger, left = self._ledger, self._room()
        given = 0
        while given < left and (not given or not (self._is_to_end() or self._reports.qsize())):
            drawn = ledger.draw()
            if drawn is None:
                break
            job = self._in_flight[drawn[0]] = _Job(*drawn)
            self._jobs.put(job)
            given += 1
            if not self._is_in_bursts:
                self._hire_enough()
        if given and self._is_in_bursts:
            if 0 < self._threads < min(ledger.workers, len(self._in_flight)):
                time.sleep(0)  # those that are there may take all of them meanwhile
            self._hire_enough()
        return given > 0

    def _is_to_end(self) -> bool:
        """Whether nothing more is to begin."""
        if self._ledger.halted or self._around.stopping():
            self._halt.set()
        return self._ledger.is_drawn or self._halt.is_set()

    def _room(self) -> int:
        """How many items can be given now."""
        if self._is_to_end():
            return 0
        begun, items = len(self._in_flight), self._items
        room = 2 * self._ledger.workers - begun
        while room > 0 and items is not None:
            left = items.room(begun)
            if left > 0 or begun:
                return min(room, left)
            items.make_room()
        return room

    def _look_again(self) -> None:
        self._reports.put(None)

    def _hire_enough(self) -> None:
        """Begin threads as long as items wait for one."""
        most = min(self._ledger.workers, len(self._in_flight))
        while self._threads < most and self._jobs.qsize():
            try:
                self._hire(self._threads)
            except RuntimeError:
                if not self._threads:
                    raise  # the system has no thread left; with fewer than wanted it goes on
                break
            self._threads += 1

    def _hire(self, worker: int, first: _Job | None = None) -> None:
        DaemonThread(self._serve, f"tau-{self._around.name}-{worker}", (worker, first)).start()

    def _collect(self) -> None:
        """Take the reports that are there; wait for one where there is nothing to give."""
        reports = self._reports
        if self._in_flight and reports.empty() and self._room() <= 0:
            self._await_report()
        while self._in_flight and not reports.empty():
            self._take(reports.get())
        if self._timeout is not None:
            self._check_times()

    def _await_report(self) -> None:
        """Take the next report, if one comes in time. What is done is stored meanwhile, unless another item follows at
        once: then they are stored together."""
        items = self._items
        try:
            is_behind = items is not None and items.is_behind and not self._looks_again
            if is_behind and (self._follows() or not self._stored_soon()):
                return
            self._take(self._reports.get(timeout=self._patience()))
        except Empty:
            self._around.check_process()

    def _stored_soon(self) -> bool:
        """Have what is done stored; whether there may be room for others only after that."""
        assert self._items is not None
        self._looks_again = True
        try:
            self._looks_again = waits = self._items.store(self._look_again)
        except TauError:  # it is raised at the end, too, where that does not come for another reason
            self._looks_again = False
            if not self._halt.is_set():
                raise
            return True
        return waits

    def _follows(self) -> bool:
        """Take a report that comes within a moment; whether one did."""
        try:
            self._take(self._reports.get(timeout=_MOMENT))
        except Empty:
            return False
        return True

    def _patience(self) -> float:
        """For how long to wait for a report: not longer than until the time of an item is up."""
        if self._timeout is None:
            return LOOK
        deadlines = [job.deadline for job in self._in_flight.values() if job.deadline is not None]
        return max(0.0, min([LOOK, self._timeout, *(one - time.monotonic() for one in deadlines)]))

    def _take(self, job: _Job | None) -> None:
        """Note what a thread says of an item: that it began, or how it ended; or, without one, that something was
        stored."""
        if job is None:
            self._looks_again = False
            if self._items is not None:
                self._items.is_behind = True
            return
        if self._in_flight.get(job.index) is not job:
            return
        ledger = self._ledger
        if not job.is_told and job.began is not None:
            job.is_told = True
            ledger.begun(job.index, job.worker, job.began)
        if job.report is None:
            return
        status, value = job.report
        if status == DONE:
            ledger.done(job.index, value, job.worker, job.ended)
        elif status == FAILED:
            ledger.failed(job.index, job.item, value, job.worker, job.ended)
        del self._in_flight[job.index]
        job.report = job.item = None  # no cycle through the traceback of an error

    def _check_times(self) -> None:
        now = time.monotonic()
        for job in list(self._in_flight.values()):
            if job.deadline is not None and job.deadline <= now and job.fate.acquire(blocking=False):
                self._give_up(job)

    def _give_up(self, job: _Job) -> None:
        """Its time is up: its thread is left to itself, and another one takes the place."""
        error = timed_out(self._around, self._config, job.index, is_async=False)
        delay = None
        if self._config.idempotent and not self._halt.is_set():
            delay = backoff(self._around, self._config, job.index, job.tries, error)
        if delay is None:
            job.report = (FAILED, error)
            self._take(job)
            if self._room() > 0 or self._in_flight:
                self._hire(job.worker)
            return
        again = _Job(job.index, job.item, tries=job.tries + 1, delay=delay, is_told=job.is_told)
        self._in_flight[job.index] = again
        self._hire(job.worker, again)

    def _end(self) -> None:
        """After an interrupt of the caller: no item begins, and those that have begun are waited for. Another interrupt
        ends the waiting; what runs then is left to itself."""
        try:
            self._halt.set()
            while True:
                for job in list(self._in_flight.values()):
                    if job.report is not None:
                        self._take(job)
                    elif not job.is_taken:  # a thread that takes it now sees the flag
                        del self._in_flight[job.index]
                if not self._in_flight:
                    return
                self._collect()
        except BaseException as error:
            for job in list(self._in_flight.values()):
                self._leave(job)
                self._ledger.cancelled(job.index, job.worker)
            self._ledger.break_off(error)

    def _leave(self, job: _Job) -> None:
        """Let it go on alone; its node is not run again beside it, in this process, unless that does no harm."""
        scope, effect = self._around.scope, self._around.effect
        if scope is not None and effect is not None and not self._config.idempotent:
            over = job.over = Flag()
            if job.report is None:
                note(key_of(scope.store, scope.run_id, effect), over)

    # The threads.

    def _serve(self, worker: int, job: _Job | None) -> None:
        while job is not None or (job := self._next()) is not None:
            job.worker, job.is_taken = worker, True
            try:
                if not self._do(job):
                    return
            finally:
                if job.over is not None:
                    job.over.set()
            job = None  # it may hold something large
        self._jobs.put(None)  # each thread tells the next: not even the caller knows how many there are

    def _next(self) -> _Job | None:
        """The next item; ``None`` at the end. The caller says when that is, unless an interrupt keeps it from it."""
        while True:
            try:
                return self._jobs.get(timeout=LOOK)
            except Empty:
                if self._caller() is None:
                    return None

    def _do(self, job: _Job) -> bool:
        """Try the item until it has come to its end; whether this thread goes on with another."""
        try:
            status, value = self._try(job)
        except BaseException as error:  # of a logging handler, say: the caller waits for this item
            status, value = FAILED, error
        self._around.check_process()
        if not job.fate.acquire(blocking=False):
            return False
        if status == FAILED and (self._config.fail_fast or self._around.ends_run(value)):
            self._halt.set()
        if self._around.observer is not None:
            job.ended = datetime.now(UTC)
        job.report = (status, value)
        self._reports.put(job)
        del value  # the traceback of an error knows this frame, as that from which it was called
        return True

    def _try(self, job: _Job) -> tuple[int, Any]:
        """Its status, and its result or error."""
        last: tuple[int, Any] = (NOT_RUN, None)
        if job.tries > 1:
            last = (FAILED, timed_out(self._around, self._config, job.index, is_async=False))
        delay = job.delay
        try:
            while not self._is_stopped(delay):
                if job.fate.locked():
                    break
                if job.began is None and self._around.observer is not None:
                    job.began = datetime.now(UTC)
                    self._reports.put(job)
                try:
                    if self._timeout is not None:
                        job.deadline = time.monotonic() + self._timeout
                    return DONE, self._context.copy().run(self._call, job.index, job.item)
                except BaseException as error:
                    last, job.deadline = (FAILED, error), None
                if self._around.is_child():
                    break
                again = backoff(self._around, self._config, job.index, job.tries, last[1])
                if again is None:
                    break
                delay, job.tries = again, job.tries + 1
            return last
        finally:
            del last  # no cycle through the traceback of an error

    def _is_stopped(self, delay: float) -> bool:
        """Whether nothing is to begin any more, now or after a delay, and after what the rate asks for."""
        if self._halt.is_set() or (delay and self._halt.wait(delay)):
            return True
        if self._config.rate is not None:
            pause = self._pace.wait(time.monotonic())
            if pause and self._halt.wait(pause):
                return True
        if self._around.stopping():
            self._halt.set()
            return True
        return False
