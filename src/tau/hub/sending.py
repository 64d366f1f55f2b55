"""How a message gets into a mailbox: at once, or after a wait for room; and how an answer comes back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from tau.errors import HubError
from tau.hub.circles import waiting_for
from tau.hub.data_copies import own_copy
from tau.hub.errors import QueueFullError, RequestTimeoutError
from tau.hub.message import REQUEST, Message
from tau.hub.waiters import TOO_LATE, LoopWaiter, ThreadWaiter

if TYPE_CHECKING:
    from tau.hub.core import Core
    from tau.hub.mailbox import Mailbox


def put(box: Mailbox, message: Message, seconds: float, verb: str = "send") -> None:
    """Raises `QueueFullError`, `CircularRequestError` and what `Mailbox.check` raises."""
    if box.offer(message):
        return
    waiter = ThreadWaiter()
    with waiting_for((box,), verb):
        blocked = box.queue_up(message, waiter)
        if blocked is None:
            return
        try:
            taken = waiter.wait(seconds)
        except BaseException:
            box.withdraw(blocked)
            raise
    if taken is TOO_LATE:
        box.withdraw(blocked)
        raise no_room(box, seconds)


async def put_async(box: Mailbox, message: Message, seconds: float) -> None:
    """`put` for a task."""
    if box.offer(message):
        return
    waiter = LoopWaiter()
    with waiting_for((box,), ""):
        blocked = box.queue_up(message, waiter)
        if blocked is None:
            return
        try:
            taken = await waiter.wait(seconds)
        except BaseException:
            box.withdraw(blocked)
            raise
    if taken is TOO_LATE:
        box.withdraw(blocked)
        raise no_room(box, seconds)


def ask(box: Mailbox, message: Message, seconds: float) -> Message:
    """The response. Raises `RequestTimeoutError`, `RequestFailedError` and what `put` raises."""
    reply, ends = ThreadWaiter(), time.monotonic() + seconds
    try:
        with waiting_for((box,), "request"):
            put(box, replace(message, waiter=reply), seconds, "request")
            answer = reply.wait(ends - time.monotonic())
    finally:
        reply.close()
    return _in_time(box, answer, seconds)


async def ask_async(box: Mailbox, message: Message, seconds: float) -> Message:
    """`ask` for a task."""
    reply, ends = LoopWaiter(), time.monotonic() + seconds
    try:
        with waiting_for((box,), ""):
            await put_async(box, replace(message, waiter=reply), seconds)
            answer = await reply.wait(ends - time.monotonic())
    finally:
        reply.close()
    return _in_time(box, answer, seconds)


def forward(core: Core, message: Message) -> None:
    """Send on a message that a handler returned. Raises what `put` raises, and `HubError` for a request."""
    put(_receiver(core, message), message.replace(data=own_copy(message.data)), core.config.timeout)


async def forward_async(core: Core, message: Message) -> None:
    """`forward` for a task."""
    own = message.replace(data=own_copy(message.data))
    await put_async(_receiver(core, message), own, core.config.timeout)


def no_room(box: Mailbox, seconds: float) -> QueueFullError:
    """What a sender is told whose message found none."""
    return QueueFullError(
        f"agent {box.label} had no room for a message within {seconds:g} s; the message was not sent",
        hint="its handler is too slow or hangs: give it concurrency= or queue_size=, or wait longer with timeout=",
        agent=box.name,
        seconds=seconds,
    )


def _in_time(box: Mailbox, answer: Any, seconds: float) -> Message:
    if answer is TOO_LATE:
        raise RequestTimeoutError(
            f"request timed out after {seconds:g} s: agent {box.label} has not answered",
            hint="look at what its handler does, or wait longer with timeout=",
            agent=box.name,
            seconds=seconds,
        )
    found: Message = answer
    return found


def _receiver(core: Core, message: Message) -> Mailbox:
    if message.type == REQUEST:
        raise HubError(
            f"a handler returned {message}, which would wait for an answer that nothing takes; "
            "call hub.request(...) in the handler instead"
        )
    return core.find(message.to)
