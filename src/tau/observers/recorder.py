"""The observer for tests and notebooks: it keeps the events."""

from __future__ import annotations

from tau.events import Event


class Recorder:
    """Keeps every event, in the order received, in the list ``events``. Raises nothing.

    Any number of threads may call it at once: appending to a list and clearing it are atomic.

    >>> from tau import StateGraph
    >>> from tau.observers import Recorder
    >>> recorder = Recorder()
    >>> graph = StateGraph("one", observer=recorder)
    >>> graph.add_node("work", lambda state: {"n": 1})
    >>> graph.sequence("work")
    >>> final = graph.execute({})
    >>> recorder.types()
    ['graph.start', 'node.start', 'node.complete', 'graph.complete']
    >>> recorder.events[0].source
    'one'
    >>> recorder.clear()
    """

    __slots__ = ("__weakref__", "events")

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def types(self) -> list[str]:
        """The types of the events so far. Raises nothing."""
        return [event.type for event in self.events]

    def clear(self) -> None:
        """Remove the events so far. Raises nothing."""
        self.events.clear()

    def __repr__(self) -> str:
        return f"Recorder({len(self.events)} events)"
