"""A parallel map of a sync task without any parallelism: one item after the other, in the caller's thread.

For tests and debuggers, and for libraries that no other thread may call.
"""

from __future__ import annotations

import contextvars
import time
from collections.abc import Callable
from typing import Any

from tau.waiting import LOOK
from tau.workflows.ledger import Ledger
from tau.workflows.outcomes import ParallelResult
from tau.workflows.tries import Pace, backoff


class InlineMap:
    """One parallel map at work in the thread that runs it."""

    def __init__(
        self, ledger: Ledger, call: Callable[[int, Any], Any], wait_for_room: Callable[[], object] | None = None
    ) -> None:
        """``wait_for_room`` is called before each try begins."""
        self._ledger, self._call, self._wait_for_room = ledger, call, wait_for_room
        self._config, self._around = ledger.config, ledger.around
        self._pace = Pace(self._config.rate)

    def run(self) -> ParallelResult[Any]:
        """The result of the whole. Raises what the ledger does."""
        ledger = self._ledger
        ledger.start()
        try:
            while not self._halts() and (drawn := ledger.draw()) is not None:
                self._serve(*drawn)
        except BaseException as error:
            self._around.check_process()
            ledger.break_off(error)
        return ledger.finish()

    def _halts(self) -> bool:
        return self._ledger.halted or bool(self._around.stopping())

    def _serve(self, index: int, item: Any) -> None:
        """One item, to its end."""
        ledger = self._ledger
        tries, delay = 0, 0.0
        while self._waited(delay) and self._waited(self._pace.wait(time.monotonic())):
            if not tries:
                ledger.begun(index, 0)
            tries += 1
            try:
                if self._wait_for_room is not None:
                    self._wait_for_room()
                value = contextvars.copy_context().run(self._call, index, item)
            except Exception as error:
                self._around.check_process()
                again = backoff(self._around, self._config, index, tries, error)
                if again is None or self._halts():
                    ledger.failed(index, item, error, 0)
                    return
                delay, last = again, error
            except BaseException:  # Ctrl-C is the caller's, and whatever else would end its thread
                self._around.check_process()
                ledger.cancelled(index, 0)
                raise
            else:
                self._around.check_process()
                ledger.done(index, value, 0)
                return
        if tries:
            ledger.failed(index, item, last, 0)

    def _waited(self, seconds: float) -> bool:
        """Wait that long; whether there is still something to be begun."""
        ends = time.monotonic() + seconds
        while not self._halts():
            left = ends - time.monotonic()
            if left <= 0:
                return True
            time.sleep(min(LOOK, left))
        return False
