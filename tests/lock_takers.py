"""Where the standard library takes a lock in Python: an interrupt that comes at the return leaves it taken."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

TAKERS = (threading.Condition.__enter__.__code__, threading.Semaphore.acquire.__code__)
"""What `threading.Event`, `concurrent.futures` and `queue.Queue` take theirs with."""


class Interrupted(BaseException):
    """What the handler of a signal raises there."""


class AtTakers:
    """While it is active, calls ``strike`` when a taker has taken its lock, or with ``at`` the n-th of them only.

    What it raises comes out of the taker, as what a handler raises does.
    """

    def __init__(self, strike: Callable[[], None], at: int = 0) -> None:
        self.strike, self.at = strike, at
        self.seen = 0

    def __enter__(self) -> AtTakers:
        self.before = sys.gettrace()
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self.before)

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._return if frame.f_code in TAKERS else None

    def _return(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "return":
            self.seen += 1
            if self.at in (0, self.seen):
                self.strike()
        return self._return


def interrupt() -> None:
    raise Interrupted
