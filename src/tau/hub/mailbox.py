"""`Mailbox`: the messages of one agent, in the order in which they are handled, and those that wait for room in it.

It is used from any number of threads and loops at once, so that neither `asyncio.Queue`, which belongs to one loop, nor
`queue.Queue`, which a task cannot wait for and an interrupt may leave locked, would do. The lock is that of the hub;
nothing waits while it holds it. Where a message is taken in or out, `+=` and `del` stand instead of calls: Python looks
for signals after a call, so that the handler of one cannot raise between a message and its count.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

from tau.errors import HubError
from tau.hub.blocked import Blocked
from tau.hub.circles import Slot
from tau.hub.errors import AgentGoneError, HubClosedError
from tau.hub.handlers import Handler
from tau.hub.homes import Home
from tau.hub.message import Message, Priority
from tau.hub.serving import Server
from tau.hub.waiters import Waiter
from tau.signals import insist

if TYPE_CHECKING:
    from tau.hub.core import Core

LOOP_CLOSED: Final = "the event loop in which its handler ran was closed"


class Mailbox:
    """The messages of one agent of a hub. What comes first: the most urgent; of equal ones, the oldest. There is room
    for ``size`` of each priority, so that what is urgent does not wait for what is not."""

    def __init__(self, core: Core, name: str, handler: Handler, home: Home, *, size: int, concurrency: int) -> None:
        self.core = core
        self._lock, self._counts = core.lock, core.counts
        self.name = name
        self.handler = handler
        self.home = home
        self.concurrency = concurrency
        self.slots: set[Slot] = set()
        """The handlers at work."""
        self.ended = ""
        """Why nothing is taken any more, empty while it is."""
        self.last_seen: float | None = None
        self._size = size
        self._lanes = tuple(deque[Message]() for _ in Priority)
        self._urgent_first = self._lanes[::-1]
        self._blocked = tuple(deque[Blocked]() for _ in Priority)
        self._is_crowded = False  # whether one of those is not empty
        self._has_ended = home.has_ended
        self._called = False  # a server was asked for, and has not begun

    @property
    def label(self) -> str:
        """What it is called in messages: the agent and its hub."""
        return f"{self.name!r} of hub {self.core.name!r}"

    @property
    def queued(self) -> int:
        low, normal, high, critical = self._lanes
        return len(low) + len(normal) + len(high) + len(critical)

    @property
    def left(self) -> int:
        """How many messages are not handled yet: at work, queued, or waiting for room."""
        return len(self.slots) + self.queued + sum(map(len, self._blocked))

    def check(self) -> None:
        """Raises `AgentGoneError` or `HubClosedError` where nothing is taken any more."""
        if not self.ended and self.home.has_ended():
            self.end(LOOP_CLOSED)
        if self.ended:
            raise self.gone()

    def gone(self) -> HubError:
        """Why a message was not handled."""
        if self.core.is_closed:
            return HubClosedError(f"hub {self.core.name!r} was shut down; agent {self.name!r} takes nothing more")
        said = f"agent {self.label} is gone: {self.ended or 'its handler was ended'}"
        return AgentGoneError(said, hint="register it again where its handler is to run", agent=self.name)

    def offer(self, message: Message) -> bool:
        """Take it if there is room. Raises what `check` raises."""
        with self._lock:
            if self.ended or self._has_ended():
                self.check()
            lane = self._lanes[message.priority]
            if len(lane) >= self._size:
                return False
            lane += (message,)
            self._counts.sent += 1
            try:
                if not self._called and len(self.slots) < self.concurrency:
                    self._call()
            except BaseException:  # an interrupt: the message is there
                self._call()
                raise
        return True

    def queue_up(self, message: Message, waiter: Waiter) -> Blocked | None:
        """Take it, or have it wait for room; ``waiter`` is answered when it is taken. Raises what `check` raises."""
        with self.core.lock:
            if self.offer(message):
                return None
            blocked = Blocked(message, waiter)
            self._is_crowded = True
            self._blocked[message.priority].append(blocked)
            return blocked

    def withdraw(self, blocked: Blocked) -> None:
        """Take back what waits for room, if it still does."""
        lane = self._blocked[blocked.message.priority]
        with self.core.lock:
            for place, other in enumerate(lane):
                if other is blocked:
                    del lane[place]
                    return

    def kick(self) -> None:
        """Have it served where an interrupt of a sender kept that from happening."""
        with self.core.lock:
            self._called = False
            self._call()

    def end(self, why: str) -> None:
        """Take nothing more, and let go what is queued. What waits for it is told."""
        insist(lambda: self._end(why))

    def _end(self, why: str) -> None:
        with self.core.lock:
            self.ended = self.ended or why
            for lane in self._lanes:
                for message in lane:
                    self._tell(message.waiter)
                self._counts.dropped += len(lane)
                lane.clear()
            for crowd in self._blocked:
                for blocked in crowd:
                    self._tell(blocked.waiter)
                crowd.clear()
            if self._has_ended():  # what is at work there never ends
                for slot in self.slots:
                    if slot.message is not None:
                        self._tell(slot.message.waiter)
                self.slots.clear()
        self.core.changed()

    def _tell(self, waiter: Waiter | None) -> None:
        if waiter is not None:
            insist(lambda: waiter.answer(self.gone()))

    def enter(self, slot: Slot) -> bool:
        """A handler may begin with the next message, unless enough are at work."""
        with self.core.lock:
            self._called = False
            if len(self.slots) >= self.concurrency:
                return False
            self.slots.add(slot)
            return True

    def next(self, slot: Slot) -> Message | None:
        """The first message; where there is none, the slot is given back."""
        with self._lock:
            for lane in self._urgent_first:
                while lane:
                    message = lane[0]
                    if message.waiter is None or message.waiter.is_open:
                        slot.message = message
                        del lane[0]
                        if self._is_crowded:
                            self._fill(message.priority)
                        if slot.waits:  # of tasks that the handler has left behind: they keep it from nothing
                            slot.waits = []
                        if self.concurrency > 1:
                            self._call()
                        return message
                    self._counts.dropped += 1  # its requester waits no longer
                    del lane[0]
                    if self._is_crowded:
                        self._fill(message.priority)
            slot.message = None
            self.slots.discard(slot)
            return None

    def leave(self, slot: Slot) -> None:
        """Give the slot back, however its work ended."""
        with self.core.lock:
            slot.message = None
            self.slots.discard(slot)
            if self.queued and not self.home.has_ended():
                self._call()
        self.core.changed()

    def _call(self) -> None:
        if self._called or len(self.slots) >= self.concurrency or not self.queued or self.ended:
            return
        try:
            self.home.start(Server(self))
        except RuntimeError as error:  # the loop is closed, or no thread can begin
            self.end(str(error))
            raise self.gone() from error
        self._called = True

    def _fill(self, priority: Priority) -> None:
        """There is room for one more of those that wait."""
        crowd = self._blocked[priority]
        lane = self._lanes[priority]
        while crowd:
            blocked = crowd[0]
            lane += (blocked.message,)
            self._counts.sent += 1
            del crowd[0]
            if insist(partial(blocked.waiter.answer, True)):
                return
            del lane[-1]
            self._counts.sent -= 1
        self._is_crowded = any(self._blocked)
