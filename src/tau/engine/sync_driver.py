"""The drivers do what the engine asks for: here in the caller's thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tau.engine.effects import Drop, Effect, Emit, Load, Outcome, Pause, Release
from tau.engine.stop import StopNow
from tau.log.journal import Append
from tau.node.calls import call_in_thread, is_late
from tau.node.current import RunNode
from tau.state import State

if TYPE_CHECKING:
    from tau.node.async_calls import NodeLoop

from tau import forks
from tau.engine.driver import Driver


class SyncDriver(Driver):
    """Does each effect at once, in the caller's thread."""

    _loop: NodeLoop | None = None

    def drive(self) -> State:
        """Run to the end."""
        handlers: dict[type, Callable[[Any], Any]] = {
            RunNode: self.run_node,
            Append: self.append,
            Emit: self.emit,
            Load: self.load,
            Pause: self.pause,
            Drop: self.drop,
            Release: lambda _: self.release(),
        }
        token = self.begin()
        try:
            return self._interpret(handlers)
        finally:  # around a call: an interrupt between two effects, where a loop begins again, must not pass it by
            self.end(token)
            if self._loop is not None and self.process is forks.process:
                self._loop.close()

    def _interpret(self, handlers: Mapping[type, Callable[[Any], Any]]) -> State:
        engine = self.engine
        send = engine.send
        try:
            effect: Effect = send(None)
            while True:
                try:
                    reply = handlers[type(effect)](effect)
                except BaseException as error:
                    if self.process is not forks.process:
                        raise  # in a child of fork nothing may follow: the run is its parent's
                    effect = engine.throw(error)
                else:
                    effect = send(reply)
        except StopIteration as end:
            final: State = end.value
            return final

    def append(self, effect: Append) -> str:
        journal = self.journal
        assert journal is not None
        batch = journal.prepare(effect)
        return "" if batch is None else self.settle(batch, journal.store.committer.commit(batch))

    def pause(self, effect: Pause) -> str:
        wake = self.stop.event if self.stop is not None else None
        self.host.sleep(effect.retry.wait(effect.attempt, self.host.random()), wake)
        return self.stopping()

    def run_node(self, effect: RunNode) -> Outcome:
        began = self._now()
        node = effect.node
        self.around.effect = effect
        try:
            if self._stoppable and (reason := self.stopping()):
                raise StopNow(reason)
            if node.is_async:
                result = self._awaited(effect, self.call(effect))
            elif node.timeout is not None:
                result = call_in_thread(effect, lambda: self.call(effect))
            else:
                result = self.call(effect)
            if is_late(result):
                result = self._awaited(effect, result)
        except BaseException as error:
            return self.outcome(began, error=error)
        return self.outcome(began, result)

    def _awaited(self, effect: RunNode, awaitable: Any) -> Any:
        from tau.node.async_calls import NodeLoop, with_timeout  # asyncio is only loaded where something needs it

        if self._loop is None:
            self._loop = NodeLoop()
        return self._loop.run(with_timeout(effect.node, awaitable))
