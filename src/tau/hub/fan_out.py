"""One message for many: a broadcast, or what is published. An agent that is slow holds none of the others up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from tau.errors import HubError
from tau.hub.blocked import Blocked
from tau.hub.circles import waiting_for
from tau.hub.message import Message
from tau.hub.reports import Delivery
from tau.hub.sending import no_room
from tau.hub.waiters import TOO_LATE, LoopWaiter, ThreadWaiter

if TYPE_CHECKING:
    from tau.hub.mailbox import Mailbox

W = TypeVar("W", ThreadWaiter, LoopWaiter)


class Wait(NamedTuple, Generic[W]):
    """A message that waits for room in that mailbox."""

    box: Mailbox
    blocked: Blocked
    waiter: W


class FanOut(Generic[W]):
    """What became of each message so far. Those that find room are sent when this is made."""

    def __init__(self, to: Iterable[tuple[Mailbox, Message]], seconds: float) -> None:
        self.ends: float = time.monotonic() + seconds
        self._seconds: float = seconds
        self._taken: list[Message] = []
        self._failed: dict[str, HubError] = {}
        self._full: list[tuple[Mailbox, Message]] = []
        for box, message in to:
            try:
                if box.offer(message):
                    self._taken.append(message)
                else:
                    self._full.append((box, message))
            except HubError as error:
                self._failed[box.name] = error

    @contextmanager
    def waits(self, waiter: Callable[[], W], verb: str) -> Iterator[list[Wait[W]]]:
        """What still waits for room, all of it in its queue; at the end, what was not taken is withdrawn."""
        found: list[Wait[W]] = []
        with ExitStack() as around:
            try:
                for box, message in self._full:
                    self._queue_up(box, message, waiter(), (around, found, verb))
                yield found
            finally:
                for wait in found:
                    wait.box.withdraw(wait.blocked)

    def _queue_up(self, box: Mailbox, message: Message, waiter: W, into: tuple[ExitStack, list[Wait[W]], str]) -> None:
        around, found, verb = into
        try:
            around.enter_context(waiting_for((box,), verb))
            blocked = box.queue_up(message, waiter)
        except HubError as error:
            self._failed[box.name] = error
            return
        if blocked is None:
            self._taken.append(message)
        else:
            found.append(Wait(box, blocked, waiter))

    def note(self, wait: Wait[W], answer: Any) -> None:
        """That one was taken, or why not."""
        if isinstance(answer, HubError):
            self._failed[wait.box.name] = answer
        elif answer is TOO_LATE:
            self._failed[wait.box.name] = no_room(wait.box, self._seconds)
        else:
            self._taken.append(wait.blocked.message)

    def delivery(self) -> Delivery:
        """What became of all."""
        return Delivery(tuple(self._taken), MappingProxyType(self._failed))


def send_all(to: Iterable[tuple[Mailbox, Message]], seconds: float, verb: str) -> Delivery:
    """Each at once where there is room; the others wait for it together, for so long at most. Raises nothing for one
    that does not take it."""
    out = FanOut[ThreadWaiter](to, seconds)
    with out.waits(ThreadWaiter, verb) as waits:
        for wait in waits:
            try:
                answer = wait.waiter.wait(out.ends - time.monotonic())
            except HubError as error:
                answer = error
            out.note(wait, answer)
    return out.delivery()


async def send_all_async(to: Iterable[tuple[Mailbox, Message]], seconds: float) -> Delivery:
    """`send_all` for a task."""
    out = FanOut[LoopWaiter](to, seconds)
    with out.waits(LoopWaiter, "") as waits:
        for wait in waits:
            try:
                answer = await wait.waiter.wait(out.ends - time.monotonic())
            except HubError as error:
                answer = error
            out.note(wait, answer)
    return out.delivery()
