"""The ways in which a run is made to go wrong, each with numbered points and one rule for what must come of it."""

from __future__ import annotations

import asyncio
import dis
import inspect
import linecache
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Generator
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

from preload import CrashPoints
from subjects import Place, Subject

KILLS = ("before", "after", "torn")
ERRORS = tuple(f"{name}-{span}" for name in ("eio", "enospc", "eacces", "emfile") for span in ("once", "forever"))
CALLS = (*KILLS, *ERRORS, "lie", "short")
LINES = ("line-kill", "interrupt")
CALLED_BY_C = ("__init__", "__new__")
LOOKING = {"RESUME", "JUMP_BACKWARD", "CALL", "CALL_KW", "CALL_FUNCTION_EX"}


class Rule(NamedTuple):
    """What may happen at a point.

    ``kills``: the process dies there. ``raises``: the names of errors that may come out, and must come out for
    ``interrupts``, after which the same process carries on. ``wrong``: what is stored may be damaged afterwards, so an
    error of the library may also be the end. ``dirty``: files cannot be removed while the fault lasts. ``crashes``:
    code in C that tau stands on may crash, which is judged like a kill.
    """

    kills: bool = False
    raises: tuple[str, ...] = ("TauError",)
    interrupts: bool = False
    wrong: bool = False
    dirty: bool = False
    crashes: bool = False


def rule_of(fault: str) -> Rule:
    if fault in KILLS or fault == "line-kill":
        return Rule(kills=True, raises=())
    if fault == "interrupt":
        return Rule(raises=("KeyboardInterrupt",), interrupts=True)
    if fault == "await-cancel":
        return Rule(raises=("CancelledError",), interrupts=True)
    if fault == "memory":
        # msgspec's encoder and CPython's compiler do not survive every allocation that fails.
        return Rule(raises=("TauError", "MemoryError"), crashes=True)
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
    """Killed at the n-th line or return executed in the given files, in any thread."""

    events = ("line", "return")

    def __init__(self, files: Callable[[str], bool]) -> None:
        self.files = files
        self.seen = 0
        self.at = 0
        self.trace: Path | None = None
        self.lines: list[str] = []

    def arm(self, place: Place, at: int, trace: Path | None = None) -> None:
        self.at, self.seen, self.trace = at, 0, trace
        threading.settrace(self._enter)
        sys.settrace(self._enter)

    def disarm(self) -> int:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]
        if self.trace is not None:
            self.trace.write_text("".join(self.lines))
        return self.seen

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._inside if self.files(frame.f_code.co_filename) else None

    def _inside(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event in self.events:
            self._point(frame, event)
        return self._inside

    def _point(self, frame: FrameType, event: str) -> None:
        self.seen += 1
        if self.trace is not None:
            instruction = f" {frame.f_code.co_name}+{frame.f_lasti}" if event == "opcode" else ""
            file = Path(frame.f_code.co_filename).name
            self.lines.append(f"{self.seen} {event} {file}:{frame.f_lineno}{instruction}\n")
        if self.seen == self.at:
            self.strike()

    def strike(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class InterruptFault(LineFault):
    """Ctrl-C where Python looks for signals: where a function begins, a call has returned or a loop goes round.

    In the main thread and the given files only. Not in ``__del__``, where Python drops what is raised, and not between
    the return of `os.open` and the assignment of what it returned, which no Python code can close.
    """

    events = ("opcode",)

    def __init__(self, files: Callable[[str], bool]) -> None:
        super().__init__(files)
        self.before: dict[int, int] = {}

    def arm(self, place: Place, at: int, trace: Path | None = None) -> None:
        super().arm(place, at, trace)
        threading.settrace(None)  # type: ignore[arg-type]

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        if frame.f_back is not None and code.co_name not in CALLED_BY_C and not code.co_flags & inspect.CO_GENERATOR:
            self.before[id(frame.f_back)] = -1  # what was called is Python itself: it has looked, the caller does not
        if not self._strikes(code):
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        self.before.pop(id(frame), None)
        return self._inside

    def _strikes(self, code: CodeType) -> bool:
        return code.co_name != "__del__" and self.files(code.co_filename)

    def _point(self, frame: FrameType, event: str) -> None:
        before = self.before.get(id(frame), -1)
        self.before[id(frame)] = frame.f_lasti
        if before in _looking(frame.f_code):
            super()._point(frame, event)

    def strike(self) -> None:
        raise KeyboardInterrupt


@cache
def _looking(code: CodeType) -> frozenset[int]:
    """The offsets of the instructions after which Python looks for signals."""
    found, line = set(), 0
    for instruction in dis.get_instructions(code):
        position = instruction.positions
        line = position.lineno if position is not None and position.lineno else line
        opening = "os.open(" in linecache.getline(code.co_filename, line)
        if instruction.opname in LOOKING and not (opening and instruction.opname.startswith("CALL")):
            found.add(instruction.offset)
    return frozenset(found)


class CancelFault:
    """The task is cancelled at the n-th await at which it gives way, as `asyncio.Task.cancel` does it."""

    def __init__(self, subject: Subject) -> None:
        subject.wrap = self._striking
        self.seen = self.at = 0

    def arm(self, place: Place, at: int, trace: Path | None = None) -> None:
        self.seen, self.at = 0, at

    def disarm(self) -> int:
        self.at = 0
        return self.seen

    async def _striking(self, coroutine: Coroutine[Any, Any, str]) -> str:
        return await _Awaiting(coroutine, self._count)

    def _count(self) -> None:
        self.seen += 1
        task = asyncio.current_task()
        if self.seen == self.at and task is not None:
            task.cancel()


class _Awaiting:
    """Passes on everything between a loop and a coroutine, and calls ``before`` each time the loop gets its turn."""

    def __init__(self, coroutine: Coroutine[Any, Any, str], before: Callable[[], None]) -> None:
        self.coroutine = coroutine
        self.before = before

    def __await__(self) -> Generator[Any, Any, str]:
        step: Callable[[Any], Any] = self.coroutine.send
        value: Any = None
        while True:
            try:
                future = step(value)
            except StopIteration as end:
                return end.value
            self.before()
            try:
                value, step = (yield future), self.coroutine.send
            except BaseException as error:
                value, step = error, self.coroutine.throw


class MemoryFault:
    """The n-th allocation fails, once. Allocations cannot be counted beforehand: ``points`` is how many to try."""

    def __init__(self, points: int) -> None:
        self.points = points

    def arm(self, place: Place, at: int, trace: Path | None = None) -> None:
        import _testcapi

        if at:
            _testcapi.set_nomemory(at, at + 1)

    def disarm(self) -> int:
        import _testcapi

        _testcapi.remove_mem_hooks()
        return self.points
