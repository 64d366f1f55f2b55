"""What the tests of the workflows share: events as plain data, and an interrupt at a line of their choice."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from tau.observers import Recorder
from tau.workflows import surroundings

WORKFLOWS = str(Path(surroundings.__file__).parent)


def told(recorder: Recorder) -> list[tuple[str, dict[str, Any]]]:
    """Type and data of each event, in order."""
    return [(event.type, dict(event.data)) for event in recorder.events]


def join(item: str, state: str) -> str:
    return f"{state}->{item}"


@contextmanager
def struck_at(line: int) -> Iterator[None]:
    """Raise KeyboardInterrupt before the line with that number, of all that this thread runs in the workflows."""
    left = line

    def strike(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.startswith(WORKFLOWS):
            return None
        if event == "line":
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return strike

    before = sys.gettrace()
    sys.settrace(strike)
    try:
        yield
    finally:
        sys.settrace(before)
