"""Ctrl-C in the middle of a node: at a line at which the node could catch it, where there is one."""

from __future__ import annotations

import dis
import signal
import sys
import threading
from types import CodeType, FrameType
from typing import Any

from tau.events import NODE_START, Event
from tau.graph.graph import Graph


class Interrupter:
    """An observer that sends SIGINT to this process, once, when the code of that node has begun in its main thread.

    ``struck`` tells whether it has.
    """

    def __init__(self, graph: Graph, node: str) -> None:
        self.node = node
        self.struck = False
        self._code = code_of(graph.nodes[node].function)
        self._lines = caught_lines(self._code) if self._code is not None else set()

    def __call__(self, event: Event) -> None:
        is_here = event.type == NODE_START and event.data["node"] == self.node and not self.struck
        if is_here and self._code is not None and threading.current_thread() is threading.main_thread():
            sys.settrace(self._enter)

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._step if frame.f_code is self._code else None

    def _step(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line" and (not self._lines or frame.f_lineno in self._lines):
            sys.settrace(None)
            self.struck = True
            signal.raise_signal(signal.SIGINT)
        return self._step


def code_of(function: Any) -> CodeType | None:
    """The code of a node, below partials, methods and decorators; ``None`` where it is not written in Python."""
    for _ in range(100):
        if isinstance(code := getattr(function, "__code__", None), CodeType):
            inner = getattr(function, "__wrapped__", None)
            if inner is None:
                return code
            function = inner
            continue
        function = (
            getattr(function, "func", None)
            or getattr(function, "__func__", None)
            or getattr(type(function), "__call__", None)  # noqa: B004
        )
    return None


def caught_lines(code: CodeType) -> set[int]:
    """The lines of that code at which something catches what is raised."""
    caught = set()
    entries = getattr(dis.Bytecode(code), "exception_entries", ())
    spans = [(entry.start, entry.end) for entry in entries if not entry.lasti]
    for start, end, line in code.co_lines():
        if line is not None and any(low < end and start < high for low, high in spans):
            caught.add(line)
    return caught
