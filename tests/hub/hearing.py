"""What the tests of hubs share: handlers that keep what they hear, and doors that handlers wait at."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import Any

from tau import Message

SOON = 20.0
"""Seconds after which a test fails that waits for something."""


class Ear:
    """A sync handler that keeps every message; `hear` waits for the next one."""

    def __init__(self, answer: Any = None) -> None:
        self._heard: SimpleQueue[Message] = SimpleQueue()
        self._answer = answer

    def __call__(self, message: Message) -> Any:
        self._heard.put(message)
        return self._answer

    def hear(self) -> Message:
        return self._heard.get(timeout=SOON)

    def has_heard(self) -> bool:
        return not self._heard.empty()


class Door:
    """A sync handler that waits until the door is opened."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self._open = threading.Event()
        self._reached = threading.Semaphore(0)

    def __call__(self, message: Message) -> Any:
        self.heard.append(message.data)
        self._reached.release()
        assert self._open.wait(SOON)
        return message.data

    def reached(self) -> None:
        """Wait until a handler waits at it."""
        assert self._reached.acquire(timeout=SOON)

    def open(self) -> None:
        self._open.set()


def set_soon(event: threading.Event) -> None:
    assert event.wait(SOON)
