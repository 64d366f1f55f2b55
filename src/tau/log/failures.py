"""An error as a record keeps it."""

from __future__ import annotations

import traceback

from tau.events import text_of
from tau.log.records import Failure


def describe(error: BaseException) -> Failure:
    """The type, text and innermost frames of an error, all of them text that can be stored."""
    frames = traceback.extract_tb(error.__traceback__)[-20:]
    return Failure(
        type=type(error).__name__,
        text=text_of(error)[:4000],
        frames=tuple((text_of(frame.filename), frame.lineno or 0, frame.name) for frame in frames),
    )
