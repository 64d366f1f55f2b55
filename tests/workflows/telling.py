"""What the tests of the workflows share: events as plain data."""

from __future__ import annotations

from typing import Any

from tau.observers import Recorder


def told(recorder: Recorder) -> list[tuple[str, dict[str, Any]]]:
    """Type and data of each event, in order."""
    return [(event.type, dict(event.data)) for event in recorder.events]


def join(item: str, state: str) -> str:
    return f"{state}->{item}"
