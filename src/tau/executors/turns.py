"""Calls that go on together, or one of them alone."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tau.waiting import LOOK, Flag


class _Turn(Flag):
    """A call that waits, until it is set."""

    __slots__ = ("alone",)

    def __init__(self, alone: bool) -> None:
        super().__init__()
        self.alone = alone


class Turns:
    """Any number of calls at a time, or one that is alone; first come, first served. For threads of tau, which get no
    signals."""

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._waiting: deque[_Turn] = deque()
        self._at_work = 0
        self._is_alone = False

    @contextmanager
    def taken(self, check: Callable[[], object], alone: bool = False) -> Iterator[None]:
        """A turn. While it waits for one, ``check`` is called from time to time, and may raise."""
        turn = _Turn(alone)
        with self._gate:
            self._waiting.append(turn)
            self._give()
        try:
            while not turn.wait(LOOK):
                check()
            yield
        finally:
            with self._gate:
                if turn.is_set():
                    self._at_work, self._is_alone = self._at_work - 1, False
                else:
                    self._waiting.remove(turn)
                self._give()

    def _give(self) -> None:
        """Let those go on who can."""
        while self._waiting and not self._is_alone and not (self._waiting[0].alone and self._at_work):
            turn = self._waiting.popleft()
            self._at_work, self._is_alone = self._at_work + 1, turn.alone
            turn.set()
