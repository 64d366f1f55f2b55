"""`Server`: calls the handler of an agent with one message after the other, until there is none."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from typing import TYPE_CHECKING, Any, Final

from tau.hub.circles import Slot, here
from tau.hub.handlers import answer_of, failure, not_awaited
from tau.hub.homes import CANCELLED
from tau.hub.message import Message
from tau.hub.sending import forward, forward_async
from tau.signals import insist, is_of_handler

if TYPE_CHECKING:
    from tau.hub.mailbox import Mailbox

_log = logging.getLogger("tau.hub")
_IN_A_ROW: Final = 100
"""After so many messages a task lets others of its loop go on."""


class Server:
    """Serves a mailbox in a thread (`serve`) or in a loop (`serve_async`)."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._slot = Slot(mailbox)
        self._has_left = False

    def serve(self) -> None:
        """In a thread."""
        mailbox, slot = self._mailbox, self._slot
        if not mailbox.enter(slot):
            return
        try:
            while (message := mailbox.next(slot)) is not None:
                try:
                    result = contextvars.Context().run(self._call, slot, message)
                except BaseException as error:  # of a handler: also sys.exit ends that message and nothing else
                    self._failed(message, error)
                else:
                    self._answered(message, result)
                del message
        finally:
            mailbox.leave(slot)

    def _call(self, slot: Slot, message: Message) -> Any:
        here.set((slot, message))
        result = self._mailbox.handler.call(message)
        not_awaited(self._mailbox.name, result)
        if message.waiter is None and isinstance(result, Message):
            forward(self._mailbox.core, result)
        return result

    async def serve_async(self) -> None:
        """In a task of a loop."""
        mailbox, slot, call, set_here = self._mailbox, self._slot, self._mailbox.handler.call, here.set
        try:
            number = 0
            if not mailbox.enter(slot):
                return
            while True:
                try:
                    if (message := mailbox.next(slot)) is None:
                        return
                    set_here((slot, message))
                    result = await call(message)
                    if result is not None and message.waiter is None and isinstance(result, Message):
                        await forward_async(mailbox.core, result)
                    if message.waiter is not None:
                        self._answered(message, result)
                    slot.message = None
                except BaseException as error:
                    if slot.message is None or _ends_task(error):
                        raise
                    self._failed(slot.message, error)
                    slot.message = None
                    if isinstance(error, KeyboardInterrupt) and is_of_handler(error):  # Ctrl-C is for the loop, too
                        raise
                number += 1
                if number % _IN_A_ROW == 0:
                    await asyncio.sleep(0)
        except (asyncio.CancelledError, GeneratorExit):
            self.end(CANCELLED)
            raise
        finally:
            self._leave()

    def end(self, why: str) -> None:
        """The place where it was served is gone."""
        self._mailbox.end(why)

    def ended(self) -> None:
        """Nothing of it is at work, however that came. What is left is begun anew."""
        if not self._has_left:
            self._leave()
            self._mailbox.kick()

    def _leave(self) -> None:
        message = self._slot.message
        if message is not None and message.waiter is not None:
            message.waiter.answer(self._mailbox.gone())
        insist(lambda: self._mailbox.leave(self._slot))
        self._has_left = True

    def _answered(self, message: Message, result: Any) -> None:
        if message.waiter is None:
            return
        try:
            answer = answer_of(message, result)
        except Exception as error:
            self._failed(message, error)
            return
        self._give(message, answer)

    def _failed(self, message: Message, error: BaseException) -> None:
        core = self._mailbox.core
        with core.lock:
            core.counts.failed += 1
        told = failure(self._mailbox.label, self._mailbox.name, error)
        _log.error("agent %s failed on %s", self._mailbox.label, message, exc_info=error)
        if message.waiter is not None:
            self._give(message, told)

    def _give(self, message: Message, answer: Any) -> None:
        core = self._mailbox.core
        if message.waiter is not None and not message.waiter.answer(answer):
            with core.lock:
                core.counts.late += 1


def _ends_task(error: BaseException) -> bool:
    """Whether it was not the handler that failed, but its task that is to end."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return isinstance(error, GeneratorExit)
