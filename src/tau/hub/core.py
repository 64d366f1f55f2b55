"""`Core`: the agents and topics of a hub, under one lock, and how it ends."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Mapping
from typing import Any

from tau import forks
from tau.checks import checked_name
from tau.errors import HubError
from tau.hub.circles import handler_here
from tau.hub.config import HubConfig
from tau.hub.errors import HubClosedError, ShutdownTimeoutError, UnknownAgentError
from tau.hub.handlers import Handler
from tau.hub.homes import Loop, home_of
from tau.hub.mailbox import Mailbox
from tau.hub.reports import AgentInfo, Counts, Metrics
from tau.hub.waiters import Waiter
from tau.signals import insist
from tau.spelling import did_you_mean

_MOST = 20  # names in a message


class Core(forks.Forked):
    """What a hub consists of. Every change is made under ``lock``, which is held for moments only."""

    def __init__(self, config: HubConfig) -> None:
        self.config = config
        self.name = config.name
        self.lock = threading.RLock()  # a signal handler may send, too
        self.counts = Counts()
        self.boxes: dict[str, Mailbox] = {}
        self._leaving: list[Mailbox] = []  # those of agents that were unregistered while at work
        self.is_closing = False
        self.is_closed = False
        self._topics: dict[str, dict[str, None]] = {}
        self._watching: list[Waiter] = []
        self._is_copy = False
        forks.watch(self)

    def after_fork(self, in_child: bool, kept_out: bool) -> None:
        if in_child:  # the handlers and those who wait are in the parent
            self.lock = threading.RLock()
            self.is_closing = self._is_copy = True

    def check(self) -> None:
        """Raises `HubClosedError` after a shutdown, but not to a handler of this hub before its end, and `HubError` in
        a process that was forked off."""
        if self._is_copy:
            raise HubError(
                f"hub {self.name!r} belongs to the process that made it, and process {os.getpid()} was forked off that",
                hint="make a Hub of its own in each process",
            )
        if self.is_closing and (self.is_closed or not self._is_called_by_handler()):
            raise HubClosedError(f"hub {self.name!r} was shut down and takes nothing more", hint="make a new Hub")

    def find(self, name: str) -> Mailbox:
        """The agent of that name. Raises `UnknownAgentError` and what `check` raises."""
        if self.is_closing:
            self.check()
        try:
            return self.boxes[name]
        except (KeyError, TypeError):
            raise self._unknown(checked_name("the name of an agent", name)) from None

    def register(self, name: str, handler: Handler, size: int, concurrency: int) -> None:
        """Raises `HubError` for a name that is taken by an agent that is not gone."""
        self.check()
        with self.lock:
            known = self.boxes.get(name)
            if known is not None and not known.ended and known.home.has_ended():
                known.end("the event loop in which its handler ran was closed")
            if known is not None and not known.ended:
                raise HubError(
                    f"agent already registered: {name!r} of hub {self.name!r}",
                    hint="unregister it first, or name it otherwise",
                )
            home = home_of(handler.is_async)
            self.boxes[name] = Mailbox(self, name, handler, home, size=size, concurrency=concurrency)

    def unregister(self, name: str) -> None:
        """Raises `UnknownAgentError`."""
        with self.lock:
            box = self.find(name)
            box.end("it was unregistered")  # first: an interrupt leaves one that may be unregistered again
            self._leaving = [*self._still_leaving(), box]
            for topic in [*self._topics]:
                self._leave(name, topic)
            del self.boxes[name]

    def _still_leaving(self) -> list[Mailbox]:
        return [box for box in self._leaving if box.slots and not box.home.has_ended()]

    def subscribe(self, name: str, topic: str) -> None:
        """Raises `UnknownAgentError`."""
        with self.lock:
            self.find(name).check()
            self._topics.setdefault(topic, {})[name] = None

    def unsubscribe(self, name: str, topic: str) -> bool:
        """Whether it was subscribed. Raises `UnknownAgentError`."""
        with self.lock:
            self.find(name)
            return self._leave(name, topic)

    def _leave(self, name: str, topic: str) -> bool:
        names = self._topics.get(topic, {})
        if name not in names:
            return False
        del names[name]
        if not names:
            del self._topics[topic]
        return True

    def receivers(self, sender: str, topic: str | None) -> list[Mailbox]:
        """All agents but the sender, of a topic those that are subscribed. Raises what `check` raises."""
        self.check()
        with self.lock:
            names = self.boxes if topic is None else self._topics.get(topic, {})
            return [self.boxes[name] for name in names if name != sender and not self.boxes[name].ended]

    def metrics(self) -> Metrics:
        """As of now."""
        with self.lock:
            alive = [box for box in self.boxes.values() if not box.ended]
            return self.counts.metrics(len(alive), sum(box.queued for box in alive))

    def agents(self) -> Mapping[str, AgentInfo]:
        """As of now."""
        with self.lock:
            alive = [box for box in self.boxes.values() if not box.ended]
            of = {box.name: tuple(topic for topic, names in self._topics.items() if box.name in names) for box in alive}
            return {
                box.name: AgentInfo(box.name, box.queued, len(box.slots), of[box.name], box.last_seen) for box in alive
            }

    def changed(self) -> None:
        """Some work has ended: those who wait for the end of all are told."""
        if self.is_closing:
            if not self.is_closed and not self.left():
                self.close("")
            for waiter in [*self._watching]:
                waiter.answer(True)

    def watch(self, waiter: Waiter) -> None:
        """Answer it with the next change."""
        self._watching = [one for one in self._watching if one.is_open] + [waiter]

    def left(self) -> dict[str, int]:
        """How many messages of each agent are not handled yet."""
        with self.lock:
            for box in [*self.boxes.values()]:
                if not box.ended and box.home.has_ended():
                    box.end("the event loop in which its handler ran was closed")
            found: dict[str, int] = {}
            for box in self._with_work():
                found[box.name] = found.get(box.name, 0) + box.left
            return found

    def _with_work(self) -> list[Mailbox]:
        return [box for box in (*self.boxes.values(), *self._still_leaving()) if box.left]

    def begin_to_close(self) -> bool:
        """Take nothing more but from handlers of this hub; whether all that is left is to be waited for, which a
        handler of this hub cannot do, and a forked process need not."""
        if self._is_copy:
            return False
        with self.lock:
            self.is_closing = True
            for box in self.boxes.values():
                if not box.ended:
                    box.kick()
        self.changed()
        return not self._is_called_by_handler()

    def check_waiting(self) -> None:
        """Raises `HubError` where this thread cannot wait for what is left, because it runs in its loop."""
        running = asyncio._get_running_loop()
        with self.lock:
            inside = [box.name for box in self._with_work() if running is not None and box.home.loop is running]
        if inside:
            raise HubError(
                f"shutdown() would block the event loop in which agent {inside[0]!r} of hub {self.name!r} has work",
                hint="await hub.ashutdown() there",
            )

    def close(self, why: str) -> None:
        """Take nothing at all, and let go what is left. What waits for it is told."""
        insist(lambda: self._close(why))

    def _close(self, why: str) -> None:
        with self.lock:
            self.is_closed = True
            boxes = [*self.boxes.values(), *self._still_leaving()]
            at_work = [slot.message for box in boxes for slot in box.slots if slot.message is not None]
        for box in boxes:
            box.end(why or f"hub {self.name!r} was shut down")
            if isinstance(box.home, Loop) and box.slots:
                box.home.cancel()
        for message in at_work:
            if message.waiter is not None:
                message.waiter.answer(HubClosedError(f"hub {self.name!r} was shut down before {message.to!r} answered"))

    def too_long(self, seconds: float, left: Mapping[str, int]) -> ShutdownTimeoutError:
        """What the shutdown of a hub that still had work raises."""
        named = ", ".join(f"{count} of {name!r}" for name, count in [*left.items()][:_MOST])
        return ShutdownTimeoutError(
            f"hub shutdown timeout after {seconds:g} s: hub {self.name!r} still had messages to handle: {named}",
            hint="they were dropped; a sync handler that is at work goes on in its thread until it returns",
            seconds=seconds,
            left=dict(left),
        )

    def _is_called_by_handler(self) -> bool:
        slot = handler_here()
        return slot is not None and slot.mailbox.core is self

    def _unknown(self, name: Any) -> UnknownAgentError:
        with self.lock:
            names = [*self.boxes]
        have = ", ".join(repr(one) for one in names[:_MOST]) + (", ..." if len(names) > _MOST else "") or "no agents"
        said = f"agent not found: {name!r:.80}; hub {self.name!r} has {have}{did_you_mean(name, names)}"
        return UnknownAgentError(said, agent=str(name))
