"""What a run may raise that ends more than a run, and what it may leave behind: a copy of the worker's process."""

from __future__ import annotations

import os
import signal
import traceback
from functools import partial
from types import CodeType
from typing import Any

from tau.engine.stop import StopNow
from tau.errors import leaves


def ends_worker(error: BaseException) -> bool:
    """Whether this ends the worker, and not only the run in which it was raised: Ctrl-C, a stop, and what a signal
    handler raises. ``SystemExit`` of a node is the run's own."""
    if isinstance(error, Exception):
        return False
    found = leaves(error)
    if any(isinstance(one, KeyboardInterrupt | StopNow) for one in found):
        return True
    codes = {code for number in signal.valid_signals() if (code := _code(signal.getsignal(number))) is not None}
    return any(frame.f_code in codes for one in found for frame, _ in traceback.walk_tb(one.__traceback__))


def _code(handler: Any) -> CodeType | None:
    """The Python code of a signal handler, by which its frame is known."""
    while isinstance(handler, partial):
        handler = handler.func
    handler = getattr(handler, "__func__", handler)
    if not callable(handler):
        return None
    code = getattr(handler, "__code__", None) or getattr(type(handler).__call__, "__code__", None)
    return code if isinstance(code, CodeType) else None


def end_copy(pid: int) -> None:
    """End this process if it is not that one, but a copy: a node forked, and came back in both. The run is the other
    one's, and so is all that a worker does. Nothing is flushed: the other one has the same in its buffers."""
    if os.getpid() != pid:
        os._exit(1)
