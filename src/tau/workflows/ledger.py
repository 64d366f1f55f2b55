"""The ledger of a parallel map: which items were drawn, what became of each, and what the whole comes to.

It is kept by one thread, that of the caller; so events and progress come one after the other, in one order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, NoReturn

from tau.errors import TaskError
from tau.events import PARALLEL_COMPLETE, PARALLEL_START, WORKER_COMPLETE, WORKER_START
from tau.executors.registry import INLINE, usual_workers
from tau.workflows.config import ParallelConfig
from tau.workflows.journaled import Named
from tau.workflows.outcomes import (
    CANCELLED,
    DONE,
    FAILED,
    NOT_RUN,
    GivenResults,
    ParallelResult,
    Results,
    parallel_error,
    result_of,
    task_error,
)
from tau.workflows.surroundings import AT_HAND, Surroundings, drawn, report, said

Progress = Callable[[int, int | None, Any], object]


class Ledger:
    """The items of one parallel map. ``is_drawn`` says that there are no more of them; ``halted``, that no more are to
    be begun."""

    def __init__(
        self,
        around: Surroundings,
        items: Iterable[Any],
        config: ParallelConfig,
        progress: Progress | None,
        named: Named | None = None,
    ) -> None:
        """``named`` are the items where they are stored; what is done is told by the cells of its results then."""
        self.around = around
        self.config = config
        self.is_drawn = False
        self.halted = False
        self._items, self._total = drawn(items)
        self.is_quick = type(items) in AT_HAND if named is None else named.is_quick
        """Whether nothing else is done to draw an item."""
        self.workers = _workers(config, self._total)
        self._progress = progress
        self._statuses = bytearray()
        self._named = named
        self._results: Results = GivenResults() if named is None else named.results()
        self._errors: dict[int, TaskError] = {}
        self._first: BaseException | None = None
        self._ending: BaseException | None = None
        self._ended_drawing = False
        self._done = 0

    def widen(self, workers: int | None) -> None:
        """As many items are worked on at a time as an executor has room for, unless the configuration says it."""
        if workers is not None and not self.config.max_workers:
            self.workers = workers if self._total is None else min(workers, self._total)

    @property
    def is_quiet(self) -> bool:
        """Whether nobody is told of the items, which may take any time."""
        return self._progress is None and self.around.observer is None

    def start(self) -> None:
        about = {"fail_fast": self.config.fail_fast, "has_progress_callback": self._progress is not None}
        self.around.tell(PARALLEL_START, {"item_count": self._total, "worker_count": self.workers, **about})
        if self._total == 0:  # nobody draws where there are no workers
            self.draw()

    def draw(self) -> tuple[int, Any] | None:
        """The next item and its index; ``None`` if there is none, or it cannot be drawn, which is a failure."""
        index = len(self._statuses)
        try:
            for item in self._items:
                self._statuses.append(NOT_RUN)
                return index, item
        except Exception as error:
            self._statuses.append(NOT_RUN)
            self._ended_drawing = self.halted = True
            if self.around.ends_run(error):
                self.end(error)
                return None
            self._fail(index, task_error(index, None, error, "item {index} could not be drawn: {said}"), error)
        self.is_drawn = True
        return None

    # What becomes of an item; a second word on the same one is not heard.

    def begun(self, index: int, worker: int, at: datetime | None = None) -> None:
        self.around.tell(WORKER_START, self._where(index, worker), at)

    def done(self, index: int, result: Any, worker: int, at: datetime | None = None) -> None:
        """Its task returned; ``result`` is what the call for it gave."""
        if self._statuses[index] != NOT_RUN:
            return
        self._results.put(index, result)
        if self._named is not None:
            self._named.forget(index)
        self._statuses[index] = DONE
        self._done += 1
        if self.around.observer is not None:
            self.around.tell(WORKER_COMPLETE, {**self._where(index, worker), "error": False}, at)
        if self._progress is not None:
            report(self._progress, self._done, self._total, self._results[index])

    def failed(self, index: int, item: Any, error: BaseException, worker: int, at: datetime | None = None) -> None:
        """Its task raised, which ends the whole where the run around it cannot go on, and with ``fail_fast``."""
        if self._statuses[index] != NOT_RUN:
            return
        if self.around.ends_run(error):
            self.end(error)
            self._statuses[index] = CANCELLED
        else:
            self.halted = self.halted or self.config.fail_fast
            self._fail(index, task_error(index, item, error), error)
        self.around.tell(WORKER_COMPLETE, {**self._where(index, worker), "error": True}, at)

    def cancelled(self, index: int, worker: int, at: datetime | None = None) -> None:
        """It was broken off in the middle."""
        if self._statuses[index] == NOT_RUN:
            self._statuses[index] = CANCELLED
            self.around.tell(WORKER_COMPLETE, {**self._where(index, worker), "error": True}, at)

    def end(self, error: BaseException) -> None:
        """Nothing more is to begin, and the whole raises ``error``."""
        self._ending = self._ending or error
        self.halted = True

    def _fail(self, index: int, failure: TaskError, error: BaseException) -> None:
        self._errors[index] = failure
        self._first = self._first or error
        self._statuses[index] = FAILED

    def _where(self, index: int, worker: int) -> dict[str, Any]:
        return {"worker_id": worker, "item_index": index, "total_items": self._total}

    # The end.

    @property
    def is_complete(self) -> bool:
        """Whether every item was begun and came to its end."""
        known = self.is_drawn or self._total == len(self._statuses)
        return known and not self._ended_drawing and self._done + len(self._errors) == len(self._statuses)

    def finish(self) -> ParallelResult[Any]:
        """The result, or what the whole raises; this is empty then."""
        self.around.check_process()
        reason = self.around.stopping()
        if self._ending is not None:
            self.break_off(self._ending)
        if reason and not self.is_complete and not (self.config.fail_fast and self._errors):
            self.break_off(self.around.interruption(reason))
        failed = bool(self._errors) and (self.config.fail_fast or self._ended_drawing or not self._done)
        self._tell_end(failed)
        result, first = self._result()
        if failed:
            raise parallel_error(result.errors, result) from first
        return result

    def break_off(self, error: BaseException) -> NoReturn:
        """Raise what broke it off, with what was done as its cause, unless it has one."""
        self._tell_end(True)
        result, first = self._result()
        try:
            if error.__cause__ is None and not isinstance(error, GeneratorExit):
                error.__cause__ = so_far = parallel_error(result.errors, result, said(error))
                so_far.__cause__ = first
            raise error
        finally:
            del error  # no cycle through its own traceback

    def _tell_end(self, error: bool) -> None:
        about = {"items_processed": self._done, "items_failed": len(self._errors), "error": error}
        self.around.tell(PARALLEL_COMPLETE, about)

    def _result(self) -> tuple[ParallelResult[Any], BaseException | None]:
        """What was done, and the first failure. The tracebacks of the errors know this ledger, so it forgets them."""
        statuses = bytes(self._statuses).ljust(self._total or 0, bytes([NOT_RUN]))
        results, errors, first = self._results, self._errors, self._first
        self._results, self._errors, self._first, self._ending = GivenResults(), {}, None, None
        return result_of(results, tuple(errors[index] for index in sorted(errors)), statuses), first


def _workers(config: ParallelConfig, total: int | None) -> int:
    """How many items are worked on at a time."""
    usual = usual_workers(config.executor, config.worker_cap)
    most = usual if config.executor == INLINE else config.max_workers or usual
    return most if total is None else min(most, total)
