"""The ways in which a run is made to go wrong, each with numbered points and one rule for what must come of it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from preload import CrashPoints
from subjects import Place

KILLS = ("before", "after", "torn")
ERRORS = tuple(f"{name}-{span}" for name in ("eio", "enospc", "eacces", "emfile") for span in ("once", "forever"))
CALLS = (*KILLS, *ERRORS, "lie", "short")
LINES = ("line-kill", "line-interrupt")


class Rule(NamedTuple):
    """What may happen at a point.

    ``kills``: the process dies there. ``raises``: the names of errors that may come out, and must come out for
    ``interrupts``, after which the same process carries on. ``wrong``: what is stored may be damaged afterwards, so an
    error of the library may also be the end. ``dirty``: files cannot be removed while the fault lasts.
    """

    kills: bool = False
    raises: tuple[str, ...] = ("TauError",)
    interrupts: bool = False
    wrong: bool = False
    dirty: bool = False


def rule_of(fault: str) -> Rule:
    if fault in KILLS or fault == "line-kill":
        return Rule(kills=True, raises=())
    if fault == "line-interrupt":
        return Rule(raises=("KeyboardInterrupt",), interrupts=True)
    if fault == "await-cancel":
        return Rule(raises=("CancelledError",), interrupts=True)
    if fault == "memory":
        return Rule(raises=("TauError", "MemoryError"))
    if fault == "lie":
        return Rule(wrong=True, dirty=True)
    return Rule(dirty=fault in ("eio-forever", "eacces-forever"))


class CallFault:
    """The n-th libc call that changes something below the place's store goes wrong."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.points = CrashPoints()

    def arm(self, place: Place, at: int, trace: Path | None = None) -> None:
        descriptor = -1 if trace is None else os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.points.arm(place.store, self.mode, at, descriptor)

    def disarm(self) -> int:
        self.points.disarm()
        return self.points.count()


class LineFault:
    """The n-th line or return executed in the given files; a kill counts all threads, an interrupt the main one.

    Not in ``__del__``: Python itself drops what is raised there.
    """

    def __init__(self, mode: str, files: Callable[[str], bool]) -> None:
        self.action: Callable[[], None] = _kill if mode == "line-kill" else _interrupt
        self.threads = mode == "line-kill"
        self.files = files
        self.seen = 0
        self.at = 0
        self.trace: Path | None = None
        self.lines: list[str] = []

    def arm(self, place: Place, at: int, trace: Path | None = None) -> None:
        self.at, self.seen, self.trace = at, 0, trace
        if self.threads:
            threading.settrace(self._enter)
        sys.settrace(self._enter)

    def disarm(self) -> int:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]
        if self.trace is not None:
            self.trace.write_text("".join(self.lines))
        return self.seen

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        return self._line if code.co_name != "__del__" and self.files(code.co_filename) else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event in ("line", "return"):
            self.seen += 1
            if self.trace is not None:
                where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                self.lines.append(f"{self.seen} {event} {where}\n")
            if self.seen == self.at:
                self.action()
        return self._line


class MemoryFault:
    """The n-th allocation fails, once."""

    def arm(self, place: Place, at: int, trace: Path | None = None) -> None:
        import _testcapi

        if at:
            _testcapi.set_nomemory(at, at + 1)

    def disarm(self) -> int:
        import _testcapi

        _testcapi.remove_mem_hooks()
        return 0


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _interrupt() -> None:
    raise KeyboardInterrupt
