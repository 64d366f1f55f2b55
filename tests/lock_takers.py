"""Where the standard library takes a lock in Python: an interrupt that comes at the return leaves it taken."""

from __future__ import annotations

import concurrent.futures
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import tau

HOME = str(Path(tau.__file__).parent)
OURS = (HOME, threading.__file__, str(Path(concurrent.futures.__file__).with_name("_base.py")))
TAKERS = (threading.Condition.__enter__.__code__, threading.Semaphore.acquire.__code__)
"""What `threading.Event`, `Thread.start`, `concurrent.futures` and `queue.Queue` take theirs with."""


class Interrupted(KeyboardInterrupt):
    """What the handler of a signal raises there."""


class AtTakers:
    """While it is active, calls ``strike`` when tau has had a lock taken so, or with ``at`` the n-th of them only.

    What it raises comes out of the taker, as what a handler raises does. What asyncio takes is its own.
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
        return self._return if frame.f_code in TAKERS and caller_of(frame) is not None else None

    def _return(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "return":
            self.seen += 1
            if self.at in (0, self.seen):
                self.strike()
        return self._return


class AtLines(AtTakers):
    """The same for every line of what tau, or the standard library in its place, waits with."""

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._line if frame.f_code.co_filename in (threading.__file__, f"{HOME}/waiting.py") else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self.seen += 1
            if self.at == self.seen:
                self.strike()
        return self._line


def caller_of(taker: FrameType) -> FrameType | None:
    """The frame of tau for which a lock is taken; ``None`` where it is taken for somebody else."""
    frame: FrameType | None = taker
    while frame is not None and frame.f_code.co_filename in OURS[1:]:
        frame = frame.f_back
    return frame if frame is not None and frame.f_code.co_filename.startswith(HOME) else None


def interrupt() -> None:
    raise Interrupted
