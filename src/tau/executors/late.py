"""An executor that is opened when an item needs it: a map all of whose items are finished needs none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from tau.errors import ExecutorError
from tau.executors.contract import Call, Executor, NotWantedError


class LateExecutor(Executor):
    """Stands for the executor that ``make`` makes, which raises `ExecutorError` where none can be had."""

    def __init__(self, make: Callable[[], Executor]) -> None:
        self._make = make
        self._opening = threading.Lock()  # of threads that get no signals
        self._opened: Executor | None = None
        self._failed: ExecutorError | None = None
        self._is_closed = False

    def begin(self) -> None:
        with self._opening:
            if self._failed is not None:
                raise self._failed
            if self._is_closed:
                raise NotWantedError
            if self._opened is None:
                try:
                    self._opened = self._make()
                except ExecutorError as error:
                    self._failed = error
                    raise
                self.workers = self._opened.workers
        if self._is_closed:
            self.close()

    def call(self, call: Call) -> Any:
        self.begin()
        assert self._opened is not None
        return self._opened.call(call)

    def close(self) -> None:
        self._is_closed = True
        if self._opened is not None:
            self._opened.close()
