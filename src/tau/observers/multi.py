"""One observer made of several."""

from __future__ import annotations

from collections.abc import Iterable

from tau.events import Event, Observer
from tau.observers.isolation import notify


class Multi:
    """Tells each observer, in the order given, one after the other; one that raises does not stop the rest."""

    __slots__ = ("__weakref__", "observers")

    def __init__(self, observers: Iterable[Observer]) -> None:
        self.observers = tuple(observers)

    def __call__(self, event: Event) -> None:
        for observer in self.observers:
            notify(observer, event)

    def __repr__(self) -> str:
        return f"Multi({list(self.observers)!r})"
