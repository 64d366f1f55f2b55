"""Which handler waits for which agent, in all hubs of this process: a wait that could never end is refused.

A handler that has a request answered, or waits for room, keeps its agent from the next message. If all that the agent
it waits for can do is wait for this one, there is a circle. A sync call in the thread of an event loop keeps all agents
of that loop from theirs.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from tau.hub.errors import CircularRequestError
from tau.hub.message import Message
from tau.signals import insist

if TYPE_CHECKING:
    from tau.hub.mailbox import Mailbox


class Slot:
    """One handler at work: what it handles, ``None`` between two, and the agents that it waits for."""

    __slots__ = ("mailbox", "message", "waits")

    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox
        self.message: Message | None = None
        self.waits: list[Mailbox] = []


here: ContextVar[tuple[Slot, Message] | None] = ContextVar("tau_handler", default=None)
"""The handler that the code here is part of, and what it was called for."""

_lock = threading.RLock()
_blocked: dict[asyncio.AbstractEventLoop, list[Mailbox]] = {}


def handler_here() -> Slot | None:
    """The handler that called this, if it is still at work on the message it was called with."""
    found = here.get()
    return found[0] if found is not None and found[0].message is found[1] else None


@contextmanager
def waiting_for(targets: Iterable[Mailbox], verb: str) -> Iterator[None]:
    """Around a wait for these agents; ``verb`` is that of a sync call, empty for one that is awaited.

    Raises `CircularRequestError` where it would never end.
    """
    slot, loop = handler_here(), asyncio._get_running_loop() if verb else None
    added = [*targets] if slot is not None or loop is not None else []
    if not added:
        yield
        return
    places = ([slot.waits] if slot is not None else []) + ([_blocked.setdefault(loop, [])] if loop is not None else [])
    try:
        with _lock:
            for place in places:
                place.extend(added)
            for target in added:
                if target in (stuck := _stuck(target)):
                    raise _circle(slot, target, stuck, verb)
        yield
    finally:
        left = [(place, target) for place in places for target in added]
        insist(lambda: _wait_no_more(left, loop))


def _wait_no_more(left: list[tuple[list[Mailbox], Mailbox]], loop: asyncio.AbstractEventLoop | None) -> None:
    with _lock:
        while left:
            place, target = left[-1]
            if target in place:
                del place[place.index(target)]
            del left[-1]
        if loop is not None and not _blocked.get(loop):
            _blocked.pop(loop, None)


def _stuck(target: Mailbox) -> set[Mailbox]:
    """Those of the agents that ``target`` may wait for, itself included, that can never take another message."""
    reached: set[Mailbox] = set()
    left = [target]
    while left:
        one = left.pop()
        if one not in reached:
            reached.add(one)
            left += [other for waits in _waits(one) for other in waits]
    free: set[Mailbox] = set()
    grown = True
    while grown:
        found = {one for one in reached if one not in free and _goes_on(one, free)}
        grown = bool(found)
        free |= found
    return reached - free


def _waits(mailbox: Mailbox) -> list[list[Mailbox]]:
    """What each handler of the agent waits for, and last what its loop waits for."""
    loop = mailbox.home.loop
    return [*([*slot.waits] for slot in [*mailbox.slots]), [*_blocked.get(loop, ())] if loop is not None else []]


def _goes_on(mailbox: Mailbox, free: set[Mailbox]) -> bool:
    *handlers, loop = _waits(mailbox)
    if not free.issuperset(loop):
        return False
    return len(handlers) < mailbox.concurrency or any(free.issuperset(waits) for waits in handlers)


def _circle(slot: Slot | None, target: Mailbox, stuck: set[Mailbox], verb: str) -> CircularRequestError:
    path: list[str] = [] if slot is None else [slot.mailbox.label]
    seen: set[Mailbox] = set() if slot is None else {slot.mailbox}
    one: Mailbox | None = target
    while one is not None and one not in seen:
        path.append(one.label)
        seen.add(one)
        one = next((other for waits in _waits(one) for other in waits if other in stuck), None)
    if one is not None:
        path.append(one.label)
    loop = target.home.loop
    if verb and loop is not None and loop is asyncio._get_running_loop():
        said = f"{verb}() would block the event loop in which agent {target.label} handles its messages"
        return CircularRequestError(said, hint=f"await a{verb}(...) there", circle=tuple(path))
    return CircularRequestError(
        f"waiting for agent {target.label} here would never end: {' -> '.join(path)}",
        hint="send it a message instead, wait after the handler has returned, or register that agent with concurrency=",
        circle=tuple(path),
    )
