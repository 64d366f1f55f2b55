"""The observer that does nothing; naming it costs nothing, since a run leaves it out."""

from __future__ import annotations

from tau.events import Event


def noop(event: Event) -> None:
    """Discard the event."""
