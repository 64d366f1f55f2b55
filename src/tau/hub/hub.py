"""`Hub`: agents of one process that send each other messages, ask each other, and hear of topics."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from tau.checks import checked_name, checked_seconds, integer
from tau.errors import ConfigError
from tau.hub import in_runs
from tau.hub.config import HubConfig
from tau.hub.core import Core
from tau.hub.data_copies import WHOLE, own_copy
from tau.hub.errors import ShutdownTimeoutError
from tau.hub.fan_out import send_all, send_all_async
from tau.hub.handlers import MessageContext, checked_handler
from tau.hub.mailbox import Mailbox
from tau.hub.message import (
    BROADCAST,
    NOTIFICATION,
    REQUEST,
    Message,
    Priority,
    checked_headers,
    checked_priority,
    draw,
)
from tau.hub.reports import AgentInfo, Delivery, Metrics
from tau.hub.sending import ask, ask_async, put, put_async
from tau.hub.waiters import TOO_LATE, LoopWaiter, ThreadWaiter
from tau.node.current import run_scope
from tau.spelling import names_keywords

Headers = Mapping[str, str] | None


class Hub:
    """Agents that send each other messages, within one process. Thread-safe, and usable from any number of event loops.

    An agent is a name and a handler, ``handler(message)`` or ``handler(message, context)``, where the `MessageContext`
    tells ``hub_name``, ``agent`` and ``hub``. An async handler runs in the event loop in which it was registered; where
    none ran, in a loop that all hubs of the process share. A sync handler runs in a thread. An agent handles one
    message at a time: the most urgent first, equally urgent ones of a sender in the order in which they were sent. What
    it returns for a request is the answer; what it raises, also ``SystemExit``, is logged, and raised by the request.
    A handler belongs to no run, whoever sends; in it, ``tau.current()`` raises.

    A queue holds ``queue_size`` messages of each priority; a sender waits for room. The verbs that may wait have twins
    for event loops: ``asend``, ``arequest``, ``abroadcast``, ``apublish``, ``ashutdown``. ``timeout`` is in seconds,
    ``None`` for that of the hub. As a context manager, sync or async, a hub is shut down at the end of the block.

    What is not handled when the process ends is lost. Raises `ConfigError` for a configuration that cannot be used.

    >>> import asyncio
    >>> from tau import Hub
    >>> with Hub("station") as hub:
    ...     hub.register("engineer", lambda message: f"{message.data} bar")
    ...     hub.subscribe("engineer", "alarms")
    ...     hub.request("commander", "engineer", 2.1).data
    ...     hub.send("commander", "engineer", "thanks").type
    ...     hub.broadcast("commander", "well").delivered == hub.publish("commander", "alarms", "fire").delivered
    ...     hub.unsubscribe("engineer", "alarms"), list(hub.agents()), hub.metrics() is None
    ...     hub.unregister("engineer")
    ...     hub.shutdown()
    '2.1 bar'
    'notification'
    True
    (True, ['engineer'], False)
    >>> async def work():
    ...     async with Hub("loop") as hub:
    ...         hub.register("echo", lambda message: message.data)
    ...         await hub.asend("me", "echo", 1), await hub.abroadcast("me", 2), await hub.apublish("me", "topic", 3)
    ...         answer = await hub.arequest("me", "echo", 4)
    ...         await hub.ashutdown()
    ...     return answer.data
    >>> asyncio.run(work())
    4
    """

    def __init__(
        self, name: str | HubConfig = "default", *, queue_size: int | None = None, timeout: float | None = None
    ) -> None:
        if isinstance(name, HubConfig) and (queue_size, timeout) != (None, None):
            raise ConfigError("a Hub takes a HubConfig, or a name with queue_size= and timeout=, not both")
        given = {"queue_size": queue_size, "timeout": timeout}
        more: Any = {key: value for key, value in given.items() if value is not None}
        self._core = Core(name if isinstance(name, HubConfig) else HubConfig(name=name, **more))

    @property
    def name(self) -> str:
        """What it is called. Raises nothing."""
        return self._core.name

    @property
    def config(self) -> HubConfig:
        """How it works. Raises nothing."""
        return self._core.config

    @names_keywords
    def register(
        self, name: str, handler: Callable[..., Any], *, concurrency: int = 1, queue_size: int | None = None
    ) -> None:
        """Add an agent. It handles up to ``concurrency`` messages at a time; ``queue_size`` replaces that of the hub.

        With a concurrency above 1 messages are begun in order, and may end in any. An agent may be in several hubs; it
        then handles one message at a time of each. A name whose event loop was closed may be registered again.

        Raises `HubError` for a name that is taken, `HubClosedError` after a shutdown, and `ConfigError` for a handler
        that cannot be called with a message or for another value that cannot be used.
        """
        core = self._core
        checked_name("the name of an agent", name)
        checked = checked_handler(MessageContext(core.name, name, self), handler)
        size = core.config.queue_size if queue_size is None else integer("queue_size", queue_size, 1)
        core.register(name, checked, size, integer("concurrency", concurrency, 1))

    def unregister(self, name: str) -> None:
        """Take an agent out, and its subscriptions with it. A handler at work ends its message, and answers it; what is
        queued is dropped, and who requested it is told with `AgentGoneError`. Raises `UnknownAgentError`."""
        self._core.unregister(name)

    def subscribe(self, name: str, topic: str) -> None:
        """Have an agent hear of a topic; again changes nothing. Raises `UnknownAgentError`, and `ConfigError` for what
        cannot be a topic."""
        self._core.subscribe(name, checked_name("a topic", topic))

    def unsubscribe(self, name: str, topic: str) -> bool:
        """Have it hear no more of that topic, but for what is queued; whether it was subscribed. Raises
        `UnknownAgentError`, and `ConfigError` for what cannot be a topic."""
        return self._core.unsubscribe(name, checked_name("a topic", topic))

    def agents(self) -> Mapping[str, AgentInfo]:
        """The agents by name, as of now. Raises nothing."""
        return self._core.agents()

    def metrics(self) -> Metrics:
        """What was sent, received, dropped and so on, exact as of one moment. Raises nothing."""
        return self._core.metrics()

    @names_keywords
    def send(
        self,
        sender: str,
        to: str,
        data: Any = None,
        *,
        priority: Priority = Priority.NORMAL,
        headers: Headers = None,
        timeout: float | None = None,
    ) -> Message:
        """Put a notification into the queue of agent ``to``; returns it, without waiting until it is handled.

        The sender need not be an agent. In a node of a run the id is the same whenever the node is repeated.

        Raises `UnknownAgentError`, `AgentGoneError`, `HubClosedError`, `QueueFullError` if there was no room in time,
        `CircularRequestError` where a handler would wait for room that cannot come, and `ConfigError` for a value that
        cannot be used. If it raises, nothing was sent; after an interrupt, such as Ctrl-C, it may have been.
        """
        box = self._core.find(to)
        message = self._made(sender, to, data, (priority, headers))
        put(box, message, self._seconds(timeout))
        return message

    async def asend(
        self,
        sender: str,
        to: str,
        data: Any = None,
        *,
        priority: Priority = Priority.NORMAL,
        headers: Headers = None,
        timeout: float | None = None,
    ) -> Message:
        """`send` for event loops; raises the same. A cancellation while it waits for room takes the message back,
        unless room has just come."""
        box = self._core.find(to)
        message = self._made(sender, to, data, (priority, headers))
        if not box.offer(message):
            await put_async(box, message, self._seconds(timeout))
        return message

    @names_keywords
    def request(
        self,
        sender: str,
        to: str,
        data: Any = None,
        *,
        priority: Priority = Priority.NORMAL,
        headers: Headers = None,
        timeout: float | None = None,
    ) -> Message:
        """The response of agent ``to``; its ``data`` is what the handler returned. Waits at most ``timeout`` seconds.

        In a node of a run this is a journaled call (`Context.journal`): an answer that is recorded is given again, and
        nothing is sent. What was in flight at a crash is sent again under the same id. Data and answer must then be
        values that can be stored. Errors and timeouts are not recorded.

        Raises `RequestFailedError` at once if the handler raises, `RequestTimeoutError` if it is late (its answer is
        then dropped, and a message that was not begun is not handled), `CircularRequestError` if the answer would wait
        for this very request, `AgentGoneError` and `HubClosedError` if the agent or the hub ends before it answers, and
        what `send` raises.
        """
        asked, seconds = (sender, to, data, priority, headers), self._seconds(timeout)

        def now(asked: in_runs.Asked, id: str) -> Message:
            return ask(*self._requested(asked, id), seconds)

        context = in_runs.node_here()
        return now(asked, "") if context is None else in_runs.ask_once(context, now, self.name, asked)

    async def arequest(
        self,
        sender: str,
        to: str,
        data: Any = None,
        *,
        priority: Priority = Priority.NORMAL,
        headers: Headers = None,
        timeout: float | None = None,
    ) -> Message:
        """`request` for event loops; raises the same. After a cancellation the answer is dropped, and a message that
        was not begun is not handled."""
        asked, seconds = (sender, to, data, priority, headers), self._seconds(timeout)

        async def now(asked: in_runs.Asked, id: str) -> Message:
            return await ask_async(*self._requested(asked, id), seconds)

        context = in_runs.node_here()
        return await (now(asked, "") if context is None else in_runs.ask_once_async(context, now, self.name, asked))

    @names_keywords
    def broadcast(
        self,
        sender: str,
        data: Any = None,
        *,
        priority: Priority = Priority.NORMAL,
        headers: Headers = None,
        timeout: float | None = None,
    ) -> Delivery:
        """Send to every agent but the sender, to each a message of its own; returns which of them took it.

        Where a queue is full, this waits for room in all of these together, at most ``timeout`` seconds; the others
        have it at once. Raises `HubClosedError`, and `ConfigError` for a value that cannot be used. Why an agent did
        not take it is in ``failed`` of the `Delivery`.
        """
        to = self._addressed(sender, None, data, (priority, headers))
        return send_all(to, self._seconds(timeout), "broadcast")

    async def abroadcast(
        self,
        sender: str,
        data: Any = None,
        *,
        priority: Priority = Priority.NORMAL,
        headers: Headers = None,
        timeout: float | None = None,
    ) -> Delivery:
        """`broadcast` for event loops; raises the same."""
        to = self._addressed(sender, None, data, (priority, headers))
        return await send_all_async(to, self._seconds(timeout))

    @names_keywords
    def publish(
        self,
        sender: str,
        topic: str,
        data: Any = None,
        *,
        priority: Priority = Priority.NORMAL,
        headers: Headers = None,
        timeout: float | None = None,
    ) -> Delivery:
        """Send to every agent that is subscribed to the topic, but to the sender; without any, to none. The rest is as
        for `broadcast`. Raises `HubClosedError`, and `ConfigError` for a value that cannot be used."""
        topic = checked_name("a topic", topic)
        to = self._addressed(sender, topic, data, (priority, headers))
        return send_all(to, self._seconds(timeout), "publish")

    async def apublish(
        self,
        sender: str,
        topic: str,
        data: Any = None,
        *,
        priority: Priority = Priority.NORMAL,
        headers: Headers = None,
        timeout: float | None = None,
    ) -> Delivery:
        """`publish` for event loops; raises the same."""
        topic = checked_name("a topic", topic)
        to = self._addressed(sender, topic, data, (priority, headers))
        return await send_all_async(to, self._seconds(timeout))

    def shutdown(self, timeout: float | None = None) -> None:
        """Take nothing more, and wait until all that was sent is handled, for at most ``timeout`` seconds.

        Until then handlers of this hub may still send and request. Calling it again waits again. A handler of this hub
        cannot wait for its own end: called there, it returns at once, and the hub ends when all is handled.

        Raises `ShutdownTimeoutError` if there was not enough time: what is queued is dropped, async handlers are
        cancelled, sync ones go on in their threads, and what waits for an answer gets `HubClosedError`. Raises
        `HubError` in the thread of an event loop in which handlers have work: there it is ``await hub.ashutdown()``.
        """
        core, seconds = self._core, self._seconds(timeout)
        waits, ends = core.begin_to_close(), time.monotonic() + seconds
        while waits and core.left():
            core.check_waiting()
            waiter = ThreadWaiter()
            core.watch(waiter)
            if core.left() and waiter.wait(ends - time.monotonic()) is TOO_LATE and (left := core.left()):
                core.close("")
                raise core.too_long(seconds, left)

    async def ashutdown(self, timeout: float | None = None) -> None:
        """`shutdown` for event loops; raises `ShutdownTimeoutError`."""
        core, seconds = self._core, self._seconds(timeout)
        waits, ends = core.begin_to_close(), time.monotonic() + seconds
        while waits and core.left():
            waiter = LoopWaiter()
            core.watch(waiter)
            if core.left() and await waiter.wait(ends - time.monotonic()) is TOO_LATE and (left := core.left()):
                core.close("")
                raise core.too_long(seconds, left)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            self.shutdown()
        except ShutdownTimeoutError as late:
            if error is None:
                raise
            error.add_note(str(late))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        try:
            await self.ashutdown()
        except ShutdownTimeoutError as late:
            if error is None:
                raise
            error.add_note(str(late))

    def __repr__(self) -> str:
        return f"Hub({self.name!r}, agents={[*self.agents()]!r})"

    def _seconds(self, timeout: float | None) -> float:
        return self._core.config.timeout if timeout is None else checked_seconds("timeout", timeout)

    def _made(
        self,
        sender: str,
        to: str,
        data: Any,
        options: tuple[Priority, Headers],
        type: str = NOTIFICATION,
        *,
        topic: str = "",
        id: str = "",
    ) -> Message:
        """A message for a known receiver, with data of its own."""
        priority, headers = options
        now = time.time()
        try:
            self._core.boxes[sender].last_seen = now
        except (KeyError, TypeError):
            checked_name("the sender of a message", sender)
        if priority.__class__ is not Priority:
            priority = checked_priority(priority)
        if headers is not None:
            headers = checked_headers(headers)
        if not id and run_scope.get() is not None and type != REQUEST:
            id = in_runs.message_id(self._core.name, type, (sender, to, topic), data)
        if data.__class__ not in WHOLE:
            data = own_copy(data)
        return Message(sender, to, data, type, topic, "", priority, now, draw(62), id, headers)

    def _requested(self, asked: in_runs.Asked, id: str) -> tuple[Mailbox, Message]:
        sender, to, data, priority, headers = asked
        return self._core.find(to), self._made(sender, to, data, (priority, headers), REQUEST, id=id)

    def _addressed(
        self, sender: str, topic: str | None, data: Any, options: tuple[Priority, Headers]
    ) -> list[tuple[Mailbox, Message]]:
        checked_name("the sender of a message", sender)
        kind = BROADCAST if topic is None else NOTIFICATION
        return [
            (box, self._made(sender, box.name, data, options, kind, topic=topic or ""))
            for box in self._core.receivers(sender, topic)
        ]
