"""What an executor is: it calls one function for many items, somewhere else than in this process.

The map keeps everything that lasts: it draws the items, counts the tries, stores the results, tells the observers. An
executor takes one item and gives back what the function returned for it, so a new one is a class with two methods.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from msgspec import Struct, field

from tau.executors.afar import About
from tau.waiting import Flag


class Function(Struct, frozen=True):
    """What is called for each item, and the ``kind`` and ``name`` by which errors call it; ``workers`` work at a time,
    0 for as many as there is room for. ``timeout`` is that of each call, ``deaths`` how often an item may cost its
    worker."""

    call: Callable[[Any], Any]
    name: str
    is_async: bool
    workers: int
    timeout: float | None
    deaths: int = 2
    kind: str = "map"

    @property
    def named(self) -> str:
        """What errors call it."""
        return f"{self.kind} {self.name!r}"


class Call(Struct, eq=False):
    """One try of one item. ``about`` is what `tau.current` shows there, ``None`` outside of a node. ``timeout`` is in
    seconds from when the function is called, ``None`` for none. ``stop`` is set when nobody waits for the result any
    more; where that cannot be told, ``is_wanted`` is asked from time to time."""

    item: Any
    about: About | None = None
    timeout: float | None = None
    is_wanted: Callable[[], bool] = lambda: True
    stop: Flag = field(default_factory=Flag)


class NotWantedError(Exception):
    """Nobody waits for the result of this call any more."""


class TimeIsUpError(Exception):
    """The time of a try is over. ``has_ended``: nothing of it runs any more."""

    def __init__(self, has_ended: bool) -> None:
        super().__init__()
        self.has_ended = has_ended


class Executor(ABC):
    """Calls a function for the items of one map, and is closed at its end. ``workers`` is how many items it can work on
    at a time, ``None`` for as many as it is given."""

    workers: int | None = None

    def begin(self) -> None:
        """Get ready, where that takes a while or may fail: before the first call, and again before others. ``workers``
        is known after it. Called by threads of tau. Raises `ExecutorError` when no item can be worked on."""
        return

    @abstractmethod
    def call(self, call: Call) -> Any:
        """What the function returns for this item. Called by several threads of tau at a time, none of which gets
        signals.

        Raises what the function raises, or a `RemoteError` that tells of it; `TimeIsUpError`; `WorkerError` for an item
        whose worker died each time it was tried; `UnserializableError` for what cannot be sent; `ExecutorError` when
        no item can be worked on any more. When nobody waits for it, it ends as soon as it can, with `NotWantedError`.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of all that it has, also of what is still at work. From any thread, also twice; raises nothing."""
